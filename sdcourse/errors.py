"""One-sentence errors: what was wrong, what is allowed, what to do."""

from collections.abc import Iterable
from difflib import get_close_matches


def check_name(kind: str, name: str, allowed: Iterable[str]) -> str:
    """Return `name` if it is one of `allowed`.

    Raises:
        ValueError: one sentence with the nearest allowed name and the whole list.
    """
    allowed = list(allowed)
    if name in allowed:
        return name
    near = get_close_matches(str(name).lower(), allowed, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"Unknown {kind} {name!r}.{hint} Allowed: {', '.join(allowed)}.")
