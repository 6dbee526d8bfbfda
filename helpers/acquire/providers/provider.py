"""What all providers share: what a search finds, keys, paging, and answers that are not what they should be."""

import getpass
import hashlib
import itertools
import math
import os
import sys
from dataclasses import dataclass, field

from helpers.acquire import download, packs, tiles
from helpers.acquire.client import Client, Policy, mask

MOST_LISTED = 5_000  # results of a search without a limit: more than anybody looks through
METRES_PER_DEGREE = 111_700  # of latitude, where it is longest
AT_HOME = Policy(connections=8, requests_per_s=None)  # of a practice server, which waits for nobody else


@dataclass(frozen=True)
class Found:
    """One thing that a search found: a scene, a mosaic of tiles, or a photo.

    Attributes:
        id: the provider's name for it.
        bounds: (west, south, east, north) in degrees; a photo's is its point twice, NaN where that is not known.
        time: when it was taken, ISO 8601, or "".
        credit, licence: whom to credit, and under which terms it may be used.
        about: what else is known.
    """

    id: str
    bounds: tuple
    time: str = ""
    credit: str = ""
    licence: str = ""
    about: dict = field(default_factory=dict, compare=False)


class Provider:
    """Base of all providers; each adds its address, its limits, `_find` (an iterator of Found) and `fetch`."""

    address = ""  # scheme and host of the real service
    key_name = ""  # environment variable that holds the key, where one is needed
    key_place = ""  # where people get one
    key_sent = {}  # how Client sends it
    policy = Policy()
    credit = licence = ""
    stand_in = ()  # packs that a practice server shows in its place

    def __init__(self, name, server=None, policy=None):
        self.name, self.source, self.at_practice = name, f"practice {name}" if server else name, bool(server)
        if server and self.stand_in:
            self.credit = "; ".join(packs.credits(self.stand_in))
            self.licence = "; ".join(packs.catalogue()[pack].licence for pack in self.stand_in)
        self.base = f"{server.url}/{name}" if server else self.address
        self.policy = policy or (AT_HOME if server else self.policy)
        key = _key(self, server) if self.key_name else None
        self.client = Client(self.policy, key=key, key_name=self.key_name, key_origin=self.base, **self.key_sent)

    def __repr__(self):
        return f"<{self.name} at {self.base}>"

    def search(self, bounds, *, limit=None, **filters):
        """List what there is within bounds.

        Args:
            bounds: (west, south, east, north), degrees; west > east crosses the antimeridian.
            limit: stop after so many; default: all of them.
            filters: the provider's own: `since` and `until` (tellus, vk), `datasets` (tellus), `date` and
                `cloud_cover_below` (earth_search).

        Returns:
            List of Found, sorted by time and name; empty where there is nothing.

        Raises:
            ValueError: bounds that cannot be, or an answer that is not what the provider promises.
            PermissionError: the key is refused.
        """
        found = {one.id: one for one in self._find(tiles.check_bounds(bounds), limit, **filters)}
        return sorted(found.values(), key=lambda one: (one.time, one.id))[:limit]

    def row(self, one, **others):
        """What the manifest says of a Found."""
        place = zip(("west", "south", "east", "north"), one.bounds, strict=True)
        known = {"source": self.source, "scene": one.id, "time": one.time, "credit": one.credit, "licence": one.licence}
        return {**known, **dict(place), "crs": "EPSG:4326", **others}


def chosen(found):
    """The list of Found that `fetch` got; a ValueError says what to try where it is empty."""
    found = [found] if isinstance(found, Found) else list(found)
    if not found:
        raise ValueError(
            "nothing to fetch: the search found nothing. Try wider bounds, look whether they are in the order west, "
            "south, east, north (longitude first), or loosen the filters"
        )
    return found


def expect(answer, name, who, kind=list):
    """`answer[name]`; a ValueError says that the API may have changed where it is missing, or of another kind."""
    if not isinstance(answer, dict) or not isinstance(answer.get(name), kind):
        got = mask(answer)[:200]
        raise ValueError(f"the answer of {who} has no {name!r}: its API may have changed; got: {got}")
    return answer[name]


def once(pages, who, limit=None):
    """Iterate over the Found of all pages, each once; refuses paging in circles, and without a limit a whole archive.

    A page is its Found, and the number of results on all pages, None where the provider does not tell it.
    """
    seen = {}
    for page, total in pages:
        if limit is None and (count := max(total or 0, len(seen))) > MOST_LISTED:
            raise ValueError(
                f"{who} has {count:,} results there: give a `limit`, smaller bounds, or filters. Without a limit, at "
                f"most {MOST_LISTED:,} are listed"
            )
        page = {one.id: one for one in page}
        new = {name: one for name, one in page.items() if name not in seen}
        seen |= new
        if page and not new:
            raise ValueError(f"the paging of {who} repeats itself after {len(seen)} results: its API may have changed")
        yield from new.values()
        if limit and len(seen) >= limit:
            return


def halves(bounds):
    """The box itself, or its two parts where it crosses the antimeridian."""
    west, south, east, north = bounds
    return [bounds] if west <= east else [(west, south, 180.0, north), (-180.0, south, east, north)]


def within(lon, lat, bounds):
    """Whether a place lies in a box."""
    return any(west <= lon <= east and south <= lat <= north for west, south, east, north in halves(bounds))


def geometry_bounds(geometry, who):
    """(west, south, east, north) of a GeoJSON geometry; west > east where it crosses the antimeridian."""

    def points(nested):
        return [nested[:2]] if isinstance(nested[0], int | float) else itertools.chain(*map(points, nested))

    lons, lats = zip(*points(expect(geometry, "coordinates", who)), strict=True)
    if max(lons) - min(lons) > 180 and len({lon % 360 for lon in lons}) > 1:  # not the whole Earth, but 179 and -179
        lons = [lon % 360 for lon in lons]
    west, east = (_wrapped(lon) if abs(lon) > 180 else lon for lon in (min(lons), max(lons)))
    return west, min(lats), east, max(lats)


def circle(box):
    """(lon, lat, radius in metres) of a circle that covers a box."""
    west, south, east, north = box
    width, height = (east - west) % 360 or 360, north - south
    nearest = 0 if south < 0 < north else min(abs(south), abs(north))  # where a degree of longitude is widest
    radius = math.hypot(width * math.cos(math.radians(nearest)), height) / 2 * METRES_PER_DEGREE
    return _wrapped(west + width / 2), (south + north) / 2, radius


def cut(box, parts=2):
    """The box cut into parts x parts, whose circles are smaller by that factor."""
    west, south, east, north = box
    width, height = ((east - west) % 360 or 360) / parts, (north - south) / parts
    lons = [_wrapped(west + width * step) for step in range(parts + 1)]
    lats = [south + height * step for step in range(parts + 1)]
    return [(w, s, e, n) for w, e in itertools.pairwise(lons) for s, n in itertools.pairwise(lats)]


def safe_name(text):
    """A safe part of a file name, different for different texts."""
    name = download.safe_name(text)
    return name if name == text else f"{name}_{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _wrapped(lon):
    return (lon + 180) % 360 - 180


def _key(provider, server):
    """The provider's key: from its environment variable, "practice" for a practice server, else a hidden prompt."""
    value = os.environ.get(provider.key_name, "").strip() or ("practice" if server else "")
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if not value and (hasattr(shell, "kernel") or sys.stdin.isatty()):
        try:
            value = getpass.getpass(f"{provider.key_name} (from {provider.key_place}; it is not shown): ").strip()
        except (NotImplementedError, EOFError):  # papermill runs a kernel, but there is nobody to ask
            value = ""
    if not value:
        raise PermissionError(
            f"{provider.name} wants a key: set the environment variable {provider.key_name} before Jupyter starts. "
            f"Get a key at {provider.key_place}"
        )
    return value
