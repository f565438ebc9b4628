"""Checks of arguments that need no heavy library, so that a refusal does not wait for one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

MAX_SEED = 2**32 - 1  # of numpy, the strictest of the generators


def check_seed(seed: int) -> None:
    """Raise ValueError unless every random generator takes `seed`."""
    if not 0 <= seed <= MAX_SEED:
        raise ValueError(f"--seed is {seed}: it must be 0 to {MAX_SEED}.")


def check_writable(folder: Path, option: str) -> None:
    """Raise PermissionError unless files can be written into `folder`, which need not exist; leaves no trace.

    By writing one: permissions alone do not tell of read-only drives, and root ignores them.

    Args:
        option: which command line option names the folder, for the message.
    """
    existing = Path(os.path.abspath(folder))
    while not os.path.exists(existing):
        existing = existing.parent
    if not existing.is_dir():
        raise PermissionError(
            f"Cannot write into {folder}, because {existing} is a file: choose a folder with {option}."
        )
    try:
        tempfile.TemporaryFile(dir=existing).close()
    except OSError as error:
        raise PermissionError(
            f"Cannot write into {existing} ({error.strerror}): choose a folder of yours with {option}."
        ) from None
