"""A pen that draws sprites: small pictures whose main colour is chosen later.

A sprite has seven channels, all premultiplied by coverage:

    0      alpha   how much of the pixel is covered
    1      main    how much of the main colour it takes (below alpha: darker or mixed)
    2-4    fixed   red, green, blue that do not depend on the main colour
    5      line    where an outline would be inked
    6      shade   light (positive) and shadow (negative) of a lamp at the upper left

so that `main * color + fixed` paints the same cat in any colour, and a style decides how much
line and shade it wants. Coordinates run from 0 to 100 in both directions, y downwards; the sprite
itself shows a margin of 8 units more on every side.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter

SUPERSAMPLING = 4
OUTLINE = 1.5  # in units of the 100-unit box
MARGIN = 8
EXTENT = 100 + 2 * MARGIN  # units that a sprite shows from edge to edge


@dataclass(frozen=True)
class Ink:
    """`main * color + fixed`, with fixed in 0..255."""

    main: float
    fixed: tuple[int, int, int] = (0, 0, 0)


MAIN = Ink(1.0)
WHITE = Ink(0.0, (250, 250, 248))
DARK = Ink(0.0, (34, 30, 40))
PINK = Ink(0.0, (242, 150, 160))
WOOD = Ink(0.0, (124, 82, 48))
GREEN = Ink(0.0, (64, 140, 62))
YELLOW = Ink(0.0, (250, 204, 70))
SKIN = Ink(0.0, (244, 200, 165))
GLASS = Ink(0.0, (150, 205, 232))
METAL = Ink(0.0, (176, 182, 192))


def dark(amount: float) -> Ink:
    """The main colour, darkened by `amount` (0 to 1)."""
    return Ink(1.0 - amount)


def light(amount: float) -> Ink:
    """The main colour mixed with white by `amount` (0 to 1)."""
    return Ink(1.0 - amount, (int(250 * amount),) * 3)


def rgb(red: int, green: int, blue: int) -> Ink:
    return Ink(0.0, (red, green, blue))


@dataclass(frozen=True)
class Anchor:
    """A place on a sprite where something is put: centre, width in units, tilt in degrees."""

    x: float
    y: float
    width: float
    tilt: float = 0.0


@dataclass
class Pen:
    size: int
    anchors: dict[str, Anchor] = field(default_factory=dict)

    def __post_init__(self):
        side = self.size * SUPERSAMPLING
        self._unit = side / EXTENT
        self._planes = {
            name: Image.new(mode, (side, side))
            for name, mode in (("alpha", "L"), ("main", "L"), ("fixed", "RGB"), ("line", "L"))
        }
        self._draw = {name: ImageDraw.Draw(plane) for name, plane in self._planes.items()}

    # shapes ---------------------------------------------------------------------------------

    def polygon(self, points, ink: Ink, outline: float = OUTLINE):
        points = self._pixels(points)
        self._fill(points, ink, line=bool(outline))
        if outline:
            # The ring around the shape belongs to it (same ink) and is marked as line.
            ring = [*points, points[0], points[1]]
            width = max(1, round(outline * self._unit))
            for name, value in self._values(ink, line=255):
                self._draw[name].line(ring, fill=value, width=width, joint="curve")

    def blob(self, points, ink: Ink, outline: float = OUTLINE):
        """A closed smooth curve through `points`."""
        self.polygon(closed_curve(points), ink, outline)

    def ellipse(self, x, y, rx, ry, ink: Ink, outline: float = OUTLINE, tilt: float = 0.0):
        angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        px, py = rx * np.cos(angle), ry * np.sin(angle)
        c, s = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
        self.polygon(list(zip(x + c * px - s * py, y + s * px + c * py, strict=True)), ink, outline)

    def box(self, x0, y0, x1, y1, ink: Ink, outline: float = OUTLINE):
        self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], ink, outline)

    def stroke(self, points, width, ink: Ink, outline: float = OUTLINE):
        """A thick smooth line through `points` with round ends."""
        path = self._pixels(open_curve(points))
        if outline:
            self._stroke(path, width + outline, ink, line=255)
        self._stroke(path, width, ink, line=0)

    def eyes(self, x, y, apart, r=4.2, iris: Ink = DARK):
        for ex in (x - apart, x + apart):
            self.eye(ex, y, r, iris)

    def eye(self, x, y, r=4.2, iris: Ink = DARK):
        self.ellipse(x, y, r + 1.6, r + 1.8, WHITE, outline=0.8)
        self.ellipse(x, y + 0.4, r, r, iris, outline=0)
        self.ellipse(x, y + 0.4, r * 0.6, r * 0.7, DARK, outline=0)
        self.ellipse(x - r * 0.35, y - r * 0.4, r * 0.32, r * 0.32, WHITE, outline=0)

    # inside ---------------------------------------------------------------------------------

    def _pixels(self, points):
        return [((x + MARGIN) * self._unit, (y + MARGIN) * self._unit) for x, y in points]

    def _values(self, ink: Ink, line: int):
        return (("alpha", 255), ("main", round(255 * ink.main)), ("fixed", ink.fixed), ("line", line))

    def _fill(self, points, ink, line):
        for name, value in self._values(ink, line=0):
            if name != "line" or line:  # details drawn without outline leave the lines below them
                self._draw[name].polygon(points, fill=value)

    def _stroke(self, path, width, ink, line):
        width = max(1, round(width * self._unit))
        r = width / 2
        for name, value in self._values(ink, line):
            self._draw[name].line(path, fill=value, width=width, joint="curve")
            for x, y in (path[0], path[-1]):
                self._draw[name].ellipse((x - r, y - r, x + r, y + r), fill=value)

    def sprite(self) -> torch.Tensor:
        """(7, size, size) float32 in 0..1 (shade in -1..1)."""
        planes = [
            np.asarray(plane.reduce(SUPERSAMPLING), np.float32) / 255 for plane in self._planes.values()
        ]
        alpha, main, fixed, line = planes
        stacked = np.stack([alpha, main, *np.moveaxis(fixed, -1, 0), line, self._shade(alpha)])
        return torch.from_numpy(stacked)

    def _shade(self, alpha):
        """Light from the upper left on a body that swells in its middle: the slope of its blurred outline."""
        blurred = (
            self._planes["alpha"].reduce(SUPERSAMPLING).filter(ImageFilter.GaussianBlur(self.size * 0.07))
        )
        height = np.asarray(blurred, np.float32) / 255
        down, right = np.gradient(height)
        slope = (right * 0.6 + down * 0.8) * self.size * 0.12
        return np.clip(slope, -1, 1) * alpha


def closed_curve(points, steps: int = 8):
    """Points of a closed Catmull-Rom spline."""
    p = np.asarray(points, np.float32)
    return _catmull_rom(np.roll(p, 1, 0), p, np.roll(p, -1, 0), np.roll(p, -2, 0), steps)


def open_curve(points, steps: int = 8):
    """Points of a Catmull-Rom spline from the first to the last point."""
    p = np.asarray(points, np.float32)
    p = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    return [*_catmull_rom(p[:-3], p[1:-2], p[2:-1], p[3:], steps), tuple(p[-2])]


def _catmull_rom(p0, p1, p2, p3, steps):
    t = np.linspace(0, 1, steps, endpoint=False)[:, None, None]
    curve = 0.5 * (
        2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3
    )
    return [tuple(xy) for xy in curve.transpose(1, 0, 2).reshape(-1, 2)]
