"""Check saved functions: `python -m sdcourse.grading.run_checks MEMORY_GB SHEET FOLDER RESULTS`."""

import json
import pickle
import sys
from importlib import import_module
from pathlib import Path

from sdcourse.grading.limits import limit_this_process

TAMPERED = "tampered"
MISSING = "missing"


def main(memory_gb: str, sheet: str, folder: str, results: str) -> None:
    from sdcourse.checks.engine import Exercise
    from sdcourse.checks.exercises import items_of

    exercises = items_of(sheet, Exercise)
    names = ("engine", "exercises", "quiz", "training", sheet)
    modules = [import_module(f"sdcourse.checks.{name}") for name in names]
    limit_this_process(float(memory_gb))
    with open(results, "a", encoding="utf-8") as lines:
        for name, exercise in exercises.items():
            before = _snapshot(modules)
            found = _check(exercise, Path(folder))
            changed = _restore(before)
            if changed:
                found |= {
                    "state": TAMPERED,
                    "message": f"The answer changed {changed} of the checks.",
                    "passed": 0,
                }
            lines.write(json.dumps({"exercise": name, **found}) + "\n")
            lines.flush()


def _check(exercise, folder: Path) -> dict:
    file, error = (folder / f"{exercise.function}.{ending}" for ending in ("pickle", "error"))
    cases = len(exercise.cases)
    if error.exists():
        message = f"{exercise.function} could not be taken out of the notebook: {error.read_text()}"
        return {"state": "not yet", "message": message, "passed": 0, "cases": cases}
    if not file.exists():
        return {
            "state": MISSING,
            "message": f"No {exercise.function} was found.",
            "passed": 0,
            "cases": cases,
        }
    try:
        answer = pickle.loads(file.read_bytes())
        result = exercise.check(answer)
    except BaseException as stopped:  # SystemExit too: an answer must not end the grading
        message = f"The answer stopped the check: {type(stopped).__name__}: {stopped}"
        return {"state": "not yet", "message": message, "passed": 0, "cases": cases}
    return {"state": result.state, "message": result.message, "passed": result.passed, "cases": result.cases}


def _snapshot(modules: list) -> list[tuple[object, dict]]:
    """All names of the checks' modules and of the classes in them, with what they stand for."""
    owners = list(modules)
    for module in modules:
        owners += [
            x for x in vars(module).values() if isinstance(x, type) and x.__module__ == module.__name__
        ]
        owners += [x for x in vars(module).values() if type(x).__name__ == "Exercise"]
    copies = []
    for owner in owners:
        names = {k: list(v) if isinstance(v, list) else v for k, v in vars(owner).items()}
        copies.append((owner, {k: v for k, v in names.items() if k not in ("__dict__", "__weakref__")}))
    return copies


def _restore(before: list[tuple[object, dict]]) -> str:
    """Put everything back; the name of the first thing that had changed, or nothing."""
    changed = ""
    for owner, names in before:
        for name, value in names.items():
            now = vars(owner).get(name)
            same = now == value if isinstance(value, list) else now is value
            if not same:
                changed = changed or name
                setattr(owner, name, value)
    return changed


if __name__ == "__main__":
    from sdcourse.grading.run_checks import main as run

    run(*sys.argv[1:])
