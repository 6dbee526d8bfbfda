"""Connect to sources of map tiles: any XYZ template, GSI, EOX, and Yandex's single images."""

import functools
import math
import re
import string
from urllib.parse import urlencode, urlsplit

from helpers.acquire.http import Policy
from helpers.acquire.providers.tiled import TILE_PX, Tiles, opened, square

FORBIDDEN = ("tile.openstreetmap.org", "tile.osm.org")  # and their subdomains
FIELDS = {"x", "y", "-y", "z", "s", "r", "q", "key"}
KEY_FIELDS = ("apikey", "apiKey", "api_key", "accessToken", "access_token", "token")


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
    """Options of Xyz for a name that xyzservices knows."""
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
