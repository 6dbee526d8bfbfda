"""Keep keys out of everything: messages, logs, manifests, and addresses of other hosts."""

import logging
import re
from urllib.parse import quote

from requests import RequestException

_secrets = set()  # that `mask` takes out of messages and logs


class Leak(RequestException):
    """Raised where a redirect would carry the key away."""


def shown(url):
    """Return the address without user, password and query, which may be secrets."""
    return mask(re.sub(r"(?<=//)[^/]*@|[?#].*", "", url))


def mask(text):
    """Return the text without any key that a Client was given."""
    text = str(text)
    for secret in _secrets:
        text = text.replace(secret, "***")
    return text


def hide(secret):
    """Keep a secret out of all messages and logs from now on."""
    if len(secret) > 5:  # a shorter one is no secret, and would be part of words
        _secrets.update((secret, quote(secret, safe="")))
    logging.getLogger("urllib3.connectionpool").setLevel("INFO")  # DEBUG shows queries


def unsigned(request):
    """Authenticate nothing; without it, requests would send passwords from .netrc."""
    return request


def signer(key, name, origin):
    """Return the function that adds the key to a request; only this closure holds it."""
    if not re.fullmatch("[!-~]+", key):
        raise ValueError(
            f"the key in {name} holds blanks or characters that no key has; copy it again"
        )
    hide(key)

    def sign(request):
        if "%7Bkey%7D" in request.url:  # {key}
            request.url = request.url.replace("%7Bkey%7D", quote(key, safe=""))
        elif request.url.startswith(origin):
            request.headers["Authorization"] = f"Bearer {key}"
        return request

    return sign


def refuse_leak(answer, **_):
    """Hook of requests: refuse a redirect to an address that holds the key."""
    there = answer.headers.get("Location", "")
    if mask(there) != there:
        answer.close()
        raise Leak
