"""`sdcourse models`: which models there are, and where."""

from __future__ import annotations

from pathlib import Path

import typer

from sdcourse.models.integrity import list_files, missing_files, read_parts
from sdcourse.models.my_sd import MY_SD, my_sd_folder
from sdcourse.models.registry import MODELS, ModelSpec


def models() -> None:
    """List the models that can be loaded by name.

    With where they are, what they weigh, and their licence.
    """
    rows = [("name", "where", "size", "licence", "what")]
    rows += [(s.name, *where_and_size(s), s.licence, s.description) for s in MODELS.values()]
    rows.append((MY_SD, *where_my_sd_is(), "yours", "what you train in lessons 04 to 06"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def where_and_size(spec: ModelSpec) -> tuple[str, str]:
    """Two cells of the table; looks at the disk only, never at a hub."""
    if spec.folder:
        if not (spec.folder / "model_index.json").is_file():
            return "missing, see `sdcourse doctor`", "-"
        return "shipped", in_words(folder_size(spec.folder))
    cached = cached_folder(spec)
    if cached:
        return "downloaded", in_words(folder_size(cached))
    return "to be downloaded", in_words(spec.download_mb * 1e6)


def where_my_sd_is() -> tuple[str, str]:
    """Two cells of the table for the learner's own model."""
    folder = my_sd_folder()
    if not folder.is_dir():
        return "not made yet", "-"
    return str(folder), in_words(folder_size(folder))


def cached_folder(spec: ModelSpec) -> Path | None:
    """Where the cache of the hub holds the model, if all that loading needs is there."""
    from huggingface_hub import try_to_load_from_cache

    from sdcourse.models.hub import wanted_parts

    for repository in spec.repositories:
        index = try_to_load_from_cache(repository, "model_index.json")
        if isinstance(index, str):  # else None, or a marker for "known not to exist"
            folder = Path(index).parent
            if not missing_files(list_files(folder), wanted_parts(read_parts(folder), safety_checker=False)):
                return folder
    return None


def folder_size(folder: Path) -> int:
    """Bytes of all files below `folder`."""
    return sum((folder / file).stat().st_size for file in list_files(folder))


def in_words(size: float) -> str:
    """Bytes as "25 MB" or "2.1 GB", in the powers of ten that drives are sold in."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
