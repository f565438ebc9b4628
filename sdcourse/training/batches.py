"""Fresh gallery pictures for training: drawn in large pools, because the renderer likes many at once."""

from functools import lru_cache

import numpy as np
import torch

from sdcourse.data.gallery import Scene, random_scenes, render, render_masks

POOL = 1024


def cumulative_odds(scenes: list[Scene], times: np.ndarray | float = 1.0) -> np.ndarray:
    """For drawing scenes at random, (n,) rising to 1: hats twice as often, accessories three times.

    What is worn is rare in the gallery, small, and comes in ten colours.

    Args:
        times: (n,), by how much more often each scene should come up for another reason.
    """
    odds = times * np.array([1 + (s.hat != "none") + 2 * (s.accessory != "none") for s in scenes])
    return odds.cumsum() / odds.sum()


@lru_cache(maxsize=1)
def _pool(index: int, seed: int, split: str) -> tuple[list[Scene], torch.Tensor]:
    if split == "train":
        scenes = random_scenes(POOL, seed=seed + index)
    else:
        scenes = random_scenes(POOL * 3 // 2, seed=seed + index)
        if split == "all":
            scenes += random_scenes(POOL // 2, seed + index, "heldout")
        odds = cumulative_odds(scenes)
        scenes = [scenes[i] for i in np.searchsorted(odds, np.random.default_rng(index).random(POOL))]
    order = np.random.default_rng(index).permutation(len(scenes))
    scenes = [scenes[i] for i in order]
    return scenes, render(scenes)


@lru_cache(maxsize=1)
def _pool_masks(index: int, seed: int, split: str) -> torch.Tensor:
    return render_masks(_pool(index, seed, split)[0])


def gallery_batch(
    step: int, batch_size: int, seed: int, split: str = "train"
) -> tuple[list[Scene], torch.Tensor]:
    """Batch number `step` of an endless stream.

    Args:
        batch_size: a divisor of 1024.
        split: "train"; "worn" is the same with hats and accessories more often; "all" also with held-out
            combinations.

    Returns:
        scenes, and their pictures as float (batch_size, 3, 64, 64) in [-1, 1].
    """
    per_pool = POOL // batch_size
    scenes, pictures = _pool(step // per_pool, seed, split)
    part = slice((step % per_pool) * batch_size, (step % per_pool + 1) * batch_size)
    return scenes[part], pictures[part].float() / 127.5 - 1


def mask_batch(step: int, batch_size: int, seed: int, split: str = "train") -> torch.Tensor:
    """The masks (batch_size, 64, 64) that go with `gallery_batch` of the same arguments."""
    per_pool = POOL // batch_size
    start = step % per_pool * batch_size
    return _pool_masks(step // per_pool, seed, split)[start : start + batch_size]
