"""Clothing as `datasets` objects: drawn, or Fashion-MNIST from the hub, in the same form."""

import io
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from sdcourse.network import answered_in_time, reason

from .render import render_fashion
from .wardrobe import CLASSES

if TYPE_CHECKING:
    from datasets import DatasetDict

REPOSITORY = "zalando-datasets/fashion_mnist"
SIZES = {"train": 60_000, "test": 10_000}


class DataUnavailable(RuntimeError):
    """Data is not on this machine and cannot be downloaded."""


def features():
    """Of both datasets: greyscale pictures of 28×28, and labels with the names of the ten classes."""
    import datasets

    return datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(CLASSES))})


@lru_cache(maxsize=1)
def draw_dataset() -> "DatasetDict":
    """Pocket fashion: as many pictures as Fashion-MNIST, in memory; takes about ten seconds, once."""
    from datasets import Dataset, DatasetDict

    splits = {}
    for number, (split, size) in enumerate(SIZES.items()):
        order = torch.randperm(size, generator=torch.Generator().manual_seed(number))
        labels = torch.arange(len(CLASSES)).repeat(size // len(CLASSES))[order]
        images = [{"bytes": _png(p), "path": None} for p in render_fashion(labels, seed=number).numpy()]
        splits[split] = Dataset.from_dict({"image": images, "label": labels.tolist()}, features())
    return DatasetDict(splits)


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def download_dataset(endpoint: str | None = None) -> "DatasetDict":
    """Fashion-MNIST (Xiao et al., 2017) from the cache of the hub, else from the hub.

    Args:
        endpoint: address of the hub; without it HF_ENDPOINT, or huggingface.co.

    Raises:
        DataUnavailable: one sentence, at once when there is no network.
    """
    from datasets import load_dataset

    folder = _cached() or _download(endpoint)
    files = {split: sorted(map(str, folder.rglob(f"{split}-*.parquet"))) for split in SIZES}
    if absent := [split for split, found in files.items() if not found]:
        raise DataUnavailable(
            f"{REPOSITORY} has no parquet files for {' and '.join(absent)}: load_fashion('pocket') draws "
            "clothing of the same form."
        )
    return load_dataset("parquet", data_files=files).cast(features())


def _cached() -> Path | None:
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            REPOSITORY, repo_type="dataset", local_files_only=True, allow_patterns=["*.parquet"]
        )
    except (OSError, ValueError):
        return None
    return Path(folder) if list(Path(folder).rglob("*.parquet")) else None


def _download(endpoint: str | None) -> Path:
    from huggingface_hub import HfApi, constants, snapshot_download

    instead = "load_fashion('pocket') draws clothing of the same form, or connect and try again."
    if constants.HF_HUB_OFFLINE:
        raise DataUnavailable(
            f"{REPOSITORY} is not on this machine, and offline mode is on (HF_HUB_OFFLINE=1; the pocket "
            f"profile sets it): {instead}"
        )
    try:
        answered_in_time(lambda: HfApi(endpoint=endpoint).dataset_info(REPOSITORY))
        # Without a revision, so that the cache finds it under "main" when there is no network.
        folder = snapshot_download(
            REPOSITORY, repo_type="dataset", allow_patterns=["*.parquet"], endpoint=endpoint
        )
        return Path(folder)
    # All classes: huggingface_hub has had three HTTP libraries, whose errors share no base class.
    except Exception as error:
        raise DataUnavailable(f"{REPOSITORY} could not be downloaded ({reason(error)}): {instead}") from None
