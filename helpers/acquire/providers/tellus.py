"""Search Tellus: Traveler, with whole files of scenes, and the article's first one, with tiles."""

import functools
from pathlib import Path
from urllib.parse import urljoin

from dateutil import parser

from helpers import paths
from helpers.acquire import checks
from helpers.acquire.download import Item, safe_name
from helpers.acquire.http import Policy
from helpers.acquire.providers.provider import Found, Provider, footprint, utc
from helpers.acquire.providers.xyz import Tiles


class Tellus(Provider):
    """Tellus Satellite Data Traveler; each data set has terms of its own.

    Source: https://www.tellusxdp.com/en-us/howtouse/dev/Parameters_SceneSearch.html
    """

    address = "https://www.tellusxdp.com"
    key_name, key_place = "TELLUS_TOKEN", "https://www.tellusxdp.com (account → API tokens)"
    policy = Policy(connections=2, requests_per_s=2, max_bytes=2_000_000_000)  # whole scenes
    forbidden_ends = False  # each has permissions of its own

    @property
    def _api(self):
        return f"{self.base}/api/traveler/v1/"

    def datasets(self):
        """Return the data sets on offer: dict from id to what is told of one."""
        known, url = {}, f"{self._api}datasets/"
        while url:
            answer = self.client.get_json(url)
            known |= {one["id"]: one for one in answer["results"]}
            url = answer.get("next")
        return known

    def _pages(self, box, limit, *, datasets=None, since=None, until=None):
        known = self.datasets()
        times = {
            key: f"{utc(text):%Y-%m-%dT%H:%M:%SZ}"
            for key, text in (("gte", since), ("lte", until))
            if text
        }
        asked = {
            "query": {"start_datetime": times} if times else {},
            "only_downloadable_file": True,
        }
        asked |= {"datasets": list(datasets)} if datasets else {}
        asked["paginate"] = {"size": 100, "cursor": None}
        west, south, east, north = box
        ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
        body = asked | {"intersects": {"type": "Polygon", "coordinates": [ring]}}
        count, total = 0, 1
        while count < total:
            answer = self.client.post_json(f"{self._api}data-search/", body)
            yield [self._found(feature, known) for feature in answer["features"]]
            count, total = count + len(answer["features"]), answer["meta"]["total"]
            body = answer["meta"]["search-condition"]  # with the next cursor

    def _found(self, feature, known):
        name, dataset = feature["id"], feature["dataset_id"]
        own = known.get(dataset, {})
        about = {"url": f"{self._api}datasets/{dataset}/data/{name}/files/"}
        allowed = (own.get("permission") or {}).get("allow_network_type") or "global"
        if allowed != "global":
            about["unusable"] = f"its data set may be used inside Tellus only ({allowed})"
        terms = own.get("terms_of_use")
        return Found(
            name,
            footprint(feature.get("geometry")),
            feature["properties"].get("start_datetime") or "",
            own.get("copyright") or f"Tellus data set {dataset}",
            urljoin(self._api, terms.lstrip("/")) if terms else f"terms of data set {dataset}",
            about,
        )

    def _items(self, one, row, folder):
        """Yield the files of a scene; noted in the folder, so that a finished job asks nothing."""
        note = Path(folder) / ".tellus" / f"{safe_name(one.id)}.json"
        if not note.exists():
            paths.write_json(note, self.client.get_json(one.about["url"])["results"])
        for file in paths.read_json(note):
            if file.get("is_downloadable", True):
                name = f"{row['role']}/{safe_name(one.id)}/{safe_name(file['name'])}"
                url = f"{one.about['url']}{file['id']}/"
                make = functools.partial(self._write, url=f"{url}download-url/")
                yield Item(name, url, row, checks.file, make)

    def _write(self, client, path, *, url):
        # the address lives for a short time, on another host, which must not see the token
        address = client.post_json(url, {})["download_url"]
        path.write_bytes(client.get_bytes(address, send_key=False))


class TellusLegacy(Tiles):
    """The first Tellus, which is superseded: the scenes of ASNARO-1, in tiles."""

    address = "https://gisapi.tellusxdp.com"
    key_name, key_place = Tellus.key_name, Tellus.key_place
    template = "/ASNARO-1/{scene}/{z}/{x}/{y}.png"
    layer, zooms, patch = "ASNARO-1", (0, 18), None  # several scenes show a place
    credit, licence = "ASNARO-1, through Tellus", "terms of Tellus: https://www.tellusxdp.com"
    practice_credit = "Landsat 8 image courtesy of the U.S. Geological Survey"

    _boxes = Provider._boxes

    def _pages(self, box, limit):
        asked = dict(zip(("min_lon", "min_lat", "max_lon", "max_lat"), box, strict=True))
        page = []
        for scene in self.client.get_json(f"{self.base}/api/v1/asnaro1/scene", asked):
            edges = tuple(float(scene[edge]) for edge in asked)
            credit, when = scene.get("copyright"), _iso(scene.get("acquisitionDate") or "")
            page.append(Found(scene["entityId"], edges, when, credit or self.credit, self.licence))
        yield page


def _iso(text):
    """ISO 8601 of a date in whatever form; the text itself where it is none."""
    try:
        return parser.parse(text).isoformat()
    except (ValueError, OverflowError):
        return text
