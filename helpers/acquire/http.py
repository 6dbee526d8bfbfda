"""Ask servers politely: few connections, a bounded rate, retries, and a key that is never shown.

`requests` sends. One loop around it asks again if the server is busy, the connection breaks, or the
answer is not what was asked for.
"""

import gzip
import io
import json
import os
import random
import threading
import zlib
from dataclasses import dataclass

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

from helpers.acquire import pace
from helpers.acquire.keys import mask, refuse_leak, shown, signer, unsigned

# environment variable: a mail or web address where the people of a server can reach you
CONTACT = "SATELLITE_NOTEBOOKS_CONTACT"
CHUNK_BYTES = 256 * 1024
BROKEN = (requests.RequestException, HTTPError, EOFError, gzip.BadGzipFile, zlib.error)
BUSY = {408, 425, 429, *range(500, 600)}  # asking again can help


class _Unanswered(Exception):
    """Hold `reason`, the message without the address, so that equal ones can be counted."""

    def __init__(self, reason, url=""):
        super().__init__(f"{shown(url)}: {reason}" if url else reason)
        self.reason = reason


class Refused(_Unanswered):
    """Raised where the server refuses; asking again changes nothing."""


class Unreachable(_Unanswered, ConnectionError):
    """Raised where no try brought a complete and correct answer."""


@dataclass(frozen=True)
class Policy:
    """Limits towards one provider.

    Attributes:
        connections: at a time, to one host.
        requests_per_s: to one host, counted over all clients of this process; None: no limit.
        tries: of one request, the first included.
        longest_wait_s: before a further try, whatever the server asks for.
        timeout_s: without a single byte.
        max_bytes: of one answer.
    """

    connections: int = 4
    requests_per_s: float | None = 4.0
    tries: int = 5
    longest_wait_s: float = 60
    timeout_s: float = 30
    max_bytes: int = 50_000_000


def agent():
    """Return the User-Agent: the project, and a contact address if one is set."""
    return (
        f"satellite-notebooks/0.1 ({os.environ.get(CONTACT) or 'no contact given'}; "
        "notebooks for learning) python-requests"
    )


class Client(requests.Session):
    """HTTP for one provider, for any number of threads; `requests` counts the requests sent.

    The key is in no attribute, message or log.

    Args:
        policy: Policy.
        key: secret text, or "". It takes the place of "{key}" in an address; an address without
            that gets the header "Authorization: Bearer", if it begins with `key_origin`.
        key_name: environment variable that holds it, for messages.
        key_origin: beginning of the addresses that the header is sent to.
        forbidden_ends: raise a PermissionError at a 403, as it means the key; else Refused.

    Raises:
        ValueError: the key holds blanks or other characters that no key has (does not show it).
    """

    def __init__(
        self,
        policy=Policy(),
        *,
        key="",
        key_name="",
        key_origin="",
        forbidden_ends=True,
    ):
        super().__init__()
        self.policy = policy
        self.key_name = key_name
        self.forbidden_ends = forbidden_ends
        self.requests = 0
        self.lock = threading.Lock()
        self.headers.update({"User-Agent": agent(), "Accept-Encoding": "gzip"})
        self.proxies = {"http://127.0.0.1": ""}  # no proxy reaches the practice server
        self.hooks["response"].append(refuse_leak)
        self.auth = signer(key.strip(), key_name, key_origin) if key else unsigned
        adapter = HTTPAdapter(pool_maxsize=policy.connections, pool_block=True)
        self.adapters = dict.fromkeys(("https://", "http://"), adapter)

    def send(self, request, **options):
        """Send when it is this request's turn at its host; redirects come here, too."""
        pace.of(request.url).take_turn(self.policy.requests_per_s)
        with self.lock:
            self.requests += 1
        return super().send(request, **options)

    def get_bytes(self, url, parameters=None, *, check=bytes):
        """Get the body at an address.

        Args:
            url: without secrets.
            parameters: dict of query parameters.
            check: function of the bytes; a ValueError from it leads to another try.

        Returns:
            What `check` returns; by default the bytes.

        Raises:
            PermissionError: 401 or 403 (names the variable of the key).
            Refused: another 4xx, or more than `max_bytes`.
            Unreachable: no whole, right answer after all tries.
        """
        return self._ask("GET", url, check, params=parameters)

    def get_json(self, url, parameters=None):
        """Get the JSON value at an address; raises what `get_bytes` raises."""
        return self.get_bytes(url, parameters, check=read_json)

    def post_json(self, url, body):
        """Post JSON and get JSON; only for requests that may be repeated."""
        return self._ask("POST", url, read_json, json=body)

    def _ask(self, method, url, check, **options):
        """Ask until `check` accepts. Errors of libraries stay here, as they may show a key."""
        for number in range(self.policy.tries):
            if number:
                pace.pause(
                    min(
                        random.uniform(1, 2) * 2**number / 8, self.policy.longest_wait_s
                    )
                )
            try:
                return check(self._body(method, url, options))
            except BROKEN as error:
                broken = f"the connection broke ({type(error).__name__})"
            except ValueError as error:
                broken = mask(error)
        raise Unreachable(f"{broken} (tried {self.policy.tries} times)", url)

    def _body(self, method, url, options):
        """Return the body of one good answer; a ValueError if a retry can help."""
        with self.request(
            method, url, stream=True, timeout=self.policy.timeout_s, **options
        ) as answer:
            body = self._read(answer.raw, url)
        status = answer.status_code
        said = f"{status} {answer.reason}"
        if status < 300:
            return body
        if status in BUSY:
            wait_s = Retry().get_retry_after(answer) or (1 if status == 429 else 0)
            pace.of(url).hold(
                min(wait_s, self.policy.longest_wait_s)
            )  # for all threads
            raise ValueError(said)
        if b"<" not in body[:100]:
            said = f"{said}: {_start(body)}"
        if status == 401 or status == 403 and self.forbidden_ends:
            raise PermissionError(
                f"{shown(url)} answered {said}; the key ({self.key_name or 'none is used'}) is "
                f"wrong, has expired or does not allow this, or you should set {CONTACT} to your "
                "mail address. Files fetched so far stay"
            )
        raise Refused(said, url)

    def _read(self, raw, url):
        """Read a body; a gzip that ends too early, which urllib3 ignores, is an EOFError."""
        most = self.policy.max_bytes
        body = bytearray()
        for part in raw.stream(CHUNK_BYTES, decode_content=False):
            pace.pause(0)
            body += part
            if len(body) > most:
                break
        if raw.headers.get("Content-Encoding") == "gzip":
            body = gzip.GzipFile(fileobj=io.BytesIO(body)).read(most + 1)
        if len(body) > most:
            raise Refused(f"sends more than {most} bytes", url)
        return bytes(body)


def read_json(data):
    """Return the value in JSON bytes; a ValueError tells how they begin instead."""
    try:
        return json.loads(data)
    except ValueError:
        raise ValueError(f"not JSON, it begins with {_start(data)[:40]!r}") from None


def _start(body):
    """Return the beginning of a text; masked before it is cut, so that no half of a key stays."""
    return mask(" ".join(body[:5000].decode(errors="replace").split()))[:200]
