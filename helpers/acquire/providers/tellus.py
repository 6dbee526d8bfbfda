"""Tellus (Traveler): scenes of many data sets, as whole files."""

import fnmatch
import functools
import itertools
from pathlib import Path

from helpers import paths
from helpers.acquire.client import Policy
from helpers.acquire.download import Item, fetch
from helpers.acquire.providers.provider import Found, Provider, chosen, expect, geometry_bounds, halves, once, safe_name


class Tellus(Provider):
    """Tellus Satellite Data Traveler; each data set has terms of its own.

    Source: https://www.tellusxdp.com/en-us/howtouse/dev/Parameters_SceneSearch.html
    """

    address = "https://www.tellusxdp.com"
    key_name, key_place = "TELLUS_TOKEN", "https://www.tellusxdp.com (account → API tokens)"
    key_sent = {"key_header": "Authorization: Bearer {}"}
    policy = Policy(connections=2, requests_per_s=2, max_bytes=2_000_000_000, deadline_s=3600)  # whole scenes
    page_size = 100

    @property
    def _api(self):
        return f"{self.base}/api/traveler/v1"

    def datasets(self):
        """The data sets on offer: list of dict with `id`, and mostly `name`, `description`, `copyright`."""
        pages, url = {}, f"{self._api}/datasets/"
        while url and url not in pages:
            answer = self.client.get_json(url)
            pages[url], url = expect(answer, "results", self.name), answer.get("next")
        return [*itertools.chain(*pages.values())]

    def _find(self, bounds, limit, *, datasets=None, since=None, until=None):
        known = {expect(one, "id", self.name, str): one for one in self.datasets()}
        if unknown := set(datasets or ()) - set(known):
            raise ValueError(f"tellus has no data set {', '.join(map(repr, sorted(unknown)))}: see `datasets()`")
        times = {key: value for key, value in {"gte": since, "lte": until}.items() if value}
        body = {
            "query": {"start_datetime": times} if times else {}, "only_downloadable_file": True,
            "paginate": {"size": self.page_size, "cursor": None}, **({"datasets": list(datasets)} if datasets else {}),
        }  # fmt: skip
        for west, south, east, north in halves(bounds):
            ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
            asked = body | {"intersects": {"type": "Polygon", "coordinates": [ring]}}
            yield from once(self._pages(asked, known), self.name, limit)

    def _pages(self, body, known):
        count, total = 0, 1
        while count < total:
            answer = self.client.post_json(f"{self._api}/data-search/", body)
            page, meta = expect(answer, "features", self.name), expect(answer, "meta", self.name, dict)
            count, total = count + len(page), expect(meta, "total", self.name, int)
            yield [self._found(feature, known) for feature in page], total
            if count < total:
                body = expect(meta, "search-condition", self.name, dict)  # with the next cursor in it
                if not page:
                    raise ValueError(f"the paging of {self.name} ends after {count} of {total} results")

    def _found(self, feature, known):
        name, dataset = (expect(feature, key, self.name, str) for key in ("id", "dataset_id"))
        facts = expect(feature, "properties", self.name, dict)
        bounds, own = geometry_bounds(feature.get("geometry"), self.name), known.get(dataset, {})
        about = {"url": f"{self._api}/datasets/{dataset}/data/{name}/files/", "dataset": dataset, "properties": facts}
        credit = own.get("copyright") or f"Tellus data set {dataset}"
        licence = own.get("terms_of_service") or f"terms of Tellus data set {dataset}"
        return Found(name, bounds, facts.get("start_datetime") or "", credit, licence, about)

    def fetch(self, found, folder, *, role="image", pair="", files="*"):
        """Download the files of scenes.

        Args:
            found: list of Found.
            folder: data set folder; files become `<role>/<scene>/<name>`.
            role, pair: manifest columns.
            files: which files, as a pattern of their names, such as "*.tif".

        Returns:
            download.Summary.

        Raises:
            ValueError: nothing was found, or no file of it matches and may be downloaded.
        """
        items = [
            self._item(one, file, role=role, pair=pair) for one in chosen(found) for file in self._files(one, folder)
            if file.get("is_downloadable", True) and fnmatch.fnmatch(file["name"], files)
        ]  # fmt: skip
        if not items:
            raise ValueError(f"none of the scenes has a file that may be downloaded and whose name matches {files!r}")
        return fetch(items, folder, self.client, total=len(items))

    def _files(self, one, folder):
        """The files of a scene; noted in the folder, so that a finished job asks nothing."""
        note = Path(folder) / ".tellus" / f"{safe_name(one.id)}.json"
        if not note.exists():
            paths.write_json(note, expect(self.client.get_json(one.about["url"]), "results", self.name))
        return paths.read_json(note)

    def _item(self, one, file, **columns):
        name, url = f"{safe_name(one.id)}/{safe_name(file['name'])}", f"{one.about['url']}{file['id']}/"
        make = functools.partial(self._write, url=f"{url}download-url/")
        return Item(f"{columns['role']}/{name}", url, self.row(one, **columns), kind="file", make=make)

    def _write(self, client, path, *, url):
        # the address lives for a short time, on another host, which must not see the token
        address = expect(client.post_json(url, {}), "download_url", self.name, str)
        path.write_bytes(client.get_bytes(address, send_key=False))
