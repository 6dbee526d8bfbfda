"""What all sources of map tiles (256 px, Web Mercator) share: downloading tiles, and cutting patches from them."""

import functools
import io
import itertools
import math
import random
from pathlib import PurePosixPath
from urllib.parse import quote, urlencode, urlsplit

from helpers.acquire import tiles
from helpers.acquire.client import Refused
from helpers.acquire.download import Item, fetch
from helpers.acquire.providers.provider import Found, Provider, chosen, safe_name

TILE_PX = 256
TILE_BYTES = 25_000  # typical, for estimates
MOST_TILES = 2_000  # without a `limit`
MOST_LISTED = 1_000_000  # tiles of one scene that a random choice is made from
LOWER_ZOOMS = 3  # that a patch tries


class Tiles(Provider):
    """Base of tile sources; of most, the mosaic over the bounds is the one thing that a search finds."""

    template = ""  # path with {z}, {x}, {y}, and {scene} where there are several
    layer = ""
    zooms = (0, 19)
    widest = 9  # tiles across a patch

    def _find(self, bounds, limit):
        yield Found(self.layer, bounds, "", self.credit, self.licence, {"template": self.template})

    def _url(self, tile, scene=""):
        return self.base + self.template.format(x=tile[0], y=tile[1], z=tile[2], scene=quote(scene, safe=""))

    def fetch(self, found, folder, *, zoom, role="image", pair="", limit=None, seed=0, filled=0.0):
        """Download the tiles of what was found.

        Args:
            found: list of Found.
            folder: data set folder; a tile becomes `<role>/<scene>/<z>_<x>_<y>` and a row of its manifest.
            zoom: of the tiles; a pixel is `tiles.ground_resolution_m(lat, zoom)` metres wide.
            role, pair: manifest columns; `pair` is by default "z/x/y", which joins two layers of one place.
            limit: most tiles of a scene; where there are more, a random choice is taken, by `seed`.
            filled: least share of a tile that must hold data (be opaque); others are left out.

        Returns:
            download.Summary.

        Raises:
            ValueError: nothing was found, there is no such zoom, or there are more than 2,000 tiles and no `limit`.
        """
        found = chosen(found)
        if not self.zooms[0] <= zoom <= self.zooms[1]:
            raise ValueError(f"{self.name} has zoom {self.zooms[0]} to {self.zooms[1]}, not {zoom}")
        counts = [tiles.count(one.bounds, zoom) for one in found]
        total = sum(counts if limit is None else (min(count, limit) for count in counts))
        if limit is None and total > MOST_TILES or max(counts) > MOST_LISTED:
            raise ValueError(
                f"these are {sum(counts):,} tiles at zoom {zoom}, about {sum(counts) * TILE_BYTES / 1e6:,.0f} MB: give "
                f"a `limit` (tiles of each scene, of {MOST_LISTED:,} at most), a lower zoom, or smaller bounds"
            )
        items = (
            self._item(tile, one, filled, role=role, pair=pair or f"{zoom}/{tile.x}/{tile.y}")
            for one, count in zip(found, counts, strict=True)
            for tile in _thinned(tiles.within(one.bounds, zoom), count, limit, f"{seed} {one.id}")
        )
        return fetch(items, folder, self.client, total=total)

    def _item(self, tile, one, filled, **columns):
        x, y, z = tile
        place = dict(zip(("west", "south", "east", "north"), tiles.mercator_bounds(tile), strict=True), crs="EPSG:3857")
        suffix = PurePosixPath(urlsplit(self.template).path).suffix or ".png"
        return Item(
            f"{columns['role']}/{safe_name(one.id)}/{z}_{x}_{y}{suffix}", self._url(tile, one.id),
            self.row(one, tile=f"{z}/{x}/{y}", **columns, **place), size_px=(TILE_PX, TILE_PX),
            accept=functools.partial(_too_empty, filled) if filled else None,
        )  # fmt: skip

    def patch(self, lon, lat, *, width_m, size_px, zoom=None):
        """The square image around a position, as an Item that cuts it from the tiles and writes a PNG.

        Where there are no tiles of that zoom, those of the next three lower ones are tried.

        Args:
            lon, lat: centre, degrees.
            width_m: side on the ground at the centre, metres.
            size_px: side of the image; pixels are resampled (bicubic, averaged where they get larger).
            zoom: of the tiles; default: the lowest that is not coarser than the image, or the highest there is.

        Returns:
            download.Item, to be fetched with the provider's `client`; its `row` says where it lies.

        Raises:
            ValueError: the position is not on the map, or the patch is too wide for that zoom.
        """
        if "{scene}" in self.template:
            raise ValueError(f"{self.name} has several scenes of a place: `fetch` them, or take patches elsewhere")
        if zoom is None:
            fine = (z for z in range(*self.zooms) if tiles.ground_resolution_m(lat, z) * size_px <= width_m)
            zoom = next(fine, self.zooms[1])
        left, top, right, bottom = square(lon, lat, width_m, zoom)
        if top < 0 or bottom > 2**zoom or not 0 < right - left <= self.widest:
            raise ValueError(
                f"a patch of {width_m:,} m around longitude {lon}, latitude {lat} reaches beyond the map, or spans "
                f"{right - left:.1f} tiles at zoom {zoom}, of {self.widest:.1f} allowed: choose another width or zoom"
            )
        width, half = tiles.CIRCUMFERENCE_M / 2**zoom, tiles.CIRCUMFERENCE_M / 2
        place = left * width - half, half - bottom * width, right * width - half, half - top * width
        row = self.row(Found(self.layer, place, "", self.credit, self.licence), crs="EPSG:3857")
        recipe = {"lon": lon, "lat": lat, "m": width_m, "px": size_px, "z": zoom}
        name, url = f"{lat:.5f}_{lon:.5f}_{width_m:g}m.png", f"{self.base}{self.template}#{urlencode(recipe)}"
        make = functools.partial(self._write_patch, **recipe)
        return Item(name, url, row, size_px=(size_px, size_px), make=make)

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

        box = square(lon, lat, width_m, zoom)
        columns, rows = (range(math.floor(low), math.ceil(high)) for low, high in (box[::2], box[1::2]))
        picture = Image.new("RGBA", (len(columns) * TILE_PX, len(rows) * TILE_PX))
        for (i, x), (j, y) in itertools.product(enumerate(columns), enumerate(rows)):
            tile = client.get_bytes(self._url((x % 2**zoom, y, zoom)), check=opened)
            picture.paste(tile, (i * TILE_PX, j * TILE_PX))
        return picture, [(edge - first[0]) * TILE_PX for edge, first in zip(box, (columns, rows) * 2, strict=True)]


def square(lon, lat, width_m, zoom):
    """(left, top, right, bottom) of a square around a position, in tiles from the north-west corner of the map."""
    x, y = tiles.fractional(lon, lat, zoom)
    half = width_m / tiles.ground_resolution_m(lat, zoom) / TILE_PX / 2
    return x - half, y - half, x + half, y + half


def opened(data, size=(TILE_PX, TILE_PX)):
    """RGBA picture from bytes; a ValueError where it is damaged, or has another size (checked before decoding)."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as picture:
            if picture.size == size:
                return picture.convert("RGBA")
            wrong = f"an image of {picture.width} x {picture.height} px, expected {size[0]} x {size[1]}"
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        wrong = f"a damaged image, or none ({type(error).__name__})"
    raise ValueError(wrong)


def _thinned(listed, count, limit, seed):
    """All tiles, or a random choice of them in their order."""
    if limit is None or count <= limit:
        return listed
    kept = set(random.Random(seed).sample(range(count), limit))
    return (tile for number, tile in enumerate(listed) if number in kept)


def _too_empty(filled, path):
    """ "" or why a tile is not wanted; a picture without transparency counts as full."""
    from PIL import Image

    with Image.open(path) as picture:
        shares = picture.convert("RGBA").getchannel("A").histogram()
    return "" if 1 - shares[0] / sum(shares) >= filled else f"less than {filled:.0%} of the tile holds data"
