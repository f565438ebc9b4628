"""Paint scenes, many at once.

A picture is a stack of sprites on a background. Each sprite is drawn once (see `pen`), kept, and
placed by an affine map; a style finishes the picture. The same placement gives masks and depth.
"""

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F

from .backgrounds import BACKGROUNDS, HORIZON, Canvas
from .pen import EXTENT, Anchor, Pen
from .props import ACCESSORIES, HATS, PLACES
from .scene import COLORS, Scene
from .styles import FACETS, STYLES, facets, warp
from .subjects import SUBJECTS

BATCH = 32  # scenes painted together: small enough to stay in the processor's cache
MAX_SIZE = 512
LAYERS = ("mount", "subject", "accessory", "hat")  # mask values 1 to 4; 0 is the background
HAT_WIDTH = 42  # units of a hat or scarf that match the width of its anchor

_DRAWINGS = {**SUBJECTS, **HATS, **ACCESSORIES, **PLACES}
# Where a drawing is held when it is put onto an anchor, in its own units.
_GRIPS = {**dict.fromkeys(HATS, (50, 78)), "scarf": (50, 44), "balloon": (50, 90), "branch": (50, 50)}


def render(scenes: Sequence[Scene], size: int = 64) -> torch.Tensor:
    """Paint scenes.

    Args:
        size: width and height in pixels, 16 to 512.

    Returns:
        uint8 tensor (n, 3, size, size). The same scene gives the same picture, in any batch.

    Raises:
        ValueError: if `size` is out of range.
    """
    _check_size(size)
    pictures = torch.empty(len(scenes), 3, size, size, dtype=torch.uint8)
    for style, chosen in _batches(scenes):
        pictures[chosen] = _paint([scenes[i] for i in chosen], style, size)
    return pictures


def render_masks(scenes: Sequence[Scene], size: int = 64) -> torch.Tensor:
    """uint8 tensor (n, size, size): 0 background, then 1 + the index of the layer in `LAYERS`."""
    _check_size(size)
    masks = torch.zeros(len(scenes), size, size, dtype=torch.uint8)
    for style, chosen in _batches(scenes):
        some = [scenes[i] for i in chosen]
        covers = _warped(some, style, torch.stack(_coverage(some, size), 1))
        label = torch.zeros(len(some), size, size, dtype=torch.uint8)
        for k in range(len(LAYERS)):
            label[covers[:, k] > 0.5] = k + 1
        masks[chosen] = label
    return masks


def render_depth(scenes: Sequence[Scene], size: int = 64) -> torch.Tensor:
    """float tensor (n, 1, size, size): 0 is near, 1 is the sky."""
    _check_size(size)
    depths = torch.empty(len(scenes), 1, size, size)
    for style, chosen in _batches(scenes):
        some = [scenes[i] for i in chosen]
        depth = torch.stack([_ground_depth(size, s.background) for s in some])
        for k, cover in enumerate(_coverage(some, size)):
            depth = torch.where(cover > 0.5, 0.32 - 0.04 * k, depth)
        depths[chosen] = _warped(some, style, depth[:, None])
    return depths


def _check_size(size):
    if not 16 <= size <= MAX_SIZE:
        raise ValueError(f"size is {size}: a picture is 16 to {MAX_SIZE} pixels wide.")


def _batches(scenes) -> Iterator[tuple[str, list[int]]]:
    """Scenes of one style at a time, by index."""
    by_style = defaultdict(list)
    for i, scene in enumerate(scenes):
        by_style[scene.style].append(i)
    for style, indices in by_style.items():
        for start in range(0, len(indices), BATCH):
            yield style, indices[start : start + BATCH]


# sprites ------------------------------------------------------------------------------------


def _level(size: int) -> int:
    """Sprites are drawn at a few sizes only, about as large as the picture."""
    return next(level for level in (96, 192, 384, 768) if level >= 1.2 * size)


@lru_cache(maxsize=600)
def _drawing(name: str, variant: int, level: int) -> tuple[torch.Tensor, dict[str, Anchor]]:
    pen = Pen(level)
    _DRAWINGS[name](pen, random.Random(f"{name} {variant}").uniform)
    return pen.sprite(), pen.anchors


@lru_cache(maxsize=120)
def _backdrop(name: str, variant: int, size: int, blurred: bool) -> torch.Tensor:
    canvas = Canvas(round(size * 1.25))
    BACKGROUNDS[name](canvas, random.Random(f"{name} {variant}").uniform)
    picture = canvas.tensor()
    if blurred:
        k = 2 * max(1, round(size / 40)) + 1
        for _ in range(2):
            picture = F.avg_pool2d(picture[None], k, 1, k // 2, count_include_pad=False)[0]
    return picture


@lru_cache(maxsize=64)
def _ground_depth(size: int, background: str) -> torch.Tensor:
    y = (torch.arange(size) + 0.5) / size * 100
    ground = 0.95 - 0.6 * (y - HORIZON[background]) / (100 - HORIZON[background])
    return torch.where(y < HORIZON[background], 1.0, ground)[:, None].expand(size, size)


# placement ----------------------------------------------------------------------------------


class Placement:
    """An affine map from a drawing's units to the picture: p = matrix @ s + offset."""

    def __init__(self, at, grip, scale, stretch=1.0, tilt=0.0, flip=False):
        c, s = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
        across = -scale * stretch if flip else scale * stretch
        self.matrix = np.array([[c * across, -s * scale], [s * across, c * scale]]) / 100
        self.offset = np.asarray(at) - self.matrix @ np.asarray(grip)
        self.scale, self.tilt, self.flip = scale, tilt, flip

    def point(self, x, y):
        return self.matrix @ (x, y) + self.offset

    def theta(self):
        """The inverse map in the units of `affine_grid`: picture in [-1, 1] to sprite in [-1, 1]."""
        (a, b), (c, d) = self.matrix
        inverse = np.array([[d, -b], [-c, a]]) / (a * d - b * c)
        centre = inverse @ (np.array([0.5, 0.5]) - self.offset) - 50
        return np.column_stack([inverse * 0.5, centre]) / (EXTENT / 2)


def _worn(parent: Placement, anchor: Anchor, name: str) -> Placement:
    """Put a hat or scarf onto an anchor of its wearer; it leans with the wearer."""
    scale = parent.scale * anchor.width / HAT_WIDTH
    tilt = parent.tilt + (-anchor.tilt if parent.flip else anchor.tilt)
    return Placement(parent.point(anchor.x, anchor.y), _GRIPS[name], scale, 1.0, tilt, parent.flip)


def _balloon(hand) -> Placement:
    """A string from the hand to a balloon in the upper corner on the hand's side."""
    corner = np.array([0.17 if hand[0] < 0.5 else 0.83, 0.2])
    right, up = corner[0] - hand[0], hand[1] - corner[1]
    scale = np.clip(np.hypot(right, up) / 0.62, 0.5, 0.68)  # from hand to balloon are 62 units
    return Placement(hand, _GRIPS["balloon"], scale, 1.0, np.degrees(np.arctan2(right, up)))


def _layers(scene: Scene, level: int) -> list[tuple[int, str, int, Placement, str]]:
    """What to paint, back to front: (index in LAYERS, drawing, variant, placement, colour)."""
    at, scale = (scene.x, scene.y), scene.scale
    layers = []
    if scene.relation == "riding a horse":
        mount = Placement(at, (50, 96), 0.72 * scale / 0.74, scene.stretch, 0, scene.flip)
        back = _drawing("horse", scene.variant, level)[1]["back"]
        layers.append((0, "horse", scene.variant, mount, scene.mount_color))
        at, scale = mount.point(back.x, back.y + 15), 0.7 * scale / 0.74
    elif scene.relation == "sitting on a branch":
        at, scale = (scene.x, scene.y - 0.12), 0.85 * scale
        layers.append(
            (
                0,
                "branch",
                scene.variant,
                Placement((0.5, at[1]), _GRIPS["branch"], 1.0, flip=scene.flip),
                "brown",
            )
        )
    body = Placement(at, (50, 96), scale, scene.stretch, scene.tilt, scene.flip)
    anchors = _drawing(scene.subject, scene.variant, level)[1]
    if scene.accessory == "balloon":
        hand = body.point(anchors["hand"].x, anchors["hand"].y)
        layers.append((2, "balloon", scene.variant, _balloon(hand), scene.accessory_color))
    layers.append((1, scene.subject, scene.variant, body, scene.color))
    if scene.accessory == "scarf":
        layers.append(
            (2, "scarf", scene.variant, _worn(body, anchors["neck"], "scarf"), scene.accessory_color)
        )
    if scene.hat != "none":
        layers.append((3, scene.hat, scene.variant, _worn(body, anchors["head"], scene.hat), scene.hat_color))
    return layers


def _sprites(scenes, size):
    """Yield, back to front, which scenes get a sprite, which layer it is, the sprites and their colours.

    Sprites: (m, 7, size, size) in place; colours: (m, 3, 1, 1).
    """
    level = _level(size)
    stacks = [_layers(scene, level) for scene in scenes]
    for depth in range(max(map(len, stacks))):
        chosen = [i for i, stack in enumerate(stacks) if depth < len(stack)]
        kinds, names, variants, places, colors = zip(*(stacks[i][depth] for i in chosen), strict=True)
        drawn = torch.stack([_drawing(n, v, level)[0] for n, v in zip(names, variants, strict=True)])
        theta = torch.from_numpy(np.stack([p.theta() for p in places]).astype(np.float32))
        grid = F.affine_grid(theta, (len(chosen), 1, size, size), align_corners=False)
        placed = F.grid_sample(drawn, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        color = torch.tensor([COLORS[c] for c in colors]).view(-1, 3, 1, 1) / 255
        yield chosen, kinds, placed, color


def _coverage(scenes, size) -> list[torch.Tensor]:
    """For each of LAYERS, how much of every pixel it shows: (n, size, size)."""
    covers = torch.zeros(len(LAYERS), len(scenes), size, size)
    for chosen, kinds, placed, _ in _sprites(scenes, size):
        alpha = placed[:, 0]
        covers[:, chosen] *= 1 - alpha  # what is painted later hides what lies below
        covers[list(kinds), chosen] += alpha
    return list(covers)


def _warped(scenes, style, x):
    """Cubist cuts move masks and depth as they move the picture."""
    if style != "picasso":
        return x
    grid = torch.stack([facets(x.shape[-1], s.facets % FACETS)[0] for s in scenes])
    return warp(x, grid)


# painting -----------------------------------------------------------------------------------


def _paint(scenes, style_name, size) -> torch.Tensor:
    style = STYLES[style_name]
    picture = _backgrounds(scenes, size, style.blurred)
    front = torch.zeros(len(scenes), 1, size, size)
    for chosen, _, placed, color in _sprites(scenes, size):
        alpha = placed[:, 0:1]
        painted = placed[:, 1:2] * color + placed[:, 2:5]
        painted = painted * ((1 + style.shade * placed[:, 6:7]) * (1 - style.line * placed[:, 5:6]))
        picture[chosen] = picture[chosen] * (1 - alpha) + painted
        front[chosen] = front[chosen] * (1 - alpha) + alpha
    picture = picture * _lamp(scenes)
    if style_name == "picasso":
        picture = _cut(scenes, picture)
    picture = style.finish(picture.clamp(0, 1), front)
    return (picture.clamp(0, 1) * 255 + 0.5).to(torch.uint8)


def _backgrounds(scenes, size, blurred):
    backdrops = torch.stack([_backdrop(s.background, s.backdrop, size, blurred) for s in scenes])
    theta = torch.zeros(len(scenes), 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = 0.8
    theta[:, 0, 2] = torch.tensor([0.2 * s.shift for s in scenes])
    grid = F.affine_grid(theta, (len(scenes), 3, size, size), align_corners=False)
    return F.grid_sample(backdrops, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _lamp(scenes):
    light = torch.tensor([s.light for s in scenes])
    warmth = torch.tensor([s.warmth for s in scenes]) * 0.04
    return torch.stack([light * (1 + warmth), light, light * (1 - warmth)], 1)[:, :, None, None]


def _cut(scenes, picture):
    grid, tone, ink = map(
        torch.stack, zip(*(facets(picture.shape[-1], s.facets % FACETS) for s in scenes), strict=True)
    )
    return warp(picture, grid) * tone * (1 - 0.55 * ink[:, None])
