"""Checks of the exercises: not attempted, not yet (what was expected, what came, why), or correct."""

from .engine import Result
from .exercises import check, quiz

__all__ = ["Result", "check", "quiz"]
