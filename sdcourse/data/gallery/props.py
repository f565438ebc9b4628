"""Hats, accessories and the branch: sprites that are put at a subject's anchors.

A hat's brim lies on y = 80, a scarf hangs around y = 40; both are about 60 units wide. A balloon's
string ends at (50, 98). The renderer scales hats and scarves to the width of their anchor.
"""

from .pen import GREEN, MAIN, WHITE, WOOD, Pen, dark, light


def top_hat(p: Pen, u):
    p.blob([(31, 26), (50, 22), (69, 26), (66, 78), (34, 78)], MAIN, outline=2.5)
    p.polygon([(33.5, 62), (66.5, 62), (66, 74), (34, 74)], dark(0.5), outline=0)
    p.ellipse(50, 79, 38, 7.5, MAIN, outline=2.5)


def cap(p: Pen, u):
    p.blob([(19, 80), (22, 56), (38, 42), (60, 42), (76, 56), (80, 80), (50, 84)], MAIN, outline=2.5)
    p.blob([(20, 74), (48, 78), (40, 90), (4, 88), (-4, 82)], dark(0.25), outline=2.5)
    p.ellipse(49, 41, 5, 4, dark(0.25), outline=0)


def party_hat(p: Pen, u):
    p.polygon([(27, 82), (50, 14), (73, 82)], MAIN, outline=2.5)
    p.polygon([(37.5, 52), (42, 38), (60, 46), (62.5, 52)], light(0.7), outline=0)
    p.polygon([(29, 76), (33, 64), (67, 69), (71, 78)], light(0.7), outline=0)
    p.ellipse(50, 14, 9, 9, WHITE, outline=2)


def crown(p: Pen, u):
    p.polygon([(20, 84), (16, 40), (35, 60), (50, 32), (65, 60), (84, 40), (80, 84)], MAIN, outline=2.5)
    for x, y in ((16, 40), (50, 32), (84, 40)):
        p.ellipse(x, y, 6, 6, light(0.4), outline=1.5)
    for x in (34, 50, 66):
        p.ellipse(x, 72, 4.5, 4.5, light(0.75), outline=0)


def scarf(p: Pen, u):
    p.polygon([(58, 40), (76, 42), (82, 84), (64, 86)], dark(0.12), outline=2.5)
    p.blob([(18, 32), (50, 38), (82, 32), (84, 48), (50, 56), (16, 48)], MAIN, outline=2.5)
    for x in (68, 76):
        p.polygon([(x, 74), (x + 5, 74), (x + 6, 85), (x + 1, 85)], light(0.6), outline=0)


def balloon(p: Pen, u):
    p.stroke([(50, 50), (47, 70), (52, 84), (50, 98)], 2.5, dark(0.45), outline=0)
    p.polygon([(45, 56), (55, 56), (50, 49)], dark(0.2), outline=1.2)
    p.ellipse(50, 28, 21, 25, MAIN, outline=2)
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
