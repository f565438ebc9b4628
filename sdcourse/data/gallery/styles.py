"""Seven styles. Each says how much line and shade the sprites get, and finishes the picture.

A finish takes the composed picture (n, 3, S, S) in 0..1, the coverage of everything in front of the
background (n, 1, S, S) and returns a picture. Textures are fixed to the paper, as a canvas is: they
make a style visible at a glance and cost a model nothing to remember.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class Style:
    line: float  # how dark outlines are drawn, 0 to 1
    shade: float  # how strong the lamp is, 0 to 1
    finish: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    blurred: bool = False  # background out of focus


@lru_cache(maxsize=64)
def noise(size: int, cells: int, seed: int, stretch: float = 1.0, angle: float = 0.0) -> torch.Tensor:
    """(size, size) smooth noise of mean 0 and deviation 1, `cells` waves across, the same at every size."""
    rng = np.random.default_rng(seed)
    waves = 48
    direction = rng.uniform(0, 2 * np.pi, waves)
    freq = cells * rng.uniform(0.5, 1.2, waves)
    phase = rng.uniform(0, 2 * np.pi, waves)
    y, x = np.mgrid[0:size, 0:size] / size
    along = x * np.cos(angle) + y * np.sin(angle)
    across = (-x * np.sin(angle) + y * np.cos(angle)) * stretch
    total = sum(
        np.sin(2 * np.pi * f * (along * np.cos(d) + across * np.sin(d)) + p)
        for f, d, p in zip(freq, direction, phase, strict=True)
    )
    return torch.from_numpy((total / np.sqrt(waves / 2)).astype(np.float32))


@lru_cache(maxsize=16)
def _from_centre(size: int) -> torch.Tensor:
    """(size, size) distance from the centre, 1 in the corners."""
    axis = (torch.arange(size) + 0.5) / size * 2 - 1
    return (axis[:, None] ** 2 + axis[None, :] ** 2).sqrt() / 2**0.5


@lru_cache(maxsize=16)
def _grid(size: int) -> torch.Tensor:
    """(size, size, 2) sampling grid that changes nothing."""
    axis = (torch.arange(size) + 0.5) / size * 2 - 1
    return torch.stack([axis[None, :].expand(size, size), axis[:, None].expand(size, size)], -1)


def warp(x: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """Sample x (n, c, S, S) at grid (S, S, 2) or (n, S, S, 2)."""
    grid = grid if grid.ndim == 4 else grid.expand(len(x), -1, -1, -1)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)


def gray(x: torch.Tensor) -> torch.Tensor:
    return (0.3 * x[:, 0:1] + 0.59 * x[:, 1:2]) + 0.11 * x[:, 2:3]


def saturate(x: torch.Tensor, amount: float) -> torch.Tensor:
    g = gray(x)
    return g + amount * (x - g)


# finishes -----------------------------------------------------------------------------------


def photograph(x, front):
    size = x.shape[-1]
    x = x * (1.06 - 0.42 * _from_centre(size) ** 2)  # vignette
    x = x + 0.25 * (x - 0.5) * (1 - (2 * x - 1).abs())  # contrast
    return x + 0.012 * noise(size, 30, seed=1)


@lru_cache(maxsize=16)
def _brush(size: int):
    flow = torch.stack([noise(size, 3, seed=2), noise(size, 3, seed=3)], -1)
    wobble = torch.stack([noise(size, 9, seed=4), noise(size, 9, seed=5)], -1)
    relief = noise(size, 16, seed=6, stretch=0.25, angle=0.9)
    return _grid(size) + 0.012 * wobble, 0.03 * flow, relief


def oil_painting(x, front):
    grid, flow, relief = _brush(x.shape[-1])
    x = (warp(x, grid - flow) + 2 * warp(x, grid) + warp(x, grid + flow)) / 4  # smear along the brush
    x = saturate(x, 1.3) * (1 + 0.05 * relief)
    return x * torch.tensor([1.02, 0.97, 0.86]).view(3, 1, 1)  # varnish


def watercolor(x, front):
    size = x.shape[-1]
    soft = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False) if size <= 96 else _blur(x, size // 32)
    x = 0.45 * x + 0.55 * soft
    # Pigment gathers at the rim of a wet spot: darker just inside the subject.
    inside = front * (1 - _blur(front, max(1, size // 32))) * 2
    pigment = 0.72 + 0.07 * noise(size, 5, seed=7)
    border = (_from_centre(size) * 1.28 + 0.09 * noise(size, 6, seed=8) - 0.62).clamp(0, 0.4) / 0.4
    wet = pigment * (1 - border * (1 - 0.6 * front))  # the wash leaves the rim of the paper white
    paper = torch.tensor([0.985, 0.975, 0.95]).view(3, 1, 1)
    return (paper * (1 - wet) + x * wet) * (1 - 0.22 * inside)


def _blur(x, radius):
    k = 2 * radius + 1
    for _ in range(2):
        x = F.avg_pool2d(x, k, 1, radius, count_include_pad=False)
    return x


@lru_cache(maxsize=16)
def _knife(size: int, seed: int = 11, strokes: int = 90):
    """A mosaic of slanted strokes: where each pixel takes its colour, and the ridge of paint between."""
    rng = np.random.default_rng(seed)
    cx, cy = rng.uniform(-0.05, 1.05, (2, strokes))
    angle = rng.choice([0.6, -0.7, 0.2], strokes) + rng.normal(0, 0.15, strokes)
    y, x = (np.mgrid[0:size, 0:size] + 0.5) / size
    dx, dy = x[..., None] - cx, y[..., None] - cy
    along = dx * np.cos(angle) + dy * np.sin(angle)
    across = -dx * np.sin(angle) + dy * np.cos(angle)
    distance = np.hypot(along * 0.42, across)
    order = np.argsort(distance, axis=-1)[..., :2]
    first, second = (np.take_along_axis(distance, order[..., k : k + 1], -1)[..., 0] for k in (0, 1))
    owner = order[..., 0]
    target = np.stack([cx[owner], cy[owner]], -1) * 2 - 1
    here = np.stack([x, y], -1) * 2 - 1
    ridge = np.exp(-(((second - first) / 0.02) ** 2)) * np.sign(
        across[np.arange(size)[:, None], np.arange(size), owner]
    )
    grid = 0.36 * target + 0.64 * here  # not wholly flat: eyes and hats must survive
    return torch.from_numpy(grid.astype(np.float32)), torch.from_numpy(ridge.astype(np.float32))


def palette_knife(x, front):
    grid, ridge = _knife(x.shape[-1])
    x = saturate(warp(x, grid), 1.25)
    return x * 1.04 - 0.07 * ridge


def pencil_sketch(x, front):
    size = x.shape[-1]
    paper = torch.tensor([0.97, 0.965, 0.945]).view(3, 1, 1)
    tint = 0.22 + 0.33 * front  # coloured pencil on the subject, a hint of it behind
    y, x_ = torch.meshgrid(torch.arange(size) / size, torch.arange(size) / size, indexing="ij")
    hatch = torch.sin((x_ + y) * 2 * torch.pi * 16) * 0.5 + 0.5
    dark = 1 - gray(x)
    down = F.pad((x[..., 1:, :] - x[..., :-1, :]).abs().mean(1, keepdim=True), (0, 0, 0, 1))
    right = F.pad((x[..., 1:] - x[..., :-1]).abs().mean(1, keepdim=True), (0, 1))
    edge = ((down + right) * 1.6 * size / 64).clamp(0, 1)
    drawn = paper * (1 - tint) + x * tint
    drawn = drawn * (1 - 0.20 * dark * hatch)
    return drawn * (1 - 0.72 * edge)


def pixel_art(x, front):
    size = x.shape[-1]
    block = max(1, round(size / 32))
    cells = -(-size // block)
    small = F.adaptive_avg_pool2d(x, cells)
    small = saturate(small, 1.25)
    small = (small * 6).round() / 6  # few colours
    return small.repeat_interleave(block, -1).repeat_interleave(block, -2)[..., :size, :size]


def picasso(x, front):
    x = saturate(x, 1.15)
    return x + 0.5 * (x - 0.5) * (1 - (2 * x - 1).abs())


FACETS = 6


@lru_cache(maxsize=64)
def facets(size: int, which: int):
    """Straight cuts that shift and shade the pieces of a picture.

    Returns: sampling grid (size, size, 2), tone (3, size, size) and ink of the cuts (size, size).
    """
    rng = np.random.default_rng(100 + which)
    y, x = (np.mgrid[0:size, 0:size] + 0.5) / size
    side, ink = np.zeros((size, size), int), np.zeros((size, size))
    for k in range(3):
        angle = (k + rng.uniform(-0.3, 0.3)) * np.pi / 3
        px, py = 0.5 + rng.uniform(-0.16, 0.16, 2)
        d = (x - px) * np.cos(angle) + (y - py) * np.sin(angle)
        side += (d > 0).astype(int) << k
        ink = np.maximum(ink, np.clip(1.5 - np.abs(d) * 90, 0, 1))
    grid = np.stack([x, y], -1) * 2 - 1
    tone = np.ones((3, size, size))
    for piece in range(8):
        here = side == piece
        grid[here] = grid[here] * rng.uniform(0.94, 1.03) + rng.uniform(-0.09, 0.09, 2)
        level = rng.choice([0.84, 0.95, 1.05, 1.14])
        tint = 1 + rng.choice([-1, 1]) * np.array([0.06, 0.01, -0.06])
        tone[:, here] = (level * tint)[:, None]
    return tuple(torch.from_numpy(a.astype(np.float32)) for a in (grid, tone, ink))


STYLES = {
    "photograph": Style(line=0.12, shade=0.5, finish=photograph, blurred=True),
    "oil painting": Style(line=0.35, shade=0.4, finish=oil_painting),
    "watercolor": Style(line=0.3, shade=0.25, finish=watercolor),
    "palette knife": Style(line=0.25, shade=0.3, finish=palette_knife),
    "pencil sketch": Style(line=0.95, shade=0.2, finish=pencil_sketch),
    "pixel art": Style(line=0.9, shade=0.15, finish=pixel_art),
    "picasso": Style(line=0.85, shade=0.1, finish=picasso),
}
