"""Fetch map tiles of Web Mercator from any XYZ template, and cut patches from them."""

import functools
import io
import itertools
import math
import random
import re
import string
from pathlib import PurePosixPath
from urllib.parse import quote, urlencode, urlsplit

import mercantile

from helpers.acquire import checks, tiles
from helpers.acquire.download import Item, fetch
from helpers.acquire.http import Policy, Refused
from helpers.acquire.providers.provider import Found, Provider, chosen, safe_name

TILE_PX = 256  # that an estimate of the ground resolution goes by
TILE_BYTES = 25_000  # typical, for estimates
MOST_TILES = 2_000  # without a `limit`
MOST_LISTED = 1_000_000  # tiles of one scene that a random choice is made from
LOWER_ZOOMS = 3  # that a patch tries
FORBIDDEN = ("tile.openstreetmap.org", "tile.osm.org")  # and their subdomains
FIELDS = {"x", "y", "-y", "z", "s", "r", "q", "key"}
KEY_FIELDS = ("apikey", "apiKey", "api_key", "accessToken", "access_token", "token")


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
            size = f"{sum(counts):,} tiles at zoom {zoom}, about {sum(counts) * TILE_BYTES / 1e6:,.0f} MB"
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


class Xyz(Tiles):
    """Any source of tiles.

    Args:
        template: address with {z}, {x}, {y} or {-y}, or {q}; {s} and {r} as in Leaflet; {key} where
            the key stands. Or a name that the library xyzservices knows, as "Esri.WorldImagery".
        credit, licence: whom to credit, under which terms.
        zooms: lowest and highest.
        key_name: environment variable of the key; key_parameter: its query parameter, "{key}"
            where it stands in the template.
        tile_px: 256, or 512, which fills {r} with "@2x".
    """

    policy = Policy(connections=2, requests_per_s=2)

    def __init__(
        self, name, server=None, *, template, credit="", licence="", zooms=None, key_name="",
        key_parameter="key", tile_px=None, subdomains="abc", **options,
    ):  # fmt: skip
        known = {} if "{" in template else _listed(template)
        template = known.get("template", template)
        if server and template.startswith("/"):
            template = f"{server.url}{template}"
        self.base, self.template = _checked(template)
        self.layer = known.get("name") or urlsplit(template).hostname
        self.credit, self.licence = credit or known.get("credit"), licence or known.get("licence")
        if not (self.credit and self.licence):
            raise ValueError(f"{self.layer}: give `credit` and `licence`; every file shows them")
        self.zooms = zooms or known.get("zooms", (0, 19))
        self.tile_px = tile_px or (512 if "@2x" in template else 256)
        self.subdomains = known.get("subdomains") or subdomains
        if "{key}" in template and not key_name:
            raise ValueError("the template has the field {key}: name its variable as `key_name`")
        if key_name:
            self.key_name, self.key_place = key_name, self.layer
            self.key_parameter = "{key}" if "{key}" in template else key_parameter
        self.address = self.base
        super().__init__(name, None, **options)
        self.source = f"practice {name}" if server else name


def _checked(template):
    """(scheme and host, rest) of a template; a ValueError names the field that offends."""
    parts, shown_host = urlsplit(template), template.partition("://")[2].partition("/")[0]
    host = shown_host.rpartition("@")[2].partition(":")[0].lower().rstrip(".")
    if any(host == domain or host.endswith(f".{domain}") for domain in FORBIDDEN):
        raise ValueError(
            f"{host} is refused: OpenStreetMap's Tile Usage Policy forbids bulk download, as it "
            "slows the map down for all (https://operations.osmfoundation.org/policies/tiles/). "
            "Use gsi, eox, or a server of your own"
        )
    fields = [field for _, field, _, _ in string.Formatter().parse(template) if field is not None]
    for field in fields:
        if field not in FIELDS:
            told = ", ".join(f"{{{name}}}" for name in sorted(FIELDS))
            raise ValueError(f"the template has the field {{{field}}}; known are {told}")
    placed = {"z", "x"} <= set(fields) and set(fields) & {"y", "-y"} or "q" in fields
    if not placed or parts.scheme not in ("http", "https") or not host:
        told = "expected an http address with {z}, {x} and {y} or {-y}, or with {q}"
        raise ValueError(f"template {template!r}: {told}")
    held = re.search(
        r"(?i)[?&](\w*(key|token|secret|sig|appid|auth|password)\w*)=(?!\{key\})", template
    )
    if held or "@" in shown_host:
        where = f"parameter {held[1]!r}" if held else "part before @"
        raise ValueError(
            f"the template for {host} holds a key in its {where}, and manifests show templates: "
            "put the key into an environment variable, give its name as `key_name`, and write "
            "{key} in its place"
        )
    return template[: template.index(shown_host) + len(shown_host)], template.partition(shown_host)[
        2
    ]


def _listed(name):
    """What xyzservices knows of a provider's name."""
    try:
        import xyzservices.providers
    except ImportError:
        told = "give an address with {z}, {x}, {y}, or install xyzservices"
        raise ValueError(f"template {name!r} is a name: {told}") from None
    try:
        one = xyzservices.providers.query_name(name)
    except ValueError:
        raise ValueError(f"xyzservices has no provider {name!r}") from None
    template = one.url
    for field in re.findall(r"\{([^{}]+)\}", template):
        if field in KEY_FIELDS:
            template = template.replace(f"{{{field}}}", "{key}")
        elif field not in FIELDS and field in one:
            template = template.replace(f"{{{field}}}", str(one[field]))
    return {
        "template": template,
        "name": one.name,
        "credit": one.attribution,
        "licence": f"terms of {one.name}",
        "zooms": (one.get("min_zoom", 0), one.get("max_zoom", 18)),
        "subdomains": one.get("subdomains"),
    }


class Gsi(Tiles):
    """Aerial photos and maps of Japan by its Geospatial Information Authority; keyless."""

    address = "https://cyberjapandata.gsi.go.jp"
    policy = Policy(connections=2, requests_per_s=4)
    zooms = (2, 18)
    layers = {"seamlessphoto": "jpg", "std": "png", "pale": "png"}
    credit = "GSI Tiles, Geospatial Information Authority of Japan, "
    credit += "https://maps.gsi.go.jp/development/ichiran.html"
    licence = "GSI content terms, https://www.gsi.go.jp/kikakuchousei/kikakuchousei40182.html"

    def __init__(self, name, server=None, *, layer="seamlessphoto", **options):
        if layer not in self.layers:
            raise ValueError(f"gsi has no layer {layer!r}; it has {', '.join(self.layers)}")
        super().__init__(name, server, **options)
        self.layer = layer
        self.template = f"/xyz/{layer}/{{z}}/{{x}}/{{y}}.{self.layers[layer]}"
        if server:
            self.zooms = (0, 18)
            self.credit = "NASA Blue Marble; relief: NOAA ETOPO1 (practice)"
            self.licence = "public domain"


class Eox(Tiles):
    """The cloudless mosaic of Sentinel-2 of the year 2020, by EOX; keyless."""

    address = "https://tiles.maps.eox.at"
    template = "/wmts/1.0.0/s2cloudless-2020_3857/default/g/{z}/{y}/{x}.jpg"
    layer, zooms = "s2cloudless-2020", (0, 17)
    credit = "Sentinel-2 cloudless, https://s2maps.eu by EOX IT Services GmbH "
    credit += "(modified Copernicus Sentinel data 2020)"
    licence = "CC BY-NC-SA 4.0"

    def __init__(self, name, server=None, **options):
        super().__init__(name, server, **options)
        if server:
            self.credit, self.licence = "Landsat 8 image (USGS, NASA; practice)", "public domain"


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
    widest = 450 / TILE_PX  # an image is 450 px high at most
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

    def _picture(self, client, lon, lat, width_m, zoom):
        left, _, right, _ = square(lon, lat, width_m, zoom)
        side = (right - left) * TILE_PX  # as if it were Web Mercator, which is exact at the centre
        px, rim = math.ceil(side), (math.ceil(side) - side) / 2
        asked = {"ll": f"{lon:.6f},{lat:.6f}", "z": zoom, "size": f"{px},{px}"}
        check = functools.partial(opened, size=(px, px))
        picture = client.get_bytes(self.base + self.template, asked, check=check)
        return picture, (rim, rim, px - rim, px - rim)


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
    """Why a tile is not wanted, or ""; a picture without transparency counts as full."""
    from PIL import Image

    with Image.open(path) as picture:
        shares = picture.convert("RGBA").getchannel("A").histogram()
    full = 1 - shares[0] / sum(shares)
    return "" if full >= filled else f"less than {filled:.0%} of the tile holds data"
