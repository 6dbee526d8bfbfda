"""Fetch map tiles of Web Mercator, and cut patches from them."""

import functools
import itertools
import math
from urllib.parse import quote, urlsplit

import mercantile
import numpy as np
from PIL import Image

from helpers.acquire import checks, tiles
from helpers.acquire.download import Item, safe_name
from helpers.acquire.http import Policy, Refused
from helpers.acquire.manifest import BOUNDS
from helpers.acquire.providers import templates
from helpers.acquire.providers.provider import Found, Provider

MOST_TILES = 2_000  # without a `limit`


class Tiles(Provider):
    """Base of tile sources; of most, the mosaic over the bounds is all that a search finds."""

    template = ""  # path with {z}, {x}, {y} and the like, and {scene} where there are several
    layer = ""
    zooms = (0, 19)
    tile_px = 256
    subdomains = "abc"

    def _boxes(self, bounds, limit):
        return [bounds]

    def _pages(self, bounds, limit):
        yield [Found(self.layer, bounds, "", self.credit, self.licence)]

    def _url(self, tile, scene=""):
        """Return the address of a tile; a "{key}" stays until it is sent."""
        x, y, z = tile
        lon, lat = mercantile.ul(2 * x + 1, 2 * y + 1, z + 1)  # the middle
        fields = {"x": x, "y": y, "-y": 2**z - 1 - y, "z": z, "q": mercantile.quadkey(tile)}
        fields |= {"r": "@2x" if self.tile_px == 512 else "", "lon": lon, "lat": lat}
        fields |= {"s": self.subdomains[(x + y) % len(self.subdomains)], "key": "{key}"}
        return (self.base + self.template).format(scene=quote(scene, safe=""), **fields)

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
        total = sum(tiles.count(one.bounds, zoom) for one in found)
        if limit is None and total > MOST_TILES:
            raise ValueError(
                f"these are {total:,} tiles at zoom {zoom}, about {total * 0.025:,.0f} MB: give a "
                "`limit`, a lower zoom, or smaller bounds"
            )
        return super().fetch(found, folder, zoom=zoom, limit=limit, **others)

    def _items(self, one, row, folder, *, zoom, limit, seed=0, filled=0.0):
        check = functools.partial(_full, size_px=(self.tile_px, self.tile_px), filled=filled)
        for tile in tiles.within(one.bounds, zoom, limit, f"{seed} {one.id}"):
            name = f"{zoom}/{tile.x}/{tile.y}"
            place = dict(zip(BOUNDS, mercantile.xy_bounds(tile), strict=True))
            yield Item(
                f"{row['role']}/{safe_name(one.id)}/{name.replace('/', '_')}.*",
                self._url(tile, one.id) + (f"#filled={filled:g}" if filled else ""),
                row | place | {"crs": "EPSG:3857", "pair": row["pair"] or name, "tile": name},
                check,
            )

    def patch(self, lon, lat, *, width_m, size_px):
        """Return the square image around a position, as an Item that cuts it from the tiles.

        They are of the lowest zoom that is not coarser than the image.

        Args:
            lon, lat: centre, degrees.
            width_m: side on the ground at the centre, metres.
            size_px: side of the image; pixels are resampled (bicubic).

        Returns:
            download.Item, to be fetched with the provider's `client`; its `row` has the place.

        Raises:
            ValueError: the patch reaches beyond the map.
        """
        half, (x, y) = width_m / math.cos(math.radians(lat)) / 2, mercantile.xy(lon, lat)
        if not 0 < half <= tiles.CIRCUMFERENCE_M / 2 - abs(y):
            place = f"a patch of {width_m:,} m around longitude {lon}, latitude {lat}"
            raise ValueError(f"{place} reaches beyond the map: choose another width")
        zoom, last = self.zooms
        while zoom < last and tiles.ground_resolution_m(lat, zoom) > width_m / size_px:
            zoom += 1
        box = x - half, y - half, x + half, y + half
        row = self.row(Found(self.layer, box, "", self.credit, self.licence))
        return Item(
            f"{lat:.5f}_{lon:.5f}_{width_m:.0f}m.png",
            f"{self.base}{self.template}#{lon},{lat},{width_m},{size_px}",
            row | {"crs": "EPSG:3857"},
            make=functools.partial(self._cut, box=box, zoom=zoom, size_px=size_px),
        )

    def _cut(self, client, path, *, box, zoom, size_px):
        """Write the image of a box in metres of the map."""
        side, half = self.tile_px, tiles.CIRCUMFERENCE_M / 2
        px_per_m = side * 2**zoom / tiles.CIRCUMFERENCE_M
        left, top = (round((half + edge) * px_per_m) for edge in (box[0], -box[3]))
        width = round((box[2] - box[0]) * px_per_m)
        picture = Image.new("RGBA", (width, width))
        spans = [range(start // side, (start + width - 1) // side + 1) for start in (left, top)]
        check = functools.partial(checks.picture, size_px=(side, side))
        for x, y in itertools.product(*spans):
            tile = client.get_bytes(self._url((x % 2**zoom, y, zoom)), check=check)
            picture.paste(tile, (x * side - left, y * side - top))
        picture.resize((size_px, size_px), Image.Resampling.BICUBIC).save(path)


def _full(data, size_px, filled):
    """Return the bytes of a tile; Refused where too little of it is opaque."""
    opaque = checks.picture(data, size_px).convert("RGBA").getchannel("A")
    if np.mean(np.asarray(opaque) > 0) < filled:
        raise Refused(f"less than {filled:.0%} of the tile holds data")
    return data


class Xyz(Tiles):
    """Any source of tiles.

    Args:
        template: address with {z}, {x}, {y} or {-y}, or {q}; {s} and {r} as in Leaflet; {key} where
            the key stands. Or a name that the library xyzservices knows, as "Esri.WorldImagery".
        key_name: environment variable of the key.
        credit, licence: whom to credit, under which terms.
        zooms: lowest and highest.
        tile_px: 256, or 512, which fills {r} with "@2x".
        subdomains: letters or words for {s}.
    """

    policy = Policy(connections=2, requests_per_s=2)

    def __init__(self, name, server=None, *, template, key_name="", **known):
        if "{" not in template:
            known = templates.known(template) | known
            template = known.pop("template")
        templates.check(template)
        self.key_name, self.layer = key_name, urlsplit(template).hostname
        self.key_place, self.address = self.layer, template[: template.index("/", 8)]
        self.template = template.removeprefix(self.address)
        self.tile_px = 512 if "@2x" in template else 256
        for field in ("layer", "credit", "licence", "zooms", "subdomains", "tile_px"):
            setattr(self, field, known.pop(field, getattr(self, field)))
        if not (self.credit and self.licence):
            raise ValueError(f"{self.layer}: give `credit` and `licence`; every file shows them")
        if ("{key}" in template) != bool(key_name):
            raise ValueError(
                "the field {key} of the template and its variable as `key_name` go together: give "
                "both"
            )
        super().__init__(name, None, **known)


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
    layer, zooms = "s2cloudless-2020", (0, 14)  # finer ones would only magnify
    credit = "Sentinel-2 cloudless, https://s2maps.eu by EOX IT Services GmbH "
    credit += "(modified Copernicus Sentinel data 2020)"
    licence = "CC BY-NC-SA 4.0"
    practice_credit = "Landsat 8 image (USGS, NASA; practice)"


class YandexStatic(Tiles):
    """Images of Yandex's Static API, each around the middle of a tile.

    Version 1 lists map, driving, transit and admin as map types, and no satellite imagery: it is
    refused unless you name the `maptype` that your contract has.
    """

    address = "https://static-maps.yandex.ru"
    key_name = "YANDEX_MAPS_KEY"
    key_place = "https://developer.tech.yandex.ru (developer cabinet → Static API)"
    policy = Policy(connections=2, requests_per_s=2)
    layer, zooms = "yandex_static", (0, 21)
    credit, licence = "© Yandex", "terms of the Yandex Maps API, https://yandex.ru/legal/maps_api/"

    def __init__(self, name, server=None, *, maptype=None, **options):
        if not maptype:
            raise ValueError(
                "Yandex's Static API v1 lists no satellite imagery among its map types (map, "
                "driving, transit, admin), and its terms restrict keeping images. Give `maptype` "
                "if your contract has one, or take patches from eox or gsi"
            )
        super().__init__(name, server, **options)
        self.template = f"/v1?apikey={{key}}&maptype={quote(maptype)}&ll={{lon:.6f}},{{lat:.6f}}"
        self.template += "&z={z}&size=256,256"
