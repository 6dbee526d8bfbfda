"""Keep to the rate of each host, over all clients of this process; stop waiting when a job ends."""

import threading
import time
from collections import defaultdict
from urllib.parse import urlsplit

JOB = threading.local()  # `ended`: Event of the job that a thread works for
NEVER = threading.Event()


class Stopped(Exception):
    """Raised in a thread whose job has ended."""


class Pace:
    """Schedule the requests to a host: at a rate, and with a pause for all while it is busy."""

    def __init__(self):
        self.next_start = self.held_until = 0.0
        self.lock = threading.Lock()

    def take_turn(self, per_s):
        """Wait until the next request may start, and longer while the host is on hold."""
        while True:
            with self.lock:
                start = max(time.perf_counter(), self.next_start, self.held_until)
                self.next_start = start + (1 / per_s if per_s else 0)
            pause(start - time.perf_counter())
            if self.held_until <= start:  # nobody was told to wait meanwhile
                return

    def hold(self, seconds):
        """Put the host on hold: no request starts for some time."""
        self.held_until = max(self.held_until, time.perf_counter() + seconds)


_PACES = defaultdict(Pace)


def of(url):
    """Return the Pace of a host; a.tile.example.org and b.tile.example.org share one."""
    return _PACES[".".join(urlsplit(url).netloc.split(".")[-2:])]


def pause(seconds):
    """Sleep; in a thread of a job, raise Stopped as soon as the job has ended."""
    if getattr(JOB, "ended", NEVER).wait(seconds):
        raise Stopped
