"""Hats, accessories and the branch: sprites that are put at a subject's anchors.

A hat's brim lies on y = 80, a scarf hangs around y = 40; both are about 60 units wide. A balloon's
string ends at (50, 98). The renderer scales hats and scarves to the width of their anchor.
"""

from .pen import GREEN, MAIN, WHITE, WOOD, Pen, dark, light


def top_hat(p: Pen, u):
    p.blob([(30, 32), (50, 28), (70, 32), (66, 78), (34, 78)], MAIN, outline=2.5)
    p.polygon([(33.5, 61), (66.5, 61), (66, 73), (34, 73)], dark(0.5), outline=0)
    p.ellipse(50, 79, 38, 7.5, MAIN, outline=2.5)


def cap(p: Pen, u):
    p.blob([(19, 80), (22, 56), (38, 42), (60, 42), (76, 56), (80, 80), (50, 84)], MAIN, outline=2.5)
    p.blob([(20, 74), (48, 78), (40, 90), (4, 88), (-4, 82)], dark(0.25), outline=2.5)
    p.ellipse(49, 41, 5, 4, dark(0.25), outline=0)


def party_hat(p: Pen, u):
    p.polygon([(27, 82), (50, 20), (73, 82)], MAIN, outline=2.5)
    p.polygon([(37.5, 52), (42, 38), (60, 46), (62.5, 52)], light(0.7), outline=0)
    p.polygon([(29, 76), (33, 64), (67, 69), (71, 78)], light(0.7), outline=0)
    p.ellipse(50, 20, 10, 10, WHITE, outline=2)


def crown(p: Pen, u):
    p.polygon([(21, 84), (14, 40), (34, 63), (50, 32), (66, 63), (86, 40), (79, 84)], MAIN, outline=2.5)
    for x, y in ((14, 40), (50, 32), (86, 40)):
        p.ellipse(x, y, 7, 7, light(0.6), outline=1.5)
    for x in (34, 50, 66):
        p.ellipse(x, 72, 4.5, 4.5, light(0.75), outline=0)


def scarf(p: Pen, u):
    p.polygon([(56, 40), (78, 42), (84, 88), (60, 90)], dark(0.12), outline=2.5)
    p.blob([(18, 29), (50, 35), (82, 29), (85, 49), (50, 58), (15, 49)], MAIN, outline=2.5)
    for x in (66, 75):
        p.polygon([(x, 77), (x + 5, 77), (x + 6, 89), (x + 1, 89)], light(0.6), outline=0)


def balloon(p: Pen, u):
    p.stroke([(50, 50), (47, 70), (52, 84), (50, 98)], 2.5, dark(0.45), outline=0)
    p.polygon([(45, 56), (55, 56), (50, 49)], dark(0.2), outline=1.2)
    p.ellipse(50, 27, 23, 26, MAIN, outline=2)
    p.ellipse(43, 19, 5, 7.5, light(0.7), outline=0, tilt=25)


def branch(p: Pen, u):
    """A branch from the right edge; whoever sits on it stands on y = 50."""
    p.stroke([(-6, 56 + u(-3, 3)), (30, 53), (62, 55), (106, 48 + u(-4, 4))], 9, WOOD)
    p.stroke([(64, 54), (80, 40 + u(-4, 4)), (88, 30)], 5, WOOD)
    for x, y, tilt in (
        (8, 50, -30),
        (16, 63, 30),
        (78, 60, 30),
        (92, 28, -50),
        (80, 34, -110),
        (96, 42, -30),
    ):
        p.ellipse(x, y + u(-2, 2), 9, 4.5, GREEN, tilt=tilt)


HATS = {"top hat": top_hat, "cap": cap, "party hat": party_hat, "crown": crown}
ACCESSORIES = {"scarf": scarf, "balloon": balloon}
PLACES = {"branch": branch}
