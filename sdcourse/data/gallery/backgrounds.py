"""Ten backgrounds, drawn a little wider than the picture so that they can be shifted.

Each function paints on a `Canvas` whose coordinates run from 0 to 100 and returns nothing; `u(a, b)`
varies it. The horizon (for the depth map) stands in `HORIZON`.
"""

import numpy as np
import torch
from PIL import Image, ImageDraw

from .pen import closed_curve, open_curve

HORIZON = dict(
    meadow=64, snow=66, beach=56, forest=72, city=78, night=74, desert=62, sunset=68, sea=82, plain=70,
)  # fmt: skip


class Canvas:
    def __init__(self, size: int):
        self.side = size * 2  # supersampled
        self.image = Image.new("RGB", (self.side, self.side))
        self.draw = ImageDraw.Draw(self.image)

    def gradient(self, top, bottom, y0=0, y1=100):
        """A vertical gradient between two colours from y0 to y1."""
        a, b = (round(y * self.side / 100) for y in (y0, y1))
        t = np.linspace(0, 1, max(b - a, 1))[:, None, None]
        rows = np.asarray(top) * (1 - t) + np.asarray(bottom) * t
        stripe = np.broadcast_to(rows, (len(rows), self.side, 3)).astype(np.uint8)
        self.image.paste(Image.fromarray(stripe), (0, a))

    def polygon(self, points, color):
        self.draw.polygon([(x * self.side / 100, y * self.side / 100) for x, y in points], fill=color)

    def hills(self, heights, color):
        """Everything below a smooth line through `heights` at even distances."""
        xs = np.linspace(-5, 105, len(heights))
        self.polygon([(-5, 110), *open_curve(list(zip(xs, heights, strict=True))), (105, 110)], color)

    def blob(self, points, color):
        self.polygon(closed_curve(points), color)

    def disc(self, x, y, r, color, ry=None):
        ry = r if ry is None else ry
        box = [v * self.side / 100 for v in (x - r, y - ry, x + r, y + ry)]
        self.draw.ellipse(box, fill=color)

    def box(self, x0, y0, x1, y1, color):
        self.draw.rectangle([v * self.side / 100 for v in (x0, y0, x1, y1)], fill=color)

    def tensor(self) -> torch.Tensor:
        """(3, size, size) in 0..1."""
        pixels = np.asarray(self.image.reduce(2), np.float32) / 255
        return torch.from_numpy(np.moveaxis(pixels, -1, 0).copy())


def cloud(c: Canvas, x, y, r, color=(255, 255, 255)):
    c.disc(x, y, r, color, r * 0.55)
    c.disc(x - r * 0.8, y + r * 0.25, r * 0.7, color, r * 0.4)
    c.disc(x + r * 0.8, y + r * 0.25, r * 0.75, color, r * 0.4)


def meadow(c, u):
    c.gradient((126, 196, 240), (214, 238, 250), 0, 70)
    cloud(c, u(10, 90), u(8, 22), u(8, 12))
    cloud(c, u(10, 90), u(14, 30), u(6, 9))
    c.hills([u(54, 66) for _ in range(5)], (150, 206, 110))
    c.hills([u(66, 70) for _ in range(4)], (108, 182, 82))
    c.hills([u(84, 88) for _ in range(4)], (92, 166, 74))
    for _ in range(7):
        x, y = u(2, 98), u(74, 97)
        c.disc(x, y, 1.6, ((255, 255, 255), (250, 214, 80), (240, 130, 160))[int(u(0, 2.99))])


def snow(c, u):
    c.gradient((168, 190, 216), (226, 236, 246), 0, 72)
    for _ in range(4):
        x, y, h = u(0, 100), u(64, 70), u(16, 26)
        for k in range(3):
            w = h * (0.18 + 0.09 * k)
            top = y - h + k * h * 0.27
            c.polygon([(x - w, top + h * 0.42), (x, top), (x + w, top + h * 0.42)], (104, 138, 140))
    c.hills([u(66, 72) for _ in range(5)], (238, 244, 252))
    c.hills([u(82, 88) for _ in range(4)], (222, 232, 246))
    for _ in range(16):
        c.disc(u(0, 100), u(0, 62), u(0.9, 1.7), (255, 255, 255))


def beach(c, u):
    c.gradient((110, 196, 242), (204, 238, 250), 0, 56)
    c.disc(u(12, 88), u(12, 20), 8, (255, 238, 150))
    c.gradient((38, 140, 190), (88, 196, 206), 54, 76)
    for y in (60, 66):
        x = u(5, 70)
        c.box(x, y, x + 22, y + 1.4, (190, 232, 236))
    c.hills([u(71, 75) for _ in range(4)], (250, 250, 244))
    c.hills([u(74, 77) for _ in range(4)], (240, 214, 156))
    c.hills([u(88, 92) for _ in range(4)], (230, 200, 138))


def forest(c, u):
    c.gradient((150, 196, 142), (92, 150, 92), 0, 80)
    for _ in range(6):
        c.disc(u(0, 100), u(-2, 26), u(14, 22), (58, int(u(104, 126)), 62))
    for i in range(6):
        x, w = 4 + 18 * i + u(-5, 5), u(2.4, 4.4)
        c.polygon([(x - w, 0), (x + w, 0), (x + w * 1.3, 80), (x - w * 1.3, 80)], (92, 68, 48))
    for _ in range(6):
        c.disc(u(0, 100), u(-4, 10), u(12, 20), (44, int(u(88, 106)), 52))
    c.hills([u(72, 78) for _ in range(5)], (70, 116, 58))
    c.hills([u(86, 90) for _ in range(4)], (58, 100, 52))


def city(c, u):
    c.gradient((158, 178, 204), (226, 226, 226), 0, 80)
    x = -4.0
    while x < 104:
        w, top = u(13, 20), u(16, 50)
        gray = int(u(96, 140))
        c.box(x, top, x + w - 1, 82, (gray, gray + 6, gray + 18))
        for wy in np.arange(top + 5, 72, 13):
            for wx in np.arange(x + 3, x + w - 5, 6.5):
                c.box(wx, wy, wx + 3.6, wy + 6, (236, 220, 160))
        x += w
    c.box(0, 78, 100, 83, (188, 188, 190))
    c.gradient((112, 112, 118), (96, 96, 104), 83, 100)
    for x in range(4, 100, 24):
        c.box(x, 91, x + 12, 93, (236, 226, 180))


def night(c, u):
    c.gradient((14, 18, 56), (48, 56, 112), 0, 80)
    for _ in range(22):
        c.disc(u(0, 100), u(0, 66), u(0.7, 1.5), (250, 246, 214))
    x, y = u(12, 88), u(12, 22)
    c.disc(x, y, 8, (250, 240, 190))
    c.disc(x + 3.6, y - 2, 6.8, (22, 28, 70))
    c.hills([u(70, 78) for _ in range(5)], (30, 42, 74))
    c.hills([u(84, 90) for _ in range(4)], (24, 34, 60))


def desert(c, u):
    c.gradient((250, 214, 150), (254, 238, 204), 0, 66)
    c.disc(u(12, 88), u(14, 24), 8, (255, 246, 214))
    c.hills([u(54, 66) for _ in range(4)], (232, 176, 104))
    for _ in range(2):
        x, y = u(6, 94), u(68, 74)
        c.box(x - 1.8, y - 20, x + 1.8, y, (92, 138, 82))
        c.box(x - 7, y - 12, x + 6, y - 9.5, (92, 138, 82))
        c.box(x - 7, y - 17, x - 4.4, y - 9.5, (92, 138, 82))
        c.box(x + 3.6, y - 19, x + 6.2, y - 9.5, (92, 138, 82))
    c.hills([u(68, 76) for _ in range(5)], (222, 158, 86))
    c.hills([u(84, 90) for _ in range(4)], (208, 142, 74))


def sunset(c, u):
    c.gradient((96, 58, 130), (240, 106, 84), 0, 46)
    c.gradient((240, 106, 84), (255, 200, 104), 46, 76)
    c.disc(u(16, 84), 62, 15, (255, 240, 170))
    for _ in range(3):
        x, y = u(0, 80), u(10, 44)
        c.disc(x, y, u(12, 20), (196, 88, 112), 1.8)
    c.hills([u(66, 72) for _ in range(5)], (104, 54, 92))
    c.hills([u(80, 86) for _ in range(4)], (76, 42, 78))


def sea(c, u):
    c.gradient((96, 208, 222), (20, 96, 152), 0, 90)
    for _ in range(3):
        x = u(0, 90)
        c.polygon([(x, 0), (x + 8, 0), (x + u(-4, 16), 70), (x - 10, 70)], (112, 204, 220))
    for x in (u(4, 24), u(74, 94)):
        for k in range(3):
            sway = u(-5, 5)
            c.blob(
                [
                    (x + 5 * k - 2, 96),
                    (x + 5 * k - 3 + sway, 78),
                    (x + 5 * k + sway, 58 + 6 * k),
                    (x + 5 * k + 2, 80),
                ],
                (40, 138, 104),
            )
    for _ in range(8):
        c.disc(u(0, 100), u(5, 76), u(1, 2.2), (190, 238, 246))
    c.hills([u(80, 86) for _ in range(5)], (222, 202, 150))


def plain(c, u):
    tone = int(u(204, 232))
    c.gradient((tone, tone, tone), (tone + 14, tone + 14, tone + 14), 0, 72)
    c.gradient((tone - 26, tone - 26, tone - 24), (tone - 6, tone - 6, tone - 4), 72, 100)


BACKGROUNDS = {
    f.__name__: f for f in (meadow, snow, beach, forest, city, night, desert, sunset, sea, plain)
}  # fmt: skip
