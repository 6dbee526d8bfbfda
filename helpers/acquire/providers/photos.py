"""Search photographs with a position: Wikimedia Commons, the default, and VK."""

import html
import math
import random
import re
from datetime import UTC, datetime

import jmespath

from helpers.acquire import tiles
from helpers.acquire.download import Item
from helpers.acquire.http import Policy, read_json
from helpers.acquire.keys import mask
from helpers.acquire.providers.provider import Found, Provider

METRES_PER_DEGREE = 111_700  # of latitude, where it is longest
MOST_ANSWERS = 100  # to one question of Commons
MARKUP = r"(?is)<(\w+)[^>]*display:\s*none[^>]*>.*?</\1>|<(style|script)\b.*?</\2>|<[^>]*>"
DAY = r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d)?)?"


class Photos(Provider):
    """Base of photo sources: they search in circles; their errors arrive with status 200.

    Each adds `_answers`, which yields its answers for a circle, and `fields`.
    """

    role, has_pages = "photo", False
    max_radius_m = 9_990
    most = math.inf  # photos of a circle in an answer; of a fuller one, quarters are asked
    busy = ()  # codes of errors after which another try helps

    def _boxes(self, bounds, limit):
        boxes = tiles.halves(bounds)
        if max(circle(box)[2] for box in boxes) > 16 * self.max_radius_m:
            raise ValueError(
                f"{self.name} searches in circles of {self.max_radius_m} m, and more than 200 are "
                "needed: give smaller bounds"
            )
        return boxes

    def _pages(self, box, limit):
        lon, lat, radius_m = circle(box)
        if radius_m <= self.max_radius_m:
            number = 0
            for answer in self._answers(f"{lon:.6f}", f"{lat:.6f}", math.ceil(radius_m), limit):
                listed = self._read(answer)
                number += len(listed)
                yield [one for one in listed if inside(one.bounds, box)]
            if limit or number < self.most or radius_m < 20:
                return
        for quarter in quarters(box):
            yield from self._pages(quarter, limit)

    def _ask(self, parameters):
        return self.client.get_bytes(self.base + self.query, parameters, check=self._checked)

    def _checked(self, data):
        """Return the value in JSON; a ValueError, after which the client asks again: it is busy."""
        answer = read_json(data)
        error = answer.get("error")
        if not error:
            return answer
        said = mask(f"{self.name} answers: {error}")[:300]
        code = error.get("error_code", error.get("code"))
        if code in self.busy:
            raise ValueError(said)
        raise RuntimeError(said)

    def _found(self, one):
        credit = html.unescape(re.sub(MARKUP, " ", one["credit"]))
        credit = " ".join(credit.split()).replace(" ,", ",")
        point, licence = tiles.position(one["lon"], one["lat"]), one["licence"].strip()
        return Found(one["id"], 2 * point, _time(one["time"]), credit, licence, one)

    def _items(self, one, row, folder):
        yield Item(f"{row['role']}/{self.name}_{one.id}.jpg", one.about["url"], row)


class Commons(Photos):
    """Photos of Wikimedia Commons, each with its author and a free licence; keyless.

    Films, scans, plans, and what is hidden or missing are passed over.
    """

    address = "https://commons.wikimedia.org"
    policy = Policy(connections=1, requests_per_s=1, tries=7)
    busy = ("maxlag", "ratelimited")
    most = 500
    query = (
        "/w/api.php?action=query&format=json&maxlag=5&generator=geosearch&ggsnamespace=6"
        "&prop=coordinates|imageinfo&colimit=max&iiprop=url|mime|extmetadata|metadata"
        "&iiurlwidth=960"  # pixels; one of Wikimedia's standard steps
    )
    fields = jmespath.compile("""
        query.pages.* | [].{id: to_string(pageid), title: title, place: coordinates[0],
            info: imageinfo[0], facts: imageinfo[0].extmetadata, camera: imageinfo[0].metadata}
        | [?info.mime == 'image/jpeg' && (info.thumburl || info.url)
           && info.filehidden == null && info.filemissing == null].{
            id: id,
            lon: not_null(place.lon, facts.GPSLongitude.value,
                          (camera[?name == 'GPSLongitude'] | [0]).value),
            lat: not_null(place.lat, facts.GPSLatitude.value,
                          (camera[?name == 'GPSLatitude'] | [0]).value),
            time: facts.DateTimeOriginal.value,
            credit: join(', ', [
                to_string(not_null(facts.Artist.value, facts.Attribution.value, 'unknown author')),
                title, not_null(info.descriptionurl, 'Wikimedia Commons')]),
            licence: join(' ', [
                to_string(not_null(facts.LicenseShortName.value, 'see the page of the file')),
                to_string(not_null(facts.LicenseUrl.value, ''))]),
            url: not_null(info.thumburl, info.url)
        }""")

    def _answers(self, lon, lat, radius_m, limit):
        """Yield one answer; further ones bring more properties of the same files."""
        most = min(limit or self.most, self.most)
        asked = {"ggscoord": f"{lat}|{lon}", "ggsradius": max(10, radius_m), "ggslimit": most}
        files, more = {}, {}
        for _ in range(MOST_ANSWERS):
            answer = self._ask(asked | more)
            found = answer.get("query", {}) if "batchcomplete" in answer else answer["query"]
            for number, file in found.get("pages", {}).items():
                files[number] = files.get(number, {}) | file
            if "continue" not in answer:
                yield {"query": {"pages": files}}
                return
            more = answer["continue"]
        raise ValueError(f"the paging of {self.name} repeats itself: its API may have changed")


class Vk(Photos):
    """Public photos of the network VK. Their owners keep their rights: do not pass them on."""

    address = "https://api.vk.com"
    key_name = "VK_TOKEN"
    key_place = "https://dev.vk.com (create an application → service token)"
    policy = Policy(connections=2, requests_per_s=3, tries=7)
    max_radius_m, radii_m = 50_000, (10, 100, 800, 6_000, 50_000)
    busy = (1, 6, 9, 10, 29)
    page_size = 1000
    query = "/method/photos.search?access_token={key}&v=5.199"
    fields = jmespath.compile("""
        response.items[].{id: join('_', [to_string(owner_id), to_string(id)]), lon: long, lat: lat,
            time: date, files: [sizes, [orig_photo]][][] | [?url && width]}
        | [?files].{id: id, lon: lon, lat: lat, time: time,
            credit: join('', ['user of VK, https://vk.com/photo', id]),
            licence: 'all rights with the owner: no redistribution',
            url: max_by(files, &width).url}""")

    def _answers(self, lon, lat, radius_m, limit):
        asked = {"lat": lat, "long": lon, "count": self.page_size, "offset": 0}
        asked["radius"] = next(allowed for allowed in self.radii_m if allowed >= radius_m)
        total = 1
        while asked["offset"] < total:
            yield (answer := self._ask(asked))
            total, asked["offset"] = answer["response"]["count"], asked["offset"] + self.page_size


def _time(value):
    """ISO 8601 of seconds since 1970, or of a text that begins with a day; else ""."""
    if isinstance(value, int):
        return f"{datetime.fromtimestamp(value, UTC):%Y-%m-%dT%H:%M:%SZ}"
    when = re.match(DAY, value or "")
    return when[0].replace(" ", "T") if when else ""


def inside(point, box):
    """Return whether a photo lies in a box; one of unknown position may."""
    (lon, lat, *_), (west, south, east, north) = point, box
    return math.isnan(lon) or west <= lon <= east and south <= lat <= north


def circle(box):
    """Return (lon, lat, radius in metres) of a circle that covers a box."""
    west, south, east, north = box
    nearest = 0 if south < 0 < north else min(abs(south), abs(north))  # degrees are widest there
    side = (east - west) * math.cos(math.radians(nearest))
    radius_m = math.hypot(side, north - south) / 2 * METRES_PER_DEGREE
    return (west + east) / 2, (south + north) / 2, radius_m


def quarters(box):
    """Return the four quarters of a box, shuffled, so that a limit takes from all of them."""
    west, south, east, north = box
    lon, lat, _ = circle(box)
    parts = [(west, south, lon, lat), (lon, south, east, lat)]
    parts += [(west, lat, lon, north), (lon, lat, east, north)]
    return random.Random(0).sample(parts, 4)
