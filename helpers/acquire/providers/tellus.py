"""Search Tellus: Traveler, with whole files of scenes, and the article's first one, with tiles."""

import functools
from pathlib import Path

import jmespath
from dateutil import parser

from helpers import paths
from helpers.acquire import checks
from helpers.acquire.download import Item, safe_name
from helpers.acquire.http import Policy, Refused
from helpers.acquire.providers.provider import Found, Provider, footprint, utc
from helpers.acquire.providers.xyz import Tiles

DATA_SETS = jmespath.compile("""
    results[].[id, {
        credit: not_null(copyright, join(' ', ['Tellus data set', id])),
        terms: not_null(terms_of_use, 'datasets/'),
        network: not_null(permission.allow_network_type, 'global')}]""")
FILES = jmespath.compile("results[?is_downloadable != `false`].{id: id, name: name}")


class Tellus(Provider):
    """Tellus Satellite Data Traveler; each data set has its own terms.

    Source: https://www.tellusxdp.com/en-us/howtouse/dev/Parameters_SceneSearch.html
    """

    address = "https://www.tellusxdp.com"
    key_name, key_place = "TELLUS_TOKEN", "https://www.tellusxdp.com (account → API tokens)"
    policy = Policy(connections=2, requests_per_s=2, max_bytes=2_000_000_000)  # whole scenes
    forbidden_ends = False  # each has permissions of its own
    fields = jmespath.compile("""
        features[].{id: id, data_set: dataset_id, geometry: geometry,
                    time: not_null(properties.start_datetime, '')}""")

    def __init__(self, *how, **options):
        super().__init__(*how, **options)
        self.api = f"{self.base}/api/traveler/v1/"

    @functools.cached_property
    def data_sets(self):
        """List the data sets on offer: dict from id to credit, terms, and where they may go."""
        known, url = {}, f"{self.api}datasets/"
        while url:
            answer = self.client.get_json(url)
            known |= dict(DATA_SETS.search(answer))
            url = answer.get("next")
        return known

    def _pages(self, box, limit, *, datasets=None, since=None, until=None):
        times = {key: utc(text) for key, text in (("gte", since), ("lte", until)) if text}
        west, south, east, north = box
        ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
        body = {
            "datasets": list(datasets or self.data_sets),
            "query": {"start_datetime": times} if times else {},
            "intersects": {"type": "Polygon", "coordinates": [ring]},
            "only_downloadable_file": True,
            "paginate": {"size": 100, "cursor": None},
        }
        count, total = 0, 1
        while count < total:
            answer = self.client.post_json(f"{self.api}data-search/", body)
            page = self._read(answer)
            yield page
            count, total = count + len(page), answer["meta"]["total"]
            body = answer["meta"]["search-condition"]  # with the next cursor

    def _found(self, one):
        known, scene = self.data_sets[one["data_set"]], one["id"]
        about = {"url": f"{self.api}datasets/{one['data_set']}/data/{scene}/files/", **known}
        place, terms = footprint(one["geometry"]), self.api + known["terms"].lstrip("/")
        return Found(scene, place, one["time"], known["credit"], terms, about)

    def _items(self, one, row, folder):
        """Yield the files of a scene; noted in the folder, so that a finished job asks nothing."""
        url, scene, network = one.about["url"], safe_name(one.id), one.about["network"]
        if network != "global":
            raise Refused(f"its data set may be used inside Tellus only ({network})")
        note = Path(folder) / ".tellus" / f"{scene}.json"
        if not note.exists():
            paths.write_json(note, FILES.search(self.client.get_json(url)))
        for file in paths.read_json(note):
            name = f"{row['role']}/{scene}/{safe_name(file['name'])}"
            make = functools.partial(_write, url=f"{url}{file['id']}/download-url/")
            yield Item(name, f"{url}{file['id']}/", row, checks.file, make)


def _write(client, path, *, url):
    # the address lives for a short time, on another host, which the token is not sent to
    path.write_bytes(client.get_bytes(client.post_json(url, {})["download_url"]))


class TellusLegacy(Tiles):
    """The first Tellus, which is superseded: the scenes of ASNARO-1, in tiles."""

    address = "https://gisapi.tellusxdp.com"
    key_name, key_place = Tellus.key_name, Tellus.key_place
    template = "/ASNARO-1/{scene}/{z}/{x}/{y}.png"
    layer, zooms, patch = "ASNARO-1", (0, 18), None  # several scenes show a place
    credit, licence = "ASNARO-1, through Tellus", "terms of Tellus: https://www.tellusxdp.com"
    practice_credit = "Landsat 8 image courtesy of the U.S. Geological Survey"
    fields = jmespath.compile("""
        [].{id: entityId, edges: [min_lon, min_lat, max_lon, max_lat], credit: copyright,
            time: not_null(acquisitionDate, '')}""")
    _boxes = Provider._boxes

    def _pages(self, box, limit):
        asked = dict(zip(("min_lon", "min_lat", "max_lon", "max_lat"), box, strict=True))
        yield self._read(self.client.get_json(f"{self.base}/api/v1/asnaro1/scene", asked))

    def _found(self, one):
        edges = tuple(map(float, one["edges"]))
        credit = one["credit"] or self.credit
        return Found(one["id"], edges, _iso(one["time"]), credit, self.licence)


def _iso(text):
    """Return a date of any form in ISO 8601; other text is returned unchanged."""
    try:
        return parser.parse(text).isoformat()
    except (ValueError, OverflowError):
        return text
