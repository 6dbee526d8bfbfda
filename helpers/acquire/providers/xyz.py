"""Fetch map tiles of Web Mercator."""

import functools
import re
from urllib.parse import quote, urlsplit

import mercantile
import numpy as np

from helpers.acquire import checks, tiles
from helpers.acquire.download import Item, safe_name
from helpers.acquire.http import Refused
from helpers.acquire.manifest import BOUNDS
from helpers.acquire.providers.provider import Found, Provider

MOST_TILES = 2_000  # without a `limit`


class Tiles(Provider):
    """Base of tile sources.

    Fields of a template: {scene}, {z}, {x}, {y}, {-y} from the south, {q} (quadkey), {s}
    (subdomain), {r} ("@2x" for 512 pixels), {key}, {suffix}, and {lon}, {lat} of the middle.
    """

    def tile_url(self, tile, scene):
        """Return the address of a tile; a "{key}" stays until it is sent."""
        x, y, z = tile
        lon, lat = mercantile.ul(2 * x + 1, 2 * y + 1, z + 1)  # the middle
        return (self.base + self.template).format_map(
            {
                "z": z,
                "x": x,
                "y": y,
                "-y": 2**z - 1 - y,
                "q": mercantile.quadkey(tile),
                "s": self.subdomains[(x + y) % len(self.subdomains)],
                "r": "@2x" * (self.tile_px == 512),
                "key": "{key}",
                "lon": lon,
                "lat": lat,
                "scene": quote(scene, safe=""),
                "suffix": self.suffixes.get(scene),
            }
        )

    def fetch(self, found, folder, *, zoom, limit=None, **others):
        """Download tiles; one becomes `<role>/<scene>/<z>_<x>_<y>`.

        Args:
            found, folder, role, pair: as `Provider.fetch` takes them; default pair: "z/x/y", which
                joins two layers of a place.
            zoom: of the tiles.
            limit: most tiles of a scene; of more, a random choice is taken, by `seed`.
            filled: least share of a tile that must hold data (be opaque).

        Raises:
            ValueError: nothing was found, no such zoom, or more than 2,000 tiles and no `limit`.
        """
        first, last = self.zooms
        if not first <= zoom <= last:
            raise ValueError(f"{self.name} has zoom {first} to {last}, not {zoom}")
        total = sum(tiles.count(one.bounds, zoom) for one in found)
        if limit is None and total > MOST_TILES:
            raise ValueError(
                f"these are {total:,} tiles at zoom {zoom}, about {total * 0.025:,.0f} MB: give a "
                "`limit`, a lower zoom, or smaller bounds"
            )
        return super().fetch(found, folder, zoom=zoom, limit=limit, **others)

    def _items(self, one, row, folder, *, zoom, limit, seed=0, filled=0.0):
        check = functools.partial(_full, size_px=self.tile_px, filled=filled)
        for tile in tiles.within(one.bounds, zoom, limit, f"{seed} {one.id}"):
            name = f"{zoom}/{tile.x}/{tile.y}"
            place = dict(
                zip(BOUNDS, mercantile.xy_bounds(tile), strict=True), crs="EPSG:3857"
            )
            yield Item(
                f"{row['role']}/{safe_name(one.id)}/{name.replace('/', '_')}.*",
                self.tile_url(tile, one.id) + (f"#filled={filled:g}" if filled else ""),
                row | place | {"pair": row["pair"] or name, "tile": name},
                check,
            )


def _full(data, size_px, filled):
    """Return the bytes of a tile; Refused where too little of it is opaque."""
    opaque = checks.picture(data, (size_px, size_px)).convert("RGBA").getchannel("A")
    if np.mean(np.asarray(opaque) > 0) < filled:
        raise Refused(f"less than {filled:.0%} of the tile holds data")
    return data


class Mosaic(Tiles):
    """Tiles of one layer that covers everything."""

    def __init__(self, name, service, server=None):
        super().__init__(name, service, server)
        if not self.layer or self.suffixes and self.layer not in self.suffixes:
            raise ValueError(f"{name} has no layer {self.layer!r}: {self.layer_hint}")

    def search(self, bounds, *, limit=None):
        """Return the mosaic within bounds, as a list of one Found."""
        return [
            Found(
                self.layer,
                tiles.check_bounds(bounds),
                "",
                self.credit,
                self.licence,
                {},
            )
        ]


class Xyz(Mosaic):
    """Any source of tiles.

    Options:
        template: address with {z}, {x}, {y} or {-y}, or {q}; other fields as of `Tiles`.
        key_name: environment variable of the key.
        credit, licence: whom to credit, under which terms.
        zooms: lowest and highest.
        tile_px: 256 or 512.
        subdomains: letters or words for {s}.
    """

    def __init__(self, name, service, server=None):
        template = service["template"]
        host = urlsplit(template).hostname
        for pattern, why in service["refused"]:
            if found := re.search(pattern, template):
                raise ValueError(f"the template for {host} {why} {found[0]}")
        if ("{key}" in template) != bool(service["key_name"]):
            raise ValueError(
                "{key} in the template needs a `key_name`, and a `key_name` needs {key} there"
            )
        if not (service["credit"] and service["licence"]):
            raise ValueError(
                f"{host}: give `credit` and `licence`; every file shows them"
            )
        # there is no practice for these
        super().__init__(name, service | {"layer": service["layer"] or host})


def named(name):
    """Return a source of xyzservices that needs no key, as options of Xyz."""
    try:
        import xyzservices.providers

        found = xyzservices.providers.query_name(name)
        template = found.build_url(scale_factor="{r}", fill_subdomain=False)
    except (ImportError, ValueError) as error:
        raise ValueError(
            f"xyzservices knows no source {name!r} that needs no key ({error}). Give its address "
            "to xyz, as `template`"
        ) from None
    return {
        "layer": found.name,
        "template": template,
        "credit": found.attribution,
        "licence": f"terms of {found.name}",
        "zooms": (0, found.get("max_zoom", 18)),
        "subdomains": found.get("subdomains", "abc"),
    }
