"""Distances in the judge's features: between two sets of pictures, and among pictures of one prompt."""

import torch
from torch import nn

from sdcourse.models.judge import FEATURES, Judge


class _Features(nn.Module):
    """The judge's features in the form that torchmetrics takes."""

    num_features = FEATURES

    def __init__(self, judge: Judge):
        super().__init__()
        self.judge = judge

    def forward(self, images):
        return self.judge.features(images)


@torch.no_grad()
def frechet_distance(judge: Judge, pictures: torch.Tensor, references: torch.Tensor) -> float:
    """How far a set of pictures is from a set of references; 0 if their features are spread alike.

    The distance between two normal distributions (Fréchet, 1957), as in FID (Heusel et al., 2017), with our
    judge's features in place of Inception's. Few pictures make it larger than it is: compare only with a
    floor that was measured with as many.

    Args:
        pictures, references: (n, 3, 64, 64) in [-1, 1].
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(feature=_Features(judge))
    for part in references.split(256):
        metric.update(part, real=True)
    for part in pictures.split(256):
        metric.update(part, real=False)
    return metric.compute().item()


@torch.no_grad()
def diversity(judge: Judge, pictures: torch.Tensor) -> float:
    """Mean distance between the features of two pictures of one prompt: 0 if all are the same.

    Args:
        pictures: (prompts, pictures of each, 3, 64, 64) in [-1, 1]; two or more of each.
    """
    features = judge.features(pictures.flatten(0, 1)).unflatten(0, pictures.shape[:2])
    return torch.stack([torch.pdist(of_one_prompt).mean() for of_one_prompt in features]).mean().item()
