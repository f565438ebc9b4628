"""Pocket fashion: ten kinds of clothing, drawn. The stand-in for Fashion-MNIST that needs no download."""

from .render import render_fashion
from .wardrobe import CLASSES

__all__ = ["CLASSES", "render_fashion"]
