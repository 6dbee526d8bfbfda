"""Stand in for the providers on this very machine: to learn, teach, test without the internet."""

from helpers.acquire.practice.server import FAULTS, Response, Server, as_json, serve

PORT = 48151  # where free, so that addresses in manifests hold when the server starts again
__all__ = ["FAULTS", "Response", "Server", "as_json", "serve", "start"]


def start(**how):
    """Serve the sample packs as gsi, eox, tellus_legacy, earth_search and commons answer.

    Args:
        how: latency_s, faults and seed, as of `serve`.

    Returns:
        Server, also for `with`; `providers.connect(name, server)` talks to it.
    """
    from helpers.acquire.practice import services

    return serve(services.ROUTES, port=PORT, **how)
