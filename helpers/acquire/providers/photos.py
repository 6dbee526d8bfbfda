"""Photographs with a position: VK, and Wikimedia Commons, the default."""

import html
import json
import math
import random
import re
from datetime import UTC, datetime
from urllib.parse import urlsplit

from helpers.acquire.client import Policy, mask, pause
from helpers.acquire.download import Item, fetch
from helpers.acquire.providers.provider import Found, Provider, chosen, circle, cut, expect, once, within

PAUSES_S = (1, 2, 4, 8, 16)  # where the service answers that it is busy
MOST_CIRCLES = 200


class Photos(Provider):
    """Base of photo sources: they search in circles, and their errors arrive with status 200."""

    largest_radius_m = 9_990
    error_fields = ("code", "info")
    busy = refused = ()  # codes

    def _find(self, bounds, limit, **filters):
        parts = math.ceil(circle(bounds)[2] / self.largest_radius_m)
        if parts**2 > MOST_CIRCLES:
            raise ValueError(
                f"{self.name} searches in circles of {self.largest_radius_m:,} m; these bounds need {parts**2:,} "
                f"of them, {MOST_CIRCLES} are allowed: give smaller ones"
            )
        seen = set()
        boxes = cut(bounds, parts)
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
        """JSON answer; asks again later where the service is busy, and tells other errors in its words."""
        code, text = self.error_fields
        for pause_s in (*PAUSES_S, None):
            answer = self.client.get_json(self.base + path, parameters)
            error = answer.get("error") if isinstance(answer, dict) else None
            if not isinstance(error, dict):
                return answer
            if error.get(code) not in self.busy or pause_s is None:
                said = mask(f"{self.name} answers: {error.get(text)} (code {error.get(code)})")
                if error.get(code) in self.refused:
                    raise PermissionError(f"{said}; look at your {self.key_name}")
                raise RuntimeError(said)
            pause(pause_s)

    def fetch(self, found, folder, *, role="photo", pair=""):
        """Download photos.

        Args:
            found: list of Found.
            folder: data set folder; a photo becomes `<role>/<provider>_<id>.jpg`, its position a row of the manifest.
            role, pair: manifest columns.

        Returns:
            download.Summary.
        """
        name = f"{role}/{self.name}_{{}}.jpg".format
        items = [Item(name(one.id), one.about["url"], self.row(one, role=role, pair=pair)) for one in chosen(found)]
        return fetch(items, folder, self.client, total=len(items))


class Vk(Photos):
    """Public photos of the network VK. Their owners keep their rights: look at them, do not pass them on."""

    address = "https://api.vk.com"
    stand_in = ("rocky_mountain",)
    key_name, key_place = "VK_TOKEN", "https://dev.vk.com (create an application → service token)"
    key_sent = {"key_parameter": "access_token"}
    policy = Policy(connections=2, requests_per_s=3)
    largest_radius_m, radii_m = 50_000, (10, 100, 800, 6_000, 50_000)
    error_fields, busy, refused = ("error_code", "error_msg"), (6,), (5, 15, 27, 28)
    licence = "all rights with the owner: no redistribution"
    page_size = 1000
    types = "smxopqryzw"  # of sizes, small to large, where no width is given

    def _around(self, box, limit, *, since=None, until=None):
        """`since`, `until`: ISO 8601, UTC where it names no zone."""
        lon, lat, radius = circle(box)
        radius = next(allowed for allowed in self.radii_m if allowed >= radius)
        asked = {"lat": f"{lat:.6f}", "long": f"{lon:.6f}", "radius": radius, "count": self.page_size, "v": "5.199"}
        asked |= {key: _unix(when) for key, when in (("start_time", since), ("end_time", until)) if when}
        yield from once(self._pages(asked), self.name, limit and 100_000)  # who asks for few stops earlier

    def _pages(self, asked):
        offset, total = 0, 1
        while offset < total:
            answer = self._ask("/method/photos.search", asked | {"offset": offset})
            answer = expect(answer, "response", self.name, dict)
            items, total = expect(answer, "items", self.name), expect(answer, "count", self.name, int)
            yield [self._found(item) for item in items], None  # the total is that of a circle, larger than the bounds
            offset += self.page_size if items else total

    def _found(self, item):
        owner, number, moment = (expect(item, key, self.name, int) for key in ("owner_id", "id", "date"))
        sizes = expect(item, "sizes", self.name) or [{"url": ""}]
        largest = max(sizes, key=lambda one: (one.get("width", 0) * one.get("height", 0), self.types.find(one["type"])))
        lon, lat = (math.nan if item.get(key) is None else float(item[key]) for key in ("long", "lat"))
        name, when = f"{owner}_{number}", f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%SZ}"
        page = f"https://vk.com/photo{name}"
        about = {"url": expect(largest, "url", self.name, str), "page": page, "title": item.get("text", "")}
        credit = f"rendered from {self.credit}" if self.at_practice else f"user {owner} of VK, {page}"
        return Found(name, (lon, lat, lon, lat), when, credit, self.licence, about)


class Commons(Photos):
    """Photos of Wikimedia Commons, each with its author and a free licence; keyless, one request at a time."""

    address = "https://commons.wikimedia.org"
    policy = Policy(connections=1, requests_per_s=1)
    busy = ("maxlag", "ratelimited")
    page_size = 500  # the search has no second page: where a circle is full, its quarters are asked
    width_px = 960  # of the photos; one of Wikimedia's standard steps

    def _around(self, box, limit):
        lon, lat, radius = circle(box)
        files = self._files({
            "action": "query", "format": "json", "maxlag": 5, "generator": "geosearch", "ggsnamespace": 6,
            "ggscoord": f"{lat:.6f}|{lon:.6f}", "ggsradius": max(10, math.ceil(radius)), "ggslimit": self.page_size,
            "prop": "coordinates|imageinfo", "colimit": "max", "iiprop": "url|extmetadata", "iiurlwidth": self.width_px,
        })  # fmt: skip
        if len(files) >= self.page_size and radius > 20 and not limit:
            for quarter in cut(box):
                yield from self._around(quarter, limit)
        yield from (one for file in files if (one := self._found(file)))

    def _files(self, asked):
        """Files of one circle; a continued answer brings further properties of the same files, or further files."""
        files, more, told = {}, {}, set()
        while more is not None:
            answer = self._ask("/w/api.php", asked | more)
            if "batchcomplete" not in answer:  # where nothing was found, that is all
                expect(answer, "query", self.name, dict)
            for number, file in answer.get("query", {}).get("pages", {}).items():
                files[number] = files.get(number, {}) | file
            more = answer.get("continue")
            if (token := json.dumps(more, sort_keys=True)) in told or len(told) > self.page_size:
                raise ValueError(f"the paging of {self.name} repeats itself after {len(files)} results")
            told.add(token)
        return list(files.values())

    def _found(self, file):
        """Found of a photo; None for what is no JPEG picture, such as a film or a plan."""
        info = (expect(file, "imageinfo", self.name) or [{}])[0]
        url, page = info.get("thumburl") or expect(info, "url", self.name, str), info.get("descriptionurl", "")
        if not urlsplit(url).path.lower().endswith((".jpg", ".jpeg")):
            return None
        facts = {key: _plain(value.get("value")) for key, value in info.get("extmetadata", {}).items()}
        place = (file.get("coordinates") or [{}])[0]
        lon, lat = float(place.get("lon", math.nan)), float(place.get("lat", math.nan))
        title = expect(file, "title", self.name, str).removeprefix("File:")
        when = re.match(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d)?)?", facts.get("DateTimeOriginal", ""))
        credit = f"{facts.get('Artist') or 'unknown author'}, {title}, {page or 'Wikimedia Commons'}"
        licence = f"{facts.get('LicenseShortName') or 'see the page of the file'} {facts.get('LicenseUrl', '')}".strip()
        about = {"url": url, "page": page, "title": title}
        name, when = str(expect(file, "pageid", self.name, int)), when[0].replace(" ", "T") if when else ""
        return Found(name, (lon, lat, lon, lat), when, credit, licence, about)


def _plain(text):
    """Text of a piece of HTML, without tags, styles and line breaks."""
    text = re.sub(r"(?is)<(style|script)\b.*?</\1>|<[^>]*>", " ", str(text or ""))
    return " ".join(html.unescape(text).split())


def _unix(when):
    when = datetime.fromisoformat(when)
    return int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp())
