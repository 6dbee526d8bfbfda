"""Share between providers: the results of a search, keys, paging, and checks of answers."""

import contextlib
import getpass
import itertools
import math
import os
import sys
from dataclasses import dataclass, field, replace

from helpers.acquire import download, tiles
from helpers.acquire.http import Client, Policy, Refused
from helpers.acquire.keys import mask
from helpers.acquire.manifest import BOUNDS

MOST_LISTED = 5_000  # results of a search without a limit: more than anybody looks through
METRES_PER_DEGREE = 111_700  # of latitude, where it is longest
AT_HOME = Policy(connections=8, requests_per_s=None)  # of a practice server, which is yours alone


@dataclass(frozen=True)
class Found:
    """One result of a search: a scene, a mosaic of tiles, or a photo.

    Attributes:
        id: the provider's name for it.
        bounds: (west, south, east, north) in degrees; a photo's is its point twice; NaN: unknown.
        time: when it was taken, ISO 8601, or "".
        credit, licence: whom to credit, and under which terms it may be used.
        about: what else is known; "unusable" has the reason why it cannot be fetched.
    """

    id: str
    bounds: tuple
    time: str = ""
    credit: str = ""
    licence: str = ""
    about: dict = field(default_factory=dict, compare=False)


class Provider:
    """Base of all providers; each adds its address, limits, `_find` (yields Found) and `fetch`."""

    address = ""  # scheme and host of the real service
    key_name = ""  # environment variable that holds the key, where one is needed
    key_place = ""  # where people get one
    key_parameter = ""  # as Client takes it
    policy = Policy()
    credit = licence = ""
    practice_credit = ""  # of the imagery that a practice server shows in its place

    def __init__(self, name, server=None, policy=None, contact=""):
        self.name, self.source = name, f"practice {name}" if server else name
        self.base = f"{server.url}/{name}" if server else self.address
        self.policy = policy or (AT_HOME if server else self.policy)
        if contact:
            self.policy = replace(self.policy, contact=contact)
        if server and self.practice_credit:
            self.credit, self.licence = self.practice_credit, "public domain"
        key = _key(self, server) if self.key_name else None
        sent = {"key_name": self.key_name, "key_parameter": self.key_parameter}
        origin = "" if "{" in self.base else self.base
        self.client = Client(self.policy, key=key, key_origin=origin, **sent)

    def __repr__(self):
        return f"<{self.name} at {self.base}>"

    def search(self, bounds, *, limit=None, **filters):
        """List what there is within bounds.

        Args:
            bounds: (west, south, east, north), degrees; west > east crosses the antimeridian.
            limit: stop after so many; default: all of them.
            filters: the provider's own: `since` and `until` (tellus, vk), `datasets` (tellus),
                `date` and `cloud_cover_below` (STAC catalogues).

        Returns:
            List of Found, sorted by time and name; empty where there is nothing.

        Raises:
            ValueError: bounds that cannot be, or an answer that the provider does not promise.
            PermissionError: the key is refused.
        """
        bounds = tiles.check_bounds(bounds)
        found = {one.id: one for one in self._find(bounds, limit, **filters)}
        return sorted(found.values(), key=lambda one: (one.time, one.id))[:limit]

    def row(self, one, bounds=None, **others):
        """Return the columns of the manifest that a Found gives."""
        place = dict(zip(BOUNDS, bounds or one.bounds, strict=True))
        known = {"source": self.source, "scene": one.id, "time": one.time, "crs": "EPSG:4326"}
        return known | {"credit": one.credit, "licence": one.licence} | place | others

    def download(self, found, folder, items):
        """Fetch the items of the usable of what was found; name the others as skipped.

        Args:
            found: list of Found.
            folder: data set folder.
            items: function of a Found that returns its list of Item; a Refused skips it.
        """
        found, listed, unusable = chosen(found), [], {}
        for one in found:
            try:
                if reason := one.about.get("unusable"):
                    raise Refused(reason)
                listed += items(one)
            except Refused as error:
                unusable[one.id] = error.reason
        summary = download.fetch(listed, folder, self.client, total=len(listed))
        for name, reason in unusable.items():
            summary.skip(name, reason)
        return summary


def chosen(found):
    """Return the list of Found; a ValueError says what to try where it is empty."""
    found = [found] if isinstance(found, Found) else list(found)
    if not found:
        raise ValueError(
            "nothing to fetch: the search found nothing. Try wider bounds, look whether they are "
            "in the order west, south, east, north (longitude first), or loosen the filters"
        )
    return found


def expect(answer, name, who, kind=list):
    """Return `answer[name]`; a ValueError says that the API may have changed where it is not so."""
    if not isinstance(answer, dict) or not isinstance(answer.get(name), kind):
        told = f"its API may have changed; got: {mask(answer)[:200]}"
        raise ValueError(f"the answer of {who} has no {name!r}: {told}")
    return answer[name]


def once(pages, who, limit=None):
    """Yield the Found of all pages, each once; refuse paging in circles, and a whole archive.

    A page is its Found, and the number of results on all pages, None where that is not told.
    """
    seen = set()
    for page, total in pages:
        new = {one.id: one for one in page}
        if limit is None and (count := max(total or 0, len(seen))) > MOST_LISTED:
            told = "give a `limit`, smaller bounds, or filters"
            told = f"{told} (at most {MOST_LISTED:,} are listed)"
            raise ValueError(f"{who} has {count:,} results there: {told}")
        if new and seen.issuperset(new):
            told = f"repeats itself after {len(seen)} results: its API may have changed"
            raise ValueError(f"the paging of {who} {told}")
        for name in new:
            if name not in seen:
                yield new[name]
        seen.update(new)
        if limit and len(seen) >= limit:
            return


def within(lon, lat, bounds):
    """Return whether a place lies in a box."""
    parts = tiles.halves(bounds)
    return any(west <= lon <= east and south <= lat <= north for west, south, east, north in parts)


def geometry_bounds(geometry):
    """Return (west, south, east, north) of a GeoJSON geometry; NaN where it is empty.

    West > east where it crosses the antimeridian.
    """
    lons, lats = [], []
    nested = [(geometry or {}).get("coordinates") or []]
    while nested:
        part = nested.pop()
        if part and isinstance(part[0], int | float):
            lons.append(part[0])
            lats.append(part[1])
        else:
            nested.extend(part)
    if not lons:
        return (math.nan,) * 4
    west, east = min(lons), max(lons)
    if east - west > 180 and (west, east) != (-180, 180):  # 179 and -179, not the whole Earth
        turned = [lon % 360 for lon in lons]
        west, east = min(turned), max(turned)
    west, east = (wrapped(lon) if abs(lon) > 180 else lon for lon in (west, east))
    return west, min(lats), east, max(lats)


def circle(box):
    """Return (lon, lat, radius in metres) of a circle that covers a box."""
    west, south, east, north = box
    width, height = (east - west) % 360 or 360, north - south
    nearest = 0 if south < 0 < north else min(abs(south), abs(north))  # degrees are widest there
    side = width * math.cos(math.radians(nearest))
    radius = math.hypot(side, height) / 2 * METRES_PER_DEGREE
    return wrapped(west + width / 2), (south + north) / 2, radius


def cut(box, parts=2):
    """Return the box cut into parts x parts, whose circles are smaller by that factor."""
    west, south, east, north = box
    width, height = ((east - west) % 360 or 360) / parts, (north - south) / parts
    lons = [wrapped(west + width * step) for step in range(parts + 1)]
    lats = [south + height * step for step in range(parts + 1)]
    columns, rows = itertools.pairwise(lons), list(itertools.pairwise(lats))
    return [(w, s, e, n) for w, e in columns for s, n in rows]


def wrapped(lon):
    """Return a longitude within ±180 degrees."""
    return (lon + 180) % 360 - 180


def _key(provider, server):
    """The key: from its environment variable, "practice" for practice, else a hidden prompt."""
    name, place = provider.key_name, provider.key_place
    value = os.environ.get(name, "").strip() or ("practice" if server else "")
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if not value and (hasattr(shell, "kernel") or sys.stdin.isatty()):
        with contextlib.suppress(NotImplementedError, EOFError):  # papermill: nobody is there
            value = getpass.getpass(f"{name} (from {place}; it is not shown): ").strip()
    if not value:
        raise PermissionError(
            f"{provider.name} wants a key: set the environment variable {name} before Jupyter "
            f"starts. Get a key at {place}"
        )
    return value
