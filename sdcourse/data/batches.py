"""Batches of small pictures, made at once instead of picture by picture."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from datasets import Dataset

PADDING = 2  # 28×28 becomes 32×32, which halves evenly four times


class BatchLoader:
    """An epoch of a split, in a new random order each time: padded to 32×32, flipped at random, in (-1, 1).

    Decodes every picture once and keeps the pixels, where a transform in a `DataLoader` decodes, pads and
    flips each picture in each epoch.

    Args:
        dataset: one split with the columns `image` (28×28, greyscale) and `label`.
        flip: mirror half of the pictures; clothing looks the same, and there is twice as much of it.
        seed: of order and flips.

    Yields:
        dictionaries with `images`, float (batch_size, 1, 32, 32), and `labels`, (batch_size,). The last batch
        of an epoch is smaller where the numbers do not divide.
    """

    def __init__(self, dataset: "Dataset", batch_size: int = 64, *, flip: bool = True, seed: int = 0):
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}: it must be 1 or more.")
        self.pixels = torch.from_numpy(np.stack([np.asarray(image) for image in dataset[:]["image"]]))
        self.labels = torch.tensor(dataset[:]["label"])
        self.batch_size, self.flip = batch_size, flip
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return -(-len(self.labels) // self.batch_size)

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        for places in torch.randperm(len(self.labels), generator=self.generator).split(self.batch_size):
            images = F.pad(self.pixels[places][:, None].float() / 127.5 - 1, [PADDING] * 4, value=-1)
            if self.flip:
                mirrored = torch.rand(len(places), 1, 1, 1, generator=self.generator) < 0.5
                images = torch.where(mirrored, images.flip(-1), images)
            yield {"images": images, "labels": self.labels[places]}
