"""Work for the newest wish only: a slider that has moved on makes the picture for its last place stale."""

import threading
from collections.abc import Callable
from typing import Any


class Stale(Exception):
    """A newer wish has come; what is being drawn is not wanted any more."""


class Latest:
    """Calls `work(wish, check)` for wishes, one at a time, and skips those that a newer one has overtaken.

    Args:
        work: calls `check()` now and then, which raises `Stale` once a newer wish has come. It deals with
            its own errors: what it raises otherwise is lost in a thread.
        threaded: False works inside `request`, where a thread's pictures are never shown (Colab).
    """

    def __init__(self, work: Callable[[Any, Callable[[], None]], None], threaded: bool = True):
        self.work, self.threaded = work, threaded
        self._state = threading.Condition()
        self._newest, self._done, self._wish = 0, 0, None  # numbers of wishes, and the newest one
        self._thread = None

    def request(self, wish: Any) -> None:
        """Ask for work on `wish`; returns at once, unless it works in here."""
        if not self.threaded:
            self.work(wish, lambda: None)
            return
        with self._state:
            self._newest, self._wish = self._newest + 1, wish
            if self._thread is None:
                # One thread for good: each new one would make torch start its own team of workers.
                self._thread = threading.Thread(target=self._run, daemon=True)
                self._thread.start()
            self._state.notify_all()

    def wait(self, timeout: float | None = None) -> bool:
        """Until nothing is left to do; False if `timeout` seconds were not enough."""
        with self._state:
            return self._state.wait_for(lambda: self._done == self._newest, timeout)

    def _run(self):
        while True:
            with self._state:
                self._state.wait_for(lambda: self._done < self._newest)
                number, wish = self._newest, self._wish

            def check(number=number):
                if number < self._newest:
                    raise Stale

            try:
                self.work(wish, check)
            except Stale:
                pass
            finally:
                with self._state:
                    self._done = number
                    self._state.notify_all()
