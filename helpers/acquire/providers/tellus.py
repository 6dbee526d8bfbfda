"""Search Tellus: Traveler, with whole files of scenes, and the article's first one, with tiles."""

import contextlib
import functools
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urljoin

from helpers import paths
from helpers.acquire.download import Item, safe_name
from helpers.acquire.http import Denied, Policy, Refused
from helpers.acquire.providers.provider import (
    Found,
    Provider,
    expect,
    geometry_bounds,
    once,
)
from helpers.acquire.providers.tiled import Tiles
from helpers.acquire.tiles import halves


class Tellus(Provider):
    """Tellus Satellite Data Traveler; each data set has terms of its own.

    Source: https://www.tellusxdp.com/en-us/howtouse/dev/Parameters_SceneSearch.html
    """

    address = "https://www.tellusxdp.com"
    key_name, key_place = "TELLUS_TOKEN", "https://www.tellusxdp.com (account → API tokens)"
    policy = Policy(connections=2, requests_per_s=2, max_bytes=2_000_000_000)  # whole scenes

    @property
    def _api(self):
        return f"{self.base}/api/traveler/v1/"

    def datasets(self):
        """List the data sets on offer: dicts with `id`, and mostly `name`, `copyright`."""
        listed, url, seen = [], f"{self._api}datasets/", set()
        while url and url not in seen:
            seen.add(url)
            answer = self.client.get_json(url)
            listed += expect(answer, "results", self.name)
            url = answer.get("next")
        return listed

    def _find(self, bounds, limit, *, datasets=None, since=None, until=None):
        known = {expect(one, "id", self.name, str): one for one in self.datasets()}
        if unknown := set(datasets or ()) - set(known):
            names = ", ".join(map(repr, sorted(unknown)))
            raise ValueError(f"tellus has no data set {names}: see `datasets()`")
        times = {key: rfc3339(when) for key, when in (("gte", since), ("lte", until)) if when}
        body = {"query": {"start_datetime": times} if times else {}, "only_downloadable_file": True}
        body["paginate"] = {"size": 100, "cursor": None}
        if datasets:
            body["datasets"] = list(datasets)
        for west, south, east, north in halves(bounds):
            ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
            body["intersects"] = {"type": "Polygon", "coordinates": [ring]}
            yield from once(self._pages(body, known), self.name, limit)

    def _pages(self, body, known):
        count, total = 0, 1
        while count < total:
            answer = self.client.post_json(f"{self._api}data-search/", body)
            page = expect(answer, "features", self.name)
            meta = expect(answer, "meta", self.name, dict)
            count, total = count + len(page), expect(meta, "total", self.name, int)
            yield [self._found(feature, known) for feature in page], total
            if count < total and not page:
                raise ValueError(f"the paging of {self.name} ends after {count} of {total} results")
            body = meta.get("search-condition")  # with the next cursor

    def _found(self, feature, known):
        name, dataset = (expect(feature, key, self.name, str) for key in ("id", "dataset_id"))
        facts, own = expect(feature, "properties", self.name, dict), known.get(dataset, {})
        about = {"url": f"{self._api}datasets/{dataset}/data/{name}/files/", "dataset": dataset}
        allowed = (own.get("permission") or {}).get("allow_network_type") or "global"
        if allowed != "global":
            about["unusable"] = f"its data set may be used inside Tellus only ({allowed})"
        terms, licence = own.get("terms_of_use"), f"terms of data set {dataset}"
        if terms:
            licence = urljoin(self._api, terms.lstrip("/"))
        credit = own.get("copyright") or f"Tellus data set {dataset}"
        bounds, time = geometry_bounds(feature.get("geometry")), facts.get("start_datetime") or ""
        return Found(name, bounds, time, credit, licence, about)

    def fetch(self, found, folder, *, role="image", pair=""):
        """Download the files of scenes.

        Args:
            found: list of Found.
            folder: data set folder; files become `<role>/<scene>/<name>`.
            role, pair: manifest columns.

        Returns:
            download.Summary; `skipped` names scenes that the key does not reach.

        Raises:
            ValueError: nothing was found.
        """

        def items(one):
            row = self.row(one, role=role, pair=pair)
            files = self._files(one, folder)
            return [
                self._item(one, file, row) for file in files if file.get("is_downloadable", True)
            ]

        return self.download(found, folder, items)

    def _files(self, one, folder):
        """The files of a scene; noted in the folder, so that a finished job asks nothing."""
        note = Path(folder) / ".tellus" / f"{safe_name(one.id)}.json"
        if not note.exists():
            with _reached():
                answer = self.client.get_json(one.about["url"])
            paths.write_json(note, expect(answer, "results", self.name))
        return paths.read_json(note)

    def _item(self, one, file, row):
        url = f"{one.about['url']}{file['id']}/"
        name = f"{row['role']}/{safe_name(one.id)}/{safe_name(file['name'])}"
        make = functools.partial(self._write, url=f"{url}download-url/")
        return Item(name, url, row, kind="file", make=make)

    def _write(self, client, path, *, url):
        # the address lives for a short time, on another host, which must not see the token
        with _reached():
            address = expect(client.post_json(url, {}), "download_url", self.name, str)
            path.write_bytes(client.get_bytes(address, send_key=False))


@contextlib.contextmanager
def _reached():
    """A 403 concerns one scene; a wrong key ends the job."""
    try:
        yield
    except Denied as error:
        if error.status == 401:
            raise
        raise Refused("the key does not reach this scene (403)") from None


class TellusLegacy(Tiles):
    """The first Tellus, which is superseded: the scenes of ASNARO-1, in tiles."""

    address = "https://gisapi.tellusxdp.com"
    key_name, key_place = Tellus.key_name, Tellus.key_place
    template = "/ASNARO-1/{scene}/{z}/{x}/{y}.png"
    layer, zooms = "ASNARO-1", (0, 18)
    credit, licence = "ASNARO-1, through Tellus", "terms of Tellus: https://www.tellusxdp.com"
    practice_credit = "Landsat 8 image courtesy of the U.S. Geological Survey"

    def _find(self, bounds, limit):
        for box in halves(bounds):
            asked = dict(zip(("min_lon", "min_lat", "max_lon", "max_lat"), box, strict=True))
            answer = {
                "list of scenes": self.client.get_json(f"{self.base}/api/v1/asnaro1/scene", asked)
            }
            for scene in expect(answer, "list of scenes", self.name):
                edges = tuple(expect(scene, edge, self.name, int | float) for edge in asked)
                name = expect(scene, "entityId", self.name, str)
                time = _iso(scene.get("acquisitionDate") or "")
                yield Found(name, edges, time, scene.get("copyright") or self.credit, self.licence)


def rfc3339(when):
    """Return a time that was given as ISO 8601, also a day alone, as full RFC 3339 in UTC."""
    when = datetime.fromisoformat(when)
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return f"{when.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _iso(text):
    """ISO 8601 of a date in whatever form; the text itself where it is none."""
    from dateutil import parser

    try:
        return parser.parse(text).isoformat()
    except (ValueError, OverflowError):
        return text
