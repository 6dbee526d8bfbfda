"""The providers' addresses and answers, over the imagery of the sample packs.

A polygon in a search counts as its bounding box. Sources: the providers' public documentation; see each section.
"""

import functools
import hashlib
import json
import operator
import re
import time
from math import asin, cos, floor, radians, sin, sqrt
from urllib.parse import urlencode

from helpers.acquire import packs, tiles
from helpers.acquire.practice import imagery, views
from helpers.acquire.practice.server import Response, as_json

TAKEN = "2020-05-18T00:00:00Z"  # of the Landsat scenes; their files do not say the time of day
DATASET = "0a57a1e5-2240-4077-8224-078202005180"
DOWNLOAD_S = 600  # how long a download address works
COMPARE = {"eq": operator.eq, "neq": operator.ne, "lt": operator.lt, "lte": operator.le, "gt": operator.gt,
           "gte": operator.ge}  # fmt: skip
TIFF, GEOJSON = "image/tiff; application=geotiff; profile=cloud-optimized", "application/geo+json"
CONFORMANCE = [f"https://api.stacspec.org/v1.0.0/{part}" for part in
               ("core", "collections", "ogcapi-features", "item-search", "item-search#query")]  # fmt: skip


def routes():
    """List of (method, pattern of the path, function), as `server.serve` takes them."""
    tile, tellus, stac = r"(?P<z>\d{1,2})/(?P<x>\d{1,9})/(?P<y>\d{1,9})", "/tellus/api/traveler/v1", "/earth_search/v1"
    files, granted = rf"{tellus}/datasets/{DATASET}/data/(?P<scene>[\w-]+)/files/", {}
    plain = [
        ("GET", "/tellus_legacy/api/v1/asnaro1/scene", _bearer(legacy_scenes)),
        ("GET", rf"/tellus_legacy/ASNARO-1/(?P<scene>[\w-]+)/{tile}\.png",
         _bearer(tile_of(imagery.subscene_tile, "scene"))),
        ("GET", f"{tellus}/datasets/", _bearer(datasets)),
        ("POST", f"{tellus}/data-search/", _bearer(data_search)),
        ("GET", files, _bearer(scene_files)),
        ("POST", rf"{files}1/download-url/", _bearer(functools.partial(download_url, granted))),
        ("GET", r"/files/tellus/(?P<scene>[\w-]+)\.tif", functools.partial(granted_file, granted)),
        ("GET", rf"/gsi/xyz/(?P<layer>seamlessphoto)/{tile}\.jpg", tile_of(imagery.world_tile, "layer")),
        ("GET", rf"/gsi/xyz/(?P<layer>std|pale)/{tile}\.png", tile_of(imagery.world_tile, "layer")),
        ("GET", r"/eox/wmts/1\.0\.0/s2cloudless-2020_3857/default/g/(?P<z>\d{1,2})/(?P<y>\d{1,9})/(?P<x>\d{1,9})\.jpg",
         tile_of(imagery.mosaic_tile)),
        ("GET", "/yandex_static/v1/?", static_map),
        ("GET", r"/files/photos/((?P<width>\d{2,3})px-)?(?P<number>\d\d)\.jpg", photo),
        ("GET", rf"{stac}/?", landing),
        ("GET", rf"{stac}/conformance", lambda request: as_json({"conformsTo": CONFORMANCE})),
        ("GET", rf"{stac}/collections(/(?P<collection>[\w-]+))?", collections),
        ("GET", rf"{stac}/collections/[\w-]+/items/(?P<item>\w+)", item_of_catalogue),
        ("GET", rf"{stac}(/collections/(?P<collection>[\w-]+)/items|/search)", item_search),
        ("POST", rf"{stac}/search", item_search),
        ("GET", r"/files/stac/(?P<item>\w+)/(?P<asset>\w+)\.tif", cog),
    ]  # fmt: skip
    return [(method, pattern, _telling(function, _refused)) for method, pattern, function in plain] + [
        ("GET", r"/vk/method/photos\.search", _telling(vk_search, functools.partial(_vk_error, 100))),
        ("GET", r"/commons/w/api\.php", _telling(commons_query, _commons_error)),
    ]


def _telling(function, refuse):
    """`function`, with what it says is wrong with a request told in the provider's own form."""

    def guarded(request):
        try:
            return function(request)
        except (KeyError, ValueError) as error:
            return refuse(f"{type(error).__name__}: {error}")

    return guarded


def _bearer(function):
    def guarded(request):
        if re.fullmatch(r"Bearer \S+", request.headers.get("Authorization", "")):
            return function(request)
        return as_json({"code": "not_authenticated", "detail": "Authentication credentials were not provided."}, 401)

    return guarded


def _refused(detail):
    return as_json({"code": "invalid", "detail": detail}, 400)


def _missing(what):
    return as_json({"code": "not_found", "detail": f"no such {what}"}, 404)


def _require(holds, words):
    if not holds:
        raise ValueError(words)


def _overlap(one, other):
    return one[0] <= other[2] and other[0] <= one[2] and one[1] <= other[3] and other[1] <= one[3]


def _extent(geometry):
    """(west, south, east, north) of a GeoJSON geometry of any depth."""
    numbers = [float(number) for number in re.findall(r"-?\d[\d.e+-]*", json.dumps(geometry["coordinates"]))]
    return min(numbers[::2]), min(numbers[1::2]), max(numbers[::2]), max(numbers[1::2])


def _fits(facts, query):
    """Whether all comparisons hold; times are ISO 8601 in UTC, so their text compares as they do."""
    return all(name in facts and COMPARE[how](facts[name], value)
               for name, wanted in (query or {}).items() for how, value in wanted.items())  # fmt: skip


def tile_of(draw, *groups):
    """Function that answers with a tile, which `draw` makes from groups of the path, zoom, x and y."""

    def answer(request):
        data = draw(*(request.groups[name] for name in groups), *(int(request.groups[name]) for name in "zxy"))
        return Response(data, "image/png" if data[:1] == b"\x89" else "image/jpeg") if data else _missing("tile")

    return answer


# --- the first Tellus


def legacy_scenes(request):
    """Scenes that touch a box."""
    box = [float(request.query[name]) for name in ("min_lon", "min_lat", "max_lon", "max_lat")]
    names, credit = ("min_lon", "min_lat", "max_lon", "max_lat"), packs.credits(["landsat8_itaipu"])[0]
    return as_json([
        {"entityId": name, "acquisitionDate": TAKEN, "copyright": credit, **dict(zip(names, one.bounds, strict=True))}
        for name, one in imagery.subscenes().items() if _overlap(one.bounds, box)
    ])  # fmt: skip


# --- Tellus Satellite Data Traveler: https://www.tellusxdp.com/en-us/howtouse/dev/Parameters_SceneSearch.html


def datasets(request):
    """The one data set."""
    pack = packs.catalogue()["landsat8_itaipu"]
    one = {
        "id": DATASET,
        "name": f"Practice: {pack.name}",
        "description": pack.description,
        "copyright": pack.credit,
        "terms_of_service": pack.licence,
    }
    return as_json({"count": 1, "next": None, "previous": None, "results": [one]})


def data_search(request):
    """Scenes, page by page."""
    asked = json.loads(request.body or b"{}")
    paginate = {"size": 10, "cursor": None, **asked.get("paginate", {})}
    _require(10 <= paginate["size"] <= 1000, f"paginate.size {paginate['size']}: expected 10 to 1000")
    facts = {"start_datetime": TAKEN, "end_datetime": TAKEN, "tellus:can_ordered": False, "gsd": 30}
    features = [
        {"type": "Feature", "id": name, "dataset_id": DATASET, "geometry": one.geometry,
         "properties": facts | {"tellus:name": name}}
        for name, one in imagery.subscenes().items()
        if DATASET in (asked.get("datasets") or [DATASET])
        and (not asked.get("intersects") or _overlap(one.bounds, _extent(asked["intersects"])))
    ]  # fmt: skip
    features = [one for one in features if _fits(one["properties"], asked.get("query"))]
    for order in reversed(asked.get("sortby", [])):
        field, falling = order["field"].removeprefix("properties."), order["direction"] == "desc"
        features = sorted(features, key=lambda one, field=field: one["properties"][field], reverse=falling)
    start = int(paginate["cursor"] or 0)
    paginate["cursor"] = str(stop) if (stop := start + paginate["size"]) < len(features) else None
    meta = {"total": len(features), "search-condition": asked | {"paginate": paginate}}
    return as_json({"features": features[start:stop], "meta": meta})


def scene_files(request):
    """The one file of a scene."""
    if (name := request.groups["scene"]) not in imagery.subscenes():
        return _missing("scene")
    size = imagery.subscene_file(name).stat().st_size
    one = {"id": 1, "name": f"{name}.tif", "size_bytes": size, "mime_type": "image/tiff", "status": "available"}
    return as_json({"results": [one | {"is_downloadable": True}]})


def download_url(granted, request):
    """An address that works without a key for some minutes."""
    if (name := request.groups["scene"]) not in imagery.subscenes():
        return _missing("scene")
    signature = hashlib.sha256(f"{request.base} {name}".encode()).hexdigest()[:32]
    granted[name] = signature, time.monotonic() + DOWNLOAD_S
    return as_json({"download_url": f"{request.base}/files/tellus/{name}.tif?signature={signature}"})


def granted_file(granted, request):
    """The file behind such an address."""
    signature, until = granted.get(request.groups["scene"], ("", 0))
    if request.query.get("signature") != signature or time.monotonic() > until:
        return Response(b"<Error><Code>AccessDenied</Code></Error>", "application/xml", 403)
    return Response(imagery.subscene_file(request.groups["scene"]), "image/tiff")


# --- Yandex Static API: https://yandex.com/maps-api/docs/static-api


def static_map(request):
    """Image around a place. The real one is in an elliptic Mercator: its images differ by a part of a percent."""
    from PIL import Image

    asked = {"maptype": "satellite", "size": "450,450", **request.query}
    if not asked.get("apikey"):
        return as_json({"statusCode": 401, "error": "Unauthorized", "message": "Invalid api key"}, 401)
    (lon, lat), (width, height) = map(float, asked["ll"].split(",")), map(int, asked["size"].split(","))
    _require(1 <= width <= 650 and 1 <= height <= 450, f"size {asked['size']}: expected 650,450 at most")
    _require(asked["maptype"] in ("satellite", "sat"), f"maptype {asked['maptype']}: there is only satellite here")
    x, y = tiles.fractional(lon, lat, zoom := int(asked["z"]))
    left, top = x * imagery.TILE_PX - width / 2, y * imagery.TILE_PX - height / 2
    part = imagery.mosaic(zoom, floor(left), floor(top), width + 1, height + 1)
    if not part.any(-1).all():
        return _missing("imagery")
    shift, how = (1, 0, left % 1, 0, 1, top % 1), Image.Resampling.BILINEAR  # the middle of the image is the place
    picture = Image.fromarray(part).transform((width, height), Image.Transform.AFFINE, shift, how)
    return Response(imagery.encoded(picture, "JPEG"), "image/jpeg")


# --- photos: https://dev.vk.com/method/photos.search and https://commons.wikimedia.org/w/api.php


def _near(lon, lat, radius_m):
    """Photos within a circle, nearest first."""

    def distance_m(one):
        half = sin(radians(one.lat - lat) / 2) ** 2
        half += cos(radians(lat)) * cos(radians(one.lat)) * sin(radians(one.lon - lon) / 2) ** 2
        return 2 * 6_371_000 * asin(sqrt(half))

    return sorted((one for one in views.photos() if distance_m(one) <= radius_m), key=distance_m)


def _sized(request, one, width, whole=True):
    """(address, width, height) of a photo made as wide as that; not wider than it is, then as it is if `whole`."""
    part, width = "" if whole and width >= one.size_px[0] else "{}px-", min(width, one.size_px[0])
    address = f"{request.base}/files/photos/{part.format(width)}{one.number:02}.jpg"
    return address, width, round(width * one.size_px[1] / one.size_px[0])


def photo(request):
    """A photo, or a smaller one made from it."""
    number, width = int(request.groups["number"]), int(request.groups["width"] or 0)
    if not 1 <= number <= len(views.photos()):
        return _missing("photo")
    return Response(views.smaller_photo(number, width) if width else views.photo_file(number), "image/jpeg")


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


def _vk_error(code, message):
    return as_json({"error": {"error_code": code, "error_msg": message, "request_params": []}})


def _vk_item(request, one):
    sizes = [{"type": kind, **dict(zip(("url", "width", "height"), _sized(request, one, width, False), strict=True))}
             for kind, width in (("s", 75), ("m", 130), ("x", 604), ("y", 807))]  # fmt: skip
    place = {} if one.defect == "unplaced" else {"lat": one.lat, "long": one.lon}
    return {"id": 457_239_000 + one.number, "album_id": -7, "owner_id": 1, "date": int(one.time.timestamp()),
            "text": f"{one.title}. {views.described(one)}", "has_tags": False, "sizes": sizes, **place}  # fmt: skip


def commons_query(request):
    """Files within a circle; coordinates come in several answers where `colimit` is small."""
    asked, agent = {"ggslimit": "10", "colimit": "10", **request.query}, request.headers.get("User-Agent", "")
    if not agent or agent.startswith(("python-requests", "Python-urllib")):
        return Response(b"Please set a user-agent and respect our robot policy", "text/plain", 403)
    fixed = {"action": "query", "generator": "geosearch", "format": "json"}
    _require(fixed.items() <= asked.items(), f"expected {fixed}")
    (lat, lon), radius = map(float, asked["ggscoord"].split("|")), int(asked["ggsradius"])
    limit, part = (int(asked[name].replace("max", "500")) for name in ("ggslimit", "colimit"))
    _require(10 <= radius <= 10_000 and 1 <= limit <= 500, "ggsradius: 10 to 10000, ggslimit: 1 to 500")
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
    if "coordinates" in wanted and start + part < len(found):
        more = {"cocontinue": f"{start + part}|{90_000_000 + found[start + part].number}", "continue": "||imageinfo"}
        return as_json({"continue": more} | answer)
    return as_json({"batchcomplete": ""} | answer)


def _commons_error(words):
    return as_json({"error": {"code": "badvalue", "info": words}})


def _image_info(request, one, width):
    page = f"{request.base}/commons/wiki/File:{one.title.replace(' ', '_')}.jpg"
    info = {"url": _sized(request, one, one.size_px[0])[0], "descriptionurl": page}
    if width:
        info |= zip(("thumburl", "thumbwidth", "thumbheight"), _sized(request, one, width), strict=True)
    artist = "NASA" if one.defect == "face" else f"rendered from {packs.credits(['rocky_mountain'])[0]}"
    facts = {
        "DateTimeOriginal": f"{one.time:%Y-%m-%d %H:%M:%S}", "ImageDescription": f"<p>{views.described(one)}</p>",
        "Artist": f'<a href="https://www.nasa.gov">{artist}</a>', "LicenseShortName": "Public domain",
        "LicenseUrl": "https://creativecommons.org/publicdomain/mark/1.0/",
    }  # fmt: skip
    facts = {name: {"value": value, "source": "commons-desc-page"} for name, value in facts.items()}
    return info | {"extmetadata": facts}


# --- STAC API: https://github.com/radiantearth/stac-api-spec


def _link(request, rel, path="", kind="application/json", **others):
    return {"rel": rel, "type": kind, "href": f"{request.base}/earth_search/v1{path}", **others}


def landing(request):
    """The catalogue."""
    links = [_link(request, rel, path) for rel, path in
             (("self", ""), ("root", ""), ("data", "/collections"), ("conformance", "/conformance"))]  # fmt: skip
    links += [_link(request, "search", "/search", GEOJSON, method=method) for method in ("GET", "POST")]
    return as_json({"stac_version": "1.0.0", "type": "Catalog", "id": "practice", "title": "Practice", "links": links,
                    "description": "Scenes of the sample packs", "conformsTo": CONFORMANCE})  # fmt: skip


def collections(request):
    """All collections, or one."""
    made = {}
    for name in dict.fromkeys(item.collection for item in imagery.items().values()):
        items = [item for item in imagery.items().values() if item.collection == name]
        west, south, east, north = zip(*(item.bounds for item in items), strict=True)
        box, days = [min(west), min(south), max(east), max(north)], sorted(item.day for item in items)
        made[name] = {
            "stac_version": "1.0.0", "type": "Collection", "id": name, "license": "proprietary",
            "description": f"Practice: {packs.catalogue()[items[0].pack].description}",
            "links": [_link(request, "self", f"/collections/{name}"), _link(request, "root"),
                      _link(request, "items", f"/collections/{name}/items", GEOJSON)],
            "extent": {"spatial": {"bbox": [box]}, "temporal": {"interval": [[days[0], days[-1]]]}},
        }  # fmt: skip
    if name := request.groups["collection"]:
        return as_json(made[name]) if name in made else _missing("collection")
    return as_json({"collections": list(made.values()), "links": [_link(request, "root")]})


def item_of_catalogue(request):
    """One item."""
    name = request.groups["item"]
    return as_json(_feature(request, name)) if name in imagery.items() else _missing("item")


def _feature(request, name):
    item = imagery.items()[name]
    here, crs = f"/collections/{item.collection}", next(iter(item.assets.values())).crs
    facts = {
        "datetime": item.day, "created": item.day, "gsd": min(asset.pixel_size_m for asset in item.assets.values()),
        "eo:cloud_cover": item.cloud_cover, "proj:epsg": crs.to_epsg(), "proj:code": crs.to_string(),
        "credit": packs.catalogue()[item.pack].credit, **item.facts,
    }  # fmt: skip
    assets = {key: {
        "href": f"{request.base}/files/stac/{name}/{key}.tif", "type": TIFF, "title": f"{asset.band} of {item.pack}",
        "roles": ["cloud" if key == "fmask" else "reflectance"], "gsd": asset.pixel_size_m,
        "proj:shape": list(asset.shape), "proj:transform": list(asset.transform),
        "raster:bands": [{"data_type": asset.dtype, "nodata": asset.nodata}],
    } for key, asset in item.assets.items()}  # fmt: skip
    links = [_link(request, rel, path) for rel, path in
             (("self", f"{here}/items/{name}"), ("collection", here), ("parent", here), ("root", ""))]  # fmt: skip
    extensions = [f"https://stac-extensions.github.io/{part}/v1.1.0/schema.json" for part in ("eo", "projection")]
    return {"type": "Feature", "stac_version": "1.0.0", "stac_extensions": extensions, "id": name, "properties": facts,
            "collection": item.collection, "bbox": list(item.bounds), "geometry": item.geometry, "links": links,
            "assets": assets}  # fmt: skip


def item_search(request):
    """Items, latest first; a link leads to the next page, which is named by its first item."""
    if request.method == "POST":
        asked = json.loads(request.body or b"{}")
    else:
        asked = {key: value.split(",") if key in ("bbox", "collections", "ids") else value
                 for key, value in request.query.items()}  # fmt: skip
        asked |= {key: json.loads(asked[key]) for key in ("query", "intersects") if key in asked}
    limit, box = int(asked.get("limit", 10)), [float(edge) for edge in asked.get("bbox") or ()]
    _require(1 <= limit <= 10_000, f"limit {limit}: expected 1 to 10000")
    _require(not box or len(box) == 4 and box[1] <= box[3], f"bbox {box}: expected west, south, east, north")
    box = box or asked.get("intersects") and _extent(asked["intersects"])
    names = [request.groups["collection"]] if request.groups.get("collection") else asked.get("collections")
    first, _, last = (asked.get("datetime") or "..").partition("/")
    last = last or first
    found = [
        _feature(request, name)
        for name, item in sorted(imagery.items().items(), key=lambda pair: pair[1].day, reverse=True)
        if item.collection in (names or [item.collection]) and name in (asked.get("ids") or [name])
        and (not box or _overlap(item.bounds, box))
        and (first == ".." or item.day >= first) and (last == ".." or item.day <= last)
    ]  # fmt: skip
    found = [one for one in found if _fits(one["properties"], asked.get("query"))]
    start = next((place for place, one in enumerate(found) if one["id"] == asked.get("next")), 0)
    links = [_link(request, "root")]
    if start + limit < len(found):
        more, here = {"next": found[start + limit]["id"]}, f"{request.base}{request.path}"
        links.append({"rel": "next", "type": GEOJSON, "method": request.method, "href": here, "merge": False,
                      "body": asked | more} if request.method == "POST" else
                     {"rel": "next", "type": GEOJSON, "href": f"{here}?{urlencode(request.query | more)}"})  # fmt: skip
    page = found[start : start + limit]
    return as_json({"type": "FeatureCollection", "features": page, "links": links, "numberMatched": len(found),
                    "numberReturned": len(page)})  # fmt: skip


def cog(request):
    """File of an item."""
    name, key = request.groups["item"], request.groups["asset"]
    if name not in imagery.items() or key not in imagery.items()[name].assets:
        return _missing("asset")
    return Response(imagery.cog(name, key), TIFF)
