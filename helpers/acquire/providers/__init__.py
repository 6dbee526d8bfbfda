"""Connect to sources of imagery and photos: all have two verbs, `search` and `fetch`.

`connect("gsi")` gives the real service, `connect("gsi", server)` the same over a practice server.
"""

import difflib

from helpers.acquire.providers import photos, stac, tellus, xyz

PROVIDERS = {
    "xyz": xyz.Xyz,
    "gsi": xyz.Gsi,
    "eox": xyz.Eox,
    "yandex_static": xyz.YandexStatic,
    "earth_search": stac.Stac,
    "planetary_computer": stac.Stac,
    "cdse": stac.Stac,
    "commons": photos.Commons,
    "vk": photos.Vk,
    "tellus": tellus.Tellus,
    "tellus_legacy": tellus.TellusLegacy,
}


def connect(name, server=None, **options):
    """Make a provider, ready to search; no request is made yet.

    Args:
        name: one of PROVIDERS, or a name that the library xyzservices has, as "Esri.WorldImagery".
        server: a practice server; None: the real service.
        options: `policy` (download.Policy, instead of the provider's cautious one), and the
            provider's own, such as `layer` of gsi,
            `template` of xyz, `collection` and `url` of the STAC catalogues.

    Returns:
        Provider with `search(bounds, limit=…, …)`, which lists what there is, sorted by time, and
        `fetch(found, folder, role=…, pair=…, …)`, which downloads it. Bounds are (west, south,
        east, north) in degrees; west > east crosses the antimeridian.

    Raises:
        ValueError: no such provider, or an option's value is refused.
        PermissionError: the provider needs a key and there is none (says where to get one).
    """
    if "." in name:
        return xyz.Xyz(name, server, template=name, **options)
    if name not in PROVIDERS:
        near = difflib.get_close_matches(name, PROVIDERS, n=1, cutoff=0)[0]
        raise ValueError(
            f"there is no provider {name!r}; known are {', '.join(PROVIDERS)}. Did you mean "
            f"{near!r}?"
        )
    return PROVIDERS[name](name, server, **options)
