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
from helpers.acquire.download import Item, fetch, safe_name
from helpers.acquire.http import Refused
from helpers.acquire.providers.provider import Found, Provider, chosen

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
        url = self.base + self.template
        return re.sub(r"\{(.+?)\}", lambda field: str(values.get(field[1], field[0])), url)

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
        total = sum(min(count, limit or count) for count in counts)
        if not limit and total > MOST_TILES or max(counts) > MOST_LISTED:
            size = f"about {sum(counts) * TILE_BYTES / 1e6:,.0f} MB"
            told = f"give a `limit` (tiles of each scene, of {MOST_LISTED:,} at most)"
            told = f"{told}, a lower zoom, or smaller bounds"
            raise ValueError(f"these are {sum(counts):,} tiles at zoom {zoom}, {size}: {told}")
        items = (
            self._item(tile, one, filled, role=role, pair=pair)
            for one, count in zip(found, counts, strict=True)
            for tile in _thinned(tiles.within(one.bounds, zoom), count, limit, f"{seed} {one.id}")
        )
        return fetch(items, folder, self.client, total=total)

    def _item(self, tile, one, filled, *, role, pair):
        x, y, z = tile
        place, name = tiles.mercator_bounds(tile), f"{z}/{x}/{y}"
        suffix = PurePosixPath(urlsplit(self.template).path).suffix.lower()
        suffix = suffix if suffix in (".png", ".jpg", ".jpeg", ".webp") else ".*"
        row = self.row(one, place, crs="EPSG:3857", role=role, pair=pair or name, tile=name)
        return Item(
            f"{role}/{safe_name(one.id)}/{z}_{x}_{y}{suffix}",
            self._url(tile, one.id),
            row,
            size_px=(self.tile_px, self.tile_px),
            accept=functools.partial(_too_empty, filled) if filled else None,
            rule=f"filled {filled:g}" if filled else "",
        )

    def patch(self, lon, lat, *, width_m, size_px):
        """Return the square image around a position, as an Item that cuts it from the tiles.

        The zoom is the lowest that is not coarser than the image. Where there are no tiles of it,
        those of the next three lower ones are tried.

        Args:
            lon, lat: centre, degrees.
            width_m: side on the ground at the centre, metres.
            size_px: side of the image; pixels are resampled (bicubic).

        Returns:
            download.Item, to be fetched with the provider's `client`; its `row` has the place.

        Raises:
            ValueError: the position is not on the map, or the patch reaches beyond it.
        """
        if "{scene}" in self.template:
            raise ValueError(f"{self.name} has several scenes of a place: take patches elsewhere")
        tiles.tile_at(lon, lat, 0)  # refuses what is not on the map
        zoom, last = self.zooms
        while zoom < last and tiles.ground_resolution_m(lat, zoom) > width_m / size_px:
            zoom += 1
        half, (x, y) = width_m / math.cos(math.radians(lat)) / 2, mercantile.xy(lon, lat)
        widest = self.widest * tiles.CIRCUMFERENCE_M / 2**zoom
        if abs(y) + half > tiles.CIRCUMFERENCE_M / 2 or 2 * half > widest:
            place = f"a patch of {width_m:,} m around longitude {lon}, latitude {lat}"
            told = f"is wider than {self.widest:.1f} tiles of zoom {zoom}: choose another width"
            raise ValueError(f"{place} reaches beyond the map, or {told}")
        box = x - half, y - half, x + half, y + half
        found = Found(self.layer, box, "", self.credit, self.licence)
        recipe = urlencode({"lon": lon, "lat": lat, "m": width_m, "px": size_px})
        zooms = range(zoom, max(zoom - LOWER_ZOOMS, self.zooms[0]) - 1, -1)
        return Item(
            f"{lat:.5f}_{lon:.5f}_{width_m:g}m.png",
            f"{self.base}{self.template}#{recipe}",
            self.row(found, crs="EPSG:3857"),
            size_px=(size_px, size_px),
            make=functools.partial(self._write_patch, box=box, size_px=size_px, zooms=zooms),
        )

    def _write_patch(self, client, path, *, box, size_px, zooms):
        from PIL import Image

        for zoom in zooms:
            try:
                picture, edges = self._picture(client, box, zoom)
                break
            except Refused:
                if zoom == zooms[-1]:
                    raise
        patch = picture.resize((size_px, size_px), Image.Resampling.BICUBIC, box=edges)
        opaque = patch.getchannel("A").getextrema()[0] == 255
        (patch.convert("RGB") if opaque else patch).save(path, "PNG")

    def _picture(self, client, box, zoom):
        """Tiles of a box in metres as one picture, and the edges of the box in it, in pixels."""
        from PIL import Image

        side, (west, south, east, north) = self.tile_px, box
        px_m = tiles.CIRCUMFERENCE_M / 2**zoom / side
        edges = [side * 2**zoom / 2 + edge / px_m for edge in (west, -north, east, -south)]
        left, top = (int(edge // side) for edge in edges[:2])
        right, bottom = (math.ceil(edge / side) for edge in edges[2:])
        picture = Image.new("RGBA", ((right - left) * side, (bottom - top) * side))
        check = functools.partial(opened, size=(side, side))
        for x, y in itertools.product(range(left, right), range(top, bottom)):
            tile = client.get_bytes(self._url((x % 2**zoom, y, zoom)), check=check)
            picture.paste(tile, ((x - left) * side, (y - top) * side))
        corner = 2 * (left * side, top * side)
        return picture, [edge - start for edge, start in zip(edges, corner, strict=True)]


def opened(data, size):
    """Return the RGBA picture in bytes; a ValueError where it is damaged or of another size."""
    from PIL import Image

    with Image.open(io.BytesIO(checks.check(data, "image", size))) as picture:
        return picture.convert("RGBA")


def _thinned(listed, count, limit, seed):
    """All tiles, or a random choice of them in their order."""
    if not limit or count <= limit:
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
