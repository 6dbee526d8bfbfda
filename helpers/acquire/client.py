"""Polite HTTP: few connections, a bounded rate, patience where a server asks for it, and a key that is never shown."""

import json
import logging
import random
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote, quote_plus, urljoin, urlsplit

AGENT = "satellite-notebooks/0.1 (notebooks for learning and teaching; python-requests)"
HEADERS = {"User-Agent": AGENT, "Accept-Encoding": "gzip"}
REDIRECTS = 5
CHUNK_BYTES = 256 * 1024
BUSY = {408, 425, 429}  # besides all from 500 on: asking again can help
_secrets = set()  # what `mask` takes out
_thread = threading.local()  # `stop`: Event that ends what this thread waits for


class _Unanswered(Exception):
    """`reason` is the message without the address, so that many of one kind can be counted together."""

    def __init__(self, reason, url=""):
        super().__init__(f"{shown(url)}: {reason}" if url else reason)
        self.reason = reason


class Refused(_Unanswered, LookupError):
    """The server will not give this, and asking again changes nothing."""


class Unreachable(_Unanswered, ConnectionError):
    """No whole and right answer after all tries."""


class _Again(Exception):
    """One try failed; `busy`: the server wants to be left alone, for `wait_s` if it said how long."""

    def __init__(self, reason, busy=False, wait_s=None):
        super().__init__(reason)
        self.busy, self.wait_s = busy, wait_s


class Stopped(Exception):
    """The job that this thread works for has ended."""


@dataclass(frozen=True)
class Policy:
    """What one host allows.

    Attributes:
        connections: at a time.
        requests_per_s: None for no limit.
        tries: of one request, the first included.
        longest_wait_s: before a further try, whatever the server asks for.
        timeout_s: without a single byte.
        deadline_s: for one answer, so that one that only drips ends, too.
        max_bytes: of one answer.
    """

    connections: int = 4
    requests_per_s: float | None = 4.0
    tries: int = 5
    longest_wait_s: float = 60
    timeout_s: float = 30
    deadline_s: float = 300
    max_bytes: int = 50_000_000


class Client:
    """HTTP for one provider, for any number of threads; connections are kept open, limits are kept for each host.

    The key is sent to the host of the address that was asked for, never to another after a redirect, and is in no
    attribute, message or log.

    Args:
        policy: Policy.
        key: secret text, or None.
        key_header: how it is sent, such as "Authorization: Bearer {}"; or
        key_parameter: name of the query parameter that it is sent as.
        key_name: environment variable that holds it, for messages.
        key_origin: such as "https://api.example.org": the only place that it is ever sent to, whatever addresses a
            server answers with.

    Raises:
        ValueError: the key holds blanks or other characters that no key has (does not show it).
    """

    def __init__(self, policy=Policy(), *, key=None, key_header="", key_parameter="", key_name="", key_origin=""):
        self.policy, self.key_name, self.requests = policy, key_name, 0
        self._key_origin, self._hosts, self._lock = key_origin, {}, threading.Lock()
        self._sign = _signer(key.strip(), key_name, key_header, key_parameter) if key and key.strip() else None

    def get_bytes(self, url, parameters=None, *, send_key=True, check=None):
        """What lies at an address.

        Args:
            url: without secrets.
            parameters: dict of query parameters.
            send_key: False where the address needs no key, or is not the provider's.
            check: function of the bytes that raises a ValueError where they are not what was asked for: another try.

        Returns:
            bytes, or what `check` returns.

        Raises:
            PermissionError: 401 or 403 (names the variable of the key).
            Refused: another 4xx, or more than `max_bytes`.
            Unreachable: no whole, right answer after all tries.
        """
        return self._ask("GET", url, send_key, check, params=parameters)

    def get_json(self, url, parameters=None):
        """The JSON value at an address; raises what `get_bytes` raises."""
        return self.get_bytes(url, parameters, check=read_json)

    def post_json(self, url, body):
        """The JSON answer to a JSON body; only for requests that may be repeated. Raises what `get_bytes` raises."""
        return self._ask("POST", url, True, read_json, json=body)

    @cached_property
    def _adapter(self):
        """The open connections. A requests.Session would add what must not be: passwords from .netrc, and cookies."""
        from requests.adapters import HTTPAdapter

        return HTTPAdapter(pool_maxsize=self.policy.connections)

    def _host(self, url):
        with self._lock:
            if _origin(url) not in self._hosts:
                self._hosts[_origin(url)] = _Host(self.policy, url)
            return self._hosts[_origin(url)]

    def _ask(self, method, url, send_key, check, **options):
        """One loop for all that can fail: urllib3's Retry does not see a body that breaks, nor waits for a turn."""
        for number in range(self.policy.tries):
            try:
                data = self._try(method, url, send_key, options)
                return check(data) if check else data
            except _Again as error:
                again = error
            except ValueError as error:
                again = _Again(mask(error))
            wait_s = random.uniform(0.25, 0.5) * 2**number if again.wait_s is None else again.wait_s
            wait_s = min(wait_s, self.policy.longest_wait_s)
            if again.busy:  # all threads wait, not only this one
                self._host(url).hold(wait_s)
            elif number + 1 < self.policy.tries:
                pause(wait_s)
        raise Unreachable(f"{again} (tried {self.policy.tries} times)", url)

    def _try(self, method, url, send_key, options):
        """One request, and the redirects that it leads to. Errors of the libraries stay here: they show the query."""
        import requests
        from urllib3.exceptions import HTTPError

        asked, key_to = url, self._key_origin or url
        for _ in range(REDIRECTS + 1):
            signed = send_key and _origin(url) == _origin(key_to) and self._sign
            if urlsplit(url).scheme not in ("http", "https"):
                raise Refused("not an http address", asked)
            host = self._host(url)
            with host.turn():
                with self._lock:
                    self.requests += 1
                try:
                    request = requests.Request(method, url, HEADERS, auth=signed or None, **options).prepare()
                    with self._adapter.send(request, timeout=self.policy.timeout_s, **host.settings) as answer:
                        location = answer.is_redirect and answer.headers["Location"]
                        if not location:
                            return self._judge(answer, asked, signed)
                except (requests.RequestException, HTTPError, OSError) as error:
                    if isinstance(error, PermissionError):
                        raise
                    location = ""
                    broken = _innermost(error)
            if not location:
                raise _Again(broken)
            url, options = urljoin(url, location), {}
            if method != "GET" or mask(url) != url:
                raise Refused("is redirected, but holds a key or data that must go nowhere else", asked)
        raise Refused(f"is redirected more than {REDIRECTS} times", asked)

    def _judge(self, answer, url, signed):
        """The body of a good answer; an error for any other."""
        status, said = answer.status_code, f"{answer.status_code} {answer.reason}".strip()
        body = self._body(answer, url)
        if status < 300:
            return body
        if status in BUSY or status >= 500:
            wait_s = _wait_s(answer.headers.get("Retry-After"))
            raise _Again(said, status == 429 or wait_s is not None, wait_s)
        if b"<" not in body[:100]:
            said = f"{said}: {_start(body, 200)}".rstrip(": ")
        if status in (401, 403):
            key = f"the key in {self.key_name or 'use'}" if signed else "this provider got no key, or wants none, and"
            advice = "is wrong or has expired: set a new one" if signed else "refuses: read its terms, try later"
            raise PermissionError(f"{shown(url)} answered {said}; {key} {advice}, and run again. What is done is kept")
        raise Refused(said, url)

    def _body(self, answer, url):
        parts, size, end = [], 0, time.monotonic() + self.policy.deadline_s
        # read1 takes what has arrived: `stream` would wait for a whole chunk, however slowly it drips
        while part := answer.raw.read1(CHUNK_BYTES, decode_content=True):
            parts.append(part)
            size += len(part)
            if size > self.policy.max_bytes:
                raise Refused(f"sends more than {self.policy.max_bytes} bytes", url)
            if time.monotonic() > end:
                raise _Again(f"not whole after {self.policy.deadline_s:g} s")
            pause(0)
        return b"".join(parts)


class _Host:
    """The turns of all requests to one host, and what the environment says about proxies and certificates."""

    def __init__(self, policy, url):
        import requests

        self.settings = requests.Session().merge_environment_settings(url, {}, True, None, None)
        if urlsplit(url).hostname in ("127.0.0.1", "::1", "localhost"):  # no proxy reaches the practice server
            self.settings["proxies"] = {}
        self.slots, self.lock = threading.Semaphore(policy.connections), threading.Lock()
        self.interval_s = 1 / policy.requests_per_s if policy.requests_per_s else 0
        self.next_start = self.held_until = 0.0

    @contextmanager
    def turn(self):
        """Wait for a free connection and for the time of the next request, and for longer where the host is held."""
        with self.slots:
            while True:
                with self.lock:
                    start = max(time.perf_counter(), self.next_start, self.held_until)
                    self.next_start = start + self.interval_s
                pause(start - time.perf_counter())
                if self.held_until <= start:  # nobody was told to wait meanwhile
                    break
            yield

    def hold(self, seconds):
        """Let no request begin for so long."""
        with self.lock:
            self.held_until = max(self.held_until, time.perf_counter() + seconds)


def read_json(data):
    """The value in JSON bytes; a ValueError tells how they begin instead."""
    try:
        return json.loads(data)
    except ValueError:
        start = _start(data, 40)
    raise ValueError(f"not JSON, it begins with {start!r}")


def shown(url):
    """The address without user, password and query, which may be secrets; a path as it is."""
    parts = urlsplit(url)
    return mask(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if parts.netloc else url)


def mask(text):
    """The text without any key that a Client was given."""
    text = str(text)
    for secret in _secrets:
        text = text.replace(secret, "***")
    return text


def pause(seconds):
    """Sleep; in a thread of a job, end when the job does."""
    stop = getattr(_thread, "stop", None)
    if seconds > 0:
        (stop.wait if stop else time.sleep)(seconds)
    if stop and stop.is_set():
        raise Stopped


def end_with(stop):
    """Make waiting in this thread end when the Event `stop` is set."""
    _thread.stop = stop


def _mask_log(record):
    """A filter: urllib3 logs addresses with their query at level DEBUG."""
    record.msg, record.args = mask(record.getMessage()), ()
    return True


def _signer(key, name, header, parameter):
    """Function that adds the key to a prepared request; the only place that holds it is this closure."""
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ValueError(
            f"the key{f' in {name}' * bool(name)} holds blanks or characters that no key has; copy it anew"
        )
    if len(key) > 5:  # a shorter one is no secret, and would be part of words
        _secrets.update((key, quote(key, safe=""), quote_plus(key)))
    for logger in ("connectionpool", "util.retry", "connection", "poolmanager"):
        logging.getLogger(f"urllib3.{logger}").addFilter(_mask_log)

    def sign(request):
        if parameter:
            request.prepare_url(request.url, {parameter: key})
        else:
            field, _, form = header.partition(":")
            request.headers[field] = form.strip().format(key)
        return request

    return sign


def _start(body, length):
    """How a text begins; masked before it is cut, lest half a key stays."""
    return mask(" ".join(body[:5000].decode(errors="replace").split()))[:length]


def _origin(url):
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _wait_s(retry_after):
    """Seconds from a Retry-After header, which holds seconds or a date; None where it says neither."""
    from urllib3.exceptions import InvalidHeader
    from urllib3.util import Retry

    try:
        return Retry().parse_retry_after(retry_after) if retry_after else None
    except InvalidHeader:
        return None


def _innermost(error):
    """What was wrong at the bottom of a chain of errors, without addresses or numbers that differ each time."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__
    return f"the connection broke ({getattr(error, 'strerror', None) or type(error).__name__})"
