"""Where and how the course runs: profile, device, dtype, seed, and quiet libraries.

Importing this module is cheap; torch is imported on first use.
"""

from __future__ import annotations

import os
import random
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sdcourse.errors import check_name

if TYPE_CHECKING:
    import torch

PROFILES = ("pocket", "full")

_QUIET_ENVIRONMENT = {
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    # Else a DataLoader worker or a `!command` after the first tokenized text prints a warning about forks.
    "TOKENIZERS_PARALLELISM": "false",
}


@dataclass(frozen=True)
class Runtime:
    """What `setup` chose."""

    profile: str
    device: str
    dtype: torch.dtype
    seed: int


_current: Runtime | None = None
# HF_HUB_OFFLINE as it was before the pocket profile set it, in a tuple; None while we have not set it.
_offline_before: tuple[str | None] | None = None


def setup(profile: str | None = None, seed: int = 0) -> Runtime:
    """Choose profile and device, seed Python, NumPy and torch, quieten the libraries, and say so in one line.

    The pocket profile also switches the hub libraries to offline mode, so that nothing in it can wait for a
    network. `setup("full")` switches that off again.

    Args:
        profile: "pocket" (weights shipped with the package) or "full" (weights from a hub). Without it, the
            environment variable SDCOURSE_PROFILE decides; without that too, it is "pocket".
        seed: for all three random generators, from 0 to 2**32 - 1.

    Returns:
        The frozen `Runtime` with `profile`, `device`, `dtype` and `seed`.

    Raises:
        ValueError: unknown profile, or a seed out of range.
    """
    global _current
    profile = _checked_profile(profile)

    import numpy as np

    np.random.seed(seed)  # first, because it is the one that checks the range
    random.seed(seed)
    # Before torch and all that comes after it: these variables are read when the libraries are imported.
    quiet_libraries()
    _set_offline(profile == "pocket")

    import torch

    torch.manual_seed(seed)
    device = default_device(profile)
    _current = Runtime(profile, device, default_dtype(device), seed)
    dtype_name = str(_current.dtype).removeprefix("torch.")
    print(f"profile {profile} · device {device} · dtype {dtype_name} · seed {seed}")
    return _current


def current_profile() -> str:
    """The profile of the last `setup`; before any, the one of SDCOURSE_PROFILE or "pocket"."""
    return _current.profile if _current else _checked_profile(None)


def is_set_up() -> bool:
    """Whether `setup` has run in this process."""
    return _current is not None


def available_devices() -> list[str]:
    """Kinds of devices that torch can use on this machine: "cpu", and "cuda" or "mps" where there."""
    import torch

    devices = ["cpu"]
    if torch.cuda.is_available():
        devices.append("cuda")
    if torch.backends.mps.is_available():
        devices.append("mps")
    return devices


def default_device(profile: str | None = None) -> str:
    """The device to compute on: "cuda" if there is one, else "mps" in the full profile, else "cpu".

    The pocket models are so small that a Mac's processor is enough for them, and there they draw the same
    pictures as in the lessons.
    """
    devices = available_devices()
    if "cuda" in devices:
        return "cuda"
    return "mps" if "mps" in devices and (profile or current_profile()) == "full" else "cpu"


def default_dtype(device: str) -> torch.dtype:
    """float16 on CUDA, where it is faster and halves the memory; float32 on every other device."""
    import torch

    return torch.float16 if torch.device(device).type == "cuda" else torch.float32


def quiet_libraries() -> None:
    """Turn off the loading bars and the chatter of transformers, diffusers and datasets.

    A library that is not imported yet is told by an environment variable, where it has one, because importing
    it takes seconds; what the user has set there stays.
    """
    for variable, value in _QUIET_ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    if "transformers" in sys.modules:
        from transformers.utils import logging as transformers_logging

        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
    if "diffusers" in sys.modules:
        from diffusers.utils import logging as diffusers_logging

        diffusers_logging.disable_progress_bar()
    if "datasets" in sys.modules:
        import datasets

        datasets.disable_progress_bars()


def _checked_profile(profile: str | None) -> str:
    return check_name("profile", profile or os.environ.get("SDCOURSE_PROFILE") or "pocket", PROFILES)


def _set_offline(offline: bool) -> None:
    """Switch the hub's offline mode on, or back to what the user had before we switched it on."""
    global _offline_before
    if offline:
        if _offline_before is None:
            _offline_before = (os.environ.get("HF_HUB_OFFLINE"),)
        os.environ["HF_HUB_OFFLINE"] = "1"
    elif _offline_before is None:
        return
    else:
        (before,) = _offline_before
        _offline_before = None
        if before is None:
            os.environ.pop("HF_HUB_OFFLINE", None)
        else:
            os.environ["HF_HUB_OFFLINE"] = before
        offline = (before or "").upper() in ("1", "ON", "YES", "TRUE")
    # The libraries read the variable once, when they are imported.
    for module in ("huggingface_hub.constants", "datasets.config"):
        if module in sys.modules:
            sys.modules[module].HF_HUB_OFFLINE = offline
