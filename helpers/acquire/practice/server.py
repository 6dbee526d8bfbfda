"""Serve HTTP on this machine, and misbehave as real servers do, for practice and for tests."""

import json
import math
import random
import re
import struct
import threading
from collections import Counter
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SO_LINGER, SOL_SOCKET
from urllib.parse import parse_qsl, unquote, urlsplit

HALF = ("reset", "stall", "truncated")  # half of the body is sent, then the connection breaks
FAULTS = {  # kind: what differs in the Response
    "429": {"status": 429, "body": b"busy"},
    "429_retry_after": {"status": 429, "body": b"busy", "headers": {"Retry-After": "1"}},
    "500": {"status": 500},
    "503": {"status": 503},
    "html": {"body": b"<!DOCTYPE html><html><body>Please log in</body></html>"},
    "wrong_length": {"headers": {"Content-Length": "100"}},
    "corrupt": {"body": bytes(500)},
    **dict.fromkeys(HALF, {}),
}


@dataclass
class Response:
    """An answer; ranges of its body can be asked for."""

    body: bytes
    type: str = "application/json"
    status: int = 200
    headers: dict = field(default_factory=dict)


def as_json(value, status=200):
    """Return a Response that holds a value as JSON."""
    return Response(json.dumps(value, ensure_ascii=False).encode(), status=status)


class Server(ThreadingHTTPServer):
    """A server on 127.0.0.1, also for `with`; counts `requests`, and what is `suffered`.

    Args:
        routes: list of (method, pattern of the path, function to a Response or None); it gets a
            request with path, query, headers, body, base (the server's URL) and groups.
        latency_s: wait before each answer.
        faults: dict from kind (FAULTS) to the share of paths that suffer it at their first
            request, or to (share, number of requests that suffer, None for all).
        seed, port: of the choice of paths; to listen on, 0 for any that is free.
    """

    request_queue_size = 128

    def __init__(self, routes, *, latency_s=0.0, faults=None, seed=0, port=0):
        self.routes, self.latency_s, self.faults, self.seed = routes, latency_s, faults or {}, seed
        if unknown := set(self.faults) - set(FAULTS):
            raise ValueError(f"no faults {sorted(unknown)}; there are {', '.join(FAULTS)}")
        super().__init__(("127.0.0.1", port), _Handler)
        self.requests, self.suffered = 0, Counter()
        self.lock, self.stopping = threading.Lock(), threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def __repr__(self):
        return f"Server({self.url}, {self.requests} requests)"

    def stop(self, *_):
        """End it, with all its connections."""
        self.stopping.set()
        self.shutdown()
        self.server_close()

    __exit__ = stop

    def fault(self, request):
        """Return the fault that a request suffers, or None."""
        with self.lock:
            for kind, how in self.faults.items():
                share, times = how if isinstance(how, tuple) else (how, 1)
                drawn = random.Random(f"{self.seed} {kind} {request.path}").random()
                if drawn < share and self.suffered[kind, request.path] < (times or math.inf):
                    self.suffered[kind, request.path] += 1
                    return kind
        return None

    def handle_error(self, request, client_address):
        """Say nothing where a client hangs up."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version, disable_nagle_algorithm, wbufsize = "HTTP/1.1", True, -1

    def log_message(self, *_):
        """Stay quiet."""

    def do_GET(self):
        """Answer, or misbehave."""
        server, parts = self.server, urlsplit(self.path)
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.path, self.base = unquote(parts.path), server.url
        self.query = dict(parse_qsl(parts.query, True))
        with server.lock:
            server.requests += 1
        fault = server.fault(self)
        if server.stopping.wait(server.latency_s):
            self.close_connection = True
            return
        self.send(replace(self.answer(), **FAULTS.get(fault, {})), fault)

    do_POST = do_HEAD = do_GET

    def answer(self):
        """Return the Response of the first route that fits."""
        for method, pattern, function in self.server.routes:
            match = re.fullmatch(pattern, self.path)
            if match and method == self.command.replace("HEAD", "GET"):
                self.groups = match.groupdict()
                if response := function(self):
                    return response
        return as_json({"code": "not_found", "detail": "nothing lies there"}, 404)

    def send(self, response, fault):
        """Write a Response, and break the connection where the fault says so."""
        body, status, headers = response.body, response.status, {"Content-Type": response.type}
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if span and status == 200:
            first, last = int(span[1]), min(int(span[2] or len(body)), len(body) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
            status, body = 206, body[first : last + 1]
        self.send_response(status)
        headers |= {"Content-Length": len(body)} | response.headers
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if fault in HALF else body)
        self.wfile.flush()
        if fault == "stall":
            self.server.stopping.wait(60)
        if fault == "reset":  # with this, closing sends a reset
            self.connection.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection |= fault in (*HALF, "wrong_length")
