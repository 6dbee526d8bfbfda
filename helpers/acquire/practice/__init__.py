"""Stand in for the providers on this machine: to learn, teach, test without the internet."""

from helpers.acquire.practice.server import FAULTS, Response, Server, as_json  # noqa: F401

PORT = 48151  # where free, so that addresses in manifests hold when the server starts again
serve = Server


def start(**how):
    """Serve the sample packs; `providers.connect(name, server)` talks to the Server returned."""
    from helpers.acquire.practice import services

    try:
        return Server(services.ROUTES, port=PORT, **how)
    except OSError:  # the port is taken
        return Server(services.ROUTES, **how)
