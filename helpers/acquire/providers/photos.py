"""Search photographs with a position: Wikimedia Commons, the default, and VK."""

import html
import itertools
import math
import random
import re
from datetime import UTC, datetime

from helpers.acquire.download import Item
from helpers.acquire.http import Policy, read_json
from helpers.acquire.keys import mask
from helpers.acquire.providers.provider import Found, Provider, utc, wrapped

METRES_PER_DEGREE = 111_700  # of latitude, where it is longest
MAX_CIRCLES = 200
HIDDEN = r"(?is)<(\w+)[^>]*display:\s*none[^>]*>.*?</\1>|<(style|script)\b.*?</\2>"
DAY = r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d)?)?"


class Photos(Provider):
    """Base of photo sources: they search in circles; their errors arrive with status 200."""

    role = "photo"
    max_radius_m = 9_990
    busy = refused = ()  # codes of errors

    def _boxes(self, bounds, limit):
        parts = math.ceil(circle(bounds)[2] / self.max_radius_m)
        if parts**2 > MAX_CIRCLES:
            raise ValueError(
                f"{self.name} searches in circles of {self.max_radius_m} m; {parts**2:,} are "
                f"needed, {MAX_CIRCLES} are allowed: give smaller bounds"
            )
        boxes = cut(bounds, parts)
        if limit:  # else all would lie in the corner where the search begins
            random.Random(0).shuffle(boxes)
        return boxes

    def _ask(self, path, parameters):
        return self.client.get_bytes(self.base + path, parameters, check=self._checked)

    def _checked(self, data):
        """Return the value in JSON; a ValueError, after which the client asks again: it is busy."""
        answer = read_json(data)
        error = answer.get("error") if isinstance(answer, dict) else None
        if not error:
            return answer
        said = mask(f"{self.name} answers: {error}")[:300]
        if {error.get("code"), error.get("error_code")} & self.busy:
            raise ValueError(said)
        if error.get("error_code") in self.refused:
            raise PermissionError(f"{said}; look at your {self.key_name}")
        raise RuntimeError(said)

    def _items(self, one, row, folder):
        yield Item(f"{row['role']}/{self.name}_{one.id}.jpg", one.about["url"], row)


class Commons(Photos):
    """Photos of Wikimedia Commons, each with its author and a free licence; keyless."""

    address = "https://commons.wikimedia.org"
    policy = Policy(connections=1, requests_per_s=1, tries=7)
    busy = {"maxlag", "ratelimited"}
    page_size = 500  # the search has no second page: where a circle is full, its quarters are asked
    query = (
        "/w/api.php?action=query&format=json&maxlag=5&generator=geosearch&ggsnamespace=6"
        "&prop=coordinates|imageinfo&colimit=max&iiprop=url|mime|extmetadata|metadata"
        "&iiurlwidth=960"  # pixels; one of Wikimedia's standard steps
    )

    def _pages(self, box, limit):
        lon, lat, radius = circle(box)
        place = {"ggscoord": f"{lat:.6f}|{lon:.6f}", "ggsradius": max(10, math.ceil(radius))}
        files = self._files(place | {"ggslimit": min(limit or self.page_size, self.page_size)})
        if len(files) < self.page_size or radius < 20 or limit:
            yield from _inside(map(self._found, files), box)
            return
        for quarter in cut(box, 2):
            yield from self._pages(quarter, limit)

    def _files(self, place):
        """Files of one circle; further answers bring more properties of the same files."""
        files, more, asked = {}, {}, []
        while more is not None:
            if more in asked:
                raise ValueError(
                    f"the paging of {self.name} repeats itself after {len(files)} results: its API "
                    "may have changed"
                )
            asked.append(more)
            answer = self._ask(self.query, place | more)
            found = answer.get("query", {}) if "batchcomplete" in answer else answer["query"]
            for number, file in found.get("pages", {}).items():
                files[number] = files.get(number, {}) | file
            more = answer.get("continue")
        return list(files.values())

    def _found(self, file):
        """Found of a photo; None for a film, a scan, a plan, and what is hidden or missing."""
        info = (file.get("imageinfo") or [{}])[0]
        url = info.get("thumburl") or info.get("url")
        if info.get("mime") != "image/jpeg" or not url or {"filehidden", "filemissing"} & set(info):
            return None
        listed = dict(info.get("extmetadata") or {})  # an empty one is a list
        facts = {key: _plain(value.get("value")) for key, value in listed.items()}
        author = facts.get("Artist") or facts.get("Attribution") or "unknown author"
        licence = facts.get("LicenseShortName") or "see the page of the file"
        when = re.match(DAY, facts.get("DateTimeOriginal", ""))
        page = info.get("descriptionurl") or "Wikimedia Commons"
        return Found(
            str(file["pageid"]),
            _position(file, info, facts) * 2,
            when[0].replace(" ", "T") if when else "",
            f"{author}, {file['title'].removeprefix('File:')}, {page}",
            f"{licence} {facts.get('LicenseUrl', '')}".strip(),
            {"url": url},
        )


def _position(file, info, facts):
    """(lon, lat) of the file's coordinates, or of the camera's GPS; NaN where unknown."""
    camera = {one.get("name"): one.get("value") for one in info.get("metadata") or []} | facts
    place = {"lon": camera.get("GPSLongitude"), "lat": camera.get("GPSLatitude")}
    place |= (file.get("coordinates") or [{}])[0]
    try:
        lon, lat = float(place["lon"]), float(place["lat"])
    except (TypeError, ValueError):
        return math.nan, math.nan
    sane = abs(lon) <= 180 and abs(lat) <= 90 and (lon or lat)
    return (lon, lat) if sane else (math.nan, math.nan)


def _plain(text):
    """Text of a piece of HTML, without tags, styles, hidden repetitions and line breaks."""
    text = re.sub(r"<[^>]*>", " ", re.sub(HIDDEN, " ", str(text or "")))
    return " ".join(html.unescape(text).split())


class Vk(Photos):
    """Public photos of the network VK. Their owners keep their rights: do not pass them on."""

    address = "https://api.vk.com"
    key_name, key_parameter = "VK_TOKEN", "access_token"
    key_place = "https://dev.vk.com (create an application → service token)"
    policy = Policy(connections=2, requests_per_s=3, tries=7)
    max_radius_m, radii_m = 50_000, (10, 100, 800, 6_000, 50_000)
    busy, refused = {1, 6, 9, 10, 29}, (5, 15, 27, 28)
    licence = "all rights with the owner: no redistribution"
    page_size = 1000

    def _pages(self, box, limit, *, since=None, until=None):
        """`since`, `until`: ISO 8601, UTC where it names no zone."""
        lon, lat, radius = circle(box)
        asked = {"lat": f"{lat:.6f}", "long": f"{lon:.6f}", "count": self.page_size, "v": "5.199"}
        asked["radius"] = next(allowed for allowed in self.radii_m if allowed >= radius)
        for key, text in (("start_time", since), ("end_time", until)):
            if text:
                asked[key] = int(utc(text).timestamp())
        offset, total = 0, 1
        while offset < total:
            answer = self._ask("/method/photos.search", asked | {"offset": offset})["response"]
            yield from _inside(map(self._found, answer["items"]), box)
            offset, total = offset + self.page_size, answer["count"]

    def _found(self, item):
        """Found of a photo; None where it names no file."""
        sizes = [*(item.get("sizes") or []), item.get("orig_photo") or {}]
        sizes = [one for one in sizes if one.get("url")]
        if not sizes:
            return None
        largest = max(sizes, key=lambda one: (one.get("width") or 0) * (one.get("height") or 0))
        name = f"{item['owner_id']}_{item['id']}"
        place = tuple(float(item.get(edge) or math.nan) for edge in ("long", "lat"))
        return Found(
            name,
            place * 2,
            f"{datetime.fromtimestamp(item['date'], UTC):%Y-%m-%dT%H:%M:%SZ}",
            f"user {item['owner_id']} of VK, https://vk.com/photo{name}",
            self.licence,
            {"url": largest["url"]},
        )


def _inside(photos, box):
    """Yield the list of photos in a box, with those of unknown position, unless it is empty."""
    west, south, east, north = box
    width, page = (east - west) % 360 or 360, []
    for one in filter(None, photos):
        lon, lat = one.bounds[:2]
        if math.isnan(lon) or (lon - west) % 360 <= width and south <= lat <= north:
            page.append(one)
    if page:
        yield page


def circle(box):
    """Return (lon, lat, radius in metres) of a circle that covers a box."""
    west, south, east, north = box
    width, height = (east - west) % 360 or 360, north - south
    nearest = 0 if south < 0 < north else min(abs(south), abs(north))  # degrees are widest there
    side = width * math.cos(math.radians(nearest))
    radius = math.hypot(side, height) / 2 * METRES_PER_DEGREE
    return wrapped(west + width / 2), (south + north) / 2, radius


def cut(box, parts):
    """Return the box cut into parts x parts, whose circles are smaller by that factor."""
    west, south, east, north = box
    width, height = ((east - west) % 360 or 360) / parts, (north - south) / parts
    lons = [wrapped(west + width * step) for step in range(parts + 1)]
    lats = [south + height * step for step in range(parts + 1)]
    numbers = itertools.product(range(parts), repeat=2)
    return [(lons[x], lats[y], lons[x + 1], lats[y + 1]) for x, y in numbers]
