"""All exercises by name. A sheet's checks are a module of this package, loaded when it is first asked for."""

from importlib import import_module
from importlib.resources import files
from typing import Any

from sdcourse.errors import check_name

from .engine import Exercise, Result


def check(name: str, answer: Any) -> Result:
    """Check an answer to an exercise.

    Args:
        name: as in the sheet, for example "08-guidance".
        answer: the function that you wrote.

    Raises:
        ValueError: for an unknown name.
    """
    return find_exercise(name).check(answer)


def find_exercise(name: str) -> Exercise:
    exercises = {}
    for sheet in sheets():
        if not name[:2].isdigit() or sheet.endswith(name[:2]):
            exercises |= exercises_of(sheet)
    return exercises[check_name("exercise", name, exercises or all_exercises())]


def sheets() -> list[str]:
    """The names of the modules with exercises, `sheet_01` and so on."""
    modules = (file.name for file in files(__package__).iterdir())
    return sorted(name.removesuffix(".py") for name in modules if name.startswith("sheet_"))


def exercises_of(sheet: str) -> dict[str, Exercise]:
    module = import_module(f"{__package__}.{sheet}")
    return {value.name: value for value in vars(module).values() if isinstance(value, Exercise)}


def all_exercises() -> dict[str, Exercise]:
    return {name: exercise for sheet in sheets() for name, exercise in exercises_of(sheet).items()}
