"""Serve HTTP on this machine, and misbehave as real servers do, for practice and for tests."""

import contextlib
import hashlib
import json
import re
import socket
import struct
import threading
import zlib
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from urllib.parse import parse_qsl, unquote, urlsplit

KEYS = {"apikey", "access_token", "api_key", "key", "token"}  # query parameters
STATUS = {"429": 429, "429_retry_after": 429, "500": 500, "503": 503, "expired": 401}
CUT = ("reset", "stall", "truncated", "wrong_length")
FAULTS = (*STATUS, *CUT, "html", "wrong_size", "corrupt", "bomb")


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


def serve(routes, *, latency_s=0.0, faults=None, seed=0, port=0):
    """Start a server on 127.0.0.1, in threads that end with the program.

    Args:
        routes: list of (method, pattern of the path, function to a Response or None); it gets an
            object with path, query, headers, body, base (the server's URL), and groups of the path.
        latency_s: wait before each answer.
        faults: dict from kind (FAULTS) to the share of addresses that suffer it at their first
            request, or to (share, number of requests that suffer, None for all).
        seed: of the choice of addresses.
        port: to listen on, if it is free; 0, or where it is not: any.

    Returns:
        Server, also for `with`.

    Raises:
        ValueError: a kind of fault that there is not (says which there are).
    """
    faults = {
        kind: how if isinstance(how, tuple) else (how, 1) for kind, how in (faults or {}).items()
    }
    if unknown := set(faults) - set(FAULTS):
        raise ValueError(f"there are no faults {sorted(unknown)}; there are {', '.join(FAULTS)}")
    try:
        return Server(routes, latency_s, faults, seed, port)
    except OSError:  # the port is taken
        return Server(routes, latency_s, faults, seed, 0)


class Server(ThreadingHTTPServer):
    """A running server: its `url`, the number of `requests`, and what it saw.

    `keys_seen` has the SHA-256 of each key, never the key; `suffered` counts (fault, address).
    """

    request_queue_size = 128

    def __init__(self, routes, latency_s, faults, seed, port):
        super().__init__(("127.0.0.1", port), _Handler)
        self.routes = [(method, re.compile(pattern), answer) for method, pattern, answer in routes]
        self.latency_s, self.faults, self.seed = latency_s, faults, seed
        self.requests, self.keys_seen, self.suffered = 0, set(), Counter()
        self.lock, self.stopping = threading.Lock(), threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def __repr__(self):
        return f"Server({self.url}, {self.requests} requests)"

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """End it, with all its connections."""
        self.stopping.set()
        self.shutdown()
        self.server_close()

    def fault(self, address):
        """Return the fault that this request for an address suffers, or None."""
        for kind, (share, times) in self.faults.items():
            digest = hashlib.sha256(f"{self.seed} {kind} {address}".encode()).digest()
            with self.lock:
                few = times is None or self.suffered[kind, address] < times
                if few and int.from_bytes(digest[:8]) / 2**64 < share:
                    self.suffered[kind, address] += 1
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
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        keys = [query[name] for name in KEYS & set(query)]
        keys += self.headers.get("Authorization", "").split()[-1:]
        with server.lock:
            server.requests += 1
            server.keys_seen |= {hashlib.sha256(key.encode()).hexdigest() for key in keys}
        if server.stopping.wait(server.latency_s):
            self.close_connection = True
            return
        public = sorted((name, query[name]) for name in set(query) - KEYS)
        fault = server.fault(f"{parts.path} {public}")
        request = {"path": unquote(parts.path), "query": query, "headers": self.headers}
        request = SimpleNamespace(**request, body=body, base=server.url)
        status = STATUS.get(fault)
        self.send(
            as_json({"detail": "practice"}, status) if status else self.answer(request), fault
        )

    do_POST = do_HEAD = do_GET

    def answer(self, request):
        """Return the Response of the first route that fits."""
        method = "GET" if self.command == "HEAD" else self.command
        for wanted, pattern, function in self.server.routes:
            if wanted == method and (match := pattern.fullmatch(request.path)):
                request.groups = match.groupdict()
                if response := function(request):
                    return response
        return as_json({"code": "not_found", "detail": "nothing lies there"}, 404)

    def send(self, response, fault):
        """Write a Response, spoilt by the fault."""
        status, body, headers = response.status, response.body, dict(response.headers)
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if span and status == 200:
            first, last = int(span[1]), min(int(span[2] or len(body)), len(body) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
            status, body = 206, body[first : last + 1]
        if fault == "429_retry_after":
            headers["Retry-After"] = "1"
        body = _spoilt(body, fault)
        if "Transfer-Encoding" not in headers:
            headers["Content-Length"] = str(len(body) - 10 * (fault == "wrong_length"))
        body = body[: len(body) // 2] if fault in CUT[:3] else body
        if fault == "reset":  # with this, closing sends a reset
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close_connection |= fault in CUT
        self.send_response(status)
        for name, value in {"Content-Type": response.type, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):  # the client has gone
            self.wfile.write(b"" if self.command == "HEAD" else body)
            self.wfile.flush()
        self.server.stopping.wait(60 if fault == "stall" else 0)


def _spoilt(body, fault):
    """The body as a fault makes it; damage lies inside the pixels of a PNG."""
    if fault == "corrupt":
        place = len(body) // 2 if body.startswith(b"\x89PNG") else 3
        turned = bytes(255 - byte for byte in body[place : place + 16])
        return body[:place] + turned + body[place + 16 :]
    if fault == "html":
        return b"<!DOCTYPE html><html><body>Please log in</body></html>"
    if fault not in ("wrong_size", "bomb"):
        return body
    side, png = (10 if fault == "wrong_size" else 9_000), b"\x89PNG\r\n\x1a\n"
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    for name, data in ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(110))), (b"IEND", b"")):
        check = struct.pack(">I", zlib.crc32(name + data))
        png += struct.pack(">I", len(data)) + name + data + check
    return png
