"""Search photographs with a position: Wikimedia Commons, the default, and VK."""

import html
import math
import re

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
    """Base of photo sources: they search in circles; their errors arrive with status 200.

    Each adds `_answer`, which returns the answer for a circle, and whether the circle holds more.
    Then quarters of the box are asked, too, down to 200 m, where the first answer must do.
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
            answer, more = self._answer(lon, lat, math.ceil(radius_m), limit)
            yield [one for one in self._read(answer) if inside(one.bounds, box)]
        if not more or radius_m < 100:
            return
        west, south, east, north = box
        quarters = [(west, south, lon, lat), (lon, south, east, lat)]
        quarters += [(west, lat, lon, north), (lon, lat, east, north)]
        for quarter in quarters:
            yield from self._pages(quarter, limit)

    def _ask(self, parameters):
        return self.client.get_bytes(
            self.base + self.query, parameters, check=self._checked
        )

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


class Commons(Photos):
    """Photos of Wikimedia Commons, each with its author and a free licence; keyless.

    Films, scans, plans, and what is hidden or missing are passed over.
    """

    def _answer(self, lon, lat, radius_m, limit):
        most = min(limit or self.most, self.most)
        answer = self._ask(
            {
                "ggscoord": f"{lat}|{lon}",
                "ggsradius": max(10, radius_m),
                "ggslimit": most,
            }
        )
        if "batchcomplete" not in answer:  # it would go on, which smaller circles save
            return answer, True
        answer = {"query": {"pages": {}}} | answer
        return answer, len(answer["query"]["pages"]) >= most


class Vk(Photos):
    """Public photos of the network VK. Their owners keep their rights: do not pass them on."""

    def _answer(self, lon, lat, radius_m, limit):
        radius_m = min(allowed for allowed in self.radii_m if allowed >= radius_m)
        answer = self._ask(
            {"lat": lat, "long": lon, "count": self.page_size, "radius": radius_m}
        )
        return answer, answer["response"]["count"] > self.page_size


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
