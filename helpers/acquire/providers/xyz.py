"""Fetch map tiles of Web Mercator, and cut patches from them."""

import functools
import io
import itertools
import math
import re
from urllib.parse import quote, urlencode, urlsplit

import mercantile
import numpy as np
from PIL import Image

from helpers.acquire import checks, tiles
from helpers.acquire.download import Item, safe_name
from helpers.acquire.http import Policy, Refused
from helpers.acquire.manifest import BOUNDS
from helpers.acquire.providers import templates
from helpers.acquire.providers.provider import Found, Provider, chosen

MOST_TILES = 2_000  # without a `limit`
LOWER_ZOOMS = 3  # that a patch tries


class Tiles(Provider):
    """Base of tile sources; of most, the mosaic over the bounds is all that a search finds."""

    template = ""  # path with {z}, {x}, {y} and the like, and {scene} where there are several
    layer = ""
    zooms = (0, 19)
    widest = 9.0  # tiles across a patch
    tile_px = 256
    subdomains = "abc"

    def _boxes(self, bounds, limit):
        return [bounds]

    def _pages(self, bounds, limit):
        yield [Found(self.layer, bounds, "", self.credit, self.licence)]

    def _url(self, tile, scene=""):
        """Address of a tile; a "{key}" stays until it is sent."""
        x, y, zoom = tile
        values = {"x": x, "y": y, "-y": 2**zoom - 1 - y, "z": zoom, "q": mercantile.quadkey(*tile)}
        values["s"] = self.subdomains[(x + y) % len(self.subdomains)]
        values["r"] = "@2x" if self.tile_px == 512 else ""
        values["scene"] = quote(scene, safe="")
        url = self.base + self.template
        return re.sub(r"\{(.+?)\}", lambda field: str(values.get(field[1], field[0])), url)

    def fetch(self, found, folder, *, zoom, limit=None, **others):
        """Download tiles; one becomes `<role>/<scene>/<z>_<x>_<y>`.

        Args:
            found, folder, role, pair: as `Provider.fetch` takes them; default pair: "z/x/y", which
                joins two layers of a place.
            zoom: of the tiles; see `tiles.ground_resolution_m`.
            limit: most tiles of a scene; of more, a random choice is taken, by `seed`.
            filled: least share of a tile that must hold data (be opaque).

        Raises:
            ValueError: nothing was found, no such zoom, or more than 2,000 tiles and no `limit`.
        """
        if not self.zooms[0] <= zoom <= self.zooms[1]:
            raise ValueError(f"{self.name} has zoom {self.zooms[0]} to {self.zooms[1]}, not {zoom}")
        found = chosen(found)
        total = sum(tiles.count(one.bounds, zoom) for one in found)
        if limit is None and total > MOST_TILES:
            raise ValueError(
                f"these are {total:,} tiles at zoom {zoom}, about {total * 0.025:,.0f} MB: give a "
                "`limit`, a lower zoom, or smaller bounds"
            )
        return super().fetch(found, folder, zoom=zoom, limit=limit, **others)

    def _items(self, one, row, folder, *, zoom, limit, seed=0, filled=0.0):
        for tile in tiles.within(one.bounds, zoom, limit, f"{seed} {one.id}"):
            name = f"{zoom}/{tile.x}/{tile.y}"
            place = dict(zip(BOUNDS, mercantile.xy_bounds(tile), strict=True))
            yield Item(
                f"{row['role']}/{safe_name(one.id)}/{name.replace('/', '_')}.*",
                self._url(tile, one.id),
                row | place | {"crs": "EPSG:3857", "pair": row["pair"] or name, "tile": name},
                functools.partial(_full, size_px=2 * (self.tile_px,), filled=filled),
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
        tiles.tile_at(lon, lat, 0)  # refuses what is not on the map
        zoom, last = self.zooms
        while zoom < last and tiles.ground_resolution_m(lat, zoom) > width_m / size_px:
            zoom += 1
        half, (x, y) = width_m / math.cos(math.radians(lat)) / 2, mercantile.xy(lon, lat)
        widest = self.widest * tiles.CIRCUMFERENCE_M / 2**zoom
        if abs(y) + half > tiles.CIRCUMFERENCE_M / 2 or not 0 < 2 * half <= widest:
            place = f"a patch of {width_m:,} m around longitude {lon}, latitude {lat}"
            raise ValueError(f"{place} is too wide for {self.name}: choose another width")
        box = x - half, y - half, x + half, y + half
        recipe = urlencode({"lon": lon, "lat": lat, "m": width_m, "px": size_px})
        zooms = range(zoom, max(zoom - LOWER_ZOOMS, self.zooms[0]) - 1, -1)
        row = self.row(Found(self.layer, box, "", self.credit, self.licence))
        return Item(
            f"{lat:.5f}_{lon:.5f}_{width_m:.0f}m.png",
            f"{self.base}{self.template}#{recipe}",
            row | {"crs": "EPSG:3857"},
            functools.partial(checks.image, size_px=(size_px, size_px)),
            make=functools.partial(self._write_patch, box=box, size_px=size_px, zooms=zooms),
        )

    def _write_patch(self, client, path, *, box, size_px, zooms):
        for zoom in zooms:
            try:
                picture, edges = self._picture(client, box, zoom)
                break
            except Refused:
                if zoom == zooms[-1]:
                    raise
        patch = picture.resize((size_px, size_px), Image.Resampling.BICUBIC, box=edges)
        opaque = patch.getchannel("A").getextrema()[0] == 255
        patch.convert("RGB" if opaque else "RGBA").save(path, "PNG")

    def _picture(self, client, box, zoom):
        """Tiles of a box in metres as one picture, and the edges of the box in it, in pixels."""
        side, tile_m, (west, south, east, north) = (
            self.tile_px,
            tiles.CIRCUMFERENCE_M / 2**zoom,
            box,
        )
        edges = [2**zoom / 2 + edge / tile_m for edge in (west, -north, east, -south)]  # in tiles
        left, top = map(math.floor, edges[:2])
        right, bottom = map(math.ceil, edges[2:])
        picture = Image.new("RGBA", ((right - left) * side, (bottom - top) * side))
        check = functools.partial(opened, size_px=(side, side))
        for x, y in itertools.product(range(left, right), range(top, bottom)):
            tile = client.get_bytes(self._url((x % 2**zoom, y, zoom)), check=check)
            picture.paste(tile, ((x - left) * side, (y - top) * side))
        return picture, [
            (edge - at) * side for edge, at in zip(edges, 2 * (left, top), strict=True)
        ]


def opened(data, size_px):
    """Return the RGBA picture in bytes; a ValueError where it is damaged or of another size."""
    with Image.open(io.BytesIO(checks.image(data, size_px))) as picture:
        return picture.convert("RGBA")


def _full(data, size_px, filled):
    """Return the bytes of a tile; Refused where too little of it is opaque."""
    opaque = opened(data, size_px).getchannel("A")
    if np.mean(np.asarray(opaque) > 0) < filled:
        raise Refused(f"less than {filled:.0%} of the tile holds data")
    return data


class Xyz(Tiles):
    """Any source of tiles.

    Args:
        template: address with {z}, {x}, {y} or {-y}, or {q}; {s} and {r} as in Leaflet; {key} where
            the key stands. Or a name that the library xyzservices knows, as "Esri.WorldImagery".
        credit, licence: whom to credit, under which terms.
        zooms: lowest and highest.
        key_name: environment variable of the key.
        tile_px: 256, or 512, which fills {r} with "@2x".
    """

    policy = Policy(connections=2, requests_per_s=2)
    key_parameter = "{key}"

    def __init__(self, name, server=None, *, template, key_name="", tile_px=None, **options):
        known = {} if "{" in template else templates.known(template)
        self.layer = known.get("name") or urlsplit(template).hostname
        for field in ("credit", "licence", "zooms", "subdomains"):
            setattr(self, field, options.pop(field, known.get(field, getattr(self, field))))
        template = known.get("template", template)
        templates.check(template)
        if not (self.credit and self.licence):
            raise ValueError(f"{self.layer}: give `credit` and `licence`; every file shows them")
        if ("{key}" in template) != bool(key_name):
            raise ValueError(
                "the field {key} of the template and its variable as `key_name` go together: give "
                "both"
            )
        self.address = template[: template.index("/", 8)]
        self.template = template.removeprefix(self.address)
        self.tile_px = tile_px or (512 if "@2x" in template else 256)
        self.key_name, self.key_place = key_name, self.layer
        super().__init__(name, None, **options)


class Gsi(Tiles):
    """Aerial photos and maps of Japan by its Geospatial Information Authority; keyless."""

    address = "https://cyberjapandata.gsi.go.jp"
    policy = Policy(connections=2, requests_per_s=4)
    zooms = (2, 18)
    layers = {"seamlessphoto": "jpg", "std": "png", "pale": "png"}
    credit = "GSI Tiles, Geospatial Information Authority of Japan, "
    credit += "https://maps.gsi.go.jp/development/ichiran.html"
    licence = "GSI content terms, https://www.gsi.go.jp/kikakuchousei/kikakuchousei40182.html"
    practice_credit = "NASA Blue Marble; relief: NOAA ETOPO1 (practice)"

    def __init__(self, name, server=None, *, layer="seamlessphoto", **options):
        if layer not in self.layers:
            raise ValueError(f"gsi has no layer {layer!r}; it has {', '.join(self.layers)}")
        super().__init__(name, server, **options)
        self.layer = layer
        self.template = f"/xyz/{layer}/{{z}}/{{x}}/{{y}}.{self.layers[layer]}"


class Eox(Tiles):
    """The cloudless mosaic of Sentinel-2 of the year 2020, by EOX; keyless."""

    address = "https://tiles.maps.eox.at"
    template = "/wmts/1.0.0/s2cloudless-2020_3857/default/g/{z}/{y}/{x}.jpg"
    layer, zooms = "s2cloudless-2020", (0, 17)
    credit = "Sentinel-2 cloudless, https://s2maps.eu by EOX IT Services GmbH "
    credit += "(modified Copernicus Sentinel data 2020)"
    licence = "CC BY-NC-SA 4.0"
    practice_credit = "Landsat 8 image (USGS, NASA; practice)"


class YandexStatic(Tiles):
    """Single images of Yandex's Static API, for the patch around a photo.

    Version 1 lists map, driving, transit and admin as map types, and no satellite imagery: it is
    refused unless you name the `maptype` that your contract has.
    """

    address = "https://static-maps.yandex.ru"
    key_name, key_parameter = "YANDEX_MAPS_KEY", "apikey"
    key_place = "https://developer.tech.yandex.ru (developer cabinet → Static API)"
    policy = Policy(connections=2, requests_per_s=2)
    layer, zooms = "yandex_static", (0, 21)
    widest = 450 / 256  # an image is 450 px high at most
    credit, licence = "© Yandex", "terms of the Yandex Maps API, https://yandex.ru/legal/maps_api/"

    def __init__(self, name, server=None, *, maptype=None, **options):
        if not maptype:
            raise ValueError(
                "Yandex's Static API v1 lists no satellite imagery among its map types (map, "
                "driving, transit, admin), and its terms restrict keeping images. Give `maptype` "
                "if your contract has one, or take patches from eox or gsi"
            )
        super().__init__(name, server, **options)
        self.template = f"/v1?{urlencode({'maptype': maptype})}"

    def fetch(self, found, folder, **how):
        """Refuse: these are no tiles, and the terms allow no mosaic; see `patch`."""
        raise ValueError("yandex_static gives single images: use `patch` for each")

    def _picture(self, client, box, zoom):
        lon, lat = mercantile.lnglat((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        px = round((box[2] - box[0]) / tiles.CIRCUMFERENCE_M * 2**zoom * self.tile_px)
        asked = {"ll": f"{lon:.6f},{lat:.6f}", "z": zoom, "size": f"{px},{px}"}
        check = functools.partial(opened, size_px=(px, px))
        return client.get_bytes(self.base + self.template, asked, check=check), (0, 0, px, px)
