"""Pictures: between tensors and PIL, shown in a notebook, put in a grid, saved and loaded.

What a notebook shows: one call is one output, whatever the number of pictures. The output carries the same
figure in three forms, and every viewer takes the best one that it knows.

* `text/html`: each picture in its own size, enlarged by the browser, with a real `alt` text and a real
  caption. JupyterLab, Colab, VS Code and nbconvert take this one. All of them ignore alternative text that is
  given as output metadata, so this is the only form that a screen reader can read.
* `image/jpeg`: the whole figure as one picture with the captions drawn in, for viewers without HTML.
* `text/plain`: how many pictures, their sizes, captions and alternative text. It is the same on every
  machine, so nbval compares it, which it cannot do with pixels. A terminal and a plain script print it.
"""

from __future__ import annotations

import base64
import http.client
import io
import math
import re
import sys
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps, PngImagePlugin, UnidentifiedImageError

if TYPE_CHECKING:
    import torch

SMALL = 192  # pictures smaller than this are enlarged to about this many pixels
PIXELS_COUNT = 32  # below this side length it is a map whose single pixels matter: they stay squares
FIGURE_WIDTH = 800  # pixels that an output area has room for
GAP = 8  # pixels between the pictures of a figure
OUTPUT_BYTES = 200_000  # for one stored output, all forms together
HTML_BYTES = 120_000  # of these, for the pictures in the HTML form

# --- between tensors, arrays and PIL --------------------------------------------------------------------


def to_pil(images: Any) -> list[Image.Image]:
    """Turn anything that holds pictures into a list of RGB pictures.

    Args:
        images: a PIL picture; a tensor (3, H, W), (1, H, W), (H, W) or (n, 3, H, W), (n, 1, H, W); an array
            (H, W), (H, W, 3) or (n, H, W, 3); a matplotlib figure; or any iterable of these.
            Numbers are `uint8` from 0 to 255, `bool`, or floats from 0 to 1.

    Raises:
        TypeError: not pictures.
        ValueError: a shape that is not a picture's, numbers outside the range, or nothing at all.
    """
    pictures = _to_pil(images)
    if not pictures:
        raise ValueError("There are no pictures in an empty list.")
    return pictures


def to_tensor(images: Any) -> torch.Tensor:
    """Turn anything that `to_pil` takes into one float tensor (n, 3, H, W) from 0 to 1.

    Float tensors keep their exact numbers, their device and their gradient.

    Raises:
        TypeError, ValueError: as `to_pil`; also when the pictures differ in size.
    """
    import torch

    batches = _to_tensors(images)
    if not batches:
        raise ValueError("There are no pictures in an empty list.")
    sizes = sorted({(batch.shape[-1], batch.shape[-2]) for batch in batches})
    if len(sizes) > 1:
        raise ValueError(f"One tensor needs pictures of one size; these are {_list_sizes(sizes)}.")
    return torch.cat(batches)


def _to_pil(images: Any) -> list[Image.Image]:
    if isinstance(images, Image.Image):
        return [_rgb(images)]
    if _is_tensor(images):
        # numpy has no bfloat16, so every float goes through float32
        tensor = _channels_first(images.detach()).cpu()
        array = (tensor.float() if tensor.is_floating_point() else tensor).permute(0, 2, 3, 1).numpy()
        return [Image.fromarray(pixels) for pixels in _as_bytes(array)]
    if isinstance(images, np.ndarray):
        return [Image.fromarray(pixels) for pixels in _as_bytes(_channels_last(images))]
    if _is_figure(images):
        return [_draw_figure(images)]
    return [picture for item in _items(images) for picture in _to_pil(item)]


def _to_tensors(images: Any) -> list[torch.Tensor]:
    import torch

    if _is_tensor(images):
        tensor = _channels_first(images)
    elif isinstance(images, np.ndarray):
        tensor = torch.tensor(_channels_last(images)).permute(0, 3, 1, 2)
    elif isinstance(images, Image.Image) or _is_figure(images):
        tensor = torch.tensor(np.stack(_to_pil(images))).permute(0, 3, 1, 2)
    else:
        return [tensor for item in _items(images) for tensor in _to_tensors(item)]
    if tensor.dtype == torch.uint8:
        return [tensor.float() / 255]
    if tensor.is_floating_point():
        _check_range(tensor.detach().min().item(), tensor.detach().max().item())
    elif tensor.dtype != torch.bool:
        raise TypeError(_number_advice(tensor.dtype))
    return [tensor.float()]


def _is_tensor(thing: Any) -> bool:
    # whoever holds a tensor has imported torch already; whoever does not should not wait for it
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(thing, torch.Tensor)


def _is_figure(thing: Any) -> bool:
    module = sys.modules.get("matplotlib.figure")
    return module is not None and isinstance(thing, module.Figure)


def _items(images: Any) -> Iterable:
    if isinstance(images, (str, bytes, Path)):
        raise TypeError(f"{images!r:.60} is not a picture: open it with load_image(...) first.")
    if not isinstance(images, Iterable) or isinstance(images, dict):
        raise TypeError(
            f"A {type(images).__name__} is not a picture. Allowed: PIL pictures, tensors, arrays, matplotlib "
            "figures, and lists of these."
        )
    return images


def _channels_first(tensor: torch.Tensor) -> torch.Tensor:
    """Check the layout of a tensor; return it as (n, 3, H, W)."""
    shape = tuple(tensor.shape)
    if tensor.ndim == 2:
        tensor = tensor[None, None]
    elif tensor.ndim == 3:
        tensor = tensor[None]
    if tensor.ndim != 4 or tensor.shape[1] not in (1, 3) or tensor.numel() == 0:
        advice = "Allowed: (3, H, W), (1, H, W), (H, W), (n, 3, H, W) and (n, 1, H, W)."
        if len(shape) >= 3 and shape[-1] == 3:
            order = "2, 0, 1" if len(shape) == 3 else "0, 3, 1, 2"
            advice = f"Tensors have their channels first: use .permute({order})."
        elif len(shape) >= 3 and shape[-3] == 4:
            advice = "Four channels are latents: decode them with the VAE first."
        raise ValueError(f"A tensor of shape {shape} is not a picture. {advice}")
    return tensor.expand(-1, 3, -1, -1)


def _channels_last(array: np.ndarray) -> np.ndarray:
    """Check the layout of an array; return it as (n, H, W, 3)."""
    shape = array.shape
    if array.ndim == 2:
        array = array[None, :, :, None]
    elif array.ndim == 3:
        array = array[None]
    if array.ndim != 4 or array.shape[-1] not in (1, 3) or array.size == 0:
        advice = "Allowed: (H, W), (H, W, 3) and (n, H, W, 3)."
        if len(shape) >= 3 and shape[-3] == 3:
            order = "1, 2, 0" if len(shape) == 3 else "0, 2, 3, 1"
            advice = f"Arrays have their channels last: use .transpose({order})."
        raise ValueError(f"An array of shape {shape} is not a picture. {advice}")
    return np.broadcast_to(array, (*array.shape[:-1], 3))


def _as_bytes(array: np.ndarray) -> np.ndarray:
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype == bool:
        return array.astype(np.uint8) * 255
    if not np.issubdtype(array.dtype, np.floating):
        raise TypeError(_number_advice(array.dtype))
    _check_range(float(array.min()), float(array.max()))
    return (array.clip(0, 1) * 255).round().astype(np.uint8)


def _number_advice(dtype: Any) -> str:
    return f"Pictures are uint8 from 0 to 255, bool, or floats from 0 to 1; these numbers are {dtype}."


def _check_range(low: float, high: float) -> None:
    # rounding in half precision and in resizing may leave the range by a hair
    if low >= -1e-3 and high <= 1 + 1e-3:
        return
    if math.isnan(low) or math.isnan(high):
        raise ValueError(
            "The picture holds NaN (not a number): a step before it went wrong, often in half precision."
        )
    if low >= 0 and high <= 255 and high > 2:
        advice = "Divide by 255."
    else:
        advice = "A model's picture runs from -1 to 1: use (x / 2 + 0.5).clamp(0, 1)."
    raise ValueError(f"Pictures of floats run from 0 to 1; these run from {low:.3g} to {high:.3g}. {advice}")


def _rgb(picture: Image.Image) -> Image.Image:
    """RGB; what was transparent becomes white, as on paper, and not the black that lies under it."""
    if picture.mode == "RGB":
        return picture
    if picture.mode.startswith("I;16"):  # 16-bit grey, as in depth maps: Pillow would cut it off at 255
        return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        paper = Image.new("RGBA", picture.size, "white")
        paper.alpha_composite(picture)
        picture = paper
    return picture.convert("RGB")


def _draw_figure(figure: Any) -> Image.Image:
    buffer = io.BytesIO()
    # no bbox_inches="tight": it depends on the fonts, and the size stands in the compared text
    figure.savefig(buffer, format="png", dpi=100, bbox_inches=None)
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close(figure)  # otherwise the notebook shows it a second time, without alternative text
    return _rgb(Image.open(buffer))


# --- showing --------------------------------------------------------------------------------------------


def show_image(image: Any, title: str | None = None, alt: str | None = None, size: int | None = None) -> None:
    """Show one picture. As `show_images`, for a single one.

    Args:
        image: one picture, in any form that `to_pil` takes; also a matplotlib figure.
        title: the caption under it.
        alt: what the picture shows, for readers who do not see it. Without it the title is read out.
        size: the longer side on the screen in pixels.

    Raises:
        ValueError: more than one picture; also as `to_pil`.
    """
    pictures = to_pil(image)
    if len(pictures) > 1:
        raise ValueError(f"show_image shows one picture, and these are {len(pictures)}: use show_images.")
    show_images(pictures, title, alt, size=size)


def show_images(
    images: Any,
    titles: str | Sequence[str] | None = None,
    alt: str | Sequence[str] | None = None,
    columns: int | None = None,
    size: int | None = None,
) -> None:
    """Show any number of pictures as one figure. Small pictures are enlarged so that they can be seen.

    In a notebook this is one output (the top of this file says of what kind). Anywhere else it prints a
    description, because there is nowhere to show a picture: use `save_image` there.

    Args:
        images: pictures in any form that `to_pil` takes.
        titles: a caption for each picture, shown under it.
        alt: what the figure shows, for readers who do not see it; or one text for each picture.
            Without it the titles are read out.
        columns: pictures in a row; without it, as many as fit.
        size: the longer side of each picture on the screen in pixels; without it, pictures smaller than 192
            pixels are enlarged a whole number of times (64 becomes 192), and large ones reduced to fit.

    Raises:
        ValueError: not as many titles or alternative texts as pictures; also as `to_pil`.
    """
    pictures = to_pil(images)
    titles = _one_each("titles", titles, len(pictures))
    if isinstance(alt, str) and len(pictures) > 1:
        figure_alt, alts = alt, [""] * len(pictures)
    else:
        figure_alt, alts = "", _one_each("alternative texts", alt, len(pictures))
    if columns is not None and columns < 1:
        raise ValueError(f"A figure has one column or more, not {columns}.")
    if size is not None and size < 1:
        raise ValueError(f"A picture is shown at one pixel or more, not {size}.")

    sizes = [_shown_size(picture.size, size, alone=len(pictures) == 1) for picture in pictures]
    columns = min(columns or _fitting_columns(sizes), len(pictures))
    text = _as_text(pictures, titles, figure_alt, alts)
    if not _in_ipython():
        print(text)
        return

    from IPython.display import display

    html = _as_html(pictures, sizes, titles, figure_alt, alts, columns)
    figure = _compose(pictures, sizes, titles, columns)
    jpeg = _as_jpeg(figure, OUTPUT_BYTES - len(html) - len(text))
    display(
        {"text/html": html, "image/jpeg": jpeg, "text/plain": text},
        metadata={"image/jpeg": {"width": figure.width, "height": figure.height, "alt": text}},
        raw=True,
    )


def _one_each(what: str, texts: str | Sequence[str] | None, count: int) -> list[str]:
    if texts is None:
        return [""] * count
    texts = [texts] if isinstance(texts, str) else [str(text) for text in texts]
    if len(texts) != count:
        raise ValueError(f"There are {len(texts)} {what} for {count} pictures: give one for each.")
    return texts


def _in_ipython() -> bool:
    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None


def _shown_size(own: tuple[int, int], size: int | None, alone: bool) -> tuple[int, int]:
    longer = max(own)
    if size is not None:
        factor = size / longer
    elif longer < SMALL:
        factor = round(SMALL / longer)  # whole, so that every pixel becomes as large as the next
    else:
        factor = min(1, (FIGURE_WIDTH if alone else FIGURE_WIDTH / 2 - GAP) / longer)
    return max(1, round(own[0] * factor)), max(1, round(own[1] * factor))


def _fitting_columns(sizes: list[tuple[int, int]]) -> int:
    most = max(1, (FIGURE_WIDTH + GAP) // (max(width for width, _ in sizes) + GAP))
    rows = math.ceil(len(sizes) / most)
    return math.ceil(len(sizes) / rows)  # 5 pictures in rows of 3 and 2, not 4 and 1


def _as_text(pictures: list[Image.Image], titles: list[str], figure_alt: str, alts: list[str]) -> str:
    lines = []
    for picture, title, alt in zip(pictures, titles, alts, strict=True):
        words = " — ".join(part for part in (title, alt) if part)
        lines.append(f"picture {picture.width}×{picture.height}" + (f": {words}" if words else ""))
    if len(pictures) == 1:
        return f"[{lines[0]}]"
    head = f"[{len(pictures)} pictures]" + (f" {figure_alt}" if figure_alt else "")
    return "\n".join([head] + [f"  {number}. {line}" for number, line in enumerate(lines, 1)])


def _as_html(
    pictures: list[Image.Image],
    sizes: list[tuple[int, int]],
    titles: list[str],
    figure_alt: str,
    alts: list[str],
    columns: int,
) -> str:
    cells = []
    for number, (source, (width, height), title, alt) in enumerate(
        zip(_data_uris(pictures, sizes), sizes, titles, alts, strict=True), 1
    ):
        alt = alt or title or f"picture {number} of {len(pictures)}"
        if figure_alt and number == 1:
            # JupyterLab removes aria labels from notebooks that it does not trust yet, and leaves alt alone
            alt = f"{figure_alt} ({alt})"
        caption = f'<div style="max-width: {max(width, 96)}px">{escape(title)}</div>' if title else ""
        cells.append(
            '<td style="text-align: left; vertical-align: top">'
            f'<img src="{source}" alt="{escape(alt)}" width="{width}" height="{height}">{caption}</td>'
        )
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    # a table keeps the rows together even where a viewer removes all styles, as GitHub does
    body = "\n".join('<tr style="background: none">' + "".join(row) + "</tr>" for row in rows)
    return f'<table role="presentation">\n{body}\n</table>'


def _data_uris(pictures: list[Image.Image], sizes: list[tuple[int, int]]) -> list[str]:
    """Each picture as a data address: without loss if all fit into `HTML_BYTES`, else as good as fits."""
    pictures = [
        # the browser enlarges smoothly, and does it well; what must not become smooth is enlarged here
        _resized(picture, size) if size[0] < picture.width or _is_map(picture) else picture
        for picture, size in zip(pictures, sizes, strict=True)
    ]
    while True:
        for kind, options in (("png", {"optimize": True}), ("jpeg", {"quality": 88, "subsampling": 0})):
            uris = [f"data:image/{kind};base64,{_encoded(picture, kind, **options)}" for picture in pictures]
            if sum(map(len, uris)) <= HTML_BYTES:
                return uris
        if max(max(picture.size) for picture in pictures) <= 16:
            return uris  # hundreds of pictures: nothing more can be saved
        pictures = [picture.reduce(2) for picture in pictures]


def _as_jpeg(figure: Image.Image, most_bytes: int) -> str:
    """The whole figure in base64: JPEG, because smooth pictures take a third of what they take as PNG."""
    while True:
        encoded = _encoded(figure, "jpeg", quality=88, subsampling=0)
        if len(encoded) <= most_bytes or max(figure.size) <= 64:
            return encoded
        factor = min(0.9, math.sqrt(most_bytes / len(encoded)))
        smaller = (max(1, round(figure.width * factor)), max(1, round(figure.height * factor)))
        figure = figure.resize(smaller, Image.Resampling.LANCZOS)


def _compose(
    pictures: list[Image.Image], sizes: list[tuple[int, int]], titles: list[str], columns: int
) -> Image.Image:
    cell = max(width for width, _ in sizes)
    captions = [_wrap(title, max(cell, 96)) for title in titles]
    cell = max(cell, 96) if any(titles) else cell  # room for at least one word
    font, line = _font(), 17
    rows = [range(start, min(start + columns, len(pictures))) for start in range(0, len(pictures), columns)]
    picture_heights = [max(sizes[i][1] for i in row) for row in rows]
    caption_heights = [max(len(captions[i]) for i in row) * line for row in rows]
    height = sum(picture_heights) + sum(caption_heights) + GAP * (len(rows) - 1)
    figure = Image.new("RGB", (columns * (cell + GAP) - GAP, height), "white")
    draw = ImageDraw.Draw(figure)
    top = 0
    for row, picture_height, caption_height in zip(rows, picture_heights, caption_heights, strict=True):
        for column, i in enumerate(row):
            left = column * (cell + GAP)
            figure.paste(_resized(pictures[i], sizes[i]), (left, top))
            for number, words in enumerate(captions[i]):
                draw.text((left, top + sizes[i][1] + number * line), words, fill="black", font=font)
        top += picture_height + caption_height + GAP
    return figure


def _is_map(picture: Image.Image) -> bool:
    return max(picture.size) < PIXELS_COUNT


def _resized(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    if _is_map(picture):
        return picture.resize(size, Image.Resampling.NEAREST)
    # bicubic: Lanczos draws rings around the hard edges of small pictures
    reduced = size[0] < picture.width
    return picture.resize(size, Image.Resampling.LANCZOS if reduced else Image.Resampling.BICUBIC)


@lru_cache(maxsize=1)
def _font() -> ImageFont.FreeTypeFont:
    import matplotlib  # its font has the Greek letters and arrows that Pillow's own lacks

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", 13)


def _wrap(title: str, width: int) -> list[str]:
    """Break a caption into lines that are about `width` pixels wide: a letter takes 8 of them."""
    return [line for paragraph in title.splitlines() for line in textwrap.wrap(paragraph, width // 8) or [""]]


def _encoded(picture: Image.Image, kind: str, **options: Any) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **options)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


# --- grids and files ------------------------------------------------------------------------------------


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
        raise ValueError(f"A grid needs pictures of one size; these are {_list_sizes(sizes)}.")
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


def _list_sizes(sizes: Iterable[tuple[int, int]]) -> str:
    return ", ".join(f"{width}×{height}" for width, height in sizes)


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
    picture = _resized(picture, (round(picture.width * scale), round(picture.height * scale)))
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
        return _rgb(ImageOps.exif_transpose(source))
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
        return _rgb(ImageOps.exif_transpose(picture))
    except Image.DecompressionBombError:
        raise ValueError(f"{name} has too many pixels to open safely: make it smaller.") from None
    except UnidentifiedImageError:
        raise ValueError(f"{name} is not a picture, or of a kind that Pillow cannot read.") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"{name} is a damaged picture ({error}): get it again.") from None
