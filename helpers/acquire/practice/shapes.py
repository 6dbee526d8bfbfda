"""The addresses and answers of Tellus, of the sources of tiles and of photos, over the imagery of the sample packs.

Sources: the providers' public documentation; see each section.
"""

import functools
import hashlib
import json
import time
import uuid
from math import cos, hypot, radians

from helpers.acquire import packs, tiles
from helpers.acquire.practice import imagery, views
from helpers.acquire.practice.answers import fits, overlap, require, route
from helpers.acquire.practice.server import Response, as_json

TAKEN = "2020-05-18T00:00:00Z"  # of the Landsat scenes; their files do not say the time of day
DATASET = "0a57a1e5-2240-4077-8224-078202005180"
DOWNLOAD_S, SECRET = 600, uuid.uuid4().hex  # how long a download address works, and what it is signed with
TILE = r"(?P<z>\d{1,2})/(?P<x>\d{1,9})/(?P<y>\d{1,9})"
TRAVELER = "/tellus/api/traveler/v1"
FILES = rf"{TRAVELER}/datasets/{DATASET}/data/(?P<scene>[\w-]+)/files/"


# --- tiles


def _tile(request, draw, *names):
    """Answer with a tile, which `draw` makes from groups of the path, zoom, x and y."""
    zoom, x, y = (int(request.groups[name]) for name in "zxy")
    data = draw(*(request.groups[name] for name in names), zoom, x, y) if max(x, y) < 2**zoom else None
    return Response(data, "image/png" if data[:1] == b"\x89" else "image/jpeg") if data else None


@route("GET", rf"/tellus_legacy/ASNARO-1/(?P<scene>[\w-]+)/{TILE}\.png", bearer=True)
def legacy_tile(request):
    """Tile of a scene of the first Tellus."""
    return _tile(request, imagery.subscene_tile, "scene")


@route("GET", rf"/gsi/xyz/(?P<layer>seamlessphoto)/{TILE}\.jpg")
@route("GET", rf"/gsi/xyz/(?P<layer>std|pale)/{TILE}\.png")
def gsi_tile(request):
    """Tile of the world."""
    return _tile(request, imagery.world_tile, "layer")


@route("GET", r"/eox/wmts/1\.0\.0/s2cloudless-2020_3857/default/g/(?P<z>\d\d?)/(?P<y>\d{1,9})/(?P<x>\d{1,9})\.jpg")
def eox_tile(request):
    """Tile of all imagery finer than the world's."""
    return _tile(request, imagery.mosaic_tile)


# --- the first Tellus


@route("GET", "/tellus_legacy/api/v1/asnaro1/scene", bearer=True)
def legacy_scenes(request):
    """Scenes that touch a box."""
    names, credit = ("min_lon", "min_lat", "max_lon", "max_lat"), packs.credits(["landsat8_itaipu"])[0]
    box = [float(request.query[name]) for name in names]
    return as_json([
        {"entityId": name, "acquisitionDate": TAKEN, "copyright": credit, **dict(zip(names, one.bounds, strict=True))}
        for name, one in imagery.subscenes().items() if overlap(one.bounds, box)
    ])  # fmt: skip


# --- Tellus Satellite Data Traveler: https://www.tellusxdp.com/en-us/howtouse/dev/Parameters_SceneSearch.html


@route("GET", f"{TRAVELER}/datasets/", bearer=True)
def datasets(request):
    """The one data set."""
    pack = packs.catalogue()["landsat8_itaipu"]
    one = {
        "id": DATASET, "name": f"Practice: {pack.name}", "description": pack.description, "copyright": pack.credit,
        "terms_of_service": pack.licence,
    }  # fmt: skip
    return as_json({"count": 1, "next": None, "previous": None, "results": [one]})


@route("POST", f"{TRAVELER}/data-search/", bearer=True)
def data_search(request):
    """Scenes, page by page."""
    asked = json.loads(request.body or b"{}")
    paginate = {"size": 10, "cursor": None, **asked.get("paginate", {})}
    require(10 <= paginate["size"] <= 1000, f"paginate.size {paginate['size']}: expected 10 to 1000")
    facts = {"start_datetime": TAKEN, "end_datetime": TAKEN, "tellus:can_ordered": False, "gsd": 30}
    features = [
        {"type": "Feature", "id": name, "dataset_id": DATASET, "geometry": one.geometry, "properties": known}
        for name, one in imagery.subscenes().items()
        if DATASET in (asked.get("datasets") or [DATASET])
        and overlap(one.bounds, asked.get("intersects"))
        and fits(known := facts | {"tellus:name": name}, asked.get("query"))
    ]  # fmt: skip
    for order in reversed(asked.get("sortby", [])):
        field, falling = order["field"].removeprefix("properties."), order["direction"] == "desc"
        features.sort(key=lambda one, field=field: one["properties"][field], reverse=falling)
    start = int(paginate["cursor"] or 0)
    paginate["cursor"] = str(stop) if (stop := start + paginate["size"]) < len(features) else None
    meta = {"total": len(features), "search-condition": asked | {"paginate": paginate}}
    return as_json({"features": features[start:stop], "meta": meta})


@route("GET", FILES, bearer=True)
def scene_files(request):
    """The one file of a scene."""
    if (name := request.groups["scene"]) not in imagery.subscenes():
        return None
    size = imagery.subscene_file(name).stat().st_size
    one = {"id": 1, "name": f"{name}.tif", "size_bytes": size, "mime_type": "image/tiff", "status": "available"}
    return as_json({"results": [one | {"is_downloadable": True}]})


def _signature(name, until):
    return hashlib.sha256(f"{SECRET} {name} {until}".encode()).hexdigest()


@route("POST", rf"{FILES}1/download-url/", bearer=True)
def download_url(request):
    """An address that works without a key for some minutes."""
    name, until = request.groups["scene"], int(time.time()) + DOWNLOAD_S
    query = f"expires={until}&signature={_signature(name, until)}"
    return as_json({"download_url": f"{request.base}/files/tellus/{name}.tif?{query}"})


@route("GET", r"/files/tellus/(?P<scene>[\w-]+)\.tif")
def signed_file(request):
    """The file behind such an address."""
    name, until = request.groups["scene"], int(request.query.get("expires", 0))
    if request.query.get("signature") != _signature(name, until) or time.time() > until:
        return Response(b"<Error><Code>AccessDenied</Code></Error>", "application/xml", 403)
    return Response(imagery.subscene_file(name), "image/tiff")


# --- Yandex Static API: https://yandex.com/maps-api/docs/static-api


@route("GET", "/yandex_static/v1/?")
def static_map(request):
    """Image around a place. The real one is in an elliptic Mercator: its images differ by a part of a percent."""
    asked = {"maptype": "satellite", "size": "450,450", **request.query}
    if not asked.get("apikey"):
        return as_json({"statusCode": 401, "error": "Unauthorized", "message": "Invalid api key"}, 401)
    (lon, lat), (width, height) = map(float, asked["ll"].split(",")), map(int, asked["size"].split(","))
    require(1 <= width <= 650 and 1 <= height <= 450, f"size {asked['size']}: expected 650,450 at most")
    require(asked["maptype"] in ("satellite", "sat"), f"maptype {asked['maptype']}: there is only satellite here")
    x, y = tiles.fractional(lon, lat, zoom := int(asked["z"]))
    left, top = x * imagery.TILE_PX - width / 2, y * imagery.TILE_PX - height / 2
    colours = imagery.mosaic(imagery.part, zoom, left, top, width, height)
    return Response(imagery.encoded(colours, "JPEG"), "image/jpeg") if colours.any(-1).all() else None


# --- photos: https://dev.vk.com/method/photos.search and https://commons.wikimedia.org/w/api.php


def _near(lon, lat, radius_m):
    """Photos within a circle, nearest first."""

    def distance_m(one):
        return 111_195 * hypot(one.lat - lat, (one.lon - lon) * cos(radians((one.lat + lat) / 2)))

    return sorted((one for one in views.photos() if distance_m(one) <= radius_m), key=distance_m)


def _sized(request, one, width, whole=True):
    """Address and size of a photo made as wide as that; not wider than it is, then as it is if `whole`."""
    part, width = "" if whole and width >= one.size_px[0] else "{}px-", min(width, one.size_px[0])
    address = f"{request.base}/files/photos/{part.format(width)}{one.number:02}.jpg"
    return {"url": address, "width": width, "height": round(width * one.size_px[1] / one.size_px[0])}


@route("GET", r"/files/photos/((?P<width>\d{2,3})px-)?(?P<number>\d\d)\.jpg")
def photo(request):
    """A photo, or a smaller one made from it."""
    number, width = int(request.groups["number"]), int(request.groups["width"] or 0)
    if not 1 <= number <= len(views.photos()):
        return None
    return Response(views.smaller_photo(number, width) if width else views.photo_file(number), "image/jpeg")


def _vk_error(code, message):
    return as_json({"error": {"error_code": code, "error_msg": message, "request_params": []}})


@route("GET", r"/vk/method/photos\.search", refuse=functools.partial(_vk_error, 100))
def vk_search(request):
    """Photos within a circle; errors have status 200."""
    asked = {"radius": 5000, "count": 100, "offset": 0, "start_time": 0, "end_time": 2**40, **request.query}
    if not asked.get("access_token"):
        return _vk_error(5, "User authorization failed: no access_token passed.")
    if not asked.get("v"):
        return _vk_error(8, "Invalid request: v (version) is required")
    start, first, last = (int(asked[name]) for name in ("offset", "start_time", "end_time"))
    found = [one for one in _near(float(asked["long"]), float(asked["lat"]), int(asked["radius"]))
             if first <= one.time.timestamp() <= last]  # fmt: skip
    items = [_vk_item(request, one) for one in found[start : start + min(int(asked["count"]), 1000)]]
    return as_json({"response": {"count": len(found), "items": items}})


def _vk_item(request, one):
    widths = {"s": 75, "m": 130, "x": 604, "y": 807}
    sizes = [{"type": kind} | _sized(request, one, width, whole=False) for kind, width in widths.items()]
    place = {} if one.defect == "unplaced" else {"lat": one.lat, "long": one.lon}
    return {"id": 457_239_000 + one.number, "album_id": -7, "owner_id": 1, "date": int(one.time.timestamp()),
            "text": f"{one.title}. {views.described(one)}", "has_tags": False, "sizes": sizes, **place}  # fmt: skip


@route("GET", r"/commons/w/api\.php", refuse=lambda words: as_json({"error": {"code": "badvalue", "info": words}}))
def commons_query(request):
    """Files within a circle; coordinates come in several answers where `colimit` is small."""
    asked, agent = {"ggslimit": "10", "colimit": "10", **request.query}, request.headers.get("User-Agent", "")
    if not agent or agent.startswith(("python-requests", "Python-urllib")):
        return Response(b"Please set a user-agent and respect our robot policy", "text/plain", 403)
    fixed = {"action": "query", "generator": "geosearch", "format": "json"}
    require(fixed.items() <= asked.items(), f"expected {fixed}")
    (lat, lon), radius = map(float, asked["ggscoord"].split("|")), int(asked["ggsradius"])
    limit, part = (int(asked[name].replace("max", "500")) for name in ("ggslimit", "colimit"))
    require(10 <= radius <= 10_000 and 1 <= limit <= 500, "ggsradius: 10 to 10000, ggslimit: 1 to 500")
    found = _near(lon, lat, radius)[:limit] if asked.get("ggsnamespace") == "6" else []
    start, done = int(asked.get("cocontinue", "0").split("|")[0]), asked.get("continue", "").removeprefix("||")
    wanted, pages = set(asked.get("prop", "").split("|")) - set(done.split("|")), {}
    for place, one in enumerate(found):
        page = {"pageid": 90_000_000 + one.number, "ns": 6, "title": f"File:{one.title}.jpg", "index": place}
        if "coordinates" in wanted and 0 <= place - start < part and one.defect != "unplaced":
            page["coordinates"] = [{"lat": one.lat, "lon": one.lon, "primary": "", "globe": "earth"}]
        if "imageinfo" in wanted:
            page["imageinfo"] = [_image_info(request, one, int(asked.get("iiurlwidth", 0)))]
        pages[str(page["pageid"])] = page
    answer = {"query": {"pages": pages}} if pages else {}
    if "coordinates" not in wanted or start + part >= len(found):
        return as_json({"batchcomplete": ""} | answer)
    more = {"cocontinue": f"{start + part}|{90_000_000 + found[start + part].number}", "continue": "||imageinfo"}
    return as_json({"continue": more} | answer)


def _image_info(request, one, width):
    page = f"{request.base}/commons/wiki/File:{one.title.replace(' ', '_')}.jpg"
    info = {"url": _sized(request, one, one.size_px[0])["url"], "descriptionurl": page}
    if width:
        info |= {f"thumb{name}": value for name, value in _sized(request, one, width).items()}
    artist = "NASA" if one.defect == "face" else f"rendered from {packs.credits(['rocky_mountain'])[0]}"
    facts = {
        "DateTimeOriginal": f"{one.time:%Y-%m-%d %H:%M:%S}", "ImageDescription": f"<p>{views.described(one)}</p>",
        "Artist": f'<a href="https://www.nasa.gov">{artist}</a>', "LicenseShortName": "Public domain",
        "LicenseUrl": "https://creativecommons.org/publicdomain/mark/1.0/",
    }  # fmt: skip
    facts = {name: {"value": value, "source": "commons-desc-page"} for name, value in facts.items()}
    return info | {"extmetadata": facts}
