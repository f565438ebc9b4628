"""Checks of the exercises: not attempted, not yet (what was expected, what came, why), or correct."""

from .engine import Result
from .exercises import check

__all__ = ["Result", "check"]
