"""What grading writes: a table for a spreadsheet, and a page to read."""

import csv
from collections.abc import Sequence
from dataclasses import asdict, fields
from html import escape
from pathlib import Path

from .grade import Grade

# Words carry the meaning; the mark only repeats it.
MARKS = {"correct": "✓", "not yet": "✗", "not attempted": "…"}
STYLE = """
body { font: 15px/1.5 sans-serif; margin: 2em; color: #222 }
table { border-collapse: collapse; margin: 1em 0 }
th, td { border: 1px solid #bbb; padding: 4px 8px; text-align: left; vertical-align: top }
.correct { background: #e6f4ea }
"""


def write_csv(path: Path, grades: Sequence[Grade]) -> None:
    """One line for each learner and exercise."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Grade)])
        writer.writeheader()
        writer.writerows(asdict(grade) for grade in grades)


def write_html(path: Path, grades: Sequence[Grade]) -> None:
    """A table of all learners and exercises, then what each learner was told."""
    learners = list(dict.fromkeys(grade.learner for grade in grades))
    exercises = sorted({grade.exercise for grade in grades})
    found = {(grade.learner, grade.exercise): grade for grade in grades}
    head = "".join(f"<th scope='col'>{escape(name)}</th>" for name in exercises)
    rows = "".join(_row(learner, [found.get((learner, e)) for e in exercises]) for learner in learners)
    details = "".join(_details(learner, [g for g in grades if g.learner == learner]) for learner in learners)
    path.write_text(
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Grades</title>"
        f"<style>{STYLE}</style><h1>Grades</h1>"
        f"<table><tr><th scope='col'>learner</th>{head}<th scope='col'>correct</th></tr>{rows}</table>"
        f"{details}</html>\n",
        encoding="utf-8",
    )


def _row(learner: str, grades: Sequence[Grade | None]) -> str:
    correct = sum(grade is not None and grade.state == "correct" for grade in grades)
    cells = "".join(_cell(grade) for grade in grades)
    return f"<tr><th scope='row'>{escape(learner)}</th>{cells}<td>{correct}</td></tr>"


def _cell(grade: Grade | None) -> str:
    if grade is None:
        return "<td></td>"
    mark = MARKS.get(grade.state, "!")
    kind = " class='correct'" if grade.state == "correct" else ""
    return f"<td{kind}>{mark} {escape(grade.state)}</td>"


def _details(learner: str, grades: Sequence[Grade]) -> str:
    lines = "".join(
        f"<tr><th scope='row'>{escape(g.exercise)}</th><td>{escape(g.state)}</td>"
        f"<td>{g.passed} of {g.cases}</td><td>{escape(g.message)}</td></tr>"
        for g in grades
    )
    head = "<tr><th>exercise</th><th>state</th><th>cases passed</th><th>what the check said</th></tr>"
    return f"<h2>{escape(learner)}</h2><table>{head}{lines}</table>"
