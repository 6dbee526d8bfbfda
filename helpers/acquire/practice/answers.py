"""What all the providers' shapes on the practice server share: their routes, refusals, and comparisons."""

import operator
import re

from helpers.acquire.practice.server import as_json
from helpers.acquire.providers.provider import geometry_bounds

ROUTES = []  # (method, pattern of the whole path, function), as `server.serve` takes them
COMPARE = {"eq": operator.eq, "neq": operator.ne, "lt": operator.lt, "lte": operator.le, "gt": operator.gt,
           "gte": operator.ge}  # fmt: skip


def refused(detail):
    """Tellus's words, and the others' but for VK and Commons, for a request that is wrong."""
    return as_json({"code": "invalid", "detail": detail}, 400)


def route(method, pattern, *, bearer=False, refuse=refused):
    """Decorator: the function of a Request answers at that path, with None where there is nothing.

    Args:
        method, pattern: "GET" or "POST", and a regular expression of the whole path.
        bearer: whether a token is wanted; any is right.
        refuse: function of the words of a KeyError or ValueError, which say what is wrong with the request.
    """

    def add(function):
        def guarded(request):
            if bearer and not re.fullmatch(r"Bearer \S+", request.headers.get("Authorization", "")):
                detail = "Authentication credentials were not provided."
                return as_json({"code": "not_authenticated", "detail": detail}, 401)
            try:
                return function(request)
            except (KeyError, ValueError) as error:
                return refuse(f"{type(error).__name__}: {error}")

        ROUTES.append((method, pattern, guarded))
        return function

    return add


def require(holds, words):
    """ValueError where a request does not keep to the documentation."""
    if not holds:
        raise ValueError(words)


def overlap(one, other):
    """Whether two boxes touch; a GeoJSON geometry counts as its box, None as the whole Earth."""
    if not other:
        return True
    other = geometry_bounds(other, "the request") if isinstance(other, dict) else other
    return one[0] <= other[2] and other[0] <= one[2] and one[1] <= other[3] and other[1] <= one[3]


def fits(facts, query):
    """Whether all comparisons hold; times are ISO 8601 in UTC, so their text compares as they do."""
    return all(name in facts and COMPARE[how](facts[name], value)
               for name, wanted in (query or {}).items() for how, value in wanted.items())  # fmt: skip
