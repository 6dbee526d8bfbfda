"""A stand-in for the providers on this very machine: to learn, teach and test without the internet."""

PORT = 48151  # where it is free, so that addresses in manifests hold when the server is started again


def start(*, latency_s=0.0, faults=None, seed=0):
    """Start a server on loopback that answers as the providers do, with the imagery of the sample packs.

    Nothing is opened or drawn before it is asked for; the packs `landsat8_itaipu`, `sentinel2_brandenburg`,
    `landsat_timeseries`, `blue_marble` and `rocky_mountain` must have been fetched by then.

    Args:
        latency_s: wait before each answer.
        faults: dict from kind (`server.FAULTS`) to the share of addresses that suffer it at their first request, or to
            (share, number of requests that suffer, None for all).
        seed: of the choice of addresses.

    Returns:
        Server, also for `with`; `providers.connect(name, server)` talks to it.

    Raises:
        ValueError: a kind of fault that there is not.
    """
    from helpers.acquire.practice import answers, catalogue, server, shapes  # noqa: F401 the last bring the routes

    return server.serve(answers.ROUTES, latency_s=latency_s, faults=faults, seed=seed, port=PORT)
