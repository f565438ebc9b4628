"""Pictures in grids and files."""

from __future__ import annotations

import http.client
import io
import math
import re
import time
import urllib.error
import urllib.request
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from .convert import as_rgb, list_sizes, resized, to_pil


def image_grid(
    images: Any, rows: int | None = None, cols: int | None = None, padding: int = 2
) -> Image.Image:
    """Put any number of pictures of one size into a grid, each in its own size.

    Args:
        images: pictures in any form that `to_pil` takes.
        rows, cols: the shape of the grid; what is left out is chosen to be as square as possible. Places that
            are left over stay white.
        padding: white pixels between the pictures.

    Raises:
        ValueError: the pictures differ in size, or the grid has too few places.
    """
    pictures = to_pil(images)
    count = len(pictures)
    sizes = sorted({picture.size for picture in pictures})
    if len(sizes) > 1:
        raise ValueError(f"A grid needs pictures of one size; these are {list_sizes(sizes)}.")
    if (rows is not None and rows < 1) or (cols is not None and cols < 1) or padding < 0:
        raise ValueError(f"rows and cols are 1 or more, padding 0 or more: {rows=}, {cols=}, {padding=}.")
    if cols is None:
        cols = math.ceil(count / rows) if rows else math.ceil(math.sqrt(count))
    rows = rows or math.ceil(count / cols)
    if rows * cols < count:
        raise ValueError(f"A grid of {rows} × {cols} has {rows * cols} places for {count} pictures.")
    width, height = sizes[0]
    across, down = width + padding, height + padding
    grid = Image.new("RGB", (cols * across - padding, rows * down - padding), "white")
    for number, picture in enumerate(pictures):
        grid.paste(picture, (number % cols * across, number // cols * down))
    return grid


def save_image(image: Any, path: str | Path, scale: int = 1, info: dict[str, str] | None = None) -> Path:
    """Save one picture in its own size. Never overwrites: `unique_path` gives a name that is free.

    Args:
        image: one picture, in any form that `to_pil` takes.
        path: where to; the ending says the format (`.png`, `.jpg`, `.webp`, ...). Missing folders are made.
        scale: how many times larger to save it.
        info: texts to keep inside the file, such as the prompt (PNG only).

    Raises:
        FileExistsError: there is a file of that name.
        ValueError: not one picture, an unknown ending, `info` for another format, a scale below 1.
    """
    path = Path(path).expanduser()
    pictures = to_pil(image)
    if len(pictures) > 1:
        raise ValueError(f"save_image saves one picture, and these are {len(pictures)}: use image_grid.")
    if scale < 1:
        raise ValueError(f"A picture is saved at its own size or larger, so scale is 1 or more, not {scale}.")
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind not in Image.SAVE:
        raise ValueError(f"{path.name!r} does not say which picture format: end it in .png, .jpg or .webp.")
    if info and kind != "PNG":
        raise ValueError(f"Only PNG files keep texts such as the prompt: end {path.name!r} in .png.")
    options: dict[str, Any] = {"quality": 95} if kind in ("JPEG", "WEBP") else {}
    if info:
        options["pnginfo"] = PngImagePlugin.PngInfo()
        for key, text in info.items():
            options["pnginfo"].add_text(key, str(text))
    picture = pictures[0]
    picture = resized(picture, (round(picture.width * scale), round(picture.height * scale)))
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **options)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("xb") as file:  # x: fails when the file exists, even if it appeared a moment ago
            file.write(buffer.getvalue())
    except FileExistsError:
        raise FileExistsError(f"{path} exists and is kept: use another name, or unique_path(path).") from None
    return path


def unique_path(path: str | Path) -> Path:
    """The path itself if it is free, else the first free one of `name-2.png`, `name-3.png`, ..."""
    path = Path(path).expanduser()
    candidate, number = path, 2
    while candidate.exists():
        candidate, number = path.with_stem(f"{path.stem}-{number}"), number + 1
    return candidate


def load_image(source: Any, timeout: float = 10, max_bytes: int = 20_000_000) -> Image.Image:
    """Open a picture as RGB, turned the way the camera was held.

    Args:
        source: a path, an address (`http://` or `https://`), bytes, an open file or a PIL picture.
        timeout: seconds that a download may take.
        max_bytes: a larger file is refused, and a download stopped there.

    Raises:
        FileNotFoundError, IsADirectoryError: no such file; the message names the nearest one in the folder.
        ConnectionError, TimeoutError: the address did not give the file, or not in time.
        ValueError: not a picture, a damaged one, one too large, or an address of another kind.
    """
    if isinstance(source, Image.Image):
        return as_rgb(ImageOps.exif_transpose(source))
    if isinstance(source, (bytes, bytearray)):
        return _decode(bytes(source), "These bytes", max_bytes)
    if hasattr(source, "read"):
        return _decode(source.read(max_bytes + 1), f"The file {getattr(source, 'name', 'given')}", max_bytes)
    if not isinstance(source, (str, Path)):
        kind = type(source).__name__
        raise TypeError(f"load_image opens a path, an address, bytes or an open file, not a {kind}.")
    scheme = re.match(r"([a-z][a-z0-9+.-]+):", source, re.IGNORECASE) if isinstance(source, str) else None
    if scheme and scheme[1].lower() in ("http", "https"):
        return _decode(_download(source, timeout, max_bytes), source, max_bytes)
    if scheme and ("://" in source or scheme[1].lower() == "data"):
        raise ValueError(f"{source[:60]!r} is of kind {scheme[1]!r}; allowed: http, https, or a path.")
    return _decode(_read(Path(source).expanduser(), max_bytes), str(source), max_bytes)


def _read(path: Path, max_bytes: int) -> bytes:
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: name one picture in it.")
    if not path.exists():
        names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        near = get_close_matches(path.name, names, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        where = "" if path.parent.is_dir() else f" There is no folder {path.parent} either."
        raise FileNotFoundError(f"There is no file {path}.{hint}{where}")
    with path.open("rb") as file:
        return file.read(max_bytes + 1)


def _download(url: str, timeout: float, max_bytes: int) -> bytes:
    deadline = time.monotonic() + timeout
    late = f"{url} did not arrive within {timeout:g} seconds: try again, or give load_image a longer timeout."
    # without a name of our own, several picture archives answer 403
    request = urllib.request.Request(url, headers={"User-Agent": "sdcourse (educational notebooks)"})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            # the limit holds for the whole download: a server that sends a byte now and then is late as well
            data = bytearray()
            while chunk := response.read1(1 << 16):
                data += chunk
                if len(data) > max_bytes:
                    break
                if time.monotonic() > deadline:
                    raise TimeoutError(late)
            return bytes(data)
    except urllib.error.HTTPError as error:
        raise ConnectionError(f"{url} answered {error.code} ({error.reason}).") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, TimeoutError):
            raise TimeoutError(late) from None
        host = urlsplit(url).netloc or url
        raise ConnectionError(f"Cannot reach {host} ({reason}): check the address and the network.") from None


def _decode(data: bytes, name: str, max_bytes: int) -> Image.Image:
    if len(data) > max_bytes:
        raise ValueError(f"{name} is larger than {max_bytes:,} bytes: make it smaller, or raise max_bytes.")
    try:
        picture = Image.open(io.BytesIO(data))
        if picture.width * picture.height > (Image.MAX_IMAGE_PIXELS or math.inf):
            raise Image.DecompressionBombError
        return as_rgb(ImageOps.exif_transpose(picture))
    except Image.DecompressionBombError:
        raise ValueError(f"{name} has too many pixels to open safely: make it smaller.") from None
    except UnidentifiedImageError:
        raise ValueError(f"{name} is not a picture, or of a kind that Pillow cannot read.") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"{name} is a damaged picture ({error}): get it again.") from None
