"""Where imagery and photos come from: one small class a provider, all with the same two verbs, `search` and `fetch`.

`connect("gsi")` gives the real service, `connect("gsi", server)` the same over a practice server on loopback.
"""

import difflib

from helpers.acquire.providers import photos, stac, tellus, tile_sources

PROVIDERS = {
    "tellus_legacy": tile_sources.TellusLegacy, "tellus": tellus.Tellus, "xyz": tile_sources.Xyz,
    "gsi": tile_sources.Gsi, "eox": tile_sources.Eox, "yandex_static": tile_sources.YandexStatic, "vk": photos.Vk,
    "commons": photos.Commons, "earth_search": stac.EarthSearch,
}  # fmt: skip


def names():
    """Names that `connect` knows."""
    return list(PROVIDERS)


def connect(name, server=None, **options):
    """A provider, ready to search; no request is made yet.

    Args:
        name: one of `names()`.
        server: a practice server; None = the real service.
        options: `policy` (download.Policy, instead of the provider's cautious one) and the provider's own, such as
            `layer` of gsi, `template` of xyz, `collection` of earth_search.

    Returns:
        Provider with `search(bounds, limit=…, …)`, which lists what there is, sorted by time, and `fetch(found, folder,
        role=…, pair=…, …)`, which downloads it. Bounds are (west, south, east, north) in degrees; west > east crosses
        the antimeridian.

    Raises:
        ValueError: no such provider, or an option's value is refused.
        PermissionError: the provider wants a key and there is none (says where to get one).
    """
    if name not in PROVIDERS:
        near = difflib.get_close_matches(str(name), PROVIDERS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"there is no provider {name!r}; known are {', '.join(PROVIDERS)}.{hint}")
    return PROVIDERS[name](name, server, **options)
