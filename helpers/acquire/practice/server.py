"""Serve HTTP on this machine, and misbehave as real servers do, for practice and for tests."""

import json
import logging
import random
import re
import socket
import struct
import threading
from dataclasses import dataclass, replace

import werkzeug
from werkzeug.serving import make_server

HALF = ("truncated", "reset")  # half of the body is sent, then the connection breaks
FAULTS = {  # kind: what differs in the Response
    "429_retry_after": {"status": 429, "headers": {"Retry-After": "1"}},
    "503": {"status": 503},
    "html": {"body": b"<!DOCTYPE html><html><body>Please log in</body></html>"},
    "corrupt": {"body": bytes(500)},
    **dict.fromkeys(HALF, {}),
}


@dataclass
class Response:
    """An answer; ranges of its body can be asked for."""

    body: bytes
    type: str = "application/json"
    status: int = 200
    headers: dict | tuple = ()


def as_json(value, status=200):
    """Return a Response that holds a value as JSON."""
    return Response(json.dumps(value).encode(), status=status)


class Server:
    """A server on 127.0.0.1, also for `with`; counts `requests`, and notes what is `suffered`.

    Args:
        routes: list of (method, pattern of the path, function to a Response or None); it gets
            werkzeug's Request with query, body, base (the server's URL) and groups of the pattern.
        latency_s: wait before each answer.
        faults: dict from kind (FAULTS) to the share of paths that suffer it, once each.
        seed, port: of the choice of paths; to listen on, 0 for any that is free.

    Raises:
        OSError: the port is taken.
    """

    def __init__(self, routes, *, latency_s=0.0, faults=None, seed=0, port=0):
        self.routes = routes
        self.latency_s = latency_s
        self.faults = faults or {}
        self.seed = seed
        if unknown := self.faults.keys() - FAULTS:
            raise ValueError(f"no faults {unknown}; there are {[*FAULTS]}")
        self.requests = 0
        self.suffered = set()
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        logging.getLogger("werkzeug").setLevel(
            "CRITICAL"
        )  # it would print every request
        with socket.create_server(("127.0.0.1", port), backlog=128) as bound:
            self.listening = make_server(
                "127.0.0.1", port, self.answer, threaded=True, fd=bound.fileno()
            )
        self.url = f"http://127.0.0.1:{self.listening.port}"
        threading.Thread(
            target=self.listening.serve_forever, args=(0.05,), daemon=True
        ).start()

    def __enter__(self):
        return self

    def stop(self, *_):
        """Stop the server, and close all its connections."""
        self.stopping.set()
        self.listening.shutdown()
        self.listening.server_close()

    __exit__ = stop

    def fault(self, request):
        """Return the fault that a request suffers, or None."""
        for kind, share in self.faults.items():
            drawn = random.Random(f"{self.seed} {kind} {request.path}").random()
            if drawn < share and (kind, request.path) not in self.suffered:
                self.suffered.add((kind, request.path))
                return kind
        return None

    @werkzeug.Request.application
    def answer(self, request):
        """Answer a request, or misbehave."""
        with self.lock:
            self.requests += 1
            fault = self.fault(request)
        self.stopping.wait(self.latency_s)
        made = replace(self.routed(request), **FAULTS.get(fault, {}))
        answer = werkzeug.Response(made.body, made.status, content_type=made.type)
        answer.headers.update(made.headers)  # after the length was set
        if fault in HALF:
            answer.response = [made.body[: len(made.body) // 2]]
            if fault == "reset":  # with this, closing sends a reset
                request.environ["werkzeug.socket"].setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
            return answer
        length = len(made.body) if made.status == 200 else None
        return answer.make_conditional(
            request, accept_ranges=True, complete_length=length
        )

    def routed(self, request):
        """Return the Response of the first route that fits."""
        request.query = request.args.to_dict()
        request.body = request.data
        request.base = self.url
        asked = f"{request.method.replace('HEAD', 'GET')} {request.path}"
        for method, pattern, function in self.routes:
            if match := re.fullmatch(f"{method} {pattern}", asked):
                request.groups = match.groupdict()
                if response := function(request):
                    return response
        return as_json("nothing lies there", 404)
