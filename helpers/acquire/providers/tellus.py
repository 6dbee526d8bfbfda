"""Search Tellus: Traveler, with whole files of scenes, and the first Tellus, with tiles."""

import functools
from pathlib import Path

import jmespath

from helpers import paths
from helpers.acquire import checks
from helpers.acquire.download import Item, safe_name
from helpers.acquire.http import Refused
from helpers.acquire.providers.provider import Provider
from helpers.acquire.providers.xyz import Tiles


class Tellus(Provider):
    """Tellus Satellite Data Traveler; each data set has its own terms."""

    @functools.cached_property
    def data_sets(self):
        """List the data sets on offer: dict from id to credit, terms, and where they may go."""
        known = {}
        url = f"{self.base}/datasets/"
        while url:
            answer = self.client.get_json(url)
            known |= dict(jmespath.search(self.data_set_fields, answer))
            url = answer.get("next")
        return known

    def _pages(self, box, limit, *, datasets=None, since=None):
        west, south, east, north = box
        ring = [
            [west, south],
            [east, south],
            [east, north],
            [west, north],
            [west, south],
        ]
        body = {
            "datasets": list(datasets or self.data_sets),
            "query": {"start_datetime": {"gte": utc(since)}} if since else {},
            "intersects": {"type": "Polygon", "coordinates": [ring]},
            "only_downloadable_file": True,
            "paginate": {"size": 100, "cursor": None},
        }
        count = 0
        total = 1
        while count < total:
            answer = self.client.post_json(f"{self.base}/data-search/", body)
            page = self._read(answer)
            yield page
            count += len(page)
            total = answer["meta"]["total"]
            body = answer["meta"]["search-condition"]  # with the next cursor

    def _found(self, one):
        known = self.data_sets[one["data_set"]]
        one["licence"] = f"{self.base}/{known['terms'].lstrip('/')}"
        return super()._found(one | known)

    def _items(self, one, row, folder):
        """Yield the files of a scene; a list in the folder spares a finished job all requests."""
        about = one.about
        scene = safe_name(one.id)
        if about["network"] != "global":
            raise Refused(
                f"its data set may be used inside Tellus only ({about['network']})"
            )
        url = f"{self.base}/datasets/{about['data_set']}/data/{one.id}/files/"
        note = Path(folder) / ".tellus" / f"{scene}.json"
        if not note.exists():
            paths.write_json(
                note, jmespath.search(self.file_fields, self.client.get_json(url))
            )
        for file in paths.read_json(note):
            yield Item(
                f"{row['role']}/{scene}/{safe_name(file['name'])}",
                f"{url}{file['id']}/",
                row,
                checks.file,
                functools.partial(_write, url=f"{url}{file['id']}/download-url/"),
            )


def _write(client, path, *, url):
    # the address lives for a short time, on another host, which the token is not sent to
    path.write_bytes(client.get_bytes(client.post_json(url, {})["download_url"]))


class TellusLegacy(Tiles):
    """The first Tellus, which is superseded: the scenes of ASNARO-1, several of a place."""

    def _pages(self, box, limit):
        yield self._read(self.client.get_json(self.base + self.query.format(*box)))


def utc(text):
    """Return a time or day as RFC 3339 in UTC; it is UTC where it names no zone."""
    import pandas

    return f"{pandas.to_datetime(text, utc=True):%Y-%m-%dT%H:%M:%SZ}"
