"""Search STAC catalogues, and decide for each item which files hold the bands that are wanted."""

import difflib
import functools
import json
import math
import re
import time
from urllib.parse import urlencode, urlsplit

import jmespath

from helpers.acquire import checks, tiles
from helpers.acquire.download import Item, safe_name
from helpers.acquire.http import Refused
from helpers.acquire.keys import hide
from helpers.acquire.manifest import BOUNDS
from helpers.acquire.providers import cog
from helpers.acquire.providers.provider import Provider
from helpers.scenes.bands import NUMBERED, common_name

MASKS = "mask|class|cloud|quality|snow"  # in roles of assets
CLASSES = "scl|fmask|qa|qa_pixel|qa_radsat|qa_aerosol"
# what STAC 1.0 and 1.1 say of an asset, at one of several places
ASSET = jmespath.compile("""
    {asset: @, band: not_null("raster:bands"[0], bands[0], `{}`),
     alternate: not_null(alternate, `{}`)}.{
        links: [[asset.href], values(alternate)[].href][] | [?starts_with(not_null(@, ''), 'http')],
        common: not_null(asset."eo:bands", asset.bands)[].not_null(common_name, "eo:common_name"),
        scale: not_null(band.scale, band."raster:scale", asset."raster:scale"),
        offset: not_null(band.offset, band."raster:offset", asset."raster:offset"),
        type: not_null(band.data_type, asset.data_type),
        classes: not_null(band."classification:classes", asset."classification:classes"),
        roles: join(' ', not_null(asset.roles, `[]`))
    }""")


class Stac(Provider):
    """A STAC catalogue of rasters.

    Each scene becomes one GeoTIFF with the grid of its finest band. Bands of that pixel size are
    copied, coarser ones interpolated (bilinear); classes (scl, …) keep the nearest value. Offsets
    that items declare are applied, so that Sentinel-2 is reflectance x 10000 whatever the
    processing baseline.

    Options:
        address: of the catalogue, where it is none of the named ones.
        collection: as the catalogue spells it.
    """

    def __init__(self, name, service, server=None):
        super().__init__(name, service, server)
        _, credit, self.licence = next(
            row for row in self.terms if self.collection.startswith(row[0])
        )
        self.credit = f"{credit}, through {urlsplit(self.address).hostname}"

    def _pages(self, box, limit, *, date=None, cloud_cover_below=None):
        import pystac_client  # takes seconds

        catalogue = pystac_client.Client.open(self.base, stac_io=_polite(self.client))
        wanted = {"collections": [self.collection], "datetime": date, "limit": 100}
        if cloud_cover_below is not None:
            wanted["query"] = {"eo:cloud_cover": {"lt": cloud_cover_below}}
        found = False
        try:
            for page in catalogue.search(bbox=box, **wanted).pages_as_dicts():
                found = True
                yield self._read(page)
        except Refused:  # some refuse an unknown collection
            self._check_collection()
            raise
        if not found:
            self._check_collection()

    def _check_collection(self):
        """Refuse a collection that the catalogue does not have, and name the nearest."""
        answer = self.client.get_json(f"{self.base}/collections")
        names = [one["id"] for one in answer["collections"]]
        if self.collection not in names:
            near = difflib.get_close_matches(self.collection, names, cutoff=0.4)
            raise ValueError(
                f"{self.name} has no collection {self.collection!r}; near are: {near or 'none'}"
            )

    def _items(
        self,
        one,
        row,
        folder,
        *,
        bands=("red", "green", "blue"),
        bounds=None,
        offset=None,
    ):
        """Yield the Item of a scene, `<role>/<scene>.tif`.

        Args:
            one, row, folder: as `Provider.fetch` gives them.
            bands: asset keys, common names or file names of bands, in the order wanted.
            bounds: window wanted, degrees; default: the whole scene.
            offset: digital numbers to add to reflectances, whatever the item says.
        """
        if math.isnan(one.bounds[0]):
            raise Refused("its footprint is empty")
        how = {
            "bands": bands,
            "bounds": bounds and tiles.check_bounds(bounds),
            "offset": offset,
        }
        yield Item(
            f"{row['role']}/{safe_name(one.id)}.tif",
            f"{self.base}/collections/{self.collection}/items/{one.id}#{urlencode(how)}",
            {name: row[name] for name in row if name not in BOUNDS},  # `make` adds them
            checks.file,
            functools.partial(self._write, one=one, **how),
        )

    def _write(self, client, path, *, one, bands, bounds, offset):
        """Choose the files of an item, and have the window written; a Refused skips it."""
        layers = [self._layer(one.about, band, offset) for band in bands]
        box = cog.write(path, layers, bounds=bounds, credit=one.credit)
        return dict(zip(BOUNDS, box, strict=True))

    def _layer(self, about, band, offset):
        """Return the cog.Layer of a band; its address is signed if the catalogue requires it."""
        asset = choose(about["assets"], band)
        if self.account or not asset["links"]:
            raise Refused(self.account or self.no_link)
        address = asset["links"][0]
        if self.signing and ".blob.core." in address:
            address += f"?{self._token(time.time() // 1800)}"
        scale, add = calibration(asset, band, about["properties"], offset)
        return cog.Layer(
            band, address, scale, add, offset is not None, is_classes(asset, band)
        )

    @functools.lru_cache(1)  # noqa: B019
    def _token(self, half_hour):
        """Ask Planetary Computer for a token; half_hour: a number that changes twice an hour."""
        token = self.client.get_json(self.signing.format(self.collection))["token"]
        hide(token)
        return token


def choose(assets, band):
    """Find the asset of a band, and return what ASSET reads of it.

    Its key may be in any case, an alias or a common name; of several sizes, the finest counts.
    Refused: there is none.
    """
    common = plain(band)
    ranked = []
    for key in sorted(filter(assets.get, assets)):  # B04_10m before B04_20m
        asset = ASSET.search(assets[key])
        fits = (
            key.lower() == band.lower(),
            plain(key) == common,
            asset["common"] == [common],
        )
        if any(fits):
            ranked.append((fits.index(True), len(ranked), asset))
    if not ranked:
        raise Refused(f"it has no band {band!r}")
    return min(ranked)[2]


def plain(key):
    """Return "red" for "red", "B04", "B04_10m"; an unknown key in small letters, without size."""
    name = re.sub(r"_\d\dm$", "", key.lower())
    return "visual" if name == "tci" else common_name(name)


def calibration(asset, band, facts, override=None):
    """Return (scale, offset) that turn digital numbers into reflectance x 10000, or leave them.

    Classes and heights stay as they are. The offset of reflectances is `override`, if given; else
    the asset's own, unless the item has `earthsearch:boa_offset_applied`; else -1000, from
    processing baseline 04.00 on, where it is not applied yet.
    """
    if plain(band) not in NUMBERED.values():
        return 1, 0
    if override is not None:
        return 1, override
    applied = facts.get("earthsearch:boa_offset_applied")
    if applied is None and asset["scale"] and asset["offset"]:
        return asset["scale"] * 10_000, asset["offset"] * 10_000
    return 1, -1000 if baseline(facts) >= 4 and not applied else 0


def baseline(facts):
    """Return the processing baseline as a number from "05.10", "N0510" and the like; 0: unknown."""
    text = str(facts.get("s2:processing_baseline") or facts.get("processing:version"))
    found = re.search(r"(\d\d?)\.?(\d\d)\b", text)
    return float(f"{found[1]}.{found[2]}") if found else 0


def is_classes(asset, band):
    """Return whether values are classes, of which no average can be taken."""
    is_mask = asset["type"] in ("uint8", "int8") and re.search(MASKS, asset["roles"])
    return bool(is_mask or asset["classes"] or re.fullmatch(CLASSES, plain(band)))


def _polite(client):
    """Have pystac-client ask through our own Client: with its limits, retries, messages."""
    from pystac_client.stac_api_io import StacApiIO

    class Polite(StacApiIO):
        def request(self, href, method=None, headers=None, parameters=None):
            ask = client.post_json if method == "POST" else client.get_json
            answer = ask(href, parameters)
            if href.endswith("/search"):
                answer[
                    "features"
                ]  # pystac-client takes an answer without for the last page
            return json.dumps(answer)

    return Polite()
