"""An HTTP server on this machine that can misbehave as real ones do, for practice and for tests."""

import contextlib
import hashlib
import io
import json
import re
import socket
import struct
import threading
import uuid
import zlib
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

KEY_PARAMETERS = {"apikey", "access_token", "api_key", "key", "token"}


@dataclass
class Request:
    """What a route's function gets; `groups` are the named groups of its pattern, `base` the server's own address."""

    method: str
    path: str
    query: dict
    headers: object
    body: bytes
    base: str
    groups: dict = field(default_factory=dict)


@dataclass
class Response:
    """What it returns; a Path as body is served with ranges."""

    body: bytes | Path
    type: str = "application/json"
    status: int = 200
    headers: dict = field(default_factory=dict)


def as_json(value, status=200):
    """A Response that holds a value as JSON."""
    return Response(json.dumps(value, ensure_ascii=False).encode(), "application/json", status)


def _wrong_size(body):
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (10, 10)).save(buffer, "PNG")
    return buffer.getvalue()


def _corrupt(body):
    """Some bytes turned over: inside the pixels of a PNG, whose checksums tell; in the head of any other image."""
    place = len(body) // 2 if body.startswith(b"\x89PNG") else 3
    return body[:place] + bytes(255 - byte for byte in body[place : place + 16]) + body[place + 16 :]


def _bomb(body):
    """A PNG of 1 kB that declares 9,000 x 9,000 pixels: more than allowed here, not enough for Pillow's own limit."""
    png = b"\x89PNG\r\n\x1a\n"
    head = struct.pack(">IIBBBBB", 9_000, 9_000, 1, 0, 0, 0, 0)
    for name, data in ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(10**6)))):
        png += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return png


REFUSALS = {"429": 429, "429_retry_after": 429, "500": 500, "503": 503, "expired": 401}
SPOILT = {"wrong_size": _wrong_size, "corrupt": _corrupt, "bomb": _bomb}
FAULTS = (*REFUSALS, "reset", "stall", "drip", "truncated", "wrong_length", "html", "redirect", *SPOILT)


def serve(routes, *, latency_s=0.0, faults=None, seed=0, port=0):
    """Start a server on 127.0.0.1, in threads that end with the program.

    Args:
        routes: list of (method, pattern of the whole path, function of a Request that returns a Response, or None:
            404).
        latency_s, faults, seed: as of `practice.start`.
        port: to listen on, if it is free; 0, or where it is not: any.

    Returns:
        Server, also for `with`.

    Raises:
        ValueError: a kind of fault that there is not (says which there are).
    """
    faults = {kind: how if isinstance(how, tuple) else (how, 1) for kind, how in (faults or {}).items()}
    if unknown := set(faults) - set(FAULTS):
        raise ValueError(f"there are no faults {sorted(unknown)}; there are {', '.join(FAULTS)}")
    try:
        return Server(routes, latency_s, faults, seed, port)
    except OSError:  # the port is taken
        return Server(routes, latency_s, faults, seed, 0)


class Server(ThreadingHTTPServer):
    """A running server.

    Attributes:
        url: its address.
        requests: how many arrived.
        connections: how many connections were made.
        keys_seen: SHA-256 of each key that arrived, never the key.
        headers_seen: lower-case names of the headers that arrived.
        suffered: Counter of (kind of fault, address).
        elsewhere: Server on another port, where the fault "redirect" leads; None without that fault.
    """

    request_queue_size = 128

    def __init__(self, routes, latency_s, faults, seed, port):
        super().__init__(("127.0.0.1", port), _Handler)
        self.routes = [(method, re.compile(pattern), function) for method, pattern, function in routes]
        self.latency_s, self.faults, self.seed = latency_s, faults, seed
        self.requests, self.connections, self.keys_seen, self.headers_seen = 0, 0, set(), set()
        self.lock, self.stopping, self.suffered = threading.Lock(), threading.Event(), Counter()
        self.sockets, self.handed_over, self.elsewhere = set(), {}, None
        if "redirect" in faults:
            self.elsewhere = serve([("GET", r"/(?P<name>\w+)", lambda to: self.handed_over[to.groups["name"]])])
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def __repr__(self):
        return f"Server({self.url}, {self.requests} requests)"

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """End it, with all its connections."""
        self.stopping.set()
        self.shutdown()
        self.server_close()
        for connection in list(self.sockets):
            with contextlib.suppress(OSError):  # it has gone already
                connection.shutdown(socket.SHUT_RDWR)
        if self.elsewhere:
            self.elsewhere.stop()

    def fault(self, address):
        """The fault that this request for an address suffers, or None."""
        for kind, (share, times) in self.faults.items():
            drawn = int.from_bytes(hashlib.sha256(f"{self.seed} {kind} {address}".encode()).digest()[:8]) / 2**64
            with self.lock:
                if drawn < share and (times is None or self.suffered[kind, address] < times):
                    self.suffered[kind, address] += 1
                    return kind
        return None

    def process_request(self, request, client_address):
        """Hand a new connection to a thread."""
        self.connections += 1
        self.sockets.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        """Close without a farewell, so that a fault can be a reset."""
        self.sockets.discard(request)
        self.close_request(request)

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
        address = f"{parts.path}?{urlencode({name: query[name] for name in query if name not in KEY_PARAMETERS})}"
        keys = [query[name] for name in query if name in KEY_PARAMETERS]
        keys += self.headers.get("Authorization", "").split()[-1:]
        with server.lock:
            server.requests += 1
            server.keys_seen |= {hashlib.sha256(key.encode()).hexdigest() for key in keys}
            server.headers_seen |= {name.lower() for name in self.headers}
        server.stopping.wait(server.latency_s)
        fault = server.fault(address)
        if fault in REFUSALS:
            response = Response(b'{"detail": "practice"}', status=REFUSALS[fault])
        else:
            response = self.answer(Request(self.command, unquote(parts.path), query, self.headers, body, server.url))
        self.send(response, fault)

    do_POST = do_HEAD = do_GET

    def answer(self, request):
        """The Response of the first route that fits."""
        method = "GET" if request.method == "HEAD" else request.method
        for wanted, pattern, function in self.server.routes:
            if wanted == method and (match := pattern.fullmatch(request.path)):
                request.groups = match.groupdict()
                try:
                    response = function(request)
                except Exception as error:
                    response = as_json({"detail": f"{type(error).__name__}: {error}"}, 500)
                if response and (not isinstance(response.body, Path) or response.body.is_file()):
                    return response
        return as_json({"code": "not_found", "detail": f"nothing lies at {request.path}"}, 404)

    def send(self, response, fault=None):
        """Write a Response, spoilt by the fault."""
        status, body, headers = response.status, response.body, {"Content-Type": response.type, **response.headers}
        if isinstance(body, Path):
            status, body, headers = self.part_of(body, headers)
        if fault == "429_retry_after":
            headers["Retry-After"] = "1"
        elif fault == "redirect" and self.command == "GET":
            name = uuid.uuid4().hex
            self.server.handed_over[name] = Response(body, response.type, status)
            status, body, headers["Location"] = 302, b"", f"{self.server.elsewhere.url}/{name}"
        elif fault == "html":
            headers["Content-Type"], body = "text/html", b"<!DOCTYPE html><html><body>Please log in</body></html>"
        elif fault in SPOILT:
            body = SPOILT[fault](body)
        if fault == "reset":
            # with this, closing sends a reset
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = self.close_connection or fault in ("reset", "stall", "truncated", "wrong_length")
        self.send_response(status)
        length = len(body) - 10 if fault == "wrong_length" else len(body)
        for name, value in {**headers, "Content-Length": str(length)}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault in ("reset", "stall", "truncated"):
            body = body[: len(body) // 2]
        step = 1 if fault == "drip" else max(1, len(body))
        try:
            for place in range(0, len(body), step):
                self.wfile.write(body[place : place + step])
                self.wfile.flush()
                self.server.stopping.wait({"drip": 0.02, "stall": 60}.get(fault, 0))
        except OSError:  # the client has gone
            self.close_connection = True

    def part_of(self, path, headers):
        """(status, body, headers) of a file, or of the range of it that is asked for."""
        content, headers = path.read_bytes(), headers | {"Accept-Ranges": "bytes"}
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if not asked or not any(asked.groups()):
            return 200, content, headers
        first, last = asked.groups()
        part = slice(int(first), int(last) + 1 if last else None) if first else slice(-int(last), None)
        start, stop, _ = part.indices(len(content))
        if start >= stop:
            return 416, b"", headers | {"Content-Range": f"bytes */{len(content)}"}
        return 206, content[part], headers | {"Content-Range": f"bytes {start}-{stop - 1}/{len(content)}"}
