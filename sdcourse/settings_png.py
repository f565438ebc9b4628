"""How a picture was made, kept inside its PNG file: one line for people, and JSON for programs."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

LINE = "parameters"  # the key under which other tools look for such a line
DATA = "sdcourse"


def settings_info(settings: dict[str, Any]) -> dict[str, str]:
    """The texts to keep in a PNG file: the argument `info` of `save_image`."""
    return {LINE: describe(settings), DATA: json.dumps(settings)}


def describe(settings: dict[str, Any]) -> str:
    """The settings in one line, the prompt first; without what is itself a table, such as the versions.

    >>> describe({"prompt": "a cat", "num_inference_steps": 30, "seed": 0})
    'a cat | num inference steps: 30, seed: 0'
    """
    rest = [
        f"{key.replace('_', ' ')}: {value}"
        for key, value in settings.items()
        if key != "prompt" and not isinstance(value, dict)
    ]
    return " ".join(f"{settings.get('prompt', '')} | {', '.join(rest)}".split())


def read_settings(path: str | Path) -> dict[str, Any]:
    """The settings in a PNG file that `sdcourse txt2img` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a picture, or has no settings inside.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    return settings_in(path.read_bytes(), str(path))


def settings_in(data: bytes, name: str = "This file") -> dict[str, Any]:
    """As `read_settings`, from the file's bytes.

    Args:
        name: what an error message calls it.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as picture:
            text = picture.info.get(DATA)
        settings = json.loads(text) if text else None
    except UnidentifiedImageError:
        raise ValueError(f"{name} is not a picture, or of a kind that Pillow cannot read.") from None
    except ValueError:
        settings = None
    if not isinstance(settings, dict):
        raise ValueError(
            f"{name} has no settings inside: sdcourse did not write it, or another program saved it anew."
        )
    return settings
