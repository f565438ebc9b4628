"""Show pictures in a notebook.

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
import io
import math
import sys
import textwrap
from collections.abc import Sequence
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from .convert import is_map, resized, to_pil

SMALL = 192  # pictures smaller than this are enlarged to about this many pixels
FIGURE_WIDTH = 800  # pixels that an output area has room for
GAP = 8  # pixels between the pictures of a figure
OUTPUT_BYTES = 200_000  # for one stored output, all forms together
HTML_BYTES = 120_000  # of these, for the pictures in the HTML form


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
        resized(picture, size) if size[0] < picture.width or is_map(picture) else picture
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
            figure.paste(resized(pictures[i], sizes[i]), (left, top))
            for number, words in enumerate(captions[i]):
                draw.text((left, top + sizes[i][1] + number * line), words, fill="black", font=font)
        top += picture_height + caption_height + GAP
    return figure


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
