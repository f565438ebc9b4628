"""Data as `datasets` objects, as courses and training scripts expect it."""

import numpy as np

from sdcourse.errors import check_name
from sdcourse.runtime import current_profile


def load_gallery(n: int, seed: int = 0, size: int = 64, split: str = "train"):
    """`n` pictures of the pocket gallery with captions.

    Args:
        size: width and height in pixels, 16 to 512.
        split: "train", or "heldout" for combinations that training never sees.

    Returns:
        a `datasets.Dataset` in memory with the columns `image`, `text` and one per attribute.

    Raises:
        ValueError: if `n`, `size` or `split` is out of range.
    """
    from datasets import Dataset
    from PIL import Image

    from .gallery import ATTRIBUTES, caption, random_scenes, render

    if n < 1:
        raise ValueError(f"n is {n}: ask for one picture or more.")
    scenes = random_scenes(n, seed, split)
    rng = np.random.default_rng(seed)
    pictures = render(scenes, size).permute(0, 2, 3, 1).numpy()
    columns = {
        "image": [Image.fromarray(picture) for picture in pictures],
        "text": [caption(scene, rng) for scene in scenes],
    }
    columns |= {name: [getattr(scene, name) for scene in scenes] for name in ATTRIBUTES}
    return Dataset.from_dict(columns)  # never touches the disk, unlike from_generator


def load_fashion(source: str = "auto"):
    """Ten kinds of clothing, 60,000 greyscale pictures of 28×28 to train and 10,000 to test.

    Args:
        source: "pocket" draws them, "hub" takes Fashion-MNIST from a hub, once; "auto" draws in the pocket
            profile and takes the hub in the full one.

    Returns:
        a `datasets.DatasetDict` with the splits `train` and `test` and the columns `image` and `label`.

    Raises:
        ValueError: for an unknown source.
        DataUnavailable: one sentence, if the hub is wanted and cannot be had.
    """
    from .fashion.dataset import download_dataset, draw_dataset

    check_name("source", source, ("auto", "pocket", "hub"))
    if source == "auto":
        source = "hub" if current_profile() == "full" else "pocket"
    return download_dataset() if source == "hub" else draw_dataset()
