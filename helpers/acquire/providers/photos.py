"""Search photographs with a position: Wikimedia Commons, the default, and VK."""

import html
import math
import re

import jmespath
import numpy as np

from helpers.acquire import tiles
from helpers.acquire.download import Item
from helpers.acquire.http import read_json
from helpers.acquire.keys import mask
from helpers.acquire.providers.provider import Provider

METRES_PER_DEGREE = 111_700  # of latitude, where it is longest
MARKUP = (
    r"(?is)<(\w+)[^>]*display:\s*none[^>]*>.*?</\1>|<(style|script)\b.*?</\2>|<[^>]*>"
)


class Photos(Provider):
    """Photos in circles, as `services.toml` says how to ask; errors arrive with status 200.

    Where a circle holds more photos than one answer, the quarters of its box are asked for, too,
    down to 200 m.
    """

    def _pages(self, box, limit):
        lon, lat, radius_m = circle(box)
        if radius_m > 16 * self.max_radius_m:
            raise ValueError(
                f"{self.name} searches in circles of {self.max_radius_m} m, and more than 200 are "
                "needed: give smaller bounds"
            )
        more = True
        if radius_m <= self.max_radius_m:
            answer = self._answer(lon, lat, radius_m, limit)
            more = jmespath.search(self.more, answer)
            yield [one for one in self._read(answer) if inside(one.bounds, box)]
        if not more or radius_m < 100:
            return
        west, south, east, north = box
        for low, high in ((south, lat), (lat, north)):
            for left, right in ((west, lon), (lon, east)):
                yield from self._pages((left, low, right, high), limit)

    def _answer(self, lon, lat, radius_m, limit):
        """Return the answer for a circle, and in it as `asked` how many photos it may hold."""
        count = min(limit or self.most, self.most)
        radius_m = min(
            (allowed for allowed in self.radii_m if allowed >= radius_m),
            default=max(10, math.ceil(radius_m)),
        )
        query = self.query.format(
            lon=lon, lat=lat, radius_m=radius_m, count=count, key="{key}"
        )
        answer = self.client.get_bytes(self.base + query, check=self._checked)
        return answer | {"asked": count}

    def _checked(self, data):
        """Return the value in JSON; a ValueError, after which the client asks again: it is busy."""
        answer = read_json(data)
        error = answer.get("error")
        if not error:
            return answer
        is_busy = error.get("error_code", error.get("code")) in self.busy
        kind = ValueError if is_busy else RuntimeError
        raise kind(mask(f"{self.name} answers: {error}")[:300])

    def _found(self, one):
        words = html.unescape(re.sub(MARKUP, " ", one["credit"])).split()
        one["credit"] = " ".join(words).replace(" ,", ",")
        one["bounds"] = 2 * tiles.position(one["lon"], one["lat"])
        return super()._found(one)

    def _items(self, one, row, folder):
        yield Item(f"{row['role']}/{self.name}_{one.id}.jpg", one.about["url"], row)


def inside(bounds, box):
    """Return whether a photo lies in a box; True if its position is unknown."""
    point = bounds[:2]
    return np.array_equal(np.clip(point, box[:2], box[2:]), point, equal_nan=True)


def circle(box):
    """Return (lon, lat, radius in metres) of a circle that covers a box."""
    west, south, east, north = box
    nearest = max(0, south, -north)  # latitude to the equator; degrees are widest there
    side = (east - west) * math.cos(math.radians(nearest))
    radius_m = math.hypot(side, north - south) / 2 * METRES_PER_DEGREE
    return (west + east) / 2, (south + north) / 2, radius_m
