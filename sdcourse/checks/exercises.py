"""All exercises by name. A sheet's checks are a module of this package, loaded when it is first asked for."""

from importlib import import_module
from importlib.resources import files
from typing import Any

from sdcourse.errors import check_name

from .engine import Exercise, Result
from .quiz import Quiz


def check(name: str, answer: Any) -> Result:
    """Check an answer to an exercise.

    Args:
        name: as in the sheet, for example "08-guidance".
        answer: the function that you wrote.

    Raises:
        ValueError: for an unknown name.
    """
    return _find(name, Exercise).check(answer)


def quiz(name: str) -> Quiz:
    """A question of understanding, to be shown as the last line of a cell.

    Raises:
        ValueError: for an unknown name.
    """
    return _find(name, Quiz)


def _find(name: str, kind: type):
    found = {}
    for sheet in sheets():
        if not name[:2].isdigit() or sheet.startswith(f"sheet_{name[:2]}"):
            found |= items_of(sheet, kind)
    return found[check_name(kind.__name__.lower(), name, found or all_items(kind))]


def sheets() -> list[str]:
    """The names of the modules with exercises, `sheet_01` and so on, `sheet_03_challenge` among them."""
    modules = (file.name for file in files(__package__).iterdir())
    return sorted(name.removesuffix(".py") for name in modules if name.startswith("sheet_"))


def sheet_of(notebook: str) -> str | None:
    """The sheet of a notebook called so: "08_sampling_loop" is of sheet_08. None if there is none."""
    matching = [sheet for sheet in sheets() if notebook.startswith(sheet.removeprefix("sheet_"))]
    return max(matching, key=len, default=None)


def items_of(sheet: str, kind: type) -> dict:
    """The exercises or the questions of a sheet by name, in order."""
    module = import_module(f"{__package__}.{sheet}")
    return {value.name: value for value in vars(module).values() if isinstance(value, kind)}


def all_items(kind: type) -> dict:
    return {name: item for sheet in sheets() for name, item in items_of(sheet, kind).items()}
