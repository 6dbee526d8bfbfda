"""Sources of map tiles: the article's Tellus, any XYZ template, GSI and EOX; and Yandex, which gives single images."""

import functools
import math
import re
import string
import warnings
from urllib.parse import urlsplit

from helpers.acquire.client import Policy
from helpers.acquire.providers.provider import Found, expect, halves
from helpers.acquire.providers.tiled import TILE_PX, Tiles, opened, square

FORBIDDEN = ("tile.openstreetmap.org", "tile.osm.org")  # and their subdomains


class TellusLegacy(Tiles):
    """The first Tellus, which is superseded: the scenes of ASNARO-1, in tiles."""

    address = "https://gisapi.tellusxdp.com"
    key_name, key_place = "TELLUS_TOKEN", "https://www.tellusxdp.com (account → API tokens)"
    key_sent = {"key_header": "Authorization: Bearer {}"}
    template = "/ASNARO-1/{scene}/{z}/{x}/{y}.png"
    layer, zooms = "ASNARO-1", (0, 18)
    credit, licence = "ASNARO-1, through Tellus", "terms of Tellus: https://www.tellusxdp.com"
    stand_in = ("landsat8_itaipu",)

    def _find(self, bounds, limit):
        for west, south, east, north in halves(bounds):
            box = {"min_lat": south, "min_lon": west, "max_lat": north, "max_lon": east}
            answer = self.client.get_json(f"{self.base}/api/v1/asnaro1/scene", box)
            for scene in expect({"list of scenes": answer}, "list of scenes", self.name):
                names = ("min_lon", "min_lat", "max_lon", "max_lat")
                edges = (float(expect(scene, name, self.name, int | float)) for name in names)
                credit, time = scene.get("copyright") or self.credit, scene.get("acquisitionDate") or ""
                yield Found(expect(scene, "entityId", self.name, str), tuple(edges), time, credit, self.licence, scene)


class Xyz(Tiles):
    """Any source of tiles: `template` with {z}, {x}, {y}; a path is taken as one of the practice server."""

    policy = Policy(connections=2, requests_per_s=2)

    def __init__(
        self, name, server=None, *, template, credit, licence, zooms=(0, 19), key_name="", key_parameter="key",
        policy=None,
    ):  # fmt: skip
        template = f"{server.url}{template}" if server and template.startswith("/") else template
        parts, fields = urlsplit(template), [field for _, field, _, _ in string.Formatter().parse(template) if field]
        host = (parts.hostname or "").rstrip(".")
        if host.endswith(tuple(f".{domain}" for domain in FORBIDDEN)) or host in FORBIDDEN:
            raise ValueError(
                f"{host} is refused: OpenStreetMap's Tile Usage Policy forbids bulk download, as it slows the map down "
                "for all (https://operations.osmfoundation.org/policies/tiles/). Use gsi, eox, or a server of your own"
            )
        if sorted(fields) != ["x", "y", "z"] or parts.scheme not in ("http", "https") or not host:
            raise ValueError(f"template {template!r}: expected an address with {{z}}, {{x}} and {{y}}, each once")
        if parts.username or re.search(r"(?i)(key|token|secret|sig|appid|auth|password)[^=&]*=", parts.query):
            raise ValueError(
                f"the template for {host} holds a key, and manifests show templates: put the key into an environment "
                "variable, and give that name as `key_name`, and the parameter's as `key_parameter`"
            )
        if key_name:
            self.key_name, self.key_place, self.key_sent = key_name, host, {"key_parameter": key_parameter}
        super().__init__(name, server, policy)
        self.base, self.template = f"{parts.scheme}://{parts.netloc}", template.split(parts.netloc, 1)[1]
        self.zooms, self.layer, self.credit, self.licence = zooms, host, credit, licence


class Gsi(Tiles):
    """Aerial photos and maps of Japan by its Geospatial Information Authority; keyless."""

    address = "https://cyberjapandata.gsi.go.jp"
    policy = Policy(connections=2, requests_per_s=4)
    zooms = (2, 18)
    layers = {"seamlessphoto": "jpg", "std": "png", "pale": "png"}
    credit = "GSI Tiles, Geospatial Information Authority of Japan, https://maps.gsi.go.jp/development/ichiran.html"
    licence = "GSI content terms, https://www.gsi.go.jp/kikakuchousei/kikakuchousei40182.html"
    stand_in = ("blue_marble",)

    def __init__(self, name, server=None, *, layer="seamlessphoto", policy=None):
        if layer not in self.layers:
            raise ValueError(f"gsi has no layer {layer!r}; it has {', '.join(self.layers)}")
        super().__init__(name, server, policy)
        self.layer, self.template = layer, f"/xyz/{layer}/{{z}}/{{x}}/{{y}}.{self.layers[layer]}"


class Eox(Tiles):
    """The cloudless mosaic of Sentinel-2 of the year 2020, by EOX; keyless."""

    address = "https://tiles.maps.eox.at"
    template = "/wmts/1.0.0/s2cloudless-2020_3857/default/g/{z}/{y}/{x}.jpg"
    layer, zooms = "s2cloudless-2020", (0, 17)
    credit = "Sentinel-2 cloudless, https://s2maps.eu by EOX IT Services GmbH (modified Copernicus Sentinel data 2020)"
    licence = "CC BY-NC-SA 4.0"
    stand_in = ("landsat8_itaipu", "rocky_mountain")


class YandexStatic(Tiles):
    """Single images of Yandex's Static API, for the patch around a photo."""

    address = "https://static-maps.yandex.ru"
    key_name, key_place = "YANDEX_MAPS_KEY", "https://developer.tech.yandex.ru (developer cabinet → Static API)"
    key_sent = {"key_parameter": "apikey"}
    policy = Policy(connections=2, requests_per_s=2)
    template, layer, zooms = "/v1?maptype=satellite", "yandex_static", (0, 17)
    widest = 450 / TILE_PX  # an image is 450 px high at most
    credit, licence = "© Yandex", "terms of the Yandex Maps API, https://yandex.ru/legal/maps_api/"
    stand_in = ("landsat8_itaipu", "rocky_mountain")

    def __init__(self, name, server=None, policy=None):
        super().__init__(name, server, policy)
        warnings.warn(
            "the terms of the Yandex Maps API restrict keeping its images and using satellite imagery: read "
            "https://yandex.ru/legal/maps_api/ before you store or pass on what you fetch",
            stacklevel=3,
        )

    def fetch(self, found, folder, **how):
        """Refused: these are no tiles, and the terms allow no mosaic; see `patch`."""
        raise ValueError("yandex_static gives single images: use `patch(lon, lat, width_m=…, size_px=…)` for each")

    def _picture(self, client, lon, lat, width_m, zoom):
        left, _, right, _ = square(lon, lat, width_m, zoom)
        side = (right - left) * TILE_PX  # as if the map were Web Mercator, which is exact at the centre
        px, rim = math.ceil(side), (math.ceil(side) - side) / 2
        asked = {"ll": f"{lon:.6f},{lat:.6f}", "z": zoom, "size": f"{px},{px}"}
        check = functools.partial(opened, size=(px, px))
        return client.get_bytes(self.base + self.template, asked, check=check), (rim, rim, px - rim, px - rim)
