"""Keep keys out of everything: messages, logs, manifests, and addresses of other hosts."""

import logging
from urllib.parse import quote, quote_plus, urlsplit

_secrets = set()  # that `mask` takes out of messages and logs


def shown(url):
    """Return the address without user, password and query, which may be secrets."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return mask(f"{parts.scheme}://{host}{parts.path}" if parts.netloc else url)


def mask(text):
    """Return the text without any key that a Client was given."""
    text = str(text)
    for secret in _secrets:
        text = text.replace(secret, "***")
    return text


def _mask_log(record):
    """Filter of logs: urllib3 logs addresses with their query at level DEBUG."""
    record.msg, record.args = mask(record.getMessage()), ()
    return True


def unsigned(request):
    """Authenticate nothing; without it, requests would send passwords from .netrc."""
    return request


def signer(key, parameter, name, origin):
    """Return the function that adds the key to a request; only this closure holds it."""
    if not (key.isascii() and key.isprintable()) or " " in key:
        place = f" in {name}" if name else ""
        raise ValueError(f"the key{place} holds blanks or characters that no key has; copy it anew")
    hide(key)

    def sign(request):
        if origin and _origin(request.url) != _origin(origin):
            return request
        if parameter == "{key}":
            request.url = request.url.replace("%7Bkey%7D", quote(key, safe=""))
        elif parameter:
            request.prepare_url(request.url, {parameter: key})
        else:
            request.headers["Authorization"] = f"Bearer {key}"
        return request

    return sign


def hide(secret):
    """Keep a secret out of all messages and logs from now on."""
    if len(secret) > 5:  # a shorter one is no secret, and would be part of words
        _secrets.update((secret, quote(secret, safe=""), quote_plus(secret)))
    for logger in ("connectionpool", "util.retry", "connection", "poolmanager"):
        logging.getLogger(f"urllib3.{logger}").addFilter(_mask_log)


class Leak(Exception):
    """A redirect would carry the key away."""


def keep_here(answer, **_):
    """Hook of requests: refuse a redirect that carries the key, or posted data, elsewhere."""
    there = answer.headers.get("Location", "")
    carries = mask(there) != there or answer.request.method != "GET"
    if answer.is_redirect and carries:
        raise Leak("is redirected, but holds a key or data that must go nowhere else")


def _origin(url):
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
