"""Search photographs with a position: Wikimedia Commons, the default, and VK."""

import html
import math
import random
import re
from datetime import UTC, datetime

from helpers.acquire.download import Item
from helpers.acquire.http import Policy, read_json
from helpers.acquire.keys import mask
from helpers.acquire.providers.provider import Found, Provider, circle, cut, expect, once, within

MAX_CIRCLES = 200
MAX_ANSWERS = 500  # about the files of one circle
HIDDEN = r"(?is)<(\w+)[^>]*display:\s*none[^>]*>.*?</\1>|<(style|script)\b.*?</\2>"
DAY = r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d)?)?"


class Photos(Provider):
    """Base of photo sources: they search in circles; their errors arrive with status 200."""

    max_radius_m = 9_990
    error_fields = ("code", "info")
    busy = refused = ()  # codes

    def _find(self, bounds, limit, **filters):
        parts = math.ceil(circle(bounds)[2] / self.max_radius_m)
        if parts**2 > MAX_CIRCLES:
            told = f"{parts**2:,} are needed, {MAX_CIRCLES} are allowed: give smaller bounds"
            raise ValueError(f"{self.name} searches in circles of {self.max_radius_m} m; {told}")
        seen, boxes = set(), cut(bounds, parts)
        if limit:  # else all would lie in the corner where the search begins
            random.Random(0).shuffle(boxes)
        for box in boxes:
            for one in self._around(box, limit, **filters):
                if limit and len(seen) >= limit:
                    return
                if math.isnan(one.bounds[0]) or within(*one.bounds[:2], bounds):
                    seen.add(one.id)
                    yield one

    def _ask(self, path, parameters):
        return self.client.get_bytes(self.base + path, parameters, check=self._check)

    def _check(self, data):
        """Return the value in JSON; a ValueError, after which the client asks again: it is busy."""
        answer, (code, text) = read_json(data), self.error_fields
        error = answer.get("error") if isinstance(answer, dict) else None
        if not isinstance(error, dict):
            return answer
        said = mask(f"{self.name} answers: {error.get(text)} (code {error.get(code)})")
        if error.get(code) in self.busy:
            raise ValueError(said)
        if error.get(code) in self.refused:
            raise PermissionError(f"{said}; look at your {self.key_name}")
        raise RuntimeError(said)

    def fetch(self, found, folder, *, role="photo", pair=""):
        """Download photos.

        Args:
            found: list of Found.
            folder: data set folder; a photo becomes `<role>/<provider>_<id>.jpg`.
            role, pair: manifest columns.

        Returns:
            download.Summary.
        """

        def items(one):
            name, row = f"{role}/{self.name}_{one.id}.jpg", self.row(one, role=role, pair=pair)
            return [Item(name, one.about["url"], row)]

        return self.download(found, folder, items)


class Commons(Photos):
    """Photos of Wikimedia Commons, each with its author and a free licence; keyless."""

    address = "https://commons.wikimedia.org"
    policy = Policy(connections=1, requests_per_s=1, tries=7)
    busy = ("maxlag", "ratelimited")
    page_size = 500  # the search has no second page: where a circle is full, its quarters are asked
    asked = {
        "action": "query",
        "format": "json",
        "maxlag": 5,
        "generator": "geosearch",
        "ggsnamespace": 6,
        "prop": "coordinates|imageinfo",
        "colimit": "max",
        "iiprop": "url|mime|extmetadata|metadata",
        "iiurlwidth": 960,  # pixels; one of Wikimedia's standard steps
    }

    def _around(self, box, limit):
        lon, lat, radius = circle(box)
        place = {"ggscoord": f"{lat:.6f}|{lon:.6f}", "ggsradius": max(10, math.ceil(radius))}
        files = self._files(place | {"ggslimit": min(limit or self.page_size, self.page_size)})
        if len(files) >= self.page_size and radius > 20 and not limit:
            for quarter in cut(box):
                yield from self._around(quarter, limit)
        yield from filter(None, map(self._found, files))

    def _files(self, place):
        """Files of one circle; further answers bring more properties of the same files."""
        files, more, asked = {}, {}, []
        for _ in range(MAX_ANSWERS):
            asked.append(more)
            answer = self._ask("/w/api.php", self.asked | place | more)
            if "batchcomplete" not in answer:  # where nothing was found, that is all
                expect(answer, "query", self.name, dict)
            for number, file in answer.get("query", {}).get("pages", {}).items():
                files[number] = files.get(number, {}) | file
            more = answer.get("continue")
            if not more:
                return list(files.values())
            if more in asked:
                break
        raise ValueError(f"the paging of {self.name} repeats itself after {len(files)} results")

    def _found(self, file):
        """Found of a photo; None for a film, a scan, a plan, and what is hidden or missing."""
        info = (file.get("imageinfo") or [{}])[0]
        url = info.get("thumburl") or info.get("url")
        if info.get("mime") != "image/jpeg" or not url or {"filehidden", "filemissing"} & set(info):
            return None
        facts = dict(info.get("extmetadata") or {})  # an empty one is a list
        facts = {key: _plain(value.get("value")) for key, value in facts.items()}
        place = _position(file, info, facts)
        title = expect(file, "title", self.name, str).removeprefix("File:")
        author = facts.get("Artist") or facts.get("Attribution") or "unknown author"
        licence = facts.get("LicenseShortName") or "see the page of the file"
        when = re.match(DAY, facts.get("DateTimeOriginal", ""))
        return Found(
            str(expect(file, "pageid", self.name, int)),
            place * 2,
            when[0].replace(" ", "T") if when else "",
            f"{author}, {title}, {info.get('descriptionurl') or 'Wikimedia Commons'}",
            f"{licence} {facts.get('LicenseUrl', '')}".strip(),
            {"url": url, "title": title},
        )


def _position(file, info, facts):
    """(lon, lat) of the file's coordinates, or of the camera's GPS; NaN where unknown."""
    place = (file.get("coordinates") or [{}])[0]
    camera = {one.get("name"): one.get("value") for one in info.get("metadata") or []} | facts
    try:
        lon = float(place.get("lon", camera.get("GPSLongitude")))
        lat = float(place.get("lat", camera.get("GPSLatitude")))
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
    error_fields, busy = ("error_code", "error_msg"), (1, 6, 9, 10, 29)
    refused = (5, 15, 27, 28)
    licence = "all rights with the owner: no redistribution"
    page_size = 1000

    def _around(self, box, limit, *, since=None, until=None):
        """`since`, `until`: ISO 8601, UTC where it names no zone."""
        lon, lat, radius = circle(box)
        asked = {"lat": f"{lat:.6f}", "long": f"{lon:.6f}", "count": self.page_size, "v": "5.199"}
        asked["radius"] = next(allowed for allowed in self.radii_m if allowed >= radius)
        for key, text in (("start_time", since), ("end_time", until)):
            if text:
                when = datetime.fromisoformat(text)
                when = when if when.tzinfo else when.replace(tzinfo=UTC)
                asked[key] = int(when.timestamp())
        yield from once(self._pages(asked), self.name, limit and 100_000)  # stops earlier

    def _pages(self, asked):
        offset, total = 0, 1
        while offset < total:
            answer = self._ask("/method/photos.search", asked | {"offset": offset})
            answer = expect(answer, "response", self.name, dict)
            items, total = (
                expect(answer, "items", self.name),
                expect(answer, "count", self.name, int),
            )
            yield [one for one in map(self._found, items) if one], None
            offset += self.page_size if items else total

    def _found(self, item):
        """Found of a photo; None where it names no file."""
        owner, number, moment = (
            expect(item, key, self.name, int) for key in ("owner_id", "id", "date")
        )
        sizes = [*(item.get("sizes") or []), item.get("orig_photo") or {}]
        sizes = [one for one in sizes if one.get("url")]
        if not sizes:
            return None
        largest = max(sizes, key=lambda one: (one.get("width") or 0) * (one.get("height") or 0))
        edges = (item.get(edge) for edge in ("long", "lat"))
        place = tuple(math.nan if edge is None else float(edge) for edge in edges)
        return Found(
            f"{owner}_{number}",
            place * 2,
            f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%SZ}",
            f"user {owner} of VK, https://vk.com/photo{owner}_{number}",
            self.licence,
            {"url": largest["url"], "title": item.get("text", "")},
        )
