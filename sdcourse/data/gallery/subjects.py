"""The subjects of the gallery, drawn with a pen.

Each function draws one subject standing on y = 96 and sets its anchors: `head` (where a hat sits),
`neck` (a scarf), `hand` (a balloon's string), `back` (where a rider sits). `u(a, b)` draws a uniform
number: it varies pose and proportions from one variant to the next.
"""

from math import cos, pi, sin

from .pen import (
    DARK,
    GLASS,
    GREEN,
    MAIN,
    METAL,
    PINK,
    SKIN,
    WHITE,
    WOOD,
    YELLOW,
    Anchor,
    Pen,
    dark,
    light,
    rgb,
)  # fmt: skip


def cat(p: Pen, u):
    lean, tail = u(-4, 4), u(-8, 6)
    p.stroke([(64, 88), (82, 86), (90 + tail * 0.4, 70), (84 + tail, 54)], 9, dark(0.12))
    p.blob([(50, 48), (64, 60), (71, 84), (64, 96), (36, 96), (29, 84), (36, 60)], MAIN)
    p.ellipse(50, 74, 11, 14, light(0.6), outline=0)
    for x in (41, 59):
        p.ellipse(x, 92, 8, 5, light(0.3))
    x = 50 + lean
    ear = u(-3, 3)
    for side in (-1, 1):
        p.polygon([(x + side * 23, 34), (x + side * 22, 7 + ear), (x + side * 5, 19)], MAIN)
        p.polygon([(x + side * 20, 26), (x + side * 19.5, 13 + ear), (x + side * 10, 20)], PINK, outline=0)
    p.ellipse(x, 37, 26, 21, MAIN)
    p.ellipse(x, 46, 11, 8, light(0.65), outline=0)
    p.eyes(x, 35, 11, 5, rgb(120, 180, 70))
    p.polygon([(x - 3, 42), (x + 3, 42), (x, 46)], PINK, outline=0)
    p.stroke([(x - 6, 48), (x - 3, 50.5), (x, 48.5), (x + 3, 50.5), (x + 6, 48)], 1.4, DARK, outline=0)
    p.anchors = dict(head=Anchor(x, 19, 36, lean), neck=Anchor(50 + lean / 2, 58, 30), hand=Anchor(30, 84, 5))


def puppy(p: Pen, u):
    lean, ear = u(-4, 4), u(-4, 5)
    p.stroke([(66, 86), (80, 78), (84 + u(-4, 6), 66)], 8, MAIN)
    p.blob([(50, 50), (66, 62), (72, 86), (62, 96), (38, 96), (28, 86), (34, 62)], MAIN)
    p.ellipse(50, 76, 12, 14, light(0.55), outline=0)
    for x in (40, 60):
        p.ellipse(x, 92, 9, 5.5, light(0.35))
    x = 50 + lean
    p.ellipse(x, 37, 25, 22, MAIN)
    p.blob([(x, 36), (x + 15, 46), (x + 9, 57), (x - 9, 57), (x - 15, 46)], light(0.6), outline=0)
    p.eyes(x, 35, 10, 4.6, rgb(90, 56, 30))
    p.ellipse(x, 45, 5.5, 4, DARK, outline=0)
    p.blob([(x - 4, 52), (x + 4, 52), (x + 3, 61), (x - 3, 61)], rgb(235, 110, 125), outline=0.8)
    for side in (-1, 1):
        p.blob(
            [(x + side * 17, 20), (x + side * 27, 26), (x + side * 33, 48 + ear),
             (x + side * 25, 58 + ear), (x + side * 19, 42)], dark(0.3))  # fmt: skip
    p.anchors = dict(head=Anchor(x, 18, 34, lean), neck=Anchor(50 + lean / 2, 61, 32), hand=Anchor(29, 84, 5))


def collie(p: Pen, u):
    lean, fluff = u(-3, 3), u(-3, 3)
    p.stroke([(66, 88), (84, 84), (92, 72 + fluff)], 12, MAIN)
    p.blob([(50, 46), (70, 58), (78 + fluff, 84), (66, 96), (34, 96), (22 - fluff, 84), (30, 58)], MAIN)
    p.blob([(50, 54), (64, 64), (60, 84), (50, 90), (40, 84), (36, 64)], WHITE, outline=0)
    for x in (40, 60):
        p.ellipse(x, 92, 7.5, 6, WHITE)
    x = 50 + lean
    for side in (-1, 1):
        p.polygon([(x + side * 20, 28), (x + side * 19, 4), (x + side * 4, 17)], dark(0.25))
    p.blob(
        [(x, 14), (x + 19, 24), (x + 24, 40), (x + 12, 56), (x - 12, 56), (x - 24, 40), (x - 19, 24)], MAIN
    )
    p.blob(
        [(x, 16), (x + 4, 26), (x + 10, 48), (x + 5, 64), (x - 5, 64), (x - 10, 48), (x - 4, 26)],
        WHITE,
        outline=0,
    )
    p.eyes(x, 33, 11, 3.8, rgb(100, 62, 30))
    p.ellipse(x, 59, 5, 4, DARK, outline=0)
    p.anchors = dict(head=Anchor(x, 18, 35, lean), neck=Anchor(50 + lean / 2, 66, 38), hand=Anchor(24, 82, 5))


def hamster(p: Pen, u):
    fat, x = u(-2, 5), 50 + u(-2, 2)
    for side in (-1, 1):
        p.ellipse(x + side * 22, 32, 9, 9, MAIN)
        p.ellipse(x + side * 22, 33, 5, 5, PINK, outline=0)
    p.blob(
        [
            (x, 26),
            (x + 26, 38),
            (x + 36 + fat, 68),
            (x + 26, 95),
            (x - 26, 95),
            (x - 36 - fat, 68),
            (x - 26, 38),
        ],
        MAIN,
    )
    p.blob([(x, 58), (x + 20, 66), (x + 19, 92), (x - 19, 92), (x - 20, 66)], light(0.75), outline=0)
    for side in (-1, 1):
        p.ellipse(x + side * 20, 58, 11, 9, light(0.6), outline=0)
        p.ellipse(x + side * 16, 94, 8, 4, PINK)
        p.ellipse(x + side * 8, 74 + u(-2, 2), 5, 4.5, PINK)
    p.eyes(x, 46, 13, 5)
    p.ellipse(x, 54, 3.4, 2.6, PINK, outline=0)
    p.box(x - 2.4, 58, x + 2.4, 63, WHITE, outline=0.6)
    p.anchors = dict(head=Anchor(x, 28, 38), neck=Anchor(x, 68, 50), hand=Anchor(x - 28, 80, 5))


def squirrel(p: Pen, u):
    tail = u(-5, 5)
    p.blob([(62, 92), (78, 92), (92 + tail / 2, 70), (92, 40), (84 + tail, 18), (68 + tail, 16), (66, 30),
            (74, 42), (72, 60), (60, 74)], dark(0.12))  # fmt: skip
    p.blob([(84, 74), (86, 44), (78 + tail, 26), (76, 40), (80, 56)], light(0.35), outline=0)
    p.blob([(42, 48), (58, 56), (66, 80), (58, 96), (36, 96), (30, 78), (32, 58)], MAIN)
    p.ellipse(39, 76, 9, 15, light(0.7), outline=0)
    p.ellipse(54, 92, 11, 5, dark(0.15))
    x, y = 40 + u(-3, 3), 36 + u(-2, 2)
    for side in (-1, 1):
        p.polygon([(x + side * 15, y - 8), (x + side * 14, y - 28), (x + side * 3, y - 16)], dark(0.1))
    p.ellipse(x, y, 20, 18, MAIN)
    p.ellipse(x - 5, y + 8, 11, 8, light(0.65), outline=0)
    p.eyes(x - 3, y - 2, 9, 4.2)
    p.ellipse(x - 5, y + 5, 3.2, 2.6, DARK, outline=0)
    p.ellipse(26, 70, 7, 8, rgb(160, 104, 50))
    p.ellipse(26, 64, 8, 4, rgb(110, 70, 36))
    p.stroke([(44, 66), (34, 70), (29, 70)], 6, MAIN)
    p.anchors = dict(head=Anchor(x, y - 15, 34), neck=Anchor(40, 55, 28), hand=Anchor(28, 68, 5))


def rabbit(p: Pen, u):
    x, flop = 50 + u(-3, 3), u(-8, 8)
    p.ellipse(70, 86, 9, 9, WHITE)
    p.blob([(50, 52), (64, 62), (71, 84), (62, 96), (38, 96), (29, 84), (36, 62)], MAIN)
    p.ellipse(50, 78, 12, 14, light(0.7), outline=0)
    for fx in (38, 62):
        p.ellipse(fx, 93, 10, 4.5, light(0.35))
    for side in (-1, 1):
        tip = x + side * 14 + (flop if side > 0 else -flop / 3)
        p.blob(
            [
                (x + side * 6, 32),
                (x + side * 4, 16),
                (tip - 3, 2),
                (tip + 4, 3),
                (x + side * 15, 22),
                (x + side * 14, 34),
            ],
            MAIN,
        )
        p.stroke([(x + side * 9.5, 27), (tip + 0.4, 8)], 4, PINK, outline=0)
    p.ellipse(x, 44, 22, 18, MAIN)
    p.ellipse(x, 52, 10, 7, light(0.75), outline=0)
    p.eyes(x, 41, 10, 4.4, rgb(150, 70, 80))
    p.ellipse(x, 49, 3.2, 2.4, PINK, outline=0)
    p.box(x - 2.4, 54, x + 2.4, 59, WHITE, outline=0.6)
    p.anchors = dict(head=Anchor(x, 29, 34), neck=Anchor(50, 63, 28), hand=Anchor(29, 84, 5))


def bird(p: Pen, u):
    wing, tail = u(-4, 4), u(-5, 5)
    p.polygon([(62, 68), (94, 76 + tail), (90, 88 + tail), (60, 80)], dark(0.3))
    for x in (44, 54):
        p.stroke([(x, 84), (x, 95)], 3, rgb(235, 150, 50))
        p.stroke([(x - 5, 95), (x + 4, 95)], 3, rgb(235, 150, 50))
    p.blob([(42, 40), (62, 50), (70, 70), (58, 86), (38, 86), (26, 70), (28, 50)], MAIN)
    p.ellipse(38, 71, 11, 13, light(0.6), outline=0)
    p.blob([(48, 56), (66, 58 + wing), (76, 76 + wing), (56, 78)], dark(0.22))
    y = 34 + u(-2, 2)
    p.polygon([(24, y - 5), (6, y + 4), (25, y + 9)], rgb(245, 165, 45))
    p.ellipse(38, y, 20, 18, MAIN)
    p.eye(33, y - 3, 4.8)
    p.anchors = dict(head=Anchor(39, y - 15, 34), neck=Anchor(40, 51, 30), hand=Anchor(30, 76, 5))


def fish(p: Pen, u):
    bend, y = u(-5, 5), 62
    p.polygon([(70, y), (94, y - 20 + bend), (88, y + bend / 2), (94, y + 20 + bend)], dark(0.2))
    p.blob([(36, y - 18), (50, y - 34 + u(-3, 3)), (68, y - 20), (62, y - 10), (40, y - 10)], dark(0.2))
    p.blob(
        [(6, y), (22, y - 20), (46, y - 25), (72, y - 6), (76, y), (72, y + 6), (46, y + 25), (22, y + 20)],
        MAIN,
    )
    p.blob([(16, y + 10), (46, y + 12), (66, y + 6), (46, y + 22), (26, y + 18)], light(0.6), outline=0)
    p.stroke([(42, y - 20), (46, y), (42, y + 18)], 5, light(0.7), outline=0)
    p.stroke([(58, y - 15), (61, y), (58, y + 13)], 5, light(0.7), outline=0)
    p.eye(23, y - 6, 5.4)
    p.stroke([(9, y + 6), (15, y + 8)], 1.6, DARK, outline=0)
    p.anchors = dict(head=Anchor(32, y - 22, 26, -14), hand=Anchor(44, y + 22, 5))


def horse(p: Pen, u):
    step, nod, tail = u(-5, 5), u(-3, 4), u(-5, 5)
    mane = dark(0.45)
    p.stroke([(80, 48), (92, 58), (92 + tail / 2, 80)], 9, mane)
    for x, d in ((38, -step), (72, step)):
        p.stroke([(x, 66), (x + d, 94)], 9, dark(0.22))
    p.blob([(30, 46), (54, 48), (78, 43), (86, 56), (78, 70), (54, 72), (32, 70), (25, 58)], MAIN)
    for x, d in ((33, step), (78, -step)):
        p.stroke([(x, 64), (x + d, 94)], 10, MAIN)
        p.ellipse(x + d, 95, 6, 3.5, DARK, outline=0)
    y = 22 + nod
    p.blob([(18, y + 2), (32, y), (44, 46), (40, 64), (26, 62), (24, y + 18)], MAIN)
    p.blob([(34, y - 8), (42, y + 8), (50, 46), (42, 50), (34, y + 14), (28, y - 2)], mane, outline=0.8)
    p.polygon([(27, y - 2), (30, y - 16), (35, y - 2)], MAIN)
    p.blob([(30, y - 4), (33, y + 8), (20, y + 20), (8, y + 24), (4, y + 17), (16, y + 2)], MAIN)
    p.ellipse(9, y + 18.5, 6, 5, light(0.45), outline=0, tilt=-30)
    p.eye(22, y + 5, 3.6)
    p.ellipse(6.5, y + 18, 1.4, 1.4, DARK, outline=0)
    p.anchors = dict(
        head=Anchor(27, y - 3, 32, 4),
        neck=Anchor(34, 48, 26, 20),
        hand=Anchor(30, 60, 5),
        back=Anchor(58, 50, 40),
    )


def elephant(p: Pen, u):
    step, lift = u(-3, 3), u(-8, 6)
    p.stroke([(88, 50), (95, 62), (93, 74)], 3.5, dark(0.2))
    for x in (52, 72):
        p.stroke([(x, 74), (x, 91)], 14, dark(0.2))
    p.blob([(34, 36), (62, 26), (86, 38), (91, 62), (82, 78), (44, 80), (32, 62)], MAIN)
    for x in (44, 80):
        p.stroke([(x + step, 74), (x, 90)], 15, MAIN)
        for toe in (-4, 0.5, 5):
            p.ellipse(x + toe, 94, 2.4, 2, WHITE, outline=0)
    p.stroke([(22, 50), (12, 66), (10, 80 + lift), (3, 86 + lift * 1.5)], 9, MAIN)
    p.ellipse(28, 42, 21, 21, MAIN)
    p.stroke([(19, 59), (22, 68), (17, 72)], 4, WHITE, outline=0.8)
    p.blob([(36, 24), (52 + step, 26), (58, 46), (46, 64), (36, 52)], dark(0.14))
    p.blob([(40, 31), (50, 32), (52, 46), (45, 56), (40, 48)], light(0.35), outline=0)
    p.eye(22, 40, 3.8)
    p.anchors = dict(
        head=Anchor(27, 25, 35, -6), neck=Anchor(32, 64, 30), hand=Anchor(6, 84, 5), back=Anchor(64, 32, 40)
    )


def astronaut(p: Pen, u):
    wave, x = u(-16, 4), 50
    p.box(32, 46, 68, 72, METAL)
    for side in (-1, 1):
        p.stroke([(x + side * 9, 74), (x + side * (10 + u(-1, 2)), 90)], 13, MAIN)
        p.ellipse(x + side * 11, 93, 9, 4.5, rgb(90, 96, 112))
    p.stroke([(37, 54), (26, 64), (22, 76)], 11, MAIN)
    p.stroke([(63, 54), (76, 58 + wave / 2), (80, 62 + wave)], 11, MAIN)
    for gx, gy in ((22, 77), (80, 62 + wave)):
        p.ellipse(gx, gy, 6, 6, rgb(90, 96, 112))
    p.blob([(50, 46), (66, 52), (66, 76), (50, 80), (34, 76), (34, 52)], MAIN)
    p.box(43, 58, 57, 68, rgb(80, 90, 110), outline=0.8)
    p.ellipse(46.5, 63, 2, 2, rgb(230, 70, 60), outline=0)
    p.ellipse(53.5, 63, 2, 2, YELLOW, outline=0)
    p.ellipse(x, 30, 23, 22, MAIN)
    p.ellipse(x, 31, 17.5, 15, rgb(40, 62, 100))
    p.ellipse(x - 6, 26, 7, 4.5, rgb(150, 195, 230), outline=0, tilt=-25)
    p.anchors = dict(head=Anchor(x, 11, 34), neck=Anchor(x, 52, 34), hand=Anchor(80, 62 + wave, 5))


def robot(p: Pen, u):
    arm, tall = u(-10, 8), u(-2, 3)
    for x in (40, 60):
        p.stroke([(x, 76), (x, 90)], 7, METAL)
        p.box(x - 9, 89, x + 8, 96, dark(0.35))
    p.stroke([(31, 58), (20, 66), (18, 76)], 6, METAL)
    p.stroke([(69, 58), (82, 60 + arm / 2), (84, 64 + arm)], 6, METAL)
    for gx, gy in ((18, 78), (84, 64 + arm)):
        p.ellipse(gx, gy, 5.5, 5.5, dark(0.3))
    p.box(30, 50, 70, 80, MAIN)
    p.box(38, 57, 62, 71, light(0.7), outline=0.8)
    p.ellipse(45, 64, 3.4, 3.4, rgb(230, 70, 60), outline=0)
    p.ellipse(55, 64, 3.4, 3.4, YELLOW, outline=0)
    p.box(44, 44, 56, 52, METAL)
    top = 16 - tall
    p.stroke([(50, top + 4), (50, top - 8)], 2.6, METAL)
    p.ellipse(50, top - 9, 4, 4, rgb(230, 70, 60))
    p.box(26, top, 74, 46, MAIN)
    p.box(32, top + 7, 68, 38, rgb(46, 56, 72), outline=0.8)
    for x in (41, 59):
        p.ellipse(x, top + 16, 5.5, 5.5, rgb(120, 235, 240), outline=0)
    p.stroke([(42, 35), (58, 35)], 2.4, rgb(120, 235, 240), outline=0)
    p.anchors = dict(head=Anchor(50, top + 2, 38), neck=Anchor(50, 51, 34), hand=Anchor(84, 64 + arm, 5))


def girl(p: Pen, u):
    wave, hair = u(-22, 0), rgb(*((96, 58, 34), (60, 44, 40), (208, 150, 60))[int(u(0, 2.99))])
    p.blob([(50, 8), (72, 18), (74, 46), (66, 56), (34, 56), (26, 46), (28, 18)], hair)
    for side in (-1, 1):
        p.stroke([(50 + side * 8, 84), (50 + side * 8, 92)], 6, SKIN)
        p.ellipse(50 + side * 10, 94, 7, 3.6, DARK)
    p.stroke([(40, 60), (28, 68), (24, 76)], 6, SKIN)
    p.stroke([(60, 60), (74, 64 + wave / 2), (78, 68 + wave)], 6, SKIN)
    p.blob([(50, 52), (60, 56), (62, 68), (74, 88), (50, 91), (26, 88), (38, 68), (40, 56)], MAIN)
    p.stroke([(29, 84), (50, 87), (71, 84)], 3, light(0.6), outline=0)
    p.ellipse(50, 34, 20, 19, SKIN)
    p.blob([(50, 12), (68, 20), (70, 32), (56, 24), (40, 26), (30, 34), (32, 20)], hair, outline=0)
    p.eyes(50, 36, 8, 3.4, rgb(70, 110, 160))
    for side in (-1, 1):
        p.ellipse(50 + side * 13, 43, 3.4, 2.4, rgb(246, 160, 150), outline=0)
    p.stroke([(45, 45), (50, 47.5), (55, 45)], 1.5, rgb(180, 70, 70), outline=0)
    p.anchors = dict(head=Anchor(50, 13, 36), neck=Anchor(50, 55, 24), hand=Anchor(78, 68 + wave, 5))


def rose(p: Pen, u):
    x, bend = 50 + u(-4, 4), u(-5, 5)
    p.stroke([(x, 46), (x + bend, 70), (50, 96)], 5, GREEN)
    for side, y in ((-1, 76), (1, 68)):
        p.blob(
            [
                (x + bend, y + 4),
                (x + bend + side * 12, y - 8),
                (x + bend + side * 28, y - 8),
                (x + bend + side * 16, y + 4),
            ],
            GREEN,
        )
    p.blob(
        [(x, 58), (x + 22, 50), (x + 29, 30), (x + 18, 12), (x, 6), (x - 18, 12), (x - 29, 30), (x - 22, 50)],
        MAIN,
    )
    p.blob([(x - 27, 26), (x - 10, 28), (x + 4, 54), (x - 16, 50)], dark(0.18))
    p.blob([(x + 27, 26), (x + 12, 28), (x - 4, 54), (x + 16, 50)], dark(0.1))
    p.ellipse(x, 25, 15, 14, dark(0.2))
    p.ellipse(x - 1, 23, 10.5, 9.5, light(0.2))
    p.ellipse(x + 1, 23, 5.5, 5, dark(0.35), outline=0.8)
    p.anchors = {}


def flower(p: Pen, u):
    x, y, turn, n = 50 + u(-3, 3), 33, u(0, 1.2), 6
    bend = u(-6, 6)
    p.stroke([(x, y), (x + bend, 68), (50, 96)], 5, GREEN)
    for side, ly in ((-1, 80), (1, 74)):
        p.blob(
            [(52, ly + 5), (52 + side * 14, ly - 6), (52 + side * 28, ly - 4), (52 + side * 14, ly + 6)],
            GREEN,
        )
    for i in range(n):
        a = turn + 2 * pi * i / n
        p.ellipse(x + 19 * cos(a), y + 19 * sin(a), 14, 10.5, MAIN, tilt=a * 180 / pi)
    p.ellipse(x, y, 11, 11, YELLOW)
    p.anchors = {}


def tree(p: Pen, u):
    p.polygon([(44, 60), (56, 60), (58, 82), (64, 96), (36, 96), (42, 82)], WOOD)
    p.stroke([(50, 72), (66, 56)], 5, WOOD)
    for x, y, r in ((30, 46, 20), (70, 44, 20), (50, 26, 24), (50, 50, 22)):
        p.ellipse(x + u(-3, 3), y + u(-3, 3), r, r * 0.9, MAIN)
    p.ellipse(50, 40, 30, 22, MAIN, outline=0)
    for x, y in ((34, 34), (56, 20), (64, 42), (42, 52)):
        p.ellipse(x + u(-3, 3), y + u(-3, 3), 9, 6, light(0.25), outline=0)
    for x, y in ((66, 56), (30, 58)):
        p.ellipse(x, y, 9, 5, dark(0.25), outline=0)
    p.anchors = {}


def mushroom(p: Pen, u):
    x, wide = 50, u(-4, 4)
    p.blob([(42, 52), (58, 52), (62, 80), (68, 96), (32, 96), (38, 80)], rgb(246, 234, 212))
    p.ellipse(x, 58, 26, 6, rgb(224, 206, 180))
    p.blob(
        [(8 - wide, 56), (16 - wide, 30), (38, 12), (62, 12), (84 + wide, 30), (92 + wide, 56), (50, 62)],
        MAIN,
    )
    for dx, dy, r in ((-24, 40, 6), (-4, 26, 7.5), (20, 30, 6), (26, 46, 5), (2, 48, 6.5)):
        p.ellipse(x + dx + u(-3, 3), dy + u(-2, 2), r, r * 0.85, WHITE, outline=0)
    p.anchors = {}


def house(p: Pen, u):
    wide, door = u(-4, 4), u(-10, 10)
    roof = rgb(150, 74, 56)
    p.box(66, 18, 76, 44, rgb(140, 84, 66))
    p.box(18 - wide, 46, 82 + wide, 96, MAIN)
    p.polygon([(8 - wide, 50), (50, 12 + u(-3, 4)), (92 + wide, 50)], roof)
    p.box(43 + door, 68, 57 + door, 96, WOOD)
    p.ellipse(54 + door, 83, 1.8, 1.8, YELLOW, outline=0)
    for x in (25, 63) if abs(door) < 4 else ((24, 64) if door < 0 else (24, 40)):
        p.box(x, 58, x + 13, 71, rgb(255, 236, 150))
        p.stroke([(x + 6.5, 58), (x + 6.5, 71)], 1.4, WHITE, outline=0)
    p.anchors = {}


def castle(p: Pen, u):
    h = u(-4, 4)
    for x, top in ((12, 36 + h), (72, 36 - h)):
        p.box(x, top, x + 16, 96, MAIN)
        p.polygon([(x - 4, top), (x + 8, top - 24), (x + 20, top)], rgb(86, 92, 150))
        p.box(x + 5, top + 10, x + 11, top + 22, rgb(60, 56, 70), outline=0)
    p.box(26, 54, 74, 96, light(0.12))
    for x in (27, 39, 51, 63):
        p.box(x, 46, x + 8, 56, light(0.12))
    p.box(40, 34, 60, 56, MAIN)
    p.polygon([(36, 34), (50, 8), (64, 34)], rgb(86, 92, 150))
    p.stroke([(50, 10), (50, 2)], 1.6, DARK, outline=0)
    p.polygon([(50, 1), (62, 5), (50, 9)], rgb(230, 70, 60), outline=0.6)
    p.blob([(41, 96), (41, 78), (50, 69), (59, 78), (59, 96)], rgb(92, 62, 40))
    p.anchors = {}


def boat(p: Pen, u):
    wind = u(-5, 6)
    p.stroke([(50, 76), (50, 6)], 4, WOOD)
    p.blob([(53, 10), (70 + wind, 30), (78 + wind, 64), (53, 66)], WHITE)
    p.polygon([(47, 20), (47, 66), (20 - wind / 2, 66)], light(0.5))
    p.polygon([(50, 4), (64, 8), (50, 12)], rgb(230, 70, 60), outline=0.6)
    p.blob([(6, 72), (50, 75), (94, 72), (84, 90), (70, 96), (30, 96), (16, 90)], MAIN)
    p.stroke([(12, 79), (50, 82), (88, 79)], 4, light(0.65), outline=0)
    p.anchors = {}


def car(p: Pen, u):
    roof, x = u(-4, 4), u(-3, 3)
    p.blob([(22, 62), (32 + x, 38 + roof), (46, 34 + roof), (64, 36 + roof), (76, 62)], MAIN)
    p.polygon([(30, 60), (37 + x, 43 + roof), (48, 41 + roof), (48, 60)], GLASS, outline=0.8)
    p.polygon([(52, 60), (52, 41 + roof), (63, 43 + roof), (69, 60)], GLASS, outline=0.8)
    p.blob([(4, 68), (14, 60), (50, 58), (84, 60), (96, 70), (94, 86), (50, 88), (6, 86)], MAIN)
    p.stroke([(50, 62), (50, 82)], 1.4, dark(0.4), outline=0)
    p.ellipse(8, 72, 4.5, 4.5, YELLOW, outline=0.8)
    p.box(90, 70, 95, 77, rgb(230, 70, 60), outline=0.8)
    for wx in (26, 74):
        p.ellipse(wx, 86, 11.5, 11, DARK)
        p.ellipse(wx, 86, 5.5, 5.2, METAL, outline=0)
    p.anchors = {}


def rocket(p: Pen, u):
    flame = u(-5, 4)
    p.blob([(40, 80), (60, 80), (58, 90), (50, 99 + flame * 0.2), (42, 90)], rgb(255, 150, 40), outline=0)
    p.blob([(45, 80), (55, 80), (50, 92 + flame * 0.4)], YELLOW, outline=0)
    for side in (-1, 1):
        p.polygon([(50 + side * 16, 56), (50 + side * 34, 80 + u(-3, 3)), (50 + side * 12, 78)], dark(0.4))
    p.blob([(50, 2), (66, 24), (69, 54), (62, 80), (38, 80), (31, 54), (34, 24)], MAIN)
    p.blob([(50, 2), (61, 15), (63, 24), (37, 24), (39, 15)], light(0.65), outline=0.8)
    p.ellipse(50, 41, 11, 11, METAL)
    p.ellipse(50, 41, 7.5, 7.5, GLASS, outline=0)
    p.stroke([(37, 68), (50, 70), (63, 68)], 4, light(0.65), outline=0)
    p.anchors = {}


SUBJECTS = {
    f.__name__: f
    for f in (
        cat, puppy, collie, hamster, squirrel, rabbit, bird, fish, horse, elephant,
        astronaut, robot, girl,
        rose, flower, tree, mushroom,
        house, castle,
        boat, car, rocket,
    )
}  # fmt: skip
