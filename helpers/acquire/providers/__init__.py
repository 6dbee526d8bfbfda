"""Connect to sources of imagery and photos: all have two verbs, `search` and `fetch`.

`connect("gsi")` gives the real service, `connect("gsi", server)` the same over a practice server.
What is known of each service stands in `services.toml`.
"""

import functools
import tomllib
from pathlib import Path

from helpers.acquire.providers import photos, stac, tellus, xyz

KINDS = {
    "tiles": xyz.Mosaic,
    "xyz": xyz.Xyz,
    "stac": stac.Stac,
    "photos": photos.Photos,
    "tellus": tellus.Tellus,
    "tellus_legacy": tellus.TellusLegacy,
}


@functools.cache
def services():
    """Return dict from the name of each service to what is known of it, a dict."""
    table = tomllib.loads(Path(__file__).with_name("services.toml").read_text("utf-8"))
    shared = table["shared"]
    own = table["service"]
    return {
        name: shared["any"] | shared[known["kind"]] | known
        for name, known in own.items()
    }


def connect(name, server=None, **options):
    """Make a provider, ready to search; no request is made yet.

    Args:
        name: one of `services()`, or one that the library xyzservices has, as "Esri.WorldImagery".
        server: a practice server; None: the real service.
        options: values in place of those of `services()`, such as `layer` of gsi, `template` of
            xyz, `collection` and `address` of the STAC catalogues; and `policy`, a download.Policy.

    Returns:
        Provider with `search(bounds, limit=…, …)`, which lists what there is, sorted by time, and
        `fetch(found, folder, role=…, pair=…, …)`, which downloads it. Bounds are (west, south,
        east, north) in degrees; west > east crosses the antimeridian.

    Raises:
        ValueError: no such provider, or an option's value is refused.
        TypeError: no such option.
        PermissionError: the provider needs a key and there is none (says where to get one).
    """
    known = services()
    if "." in name:
        name, options = "xyz", xyz.named(name) | options
    if name not in known:
        raise ValueError(f"there is no provider {name!r}; known are {', '.join(known)}")
    service = known[name]
    if unknown := options.keys() - service.keys():
        raise TypeError(
            f"{name} has no option {min(unknown)!r}; it has {', '.join(service)}"
        )
    return KINDS[service["kind"]](name, service | options, server)
