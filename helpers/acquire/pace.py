"""Keep a pace towards servers: turns at a bounded rate, patience, and an end when a job ends."""

import random
import threading
import time

from requests.adapters import HTTPAdapter
from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

BUSY = {408, 425, 429, *range(500, 600)}  # asking again can help
_thread = threading.local()  # `ended`: Event of the job that a thread works for


class Stopped(Exception):
    """The job that this thread works for has ended."""


class Adapter(HTTPAdapter):
    """Let every request wait for its turn; the pool keeps the number of connections to a host."""

    def __init__(self, policy, pace):
        retry = _Patience(
            total=policy.tries - 1,
            allowed_methods=None,
            status_forcelist=BUSY,
            raise_on_status=False,
            backoff_max=policy.longest_wait_s,
            retry_after_max=policy.longest_wait_s,
        )
        retry.pace, self.pace = pace, pace
        connections = {"pool_connections": 10, "pool_maxsize": policy.connections}
        super().__init__(max_retries=retry, pool_block=True, **connections)

    def send(self, request, **options):
        """Send when it is its turn."""
        self.pace.take_turn()
        return super().send(request, **options)


class _Patience(Retry):
    """Hold all threads back where a server is busy, and keep to the rate in further tries, too."""

    def new(self, **changes):
        """Copy with the pace."""
        retry = super().new(**changes)
        retry.pace = self.pace
        return retry

    def sleep(self, response=None):
        """Wait as the server asks, or ever longer; then for a turn."""
        try:
            asked_s = self.get_retry_after(response) if response else None
        except InvalidHeader:
            asked_s = None
        wait_s = min(random.uniform(0.25, 0.5) * 2 ** len(self.history), self.backoff_max)
        wait_s = wait_s if asked_s is None else asked_s
        if response and (response.status == 429 or asked_s is not None):
            self.pace.hold(wait_s)
        else:
            pause(wait_s)
        self.pace.take_turn()


class Pace:
    """Turns of all requests of a client: a rate, and a pause for all where a server is busy."""

    def __init__(self, per_s):
        self.interval_s = 1 / per_s if per_s else 0
        self.next_start = self.held_until = 0.0
        self.turns, self.lock = 0, threading.Lock()

    def take_turn(self):
        """Wait for the time of the next request, and longer where all are held."""
        while True:
            with self.lock:
                start = max(time.perf_counter(), self.next_start, self.held_until)
                self.next_start = start + self.interval_s
            pause(start - time.perf_counter())
            if self.held_until <= start:  # nobody was told to wait meanwhile
                break
        with self.lock:
            self.turns += 1

    def hold(self, seconds):
        """Let no request begin for so long."""
        with self.lock:
            self.held_until = max(self.held_until, time.perf_counter() + seconds)


def pause(seconds):
    """Sleep; in a thread of a job, a Stopped ends it once the job has ended."""
    ended = getattr(_thread, "ended", None)
    if seconds > 0:
        (ended.wait if ended else time.sleep)(seconds)
    if ended and ended.is_set():
        raise Stopped


def end_with(event):
    """Make pauses in this thread end when the Event is set."""
    _thread.ended = event
