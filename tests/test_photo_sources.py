"""Searches of photographs: circles, paging, throttling, licences, over loopback."""

# ruff: noqa: F811
import math

import numpy as np
import pytest
from PIL import Image

from helpers.acquire import practice as loopback
from helpers.acquire.providers import photos
from tests.test_providers import ANY, BOX, JPEG, PATIENT, TOKEN, connect, no_keys, serve  # noqa: F401


def vk_photos(count, base):
    widths = {"s": 75, "w": 1200, "x": 604}

    def sizes(url):
        return [{"type": kind, "width": width, "height": width, "url": url if kind == "w" else f"{url}x"}
                for kind, width in widths.items()]  # fmt: skip

    return [{"id": number, "owner_id": -5, "date": 1_590_000_000 + number, "lat": -25.5 + 0.002 * number, "long": -54.5,
             "sizes": sizes(f"{base}/files/{number}.jpg")} for number in range(count)]  # fmt: skip


def vk_route(asked, *, busy=0, photos=150):
    def search(request):
        asked.append(request.query)
        if len(asked) <= busy:
            return loopback.as_json({"error": {"error_code": 6, "error_msg": "Too many requests per second"}})
        lon, lat, radius, count = (float(request.query[name]) for name in ("long", "lat", "radius", "count"))
        east = math.cos(math.radians(lat))
        items = [one for one in vk_photos(photos, request.base)
                 if math.hypot(one["lat"] - lat, (one["long"] - lon) * east) * 111_000 <= radius]  # fmt: skip
        return loopback.as_json({"response": {"count": len(items), "items": items[: int(count)]}})

    return ("GET", "/vk/method/photos.search", search)


def test_vk_asks_smaller_circles_waits_where_it_is_throttled_and_takes_the_largest_size(serve, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setenv("VK_TOKEN", TOKEN)
    vk = connect("vk", serve(vk_route(asked, busy=2), JPEG), policy=PATIENT, most=40)
    found = vk.search((-54.6, -25.45, -54.4, -25.3))
    assert len(found) == 76 and all(-25.45 <= one.bounds[1] <= -25.3 for one in found)  # of 150, inside the bounds
    assert len({(query["lat"], query["long"]) for query in asked}) == len(asked) - 2  # the busy ones once more
    assert asked[0]["radius"] == "50000" and asked[0]["v"] == "5.199"
    assert found[0].time == "2020-05-20T18:40:25+00:00"
    vk.search((-54.502, -25.502, -54.498, -25.498))
    assert asked[-1]["radius"] == "800"
    summary = vk.fetch(found[:3], tmp_path)
    row = summary.frame().iloc[0]
    assert (row.role, row.scene, row.west, row.east, row.crs) == ("photo", "-5_25", -54.5, -54.5, "EPSG:4326")
    assert Image.open(tmp_path / row.path).size == (64, 48) and "Rocky" not in row.licence
    assert TOKEN not in (tmp_path / "manifest.csv").read_text() + str(found)


def test_vk_tells_other_errors_in_its_words_without_the_token(serve, monkeypatch):
    monkeypatch.setenv("VK_TOKEN", TOKEN)
    for code, kind in ((5, RuntimeError), (100, RuntimeError), (6, ConnectionError)):
        error = {"error": {"error_code": code, "error_msg": f"User authorization failed: {TOKEN}"}}
        with pytest.raises(kind, match=rf"vk answers: .*{code}.*User authorization failed") as caught:
            connect("vk", serve(("GET", ANY, error))).search(BOX)
        assert TOKEN not in str(caught.value)


ARTIST = '<style>a{color:red}</style><a href="//x" title="U">Jo &amp;\n <b>Ann</b></a>'


def commons_route(asked, places, *, busy=0, most=50):
    """Commons with files at `places`, and a plan; an answer that has more than `most` files says that it continues."""

    def search(request):
        asked.append(request.query)
        if len(asked) <= busy:
            return loopback.as_json(
                {"error": {"code": "maxlag", "info": "Waiting for a database server: 7 seconds lagged"}}
            )
        lat, lon = map(float, request.query["ggscoord"].split("|"))
        radius, east = int(request.query["ggsradius"]), math.cos(math.radians(lat))
        near = [math.hypot(place[1] - lat, (place[0] - lon) * east) * 111_000 <= radius for place in places]
        near = np.flatnonzero(near).tolist()
        limit = int(request.query["ggslimit"])
        if not near:
            return loopback.as_json({"batchcomplete": ""})
        plan = {"pageid": 77, "title": "File:Plan.svg", "imageinfo": [{"thumburl": "https://c/Plan.svg.png"}]}
        pages = {"77": plan}
        for number in near[: min(limit, most) - 1]:
            facts = {"Artist": {"value": ARTIST}, "LicenseShortName": {"value": "CC BY-SA 4.0"},
                     "LicenseUrl": {"value": "https://cc/4.0"},
                     "DateTimeOriginal": {"value": "2021-07-01 10:11:12"}}  # fmt: skip
            info = {
                "thumburl": f"{request.base}/files/{number}.jpg",
                "mime": "image/jpeg",
                "descriptionurl": f"https://c/File:{number}",
                "extmetadata": facts,
            }
            pages[str(number)] = {"pageid": number, "title": f"File:View {number}.jpg", "imageinfo": [info]}
            pages[str(number)]["coordinates"] = [{"lat": places[number][1], "lon": places[number][0]}]
        more = {"continue": {"cocontinue": "9|1"}} if most < limit and most <= len(near) else {"batchcomplete": ""}
        return loopback.as_json({"query": {"pages": pages}} | more)

    return ("GET", "/commons/w/api.php", search)


def test_commons_gives_photos_with_author_and_licence(serve, tmp_path):
    asked, places = [], [(-54.5 + 0.01 * step, -25.4) for step in range(5)] + [(-54.5, -25.29)]
    commons = connect("commons", serve(commons_route(asked, places, busy=1), JPEG))
    found = commons.search((-54.55, -25.45, -54.4, -25.35))
    assert [one.bounds[:2] for one in found] == places[:5]  # the sixth lies outside the bounds
    assert found[0].credit == "Jo & Ann, File:View 0.jpg, https://c/File:0" and found[0].time == "2021-07-01T10:11:12"
    assert found[0].licence == "CC BY-SA 4.0 https://cc/4.0"
    assert asked[0]["maxlag"] == "5" and int(asked[0]["ggsradius"]) <= 10_000 and asked[0]["ggsnamespace"] == "6"
    row = commons.fetch(found, tmp_path).frame().iloc[0]
    assert row.credit == found[0].credit and (row.west, row.north) == places[0] and row.source == "practice commons"


def test_commons_covers_larger_bounds_by_circles_and_full_circles_by_smaller_ones(serve):
    asked, random = [], np.random.default_rng(0)
    places = list(zip(random.uniform(-54.7, -54.3, 60), random.uniform(-25.6, -25.2, 60), strict=True))
    commons = connect("commons", serve(commons_route(asked, places)))
    assert len(commons.search((-54.7, -25.6, -54.3, -25.2))) == 60
    assert all(int(query["ggsradius"]) <= 10_000 for query in asked)
    commons = connect("commons", serve(commons_route(asked, places)), most=7)
    assert len(commons.search((-54.7, -25.6, -54.3, -25.2))) == 60
    before = len(asked)
    assert len(commons.search((-54.7, -25.6, -54.3, -25.2), limit=10)) == 10 and len(asked) - before < 20 < before
    with pytest.raises(ValueError, match="more than 200 are needed: give smaller bounds"):
        commons.search((-60, -30, -50, -20))


def test_photos_outside_the_box_do_not_use_up_the_limit(serve):
    outside, inside = [(-54.44, -25.4 + 0.001 * step) for step in range(4)], [(-54.5, -25.4), (-54.52, -25.41)]
    commons = connect("commons", serve(commons_route([], outside + inside)))
    found = commons.search((-54.55, -25.45, -54.45, -25.35), limit=2)
    assert sorted(one.bounds[:2] for one in found) == sorted(inside)


def test_a_film_or_plan_among_the_files_of_a_full_circle_hides_no_photo(serve):
    random = np.random.default_rng(1)
    places = list(zip(random.uniform(-54.55, -54.45, 70), random.uniform(-25.45, -25.35, 70), strict=True))
    for most in (50, 20):  # full answers, and such that continue
        server = serve(commons_route([], places, most=most))
        assert len(connect("commons", server).search((-54.55, -25.45, -54.45, -25.35))) == 70


def test_a_search_of_commons_ends_where_many_photos_have_one_place(serve):
    asked = []
    server = serve(commons_route(asked, [(-54.5, -25.4)] * 60))
    assert len(connect("commons", server).search((-54.51, -25.41, -54.49, -25.39))) == 49
    assert len(asked) < 60


def test_circles_cover_their_box():
    for box in ((-54.7, -25.6, -54.3, -25.2), (9, -0.1, 9.2, 0.3), (179.8, 70, 180, 70.2), (-180, -85, 180, 85)):
        lon, lat, radius = photos.circle(box)
        for corner in ((box[0], box[1]), (box[0], box[3]), (box[2], box[1]), (box[2], box[3])):
            a, b = np.radians(corner), np.radians((lon, lat))
            cosine = np.sin(a[1]) * np.sin(b[1]) + np.cos(a[1]) * np.cos(b[1]) * np.cos(a[0] - b[0])
            assert 6_371_000 * math.acos(min(1, cosine)) <= radius * 1.0001
    assert photos.circle((-180, -10, 180, 10))[2] > 20e6


def test_photos_are_searched_on_both_sides_of_the_antimeridian(serve):
    asked, places = [], [(179.99, 70.0), (-179.99, 70.01), (180.0, 70.02)]
    found = connect("commons", serve(commons_route(asked, places))).search((179.95, 69.95, -179.95, 70.05))
    assert {one.bounds[:2] for one in found} == set(places)
    assert {query["ggscoord"].split("|")[1][:4] for query in asked} == {"179.", "-179"}


def test_photos_lie_in_a_box_and_on_its_edges():
    box = (-54.6, -25.5, -54.4, -25.3)
    places = ((-54.6, -25.5), (-54.4, -25.3), (-54.5, -25.4), (math.nan, math.nan))
    outside = ((-54.61, -25.4), (-54.39, -25.4), (-54.5, -25.51), (-54.5, -25.29))
    assert all(photos.inside(place * 2, box) for place in places)
    assert not any(photos.inside(place * 2, box) for place in outside)
