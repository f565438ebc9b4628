"""How each kind of clothing is cut: from random numbers to what it covers and how bright its parts are."""

from collections.abc import Callable

import torch

from .shapes import body, ellipse, inside, limb, outline, ring, union

CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


class Chance:
    """Random parameters, one value for each picture, (n, 1, 1)."""

    def __init__(self, n: int, generator: torch.Generator):
        self.n, self.generator = n, generator

    def between(self, low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(self.n, 1, 1, generator=self.generator)

    def yes(self, p: float) -> torch.Tensor:
        """1 with probability `p`, else 0."""
        return (self.between(0, 1) < p).float()


def _choose(which, yes, no):
    return which * yes + (1 - which) * no


def _sleeves(x, y, c: Chance, shoulder, top, length, width0, width1, low=6, high=30):
    angle = torch.deg2rad(c.between(low, high))
    start = (shoulder - width0 * 0.75, top + 0.19)
    end = (start[0] + length * angle.sin(), start[1] + length * angle.cos())
    return limb(x.abs(), y, start, end, width0, width1)


def _torso(x, y, top, hem, shoulder, waist, bottom):
    neck = 0.36 * shoulder
    middle = top + 0.55 * (hem - top)
    knots = [(top, neck), (top + 0.16, shoulder), (middle, waist), (hem, bottom)]
    return body(x, y, knots, top, hem)


def _neckline(x, y, top, width, depth):
    """What is left when the neck is cut out."""
    return 1 - ellipse(x, y, (0.0, top), (width, depth))


def _front(x, y, top, hem, width):
    """A dark line down the middle."""
    return 1 - 0.45 * inside(width - x.abs()) * inside(y - top) * inside(hem - y)


def _buttons(x, y, top, hem, spacing):
    places = ((y - top) / spacing).frac()
    dot = (x / 0.07).square() + ((places - 0.5) * spacing / 0.07).square()
    return 1 + 0.5 * inside((1 - dot.sqrt()) * 0.07) * (y > top) * (y < hem)


def _collar(x, y, top, width, depth):
    """Two bright flaps that meet in the middle, with a shadow between."""
    inner = outline(y, [(top, width), (top + depth, 0.0)])
    gap = inside(inner - x.abs()) * inside(top + depth - y)
    flap = inside(inner + 0.13 - x.abs()) * inside(top + depth + 0.07 - y) * inside(y - top + 0.02)
    return 1 + 0.3 * flap - 0.75 * gap


def t_shirt(x, y, c: Chance):
    top, hem = c.between(-0.86, -0.74), c.between(0.62, 0.84)
    shoulder, bottom = c.between(0.44, 0.56), c.between(0.42, 0.54)
    sleeved = c.yes(0.88)
    sleeves = _sleeves(x, y, c, shoulder, top, c.between(0.16, 0.4), c.between(0.15, 0.19), 0.14, 18, 48)
    shape = union(_torso(x, y, top, hem, shoulder, bottom - c.between(0, 0.08), bottom), sleeved * sleeves)
    neck = _neckline(x, y, top - 0.02, c.between(0.17, 0.28), c.between(0.1, 0.3))
    return shape * neck, 1.0


def trouser(x, y, c: Chance):
    top, end = c.between(-0.95, -0.86), c.between(0.84, 0.96)
    hip, spread = c.between(0.28, 0.38), c.between(0.14, 0.3)
    crotch = top + c.between(0.38, 0.52)
    waist = hip - c.between(0.02, 0.1)
    hips = body(x, y, [(top, waist), (crotch, hip)], top, crotch + 0.12)
    leg = limb(x.abs(), y, (hip * 0.52, crotch - 0.1), (spread, end), hip * 0.5, c.between(0.1, 0.17))
    seam = 1 - 0.3 * inside(0.03 - x.abs()) * inside(crotch - y)
    belt = 1 - 0.25 * inside(top + 0.1 - y)
    return union(hips, leg * inside(end - y)), seam * belt


def pullover(x, y, c: Chance):
    top, hem = c.between(-0.88, -0.76), c.between(0.62, 0.84)
    shoulder, bottom = c.between(0.42, 0.52), c.between(0.38, 0.5)
    sleeves = _sleeves(
        x, y, c, shoulder, top, c.between(1.0, 1.3), c.between(0.17, 0.21), c.between(0.1, 0.14), 5, 20
    )
    shape = union(_torso(x, y, top, hem, shoulder, bottom + c.between(-0.02, 0.05), bottom), sleeves)
    neck = _neckline(x, y, top - 0.03, c.between(0.15, 0.24), c.between(0.07, 0.18))
    hooded = c.yes(0.15) * ring(x, y, (0.0, top + 0.06), (0.22, 0.14), 0.05)
    cuffs = 1 - c.between(0.1, 0.3) * inside(y - hem + c.between(0.08, 0.16))
    return union(shape * neck, hooded), cuffs


def dress(x, y, c: Chance):
    top, hem = c.between(-0.96, -0.88), c.between(0.84, 0.97)
    shoulder, waist, bottom = c.between(0.24, 0.34), c.between(0.17, 0.25), c.between(0.26, 0.52)
    at = top + c.between(0.5, 0.75)
    knots = [(top, 0.5 * shoulder), (top + 0.14, shoulder), (at, waist), (hem, bottom)]
    sleeved = c.yes(0.4)
    sleeves = _sleeves(x, y, c, shoulder, top, c.between(0.12, 0.8), 0.11, 0.08, 8, 25)
    shape = union(body(x, y, knots, top, hem), sleeved * sleeves)
    neck = _neckline(x, y, top - 0.02, c.between(0.1, 0.17), c.between(0.12, 0.34))
    belt = 1 - c.yes(0.4) * 0.4 * inside(0.05 - (y - at).abs())
    return shape * neck, belt


def coat(x, y, c: Chance):
    top, hem = c.between(-0.95, -0.86), c.between(0.8, 0.97)
    shoulder, bottom = c.between(0.42, 0.52), c.between(0.42, 0.56)
    waist = bottom - c.between(0.0, 0.12)
    sleeves = _sleeves(
        x, y, c, shoulder, top, c.between(1.15, 1.4), c.between(0.17, 0.22), c.between(0.12, 0.16), 4, 16
    )
    shape = union(_torso(x, y, top, hem, shoulder, waist, bottom), sleeves)
    collar = _collar(x, y, top, c.between(0.1, 0.18), c.between(0.3, 0.62))
    front = _front(x, y, top, hem, c.between(0.025, 0.05))
    pockets = 1 - c.yes(0.6) * 0.3 * inside(0.03 - (y - 0.32).abs()) * inside(0.1 - (x.abs() - 0.28).abs())
    return shape, collar * front * pockets


def sandal(x, y, c: Chance):
    ground, heel = c.between(0.3, 0.5), c.between(0.0, 0.45)
    foot = outline(x, [(-0.9, ground), (-0.3, ground - 0.05), (0.75, ground - heel)])
    thick = c.between(0.05, 0.1)
    sole = inside(thick - (y - foot).abs()) * inside(0.92 - x.abs())
    back = limb(x, y, (0.76, ground - heel), (0.7, ground + 0.05), 0.12, c.between(0.05, 0.12))
    tall = c.between(0.45, 0.7)
    instep = [(-0.85, 0.12), (-0.4, 0.26), (0.1, 0.4), (0.45, tall), (0.85, tall)]
    foot_above = inside(y - foot + outline(x, instep)) * inside(foot - y) * inside(0.88 - x.abs())
    lean, straps = c.between(-0.35, 0.35), []
    for place, p in ((-0.55, 0.95), (-0.2, 0.65), (0.2, 0.5), (0.68, 0.85)):
        at = place + c.between(-0.1, 0.1) + lean * (foot - y)
        straps.append(c.yes(p) * inside(c.between(0.05, 0.12) - (x - at).abs()))
    ankle = c.yes(0.7) * inside(0.05 - (y - foot + tall - 0.06).abs()) * inside(x - 0.35)
    return union(sole, (heel > 0.12) * back, foot_above * union(ankle, *straps)), 1.0


def shirt(x, y, c: Chance):
    top, hem = c.between(-0.9, -0.78), c.between(0.66, 0.9)
    shoulder, bottom = c.between(0.42, 0.52), c.between(0.38, 0.52)
    long = c.yes(0.72)
    length = _choose(long, c.between(1.0, 1.3), c.between(0.28, 0.5))
    width = _choose(long, c.between(0.09, 0.13), 0.14 + 0 * length)
    sleeves = _sleeves(x, y, c, shoulder, top, length, c.between(0.15, 0.19), width, 6, 26)
    shape = union(_torso(x, y, top, hem, shoulder, bottom - c.between(0, 0.08), bottom), sleeves)
    depth = c.between(0.14, 0.34)
    collar = _collar(x, y, top, c.between(0.1, 0.17), depth)
    placket = _buttons(x, y, top + depth, hem - 0.05, c.between(0.2, 0.3))
    return shape, collar * placket * _front(x, y, top + depth, hem, 0.02)


def sneaker(x, y, c: Chance):
    ground, tall = c.between(0.3, 0.46), c.between(0.48, 0.72)
    toe, opening = c.between(0.16, 0.28), c.between(0.15, 0.35)
    knots = [
        (-0.92, ground - 0.5 * toe), (-0.75, ground - toe), (-0.25, ground - toe - 0.12),
        (opening, ground - tall), (0.6, ground - tall + c.between(0.02, 0.16)), (0.86, ground - tall - 0.02),
        (0.92, ground - 0.3),
    ]  # fmt: skip
    upper = inside(y - outline(x, knots)) * inside(ground - y) * inside(0.92 - (x - 0.0).abs())
    sole = inside(y - ground + c.between(0.1, 0.18))
    laces = ((x + 0.3) / 0.13).frac().abs() < 0.45
    lacing = c.yes(0.75) * laces * inside(0.28 - (x + 0.1).abs()) * inside(outline(x, knots) + 0.2 - y)
    stripe = c.yes(0.5) * limb(x, y, (-0.1, ground - 0.12), (0.45, ground - tall * 0.6), 0.06, 0.03)
    return upper, (1 + c.between(-0.3, 0.7) * sole) * (1 - 0.4 * lacing) * (1 - c.between(-0.5, 0.5) * stripe)


def bag(x, y, c: Chance):
    top, bottom = c.between(-0.35, 0.05), c.between(0.6, 0.86)
    width0, width1 = c.between(0.55, 0.85), c.between(0.6, 0.9)
    box = body(x, y, [(top, width0), (bottom, width1)], top, bottom)
    corner = 1 - 0.9 * inside(x.abs() + (y - bottom) - width1 + c.between(0.06, 0.16))
    handle = ring(x, y, (0.0, top), (c.between(0.25, 0.55), c.between(0.3, 0.6)), c.between(0.03, 0.08))
    flap_end = top + c.between(0.2, 0.45)
    flap = 1 - c.yes(0.6) * 0.35 * inside(0.03 - (y - flap_end).abs()) * (y > top)
    clasp = 1 + c.yes(0.5) * 0.5 * ellipse(x, y, (0.0, flap_end), (0.09, 0.08))
    return union(box * corner, c.yes(0.85) * handle * (y < top + 0.05)), flap * clasp


def ankle_boot(x, y, c: Chance):
    ground, top = c.between(0.6, 0.8), c.between(-0.9, -0.55)
    toe, ankle = c.between(0.2, 0.3), c.between(-0.12, 0.1)
    heel = c.between(0.0, 0.32)
    knots = [
        (-0.9, ground - 0.5 * toe), (-0.72, ground - toe), (-0.3, ground - toe - 0.16),
        (ankle, ground - toe - 0.42), (ankle + 0.08, top), (0.8, top + c.between(-0.05, 0.1)),
    ]  # fmt: skip
    under = outline(x, [(-0.25, ground), (0.15, ground - heel), (0.42, ground - heel)])
    right = c.between(0.6, 0.78)
    upper = inside(y - outline(x, knots)) * inside(under - y) * inside(right - x) * inside(x + 0.9)
    block = inside(c.between(0.08, 0.16) - (x - right + 0.15).abs()) * inside(ground - y) * inside(y - 0.2)
    sole = inside(y - under + c.between(0.08, 0.14))
    side = c.yes(0.4) * inside(c.between(0.04, 0.1) - (x - 0.35).abs()) * inside(0.2 - y)
    return union(upper, (heel > 0.08) * block), (1 - c.between(-0.3, 0.4) * sole) * (1 - 0.35 * side)


CUTS: dict[str, Callable] = dict(
    zip(
        CLASSES,
        (t_shirt, trouser, pullover, dress, coat, sandal, shirt, sneaker, bag, ankle_boot),
        strict=True,
    )
)
