"""Ask servers politely: few connections, a bounded rate, patience, and a key that is never shown.

`requests` sends. One loop around it asks again where a server is busy, or where a body breaks on
the way or is not what was asked for.
"""

import contextlib
import json
import os
import random
import threading
import zlib
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, InvalidHeader
from urllib3.util import Retry

from helpers.acquire.keys import Leak, mask, refuse_leak, shown, signer, unsigned
from helpers.acquire.pace import HOSTS, pause

CONTACT = "SATELLITE_NOTEBOOKS_CONTACT"  # environment variable: your mail or web address
CHUNK_BYTES = 256 * 1024
BUSY = {408, 425, 429, *range(500, 600)}  # asking again can help


class _Unanswered(Exception):
    """`reason` is the message without the address, so that many of one kind count together."""

    def __init__(self, reason, url=""):
        super().__init__(f"{shown(url)}: {reason}" if url else reason)
        self.reason = reason


class Refused(_Unanswered, LookupError):
    """The server will not give this; asking again changes nothing."""


class Unreachable(_Unanswered, ConnectionError):
    """No whole and right answer came after all tries."""


class Denied(PermissionError):
    """401 or 403, in `status`: the key is wrong, has expired, or does not reach so far."""

    status = 401


class _Busy(Exception):
    """The server asks for patience: what it says, and seconds to wait or None."""


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
        contact: mail or web address that the User-Agent names, so that a server's people can
            write to you; default: the environment variable SATELLITE_NOTEBOOKS_CONTACT.
    """

    connections: int = 4
    requests_per_s: float | None = 4.0
    tries: int = 5
    longest_wait_s: float = 60
    timeout_s: float = 30
    max_bytes: int = 50_000_000
    contact: str = ""


def agent(contact=""):
    """Return the User-Agent: the project, and whom to write to if that is known."""
    contact = contact or os.environ.get(CONTACT) or "no contact given"
    return f"satellite-notebooks/0.1 ({contact}; notebooks for learning) python-requests"


class _Adapter(HTTPAdapter):
    """Count requests, and let each wait for its turn at its host."""

    def __init__(self, policy):
        super().__init__(pool_maxsize=policy.connections, pool_block=True)
        self.per_s, self.sent, self.lock = policy.requests_per_s, 0, threading.Lock()

    def send(self, request, **options):
        """Send when it is its turn."""
        HOSTS[urlsplit(request.url).netloc].take_turn(self.per_s)
        with self.lock:
            self.sent += 1
        return super().send(request, **options)


class Client:
    """HTTP for one provider, for any number of threads.

    The key is sent to one origin only, and stands in no attribute, message or log.

    Args:
        policy: Policy.
        key: secret text, or None.
        key_parameter: query parameter that carries it; "{key}": the field of that name in an
            address; "": the header "Authorization: Bearer".
        key_name: environment variable that holds it, for messages.
        key_origin: the only place that it is sent to, such as "https://api.example.org";
            "": whatever address is asked.

    Raises:
        ValueError: the key holds blanks or other characters that no key has (does not show it).
    """

    def __init__(self, policy=Policy(), *, key="", key_parameter="", key_name="", key_origin=""):
        self.policy, self.key_name = policy, key_name
        self.session = session = requests.Session()
        session.headers.update({"User-Agent": agent(policy.contact), "Accept-Encoding": "gzip"})
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        session.max_redirects = 5
        session.proxies = {"http://127.0.0.1": ""}  # no proxy reaches the practice server
        session.hooks["response"].append(refuse_leak)
        self.adapter = _Adapter(policy)
        session.mount("http://", self.adapter)
        session.mount("https://", self.adapter)
        key = (key or "").strip()
        session.auth = signer(key, key_parameter, key_name, key_origin) if key else unsigned

    @property
    def requests(self):
        """Number of requests made."""
        return self.adapter.sent

    def get_bytes(self, url, parameters=None, *, send_key=True, check=bytes):
        """Get the body at an address.

        Args:
            url: without secrets.
            parameters: dict of query parameters.
            send_key: False where the address is not the provider's.
            check: function of the bytes; a ValueError from it leads to another try.

        Returns:
            What `check` returns; by default the bytes.

        Raises:
            Denied: 401 or 403 (names the variable of the key).
            Refused: another 4xx, or more than `max_bytes`.
            Unreachable: no whole, right answer after all tries.
        """
        options = {} if send_key else {"auth": unsigned}
        return self._ask("GET", url, check, params=parameters, **options)

    def get_json(self, url, parameters=None):
        """Get the JSON value at an address; raises what `get_bytes` raises."""
        return self.get_bytes(url, parameters, check=read_json)

    def post_json(self, url, body):
        """Post JSON and get JSON; only for requests that may be repeated."""
        return self._ask("POST", url, read_json, json=body)

    def _ask(self, method, url, check, **options):
        """Errors of the libraries show addresses with keys, so nothing is raised from them."""
        for number in range(self.policy.tries):
            wait_s, refusal = None, None
            try:
                return check(self._body(method, url, options))
            except (requests.exceptions.InvalidSchema, requests.exceptions.InvalidURL):
                refusal = "not an http address"
            except requests.TooManyRedirects:
                refusal = "is redirected more than 5 times"
            except Leak as error:
                refusal = str(error)
            except (requests.RequestException, HTTPError) as error:
                broken = _innermost(error)
            except _Busy as error:
                broken, wait_s = error.args
            except ValueError as error:
                broken = mask(error)
            if refusal:
                raise Refused(refusal, url)
            if number + 1 < self.policy.tries:
                self._wait(number, url, wait_s)
        raise Unreachable(f"{broken} (tried {self.policy.tries} times)", url)

    def _wait(self, number, url, wait_s):
        """Wait ever longer; where the server names the time, all threads do."""
        if wait_s is not None:
            return HOSTS[urlsplit(url).netloc].hold(wait_s)
        pause(min(random.uniform(0.25, 0.5) * 2**number, self.policy.longest_wait_s))

    def _body(self, method, url, options):
        """Body of one good answer."""
        options = options | {"stream": True, "timeout": self.policy.timeout_s}
        with self.session.request(method, url, **options) as answer:
            body = self._read(answer.raw, url)
        status, said = answer.status_code, f"{answer.status_code} {answer.reason}".strip()
        if status < 300:
            return body
        if status in BUSY:
            raise _Busy(said, self._asked_s(answer.raw))
        if b"<" not in body[:100]:
            said = f"{said}: {_start(body, 200)}".rstrip(": ")
        if status not in (401, 403):
            raise Refused(said, url)
        advice = "this provider refuses: read its terms, name your `contact`, or try later"
        if self.key_name:
            advice = f"the key in {self.key_name} is wrong or has expired, or does not allow this"
        denied = Denied(f"{shown(url)} answered {said}; {advice}. What is done is kept")
        denied.status = status
        raise denied

    def _asked_s(self, raw):
        """Seconds that the server asks to wait for, bounded; None where it does not say."""
        with contextlib.suppress(InvalidHeader):
            return Retry(retry_after_max=self.policy.longest_wait_s).get_retry_after(raw)

    def _read(self, raw, url):
        """Bytes of a body; urllib3 would pass over a gzip that ends too early."""
        most, body = self.policy.max_bytes, bytearray()
        for part in raw.stream(CHUNK_BYTES, decode_content=False):
            pause(0)
            body += part
            if len(body) > most:
                raise Refused(f"sends more than {most} bytes", url)
        if "gzip" not in raw.headers.get("Content-Encoding", ""):
            return bytes(body)
        unpack = zlib.decompressobj(wbits=31)
        try:
            body = unpack.decompress(body, most + 1)
        except zlib.error:
            raise ValueError("damaged compression") from None
        if len(body) > most:
            raise Refused(f"sends more than {most} bytes", url)
        if not unpack.eof:
            raise ValueError("the compressed answer ends too early")
        return body


def read_json(data):
    """Return the value in JSON bytes; a ValueError tells how they begin instead."""
    try:
        return json.loads(data)
    except ValueError:
        raise ValueError(f"not JSON, it begins with {_start(data, 40)!r}") from None


def _start(body, length):
    """Beginning of a text; masked before it is cut, lest half a key stays."""
    return mask(" ".join(body[:5000].decode(errors="replace").split()))[:length]


def _innermost(error):
    """Name the bottom of a chain of errors, without addresses and numbers that always differ."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return f"the connection broke ({getattr(error, 'strerror', None) or type(error).__name__})"
