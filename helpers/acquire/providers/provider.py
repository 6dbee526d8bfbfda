"""Share between providers: the results of a search, keys, paging, and what is fetched."""

import contextlib
import getpass
import math
import os
import sys
from collections import namedtuple

import jmespath
import numpy as np
from jmespath.exceptions import JMESPathError

from helpers.acquire import download, tiles
from helpers.acquire.http import Client, Policy, Refused
from helpers.acquire.manifest import BOUNDS

# of a practice server, which is yours alone
AT_HOME = Policy(connections=8, requests_per_s=None)


class Found(namedtuple("Found", "id bounds time credit licence about")):
    """One result of a search: a scene, a mosaic of tiles, or a photo.

    Attributes:
        id: the provider's name for it.
        bounds: (west, south, east, north) in degrees; a photo has its point twice; NaN: unknown.
        time: when it was taken, ISO 8601, or "".
        credit, licence: whom to credit, and under which terms it may be used.
        about: dict of what else is known.
    """


class Provider:
    """Base of all providers; what `services.toml` says of a service becomes attributes.

    Each adds `_pages` (yields lists of Found in a box, of JSON answers by `_read`, which turns
    the dicts that `fields` lists into Found) and `_items` (yields the download.Item
    of a Found; a Refused skips it).
    """

    def __init__(self, name, service, server=None):
        vars(self).update(service, name=name, source=name, base=service["address"])
        if server:
            vars(self).update(self.practice, source=f"practice {name}")
            self.base = f"{server.url}/{name}"
        self.policy = self.policy or (AT_HOME if server else Policy(**self.limits))
        self.client = Client(
            self.policy,
            key=_key(self, server) if self.key_name else "",
            key_name=self.key_name,
            key_origin=f"{self.base}/",
            forbidden_ends=self.forbidden_ends,
        )

    def search(self, bounds, *, limit=None, **filters):
        """List what there is within bounds.

        Args:
            bounds: (west, south, east, north), degrees; west > east crosses the antimeridian.
            limit: stop after so many; default: all of them.
            filters: the provider's own: `datasets` and `since` (tellus), `date` and
                `cloud_cover_below` (STAC catalogues).

        Returns:
            List of Found, sorted by time and name; empty where there is nothing.

        Raises:
            ValueError: bounds that cannot be, or an answer that the provider does not promise.
            PermissionError: the key is refused.
        """
        found = {}
        try:
            for box in tiles.halves(tiles.check_bounds(bounds)):
                listed = {}
                for number, page in enumerate(self._pages(box, limit, **filters)):
                    known = len(listed)
                    listed |= {one.id: one for one in page}
                    if limit and len(listed) >= limit:
                        break
                    if number and self.paged and len(listed) == known:
                        raise ValueError(
                            f"the paging of {self.name} repeats itself after {known} results: "
                            "its API may have changed"
                        )
                found |= listed
        except (JMESPathError, LookupError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{self.name} answers in another form ({error!r}): its API may have changed"
            ) from error
        first = [*found.values()][:limit]
        return sorted(first, key=lambda one: (one.time, one.id))

    def _read(self, answer):
        """List the Found of an answer."""
        listed = jmespath.search(self.fields, answer)
        if listed is None:
            raise LookupError(f"{str(answer)[:60]} without {self.fields.split()[0]}")
        return [self._found(one) for one in listed]

    def _found(self, one):
        """Return the Found that the fields of a result mean; its place: `geometry` or `bounds`."""
        return Found(
            one["id"],
            tuple(one.get("bounds") or footprint(one["geometry"])),
            iso(one["time"]),
            one["credit"] or self.credit,
            one.get("licence") or self.licence,
            one,
        )

    def fetch(self, found, folder, *, role="", pair="", **how):
        """Download the results of a search.

        Args:
            found: list of Found.
            folder: data set folder; files become `<role>/<name>`.
            role, pair: manifest columns; default role: image, or photo.
            how: the provider's own; see its `_items`.

        Returns:
            download.Summary; `skipped` names, by reason, what could not be had.

        Raises:
            ValueError: nothing was found.
        """
        if not found:
            raise ValueError(
                "nothing to fetch: the search found nothing. Try wider bounds, look whether they "
                "are in the order west, south, east, north (longitude first), or loosen the filters"
            )
        items = []
        unusable = {}
        for one in found:
            row = self.row(one, role=role or self.role, pair=pair)
            try:
                items += self._items(one, row, folder, **how)
            except Refused as error:
                unusable[one.id] = error.reason
        summary = download.fetch(items, folder, self.client, total=len(items))
        for name, reason in unusable.items():
            summary.skip(name, reason)
        return summary

    def row(self, one, **others):
        """Return the columns of the manifest that a Found gives, and others."""
        return {
            "source": self.source, "scene": one.id, "time": one.time, "crs": "EPSG:4326",
            "credit": one.credit, "licence": one.licence,
            **dict(zip(BOUNDS, one.bounds, strict=True)), **others,
        }  # fmt: skip


def footprint(geometry):
    """Return (west, south, east, north) of a GeoJSON geometry; NaN where it is empty.

    West > east where it crosses the antimeridian.
    """
    points = _points((geometry or {}).get("coordinates") or [])
    if not points:
        return (math.nan,) * 4
    lons, lats = np.transpose(points)
    turned = lons % 360
    if np.ptp(lons) > 180 > np.ptp(turned) > 0 or lons.min() < -180:
        lons = turned
    edges = np.array([lons.min(), lats.min(), lons.max(), lats.max()])
    return tuple(np.where(edges > 180, edges - 360, edges).tolist())


def _points(nested):
    if nested and isinstance(nested[0], int | float):
        return [nested[:2]]
    return [point for part in nested for point in _points(part)]


def iso(value):
    """Return a time in ISO 8601, from seconds since 1970 or a text of any form; else ""."""
    import pandas

    known = {"unit": "s", "utc": True} if isinstance(value, int) else {}
    when = pandas.to_datetime(value, errors="coerce", **known)
    return "" if pandas.isna(when) else when.isoformat()


def _key(provider, server):
    """Return the key: from its environment variable, "practice", or a hidden prompt."""
    name = provider.key_name
    value = os.environ.get(name) or ("practice" if server else "")
    if not value and ("ipykernel" in type(sys.stdout).__module__ or sys.stdin.isatty()):
        # under papermill nobody is there
        with contextlib.suppress(NotImplementedError, EOFError):
            value = getpass.getpass(f"{name} (it is not shown): ")
    if not value:
        raise PermissionError(
            f"{provider.name} wants a key: set the environment variable {name} before Jupyter "
            f"starts. Get a key at {provider.key_place}"
        )
    return value
