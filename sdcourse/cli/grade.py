"""`sdcourse grade`: check the sheets of a class."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sdcourse.cli.arguments import check_writable
from sdcourse.runtime import quiet_libraries


def grade(
    folder: Annotated[
        Path,
        typer.Argument(help="With LEARNER/08_sampling_loop.ipynb for each learner, or LEARNER_08.ipynb."),
    ],
    out: Annotated[Path, typer.Option(help="Folder for grades.csv and grades.html.")] = Path("grades"),
    seconds: Annotated[float, typer.Option(help="Time for one notebook.")] = 600,
    memory: Annotated[float, typer.Option(help="Memory for one notebook, in GB (Linux).")] = 8,
    jobs: Annotated[int, typer.Option(help="Notebooks at once.")] = 1,
) -> None:
    """Run submitted notebooks and check what learners wrote.

    Each runs in processes of its own, without a network. One that crashes or hangs costs only its own lines.
    """
    for name, value in (("--seconds", seconds), ("--memory", memory), ("--jobs", jobs)):
        if not value > 0:
            raise ValueError(f"{name} is {value:g}: it must be more than 0.")
    out = out.expanduser()
    check_writable(out, "--out")
    quiet_libraries()
    from tqdm import tqdm

    from sdcourse.grading.grade import find_submissions
    from sdcourse.grading.grade import grade as grade_all
    from sdcourse.grading.report import write_csv, write_html

    folder = folder.expanduser()
    total, grades = len(find_submissions(folder)), []
    with tqdm(total=total, unit="notebook") as bar:
        for submission, found in grade_all(folder, seconds, memory, jobs):
            grades += found
            bar.write(f"{submission.learner:20} {_in_short(submission.sheet, found)}")
            bar.update()
    out.mkdir(parents=True, exist_ok=True)
    write_csv(out / "grades.csv", grades)
    write_html(out / "grades.html", grades)
    typer.echo(f"Written: {out / 'grades.csv'} and {out / 'grades.html'}")


def _in_short(sheet: str | None, grades: list) -> str:
    """One line for one notebook: how much of it is correct, and why the rest was not even checked."""
    if sheet is None:
        return grades[0].message
    name, correct = sheet.removeprefix("sheet_"), sum(grade.state == "correct" for grade in grades)
    others = {grade.state for grade in grades} - {"correct", "not yet", "not attempted"}
    return f"{name}: {correct} of {len(grades)} correct" + "".join(f", {state}" for state in sorted(others))
