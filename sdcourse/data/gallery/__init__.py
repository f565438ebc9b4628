"""The pocket gallery: a grammar draws scenes, a renderer paints them, captions describe them."""

from .caption import Caption, caption, describe, full_caption, known_words
from .render import render, render_depth, render_masks
from .scene import ATTRIBUTES, COLORS, NATURAL_COLORS, Scene, all_twins, is_heldout, random_scenes, twin

__all__ = [
    "ATTRIBUTES", "COLORS", "Caption", "NATURAL_COLORS", "Scene", "all_twins", "caption", "describe",
    "full_caption", "is_heldout", "known_words", "random_scenes", "render", "render_depth", "render_masks",
    "twin",
]  # fmt: skip
