"""Ask servers politely: few connections, a bounded rate, patience, and a key that is never shown.

`requests` and urllib3's `Retry` do the work. Around them stands one loop, for bodies that break on
the way or are not what was asked for.
"""

import json
import zlib
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy

import requests
from urllib3.exceptions import HTTPError

from helpers.acquire.keys import Leak, keep_here, mask, shown, signer, unsigned
from helpers.acquire.pace import BUSY, Adapter, Pace, pause

CONTACT = "https://satellite-notebooks.example"  # of the project; Wikimedia refuses agents without
AGENT = "satellite-notebooks/0.1 ({}; notebooks for learning) python-requests"
CHUNK_BYTES = 256 * 1024


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

    def __init__(self, message, status):
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Policy:
    """Limits towards one provider.

    Attributes:
        connections: at a time, to one host.
        requests_per_s: None for no limit.
        tries: of one request, the first included.
        longest_wait_s: before a further try, whatever the server asks for.
        timeout_s: without a single byte.
        max_bytes: of one answer.
        contact: address that the User-Agent names, so that a server's people can write to you.
    """

    connections: int = 4
    requests_per_s: float | None = 4.0
    tries: int = 5
    longest_wait_s: float = 60
    timeout_s: float = 30
    max_bytes: int = 50_000_000
    contact: str = CONTACT


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
        self.pace = Pace(policy.requests_per_s)
        self.session = session = requests.Session()
        session.headers.update({"User-Agent": AGENT.format(policy.contact)})
        session.headers["Accept-Encoding"] = "gzip"
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        session.max_redirects = 5
        session.proxies = {"http://127.0.0.1": ""}  # no proxy reaches the practice server
        session.hooks["response"].append(keep_here)
        adapter = Adapter(policy, self.pace)
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        key = (key or "").strip()
        session.auth = signer(key, key_parameter, key_name, key_origin) if key else unsigned

    @property
    def requests(self):
        """Number of requests made."""
        return self.pace.turns

    def get_bytes(self, url, parameters=None, *, send_key=True, check=None):
        """Get the body at an address.

        Args:
            url: without secrets.
            parameters: dict of query parameters.
            send_key: False where the address is not the provider's.
            check: function of the bytes; a ValueError from it leads to another try.

        Returns:
            bytes, or what `check` returns.

        Raises:
            Denied: 401 or 403 (names the variable of the key).
            Refused: another 4xx, or more than `max_bytes`.
            Unreachable: no whole, right answer after all tries.
        """
        return self._ask("GET", url, send_key, check, params=parameters)

    def get_json(self, url, parameters=None):
        """Get the JSON value at an address; raises what `get_bytes` raises."""
        return self.get_bytes(url, parameters, check=read_json)

    def post_json(self, url, body):
        """Post JSON and get JSON; only for requests that may be repeated."""
        return self._ask("POST", url, True, read_json, json=body)

    def _ask(self, method, url, send_key, check, **options):
        if not send_key:
            options["auth"] = unsigned
        options |= {"stream": True, "timeout": self.policy.timeout_s}
        for number in range(self.policy.tries):
            if number:
                pause(min(0.25 * 2**number, self.policy.longest_wait_s))
            try:
                data = self._body(method, url, options)
                return check(data) if check else data
            except (ValueError, HTTPError) as error:
                broken = mask(error) if isinstance(error, ValueError) else _innermost(error)
        raise Unreachable(f"{broken} (tried {self.policy.tries} times)", url)

    def _body(self, method, url, options):
        """One answer's body. Errors of the libraries show addresses: none is kept as context."""
        try:
            answer = self.session.request(method, url, **options)
        except (requests.exceptions.InvalidSchema, requests.exceptions.InvalidURL):
            failure = Refused("not an http address", url)
        except Leak as error:
            failure = Refused(str(error), url)
        except requests.TooManyRedirects:
            failure = Refused("is redirected more than 5 times", url)
        except requests.RequestException as error:
            failure = Unreachable(f"{_innermost(error)} (tried {self.policy.tries} times)", url)
        else:
            failure = None
        if failure:
            raise failure
        with answer:
            body = self._read(answer.raw, url)
        if answer.status_code >= 300:
            raise self._failure(answer, body, url)
        return body

    def _read(self, raw, url):
        """Bytes of a body; urllib3 would pass over a gzip that ends too early."""
        most, parts, size = self.policy.max_bytes, [], 0
        for part in raw.stream(CHUNK_BYTES, decode_content=False):
            pause(0)
            parts.append(part)
            size += len(part)
            if size > most:
                raise Refused(f"sends more than {most} bytes", url)
        body = b"".join(parts)
        if raw.headers.get("Content-Encoding", "").lower() not in ("gzip", "x-gzip"):
            return body
        unpack = zlib.decompressobj(wbits=31)
        try:
            body = unpack.decompress(body, most + 1)
        except zlib.error as error:
            raise ValueError("damaged compression") from error
        if len(body) > most:
            raise Refused(f"sends more than {most} bytes", url)
        if not unpack.eof:
            raise ValueError("the compressed answer ends too early")
        return body

    def _failure(self, answer, body, url):
        """Return the error for an answer that is not good."""
        status, said = answer.status_code, f"{answer.status_code} {answer.reason}".strip()
        if status in BUSY:
            return Unreachable(f"{said} (tried {self.policy.tries} times)", url)
        if b"<" not in body[:100]:
            said = f"{said}: {_start(body, 200)}".rstrip(": ")
        if status not in (401, 403):
            return Refused(said, url)
        advice = "this provider refuses: read its terms, name your `contact`, or try later"
        if self.key_name:
            advice = f"the key in {self.key_name} is wrong or has expired, or does not allow this"
        return Denied(f"{shown(url)} answered {said}; {advice}. What is done is kept", status)


def read_json(data):
    """Return the value in JSON bytes; a ValueError tells how they begin instead."""
    try:
        return json.loads(data)
    except ValueError:
        start = _start(data, 40)
    raise ValueError(f"not JSON, it begins with {start!r}")


def _start(body, length):
    """Beginning of a text; masked before it is cut, lest half a key stays."""
    return mask(" ".join(body[:5000].decode(errors="replace").split()))[:length]


def _innermost(error):
    """Name the bottom of a chain of errors, without addresses and numbers that always differ."""
    while inner := error.__cause__ or error.__context__ or getattr(error, "reason", None):
        if not isinstance(inner, Exception):
            break
        error = inner
    return f"the connection broke ({getattr(error, 'strerror', None) or type(error).__name__})"
