"""Asking a hub, without waiting for one that is not there."""

from __future__ import annotations

import threading
from collections.abc import Callable

FIRST_ANSWER_SECONDS = 5.0
"""How long a hub may take to answer at all. Without a network there is an error at once; this bounds the wait
where a firewall swallows everything."""


def answered_in_time(function: Callable):
    """The result of `function`, or a TimeoutError, also where looking up an address hangs."""
    seconds = FIRST_ANSWER_SECONDS
    outcome: dict[str, object] = {}

    def run() -> None:
        try:
            outcome["result"] = function()
        except Exception as error:
            outcome["error"] = error

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise TimeoutError(f"no answer within {seconds:g} seconds")
    if "error" in outcome:
        raise outcome["error"]
    return outcome["result"]


def reason(error: Exception) -> str:
    """An error of the hub in a few words."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    if isinstance(error, GatedRepoError):
        return "needs an account on the hub (set HF_TOKEN)"
    if isinstance(error, RepositoryNotFoundError):
        return "not found"
    if isinstance(error, TimeoutError):
        return str(error)
    first_line = (str(error).strip() or "no details").splitlines()[0]
    return f"{type(error).__name__}: {first_line}"
