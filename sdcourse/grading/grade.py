"""Grade a folder of submissions."""

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from sdcourse.checks.engine import Exercise
from sdcourse.checks.exercises import items_of, sheet_of, sheets

from .limits import TimedOut, run_limited
from .run_cells import code_cells

CRASHED, TIMED_OUT, UNREADABLE, NO_SHEET = "crashed", "timed out", "unreadable", "no sheet"


@dataclass(frozen=True)
class Submission:
    learner: str
    sheet: str | None  # "sheet_08"; None if its name tells none
    notebook: Path


@dataclass(frozen=True)
class Grade:
    """What was found for one exercise of one learner.

    Args:
        exercise: "" where a notebook belongs to no sheet.
        state: "correct", "not yet" or "not attempted", as the learner's own check says; "missing",
            "tampered", "crashed", "timed out", "unreadable" or "no sheet" where there was nothing to check.
        notebook: the file, as seen from the folder.
    """

    learner: str
    exercise: str
    state: str
    passed: int = 0
    cases: int = 0
    message: str = ""
    notebook: str = ""


def find_submissions(folder: Path) -> list[Submission]:
    """The notebooks of a folder: `LEARNER/08_….ipynb`, at any depth, or `LEARNER_08….ipynb` in it.

    Raises:
        ValueError: if there is none, or none whose sheet can be told.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder: give the one that holds a folder for each learner.")
    paths = [p for p in sorted(folder.rglob("*.ipynb")) if ".ipynb_checkpoints" not in p.parts]
    if not paths:
        raise ValueError(f"{folder} holds no notebooks: put them into it as LEARNER/08_sampling_loop.ipynb.")
    submissions = [_submission(folder, path) for path in paths]
    if not any(submission.sheet for submission in submissions):
        raise ValueError(_no_sheet(str(paths[0].relative_to(folder))))
    return submissions


def _no_sheet(notebook: str) -> str:
    numbers = ", ".join(name.removeprefix("sheet_") for name in sheets())
    asked = "call it LEARNER/NN_….ipynb or LEARNER_NN.ipynb"
    return f"{notebook} belongs to no sheet: {asked} with NN one of {numbers}."


def _submission(folder: Path, path: Path) -> Submission:
    inside = path.relative_to(folder)
    if len(inside.parts) > 1:
        return Submission(inside.parts[0], sheet_of(path.stem), path)
    # LEARNER_08 or LEARNER_08_sampling_loop: the last number of two digits that is a sheet's
    for number in reversed(list(re.finditer(r"(?<!\d)\d\d(?!\d)", path.stem))):
        if sheet := sheet_of(path.stem[number.start() :]):
            learner = path.stem[: number.start()].rstrip("_- ")
            return Submission(learner or path.stem, sheet, path)
    return Submission(path.stem, None, path)


def grade(
    folder: Path, seconds: float = 600, memory_gb: float = 8, jobs: int = 1
) -> Iterator[tuple[Submission, list[Grade]]]:
    """Grade every notebook in `folder`, each in its own processes, in order.

    Args:
        seconds: for a notebook's cells; its checks have as long again.
        memory_gb: address space of each process, where the system can limit it.
        jobs: how many notebooks at once.
    """
    with ThreadPoolExecutor(jobs) as pool:
        submissions = find_submissions(folder)
        graded = pool.map(lambda s: _grade(s, seconds, memory_gb), submissions)
        for submission, grades in zip(submissions, graded, strict=True):
            name = submission.notebook.relative_to(folder).as_posix()
            if submission.sheet is None:
                grades = [Grade(submission.learner, "", NO_SHEET, message=_no_sheet(name))]
            yield submission, [replace(grade, notebook=name) for grade in grades]


def _grade(submission: Submission, seconds: float, memory_gb: float) -> list[Grade]:
    if submission.sheet is None:
        return []
    exercises = items_of(submission.sheet, Exercise)
    ended = "The answer ended the checks."
    with tempfile.TemporaryDirectory() as temporary:
        work, answers, results = (Path(temporary) / name for name in ("work", "answers", "results.jsonl"))
        work.mkdir(), answers.mkdir()
        try:
            code_cells(submission.notebook)
            shutil.copy(submission.notebook, work / "notebook.ipynb")
            names = [exercise.function for exercise in exercises.values()]
            status = run_limited(
                "sdcourse.grading.run_cells",
                ["notebook.ipynb", str(answers), *names],
                seconds,
                memory_gb,
                work,
            )
            if not (answers / "done").exists():
                return _all(
                    submission, exercises, CRASHED, f"The notebook's process ended with status {status}."
                )
            run_limited(
                "sdcourse.grading.run_checks",
                [submission.sheet, str(answers), str(results)],
                seconds,
                memory_gb,
                work,
            )
        except ValueError as error:
            return _all(submission, exercises, UNREADABLE, str(error))
        except TimedOut:
            if not (answers / "done").exists():
                return _all(submission, exercises, TIMED_OUT, f"The notebook took longer than {seconds:g} s.")
            ended = f"The answer was still at work when the checks had taken {seconds:g} s."
        return _read(submission, exercises, results, ended)


def _all(submission: Submission, exercises: dict, state: str, message: str) -> list[Grade]:
    return [
        Grade(submission.learner, name, state, 0, len(exercise.cases), message)
        for name, exercise in exercises.items()
    ]


def _read(submission: Submission, exercises: dict, results: Path, why: str) -> list[Grade]:
    """What the checks wrote; an exercise they never came to ended or hung them."""
    lines = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
    found = {(row := json.loads(line))["exercise"]: row for line in lines}
    grades, ended = [], False
    for name, exercise in exercises.items():
        if name in found:
            grades.append(Grade(submission.learner, **found[name]))
        else:
            message = "Not checked: an exercise before it ended the checks." if ended else why
            grades.append(Grade(submission.learner, name, CRASHED, 0, len(exercise.cases), message))
            ended = True
    return grades
