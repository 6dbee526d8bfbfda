"""Check addresses of tiles, and look them up by name in the library xyzservices."""

import re
from urllib.parse import urlsplit

FORBIDDEN = r"(.*\.)?(tile\.openstreetmap\.org|tile\.osm\.org)\.?"
FIELDS = ("z", "x", "y", "-y", "q", "s", "r", "key")
KEY = r"(?i)[?&](\w*(?:key|token|secret|sig|appid|auth|password)\w*)=(?!\{key\})|//[^/]*@"


def check(template):
    """Refuse a template that cannot be filled, shows a key, or is forbidden; name what offends."""
    host = urlsplit(template).hostname or ""
    if re.fullmatch(FORBIDDEN, host):
        raise ValueError(
            f"{host} is refused: OpenStreetMap's Tile Usage Policy forbids bulk download, as it "
            "slows the map down for all (https://operations.osmfoundation.org/policies/tiles/). "
            "Use gsi, eox, or a server of your own"
        )
    if held := re.search(KEY, template):
        raise ValueError(
            f"the template for {host} holds a key ({held[1] or 'before @'}); manifests show it. "
            "Put it into an environment variable, give its name as `key_name`, and write {key}"
        )
    fields = set(re.findall(r"\{(.*?)\}", template))
    if unknown := fields - set(FIELDS):
        raise ValueError(f"the template has the field {{{min(unknown)}}}; known are {FIELDS}")
    placed = {"z", "x"} <= fields and fields & {"y", "-y"} or "q" in fields
    if not placed or urlsplit(template).scheme not in ("http", "https"):
        raise ValueError(
            f"template {template!r}: expected an http address with {{z}}, {{x}} and {{y}} or "
            "{-y}, or with {q}"
        )


def known(name):
    """Return what xyzservices knows by a name, as Xyz takes it."""
    try:
        import xyzservices.providers

        found = xyzservices.providers.query_name(name)
    except (ImportError, ValueError):
        raise ValueError(
            f"template {name!r} is no address with {{z}}, {{x}}, {{y}}, and no name that "
            "xyzservices knows, or that is not installed"
        ) from None
    keys = {field: "{key}" for field, value in found.items() if "<insert your" in str(value)}
    return {
        "layer": found.name,
        "template": found.build_url(scale_factor="{r}", fill_subdomain=False, **keys),
        "credit": found.attribution,
        "licence": f"terms of {found.name}",
        "zooms": (found.get("min_zoom", 0), found.get("max_zoom", 18)),
        "subdomains": found.get("subdomains", "abc"),
    }
