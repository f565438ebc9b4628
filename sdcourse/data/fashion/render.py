"""Paint clothing: pose, cut, cloth and light."""

import math

import torch

from .wardrobe import CLASSES, CUTS, Chance

SIZE = 28
CHUNK = 1024  # pictures drawn at once, to stay within the cache


def render_fashion(labels: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """Draw one piece of clothing for each label.

    Args:
        labels: (n,) whole numbers, places in `CLASSES`.

    Returns:
        uint8 (n, 28, 28), bright clothing on black, as in Fashion-MNIST (Xiao et al., 2017).

    Raises:
        ValueError: if a label is none of the classes.
    """
    labels = torch.as_tensor(labels)
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(CLASSES):
        raise ValueError(f"A label is outside 0 to {len(CLASSES) - 1}, the places of {', '.join(CLASSES)}.")
    pictures = torch.empty(len(labels), SIZE, SIZE, dtype=torch.uint8)
    for label, name in enumerate(CLASSES):
        places = (labels == label).nonzero()[:, 0]
        for number, part in enumerate(places.split(CHUNK)):
            generator = torch.Generator().manual_seed(seed * 1_000_003 + label * 10_007 + number)
            pictures[part] = _paint(name, Chance(len(part), generator))
    return pictures


def _paint(name: str, c: Chance) -> torch.Tensor:
    x, y = _pose(c)
    coverage, parts = CUTS[name](x, y, c)
    brightness = _cloth(x, y, c) * _light(x, y, c) * parts
    noise = 0.02 * torch.randn(coverage.shape, generator=c.generator)
    picture = coverage * (brightness * (1 + noise)).clamp(0.08, 1)
    return (picture * 255).round().to(torch.uint8)


def _pose(c: Chance) -> tuple[torch.Tensor, torch.Tensor]:
    """The coordinates of the clothing that each pixel shows: moved, turned, stretched a little."""
    line = (torch.arange(SIZE) + 0.5) / SIZE * 2 - 1
    y, x = line.view(1, -1, 1), line.view(1, 1, -1)
    x, y = x - c.between(-0.06, 0.06), y - c.between(-0.06, 0.06)
    angle = c.between(-0.07, 0.07)
    lean = c.between(-0.06, 0.06)
    x, y = x * angle.cos() + y * (angle.sin() + lean), y * angle.cos() - x * angle.sin()
    return x / c.between(0.9, 1.08), y / c.between(0.93, 1.04)


def _cloth(x, y, c: Chance) -> torch.Tensor:
    """Plain, striped across or along, checked, or printed."""
    shade, other = c.between(0.3, 0.95), c.between(0.2, 1.0)
    kind = c.between(0, 1)
    across = _stripes(y, c.between(3, 8), c)
    along = _stripes(x, c.between(3, 8), c)
    printed = ((x / c.between(0.15, 0.3)).square() + ((y + 0.1) / c.between(0.12, 0.3)).square() < 1).float()
    pattern = (
        across * ((kind > 0.55) & (kind < 0.7))
        + along * ((kind >= 0.7) & (kind < 0.78))
        + (across + along) / 2 * ((kind >= 0.78) & (kind < 0.86))
        + printed * (kind >= 0.86)
    )
    return shade + pattern * (other - shade)


def _stripes(position, number, c: Chance) -> torch.Tensor:
    wave = (position * number * math.pi / 2 + c.between(0, 2 * math.pi)).sin()
    return (wave * 2 + 0.5).clamp(0, 1)


def _light(x, y, c: Chance) -> torch.Tensor:
    """Darker towards one side, and soft folds."""
    side = 1 + c.between(-0.2, 0.2) * x + c.between(-0.1, 0.1) * y
    folds = (x * c.between(2, 7) + y * c.between(-5, 5) + c.between(0, 6.3)).sin()
    return side * (1 + c.between(0.0, 0.12) * folds)
