"""Connect to sources of map tiles: any XYZ template, GSI, EOX, and Yandex's single images."""

import functools
import math
import re
from urllib.parse import urlencode, urlsplit

import mercantile

from helpers.acquire import tiles
from helpers.acquire.http import Policy
from helpers.acquire.providers.tiled import TILE_PX, Tiles, opened

FORBIDDEN = ("tile.openstreetmap.org", "tile.osm.org")  # and their subdomains
FIELDS = {"x", "y", "-y", "z", "s", "r", "q", "key"}
KEY_FIELDS = ("apikey", "apiKey", "api_key", "accessToken", "access_token", "token")
KEY_IN_QUERY = r"(?i)[?&](\w*(?:key|token|secret|sig|appid|auth|password)\w*)=(?!\{key\})"


class Xyz(Tiles):
    """Any source of tiles.

    Args:
        template: address with {z}, {x}, {y} or {-y}, or {q}; {s} and {r} as in Leaflet; {key} where
            the key stands. Or a name that the library xyzservices knows, as "Esri.WorldImagery".
        credit, licence: whom to credit, under which terms.
        zooms: lowest and highest.
        key_name: environment variable of the key; key_parameter: its query parameter, where the
            template has no {key}.
        tile_px: 256, or 512, which fills {r} with "@2x".
    """

    policy = Policy(connections=2, requests_per_s=2)

    def __init__(
        self, name, server=None, *, template, credit="", licence="", zooms=None, key_name="",
        key_parameter="key", tile_px=None, **options,
    ):  # fmt: skip
        if "{" not in template:
            known = _listed(template)
            template, self.zooms, self.subdomains = known.url, known.zooms, known.subdomains
            credit, licence = credit or known.attribution, licence or f"terms of {known.name}"
        if server and template.startswith("/"):
            template = server.url + template
        _check(template)
        parts = urlsplit(template)
        self.address, self.layer = f"{parts.scheme}://{parts.netloc}", parts.hostname
        self.template = template[len(self.address) :]
        if not (credit and licence):
            raise ValueError(f"{self.layer}: give `credit` and `licence`; every file shows them")
        self.credit, self.licence, self.zooms = credit, licence, zooms or self.zooms
        self.tile_px = tile_px or (512 if "@2x" in template else 256)
        if "{key}" in template and not key_name:
            raise ValueError("the template has the field {key}: name its variable as `key_name`")
        self.key_name, self.key_place = key_name, self.layer
        self.key_parameter = "{key}" if "{key}" in template else key_parameter
        super().__init__(name, None, **options)
        self.source = f"practice {name}" if server else name


def _check(template):
    """Refuse a template that cannot be filled, shows a key, or is forbidden; name what offends."""
    netloc = template.partition("://")[2].partition("/")[0]
    host = netloc.rpartition("@")[2].partition(":")[0].lower().rstrip(".")
    if f".{host}".endswith(tuple(f".{domain}" for domain in FORBIDDEN)):
        raise ValueError(
            f"{host} is refused: OpenStreetMap's Tile Usage Policy forbids bulk download, as it "
            "slows the map down for all (https://operations.osmfoundation.org/policies/tiles/). "
            "Use gsi, eox, or a server of your own"
        )
    fields = set(re.findall(r"\{(.*?)\}", template))
    if unknown := fields - FIELDS:
        known = ", ".join(f"{{{name}}}" for name in sorted(FIELDS))
        raise ValueError(f"the template has the field {{{min(unknown)}}}; known are {known}")
    placed = {"z", "x"} <= fields and fields & {"y", "-y"} or "q" in fields
    if not placed or not template.startswith(("http://", "https://")) or not host:
        told = "expected an http address with {z}, {x} and {y} or {-y}, or with {q}"
        raise ValueError(f"template {template!r}: {told}")
    held = re.search(KEY_IN_QUERY, template)
    if held or "@" in netloc:
        where = f"parameter {held[1]!r}" if held else "part before @"
        raise ValueError(
            f"the template for {host} holds a key in its {where}, and manifests show templates: "
            "put the key into an environment variable, give its name as `key_name`, and write "
            "{key} in its place"
        )


def _listed(name):
    """What xyzservices knows by a name; its `url` has our fields only, its `zooms` both ends."""
    try:
        import xyzservices.providers

        one = xyzservices.providers.query_name(name)
    except ImportError:
        told = "give an address with {z}, {x}, {y}, or install xyzservices"
        raise ValueError(f"template {name!r} is a name: {told}") from None
    except ValueError:
        raise ValueError(f"xyzservices has no provider {name!r}") from None
    known = {field: f"{{{field}}}" for field in FIELDS} | dict.fromkeys(KEY_FIELDS, "{key}")
    values = {field: str(value) for field, value in one.items()} | known
    url = re.sub(r"\{(.*?)\}", lambda field: values.get(field[1], field[0]), one.url)
    ends = one.get("min_zoom", 0), one.get("max_zoom", 18)
    subdomains = one.get("subdomains") or "abc"
    return type(one)(one | {"url": url, "zooms": ends, "subdomains": subdomains})


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

    def _picture(self, client, box, zoom):
        west, south, east, north = box
        lon, lat = mercantile.lnglat((west + east) / 2, (south + north) / 2)
        side = (east - west) / tiles.CIRCUMFERENCE_M * 2**zoom * TILE_PX
        px, rim = math.ceil(side), (math.ceil(side) - side) / 2
        asked = {"ll": f"{lon:.6f},{lat:.6f}", "z": zoom, "size": f"{px},{px}"}
        check = functools.partial(opened, size=(px, px))
        picture = client.get_bytes(self.base + self.template, asked, check=check)
        return picture, (rim, rim, px - rim, px - rim)
