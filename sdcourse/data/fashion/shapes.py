"""Soft-edged shapes for many pictures at once.

Every function gives coverage, (n, h, w) from 0 to 1. Coordinates run from -1 to 1 in both directions, y
downwards; `x` and `y` are (n, h, w), parameters are numbers or (n, 1, 1), a value for each picture.
"""

from collections.abc import Sequence

import torch

PIXEL = 2 / 28  # the width of a pixel, over which an edge fades


def inside(distance: torch.Tensor) -> torch.Tensor:
    """Coverage from the distance to the edge, positive inside."""
    return (distance / PIXEL + 0.5).clamp(0, 1)


def outline(position: torch.Tensor, knots: Sequence[tuple]) -> torch.Tensor:
    """A line through `knots` of (position, value), straight between them, level beyond the ends."""
    value = knots[0][1] + 0 * position
    for (p0, v0), (p1, v1) in zip(knots, knots[1:], strict=False):
        share = ((position - p0) / (p1 - p0)).clamp(0, 1)
        value = value + share * (v1 - v0)
    return value


def body(x, y, knots: Sequence[tuple], top, bottom) -> torch.Tensor:
    """A shape that is the same on both sides: `knots` of (y, half width), between two heights."""
    sides = inside(outline(y, knots) - x.abs())
    return sides * inside(y - top) * inside(bottom - y)


def limb(x, y, start: tuple, end: tuple, width0, width1) -> torch.Tensor:
    """A stretch from `start` to `end`, (x, y) each, whose half width goes from `width0` to `width1`."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    length2 = dx * dx + dy * dy
    along = (((x - start[0]) * dx + (y - start[1]) * dy) / length2).clamp(0, 1)
    away = ((x - start[0] - along * dx).square() + (y - start[1] - along * dy).square()).sqrt()
    return inside(width0 + along * (width1 - width0) - away)


def ellipse(x, y, center: tuple, radii: tuple) -> torch.Tensor:
    scaled = (((x - center[0]) / radii[0]).square() + ((y - center[1]) / radii[1]).square()).sqrt()
    return inside((1 - scaled) * torch.minimum(*map(torch.as_tensor, radii)))


def ring(x, y, center: tuple, radii: tuple, thickness) -> torch.Tensor:
    """The band of half width `thickness` along an ellipse."""
    scaled = (((x - center[0]) / radii[0]).square() + ((y - center[1]) / radii[1]).square()).sqrt()
    return inside(thickness - (1 - scaled).abs() * torch.minimum(*map(torch.as_tensor, radii)))


def union(*shapes: torch.Tensor) -> torch.Tensor:
    """What any of the shapes covers."""
    covered = shapes[0]
    for shape in shapes[1:]:
        covered = torch.maximum(covered, shape)
    return covered
