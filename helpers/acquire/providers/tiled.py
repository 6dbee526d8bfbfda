"""Fetch map tiles of Web Mercator, and cut patches from them."""

import functools
import io
import itertools
import math
import random
import re
from pathlib import PurePosixPath
from urllib.parse import quote, urlencode, urlsplit

import mercantile

from helpers.acquire import checks, tiles
from helpers.acquire.download import Item, fetch
from helpers.acquire.http import Refused
from helpers.acquire.providers.provider import Found, Provider, chosen, safe_name

TILE_PX = 256  # that an estimate of the ground resolution goes by
TILE_BYTES = 25_000  # typical, for estimates
MOST_TILES = 2_000  # without a `limit`
MOST_LISTED = 1_000_000  # tiles of one scene that a random choice is made from
LOWER_ZOOMS = 3  # that a patch tries


class Tiles(Provider):
    """Base of tile sources; of most, the mosaic over the bounds is all that a search finds."""

    template = ""  # path with {z}, {x}, {y} and the like, and {scene} where there are several
    layer = ""
    zooms = (0, 19)
    widest = 9  # tiles across a patch
    tile_px = 256
    subdomains = "abc"

    def _find(self, bounds, limit):
        yield Found(self.layer, bounds, "", self.credit, self.licence)

    def _url(self, tile, scene=""):
        """Address of a tile; a "{key}" stays until it is sent."""
        x, y, zoom = tile
        values = {"x": x, "y": y, "-y": 2**zoom - 1 - y, "z": zoom, "q": mercantile.quadkey(*tile)}
        values["s"] = self.subdomains[(x + y) % len(self.subdomains)]
        values["r"] = "@2x" if self.tile_px == 512 else ""
        values["scene"] = quote(scene, safe="")
        fill = functools.partial(re.sub, r"\{([^{}]+)\}")
        return fill(lambda field: str(values.get(field[1], field[0])), self.base + self.template)

    def fetch(self, found, folder, *, zoom, role="image", pair="", limit=None, seed=0, filled=0.0):
        """Download the tiles of what was found.

        Args:
            found: list of Found.
            folder: data set folder; a tile becomes `<role>/<scene>/<z>_<x>_<y>`.
            zoom: of the tiles; see `tiles.ground_resolution_m`.
            role, pair: manifest columns; default pair: "z/x/y", which joins two layers of a place.
            limit: most tiles of a scene; of more, a random choice is taken, by `seed`.
            filled: least share of a tile that must hold data (be opaque).

        Returns:
            download.Summary.

        Raises:
            ValueError: nothing was found, no such zoom, or more than 2,000 tiles and no `limit`.
        """
        found = chosen(found)
        if not self.zooms[0] <= zoom <= self.zooms[1]:
            raise ValueError(f"{self.name} has zoom {self.zooms[0]} to {self.zooms[1]}, not {zoom}")
        counts = [tiles.count(one.bounds, zoom) for one in found]
        total = sum(counts if limit is None else (min(count, limit) for count in counts))
        if limit is None and total > MOST_TILES or max(counts) > MOST_LISTED:
            size = f"about {sum(counts) * TILE_BYTES / 1e6:,.0f} MB"
            size = f"{sum(counts):,} tiles at zoom {zoom}, {size}"
            told = f"give a `limit` (tiles of each scene, of {MOST_LISTED:,} at most)"
            raise ValueError(f"these are {size}: {told}, a lower zoom, or smaller bounds")
        items = (
            self._item(tile, one, filled, role=role, pair=pair)
            for one, count in zip(found, counts, strict=True)
            for tile in _thinned(tiles.within(one.bounds, zoom), count, limit, f"{seed} {one.id}")
        )
        return fetch(items, folder, self.client, total=total)

    def _item(self, tile, one, filled, *, role, pair):
        x, y, z = tile
        edges = ("west", "south", "east", "north")
        place = dict(zip(edges, tiles.mercator_bounds(tile), strict=True), crs="EPSG:3857")
        suffix = PurePosixPath(urlsplit(self.template).path).suffix.lower()
        suffix = suffix if suffix in (".png", ".jpg", ".jpeg", ".webp") else ".*"
        return Item(
            f"{role}/{safe_name(one.id)}/{z}_{x}_{y}{suffix}",
            self._url(tile, one.id),
            self.row(one, role=role, pair=pair or f"{z}/{x}/{y}", tile=f"{z}/{x}/{y}", **place),
            size_px=(self.tile_px, self.tile_px),
            accept=functools.partial(_too_empty, filled) if filled else None,
            rule=f"filled {filled:g}" if filled else "",
        )

    def patch(self, lon, lat, *, width_m, size_px, zoom=None):
        """Return the square image around a position, as an Item that cuts it from the tiles.

        Where there are no tiles of that zoom, those of the next three lower ones are tried.

        Args:
            lon, lat: centre, degrees.
            width_m: side on the ground at the centre, metres.
            size_px: side of the image; pixels are resampled (bicubic).
            zoom: of the tiles; default: the lowest that is not coarser than the image.

        Returns:
            download.Item, to be fetched with the provider's `client`; its `row` has the place.

        Raises:
            ValueError: the position is not on the map, or the patch is too wide for that zoom.
        """
        if "{scene}" in self.template:
            raise ValueError(f"{self.name} has several scenes of a place: take patches elsewhere")
        if zoom is None:
            fine = (
                z for z in range(*self.zooms)
                if tiles.ground_resolution_m(lat, z) * size_px <= width_m
            )  # fmt: skip
            zoom = next(fine, self.zooms[1])
        left, top, right, bottom = square(lon, lat, width_m, zoom)
        if top < 0 or bottom > 2**zoom or not 0 < right - left <= self.widest:
            place = f"a patch of {width_m:,} m around longitude {lon}, latitude {lat}"
            spans = f"spans {right - left:.1f} tiles at zoom {zoom}, of {self.widest:.1f} allowed"
            told = "choose another width or zoom"
            raise ValueError(f"{place} reaches beyond the map, or {spans}: {told}")
        width, half = tiles.CIRCUMFERENCE_M / 2**zoom, tiles.CIRCUMFERENCE_M / 2
        place = left * width - half, half - bottom * width, right * width - half, half - top * width
        found = Found(self.layer, place, "", self.credit, self.licence)
        recipe = {"lon": lon, "lat": lat, "m": width_m, "px": size_px, "z": zoom}
        return Item(
            f"{lat:.5f}_{lon:.5f}_{width_m:g}m.png",
            f"{self.base}{self.template}#{urlencode(recipe)}",
            self.row(found, crs="EPSG:3857"),
            size_px=(size_px, size_px),
            make=functools.partial(self._write_patch, **recipe),
        )

    def _write_patch(self, client, path, *, lon, lat, m, px, z):
        from PIL import Image

        for zoom in range(z, max(z - LOWER_ZOOMS, self.zooms[0]) - 1, -1):
            try:
                picture, box = self._picture(client, lon, lat, m, zoom)
                break
            except Refused as error:
                missing = error
        else:
            raise missing
        patch = picture.resize((px, px), Image.Resampling.BICUBIC, box=box)
        opaque = patch.getchannel("A").getextrema()[0] == 255
        (patch.convert("RGB") if opaque else patch).save(path, "PNG")

    def _picture(self, client, lon, lat, width_m, zoom):
        """Tiles around a position as one picture, and the part of it that is wanted, in pixels."""
        from PIL import Image

        left, top, right, bottom = square(lon, lat, width_m, zoom)
        columns = range(math.floor(left), math.ceil(right))
        rows, side = range(math.floor(top), math.ceil(bottom)), self.tile_px
        picture = Image.new("RGBA", (len(columns) * side, len(rows) * side))
        check = functools.partial(opened, size=(side, side))
        for (i, x), (j, y) in itertools.product(enumerate(columns), enumerate(rows)):
            tile = client.get_bytes(self._url((x % 2**zoom, y, zoom)), check=check)
            picture.paste(tile, (i * side, j * side))
        first = columns[0], rows[0], columns[0], rows[0]
        box = zip((left, top, right, bottom), first, strict=True)
        return picture, [(edge - start) * side for edge, start in box]


def square(lon, lat, width_m, zoom):
    """Return (left, top, right, bottom) of a square around a position, in tiles of the map."""
    x, y = tiles.fractional(lon, lat, zoom)
    half = width_m / tiles.ground_resolution_m(lat, zoom) / TILE_PX / 2
    return x - half, y - half, x + half, y + half


def opened(data, size):
    """Return the RGBA picture in bytes; a ValueError where it is damaged or of another size."""
    from PIL import Image

    with Image.open(io.BytesIO(checks.check(data, "image", size))) as picture:
        return picture.convert("RGBA")


def _thinned(listed, count, limit, seed):
    """All tiles, or a random choice of them in their order."""
    if limit is None or count <= limit:
        return listed
    kept = set(random.Random(seed).sample(range(count), limit))
    return (tile for number, tile in enumerate(listed) if number in kept)


def _too_empty(filled, path):
    """Reason to leave a tile out, or ""; a picture without transparency counts as full."""
    from PIL import Image

    with Image.open(path) as picture:
        shares = picture.convert("RGBA").getchannel("A").histogram()
    full = 1 - shares[0] / sum(shares)
    return "" if full >= filled else f"less than {filled:.0%} of the tile holds data"
