"""What grading writes: a table for a spreadsheet, and a page to read."""

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, fields
from html import escape
from pathlib import Path

from .grade import Grade

# Words carry the meaning; the mark only repeats it.
MARKS = {"correct": "✓", "not yet": "✗", "not attempted": "…"}
STATES = {
    "correct": "every case of the check passed",
    "not yet": "there is an answer, and a case failed; what the check said stands below",
    "not attempted": "the stub is still there",
    "missing": "the notebook defines no function of that name",
    "crashed": "the notebook, or an answer, ended the process it ran in",
    "timed out": "the notebook took longer than the limit",
    "unreadable": "the file is not a notebook",
    "no sheet": "the file's name tells no sheet",
    "tampered": "the answer changed the checks while they ran; read it",
}
STYLE = """
body { font: 15px/1.5 sans-serif; margin: 2em; color: #222 }
table { border-collapse: collapse; margin: 1em 0 }
th, td { border: 1px solid #bbb; padding: 4px 8px; text-align: left; vertical-align: top }
.correct { background: #e6f4ea }
"""
OFTEN = 3  # messages that are listed for each exercise


def write_csv(path: Path, grades: Sequence[Grade]) -> None:
    """One line for each learner and exercise."""
    names = [field.name for field in fields(Grade) if field.name != "notebook"]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(asdict(grade) for grade in grades)


def write_html(path: Path, grades: Sequence[Grade]) -> None:
    """For each sheet a table of all learners, and what they were told most often; then each learner."""
    learners = list(dict.fromkeys(grade.learner for grade in grades))
    sheets = sorted({_sheet(grade) for grade in grades if grade.exercise})
    tables = "".join(_sheet_table(sheet, [g for g in grades if _sheet(g) == sheet]) for sheet in sheets)
    stray = [grade for grade in grades if not grade.exercise]
    if stray:
        tables += f"<h2>No sheet</h2><ul>{''.join(f'<li>{escape(g.message)}</li>' for g in stray)}</ul>"
    used = [state for state in STATES if any(grade.state == state for grade in grades)]
    legend = "".join(f"<li>{_mark(state)}: {STATES[state]}</li>" for state in used)
    details = "".join(
        _details(i, learner, [g for g in grades if g.learner == learner])
        for i, learner in enumerate(learners)
    )
    path.write_text(
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Grades</title>"
        f"<style>{STYLE}</style><h1>Grades</h1>{tables}"
        f"<h2>What the words mean</h2><ul>{legend}</ul>"
        f"<h2>Every learner</h2>{details}</html>\n",
        encoding="utf-8",
    )


def _sheet(grade: Grade) -> str:
    """ "08" of "08-guidance"."""
    return grade.exercise[:2]


def _mark(state: str) -> str:
    return f"{MARKS.get(state, '!')} {escape(state)}"


def _sheet_table(sheet: str, grades: Sequence[Grade]) -> str:
    exercises = list(dict.fromkeys(grade.exercise for grade in grades))
    learners = list(dict.fromkeys(grade.learner for grade in grades))
    # Who handed a sheet in twice is seen with the better of the two; the page lists both further down.
    found = {}
    for grade in grades:
        place = grade.learner, grade.exercise
        if place not in found or _rank(grade) > _rank(found[place]):
            found[place] = grade
    head = "".join(f"<th scope='col'>{escape(name[3:])}</th>" for name in exercises)
    rows = "".join(_row(learner, [found.get((learner, e)) for e in exercises]) for learner in learners)
    solved = (sum(_is_correct(found.get((learner, e))) for learner in learners) for e in exercises)
    foot = "".join(f"<td>{n} of {len(learners)}</td>" for n in solved)
    return (
        f"<h2>Sheet {escape(sheet)}</h2>"
        f"<table><tr><th scope='col'>learner</th>{head}<th scope='col'>correct</th></tr>{rows}"
        f"<tr><th scope='row'>correct</th>{foot}<td></td></tr></table>{_often(list(found.values()))}"
    )


def _rank(grade: Grade) -> tuple[bool, int]:
    return _is_correct(grade), grade.passed


def _is_correct(grade: Grade | None) -> bool:
    return grade is not None and grade.state == "correct"


def _row(learner: str, grades: Sequence[Grade | None]) -> str:
    cells = "".join(_cell(grade) for grade in grades)
    correct = f"<td>{sum(map(_is_correct, grades))} of {len(grades)}</td>"
    return f"<tr><th scope='row'>{escape(learner)}</th>{cells}{correct}</tr>"


def _cell(grade: Grade | None) -> str:
    if grade is None:
        return "<td></td>"
    kind = " class='correct'" if _is_correct(grade) else ""
    return f"<td{kind}>{_mark(grade.state)}</td>"


def _often(grades: Sequence[Grade]) -> str:
    """What several learners were told: worth a minute in class."""
    said = Counter((grade.exercise, grade.message) for grade in grades if grade.state == "not yet")
    lines, listed = [], Counter()
    for (exercise, message), n in said.most_common():
        if n > 1 and listed[exercise] < OFTEN:
            listed[exercise] += 1
            lines.append(f"<li>{n} learners, {escape(exercise)}: {escape(message)}</li>")
    return f"<p>Told to more than one:</p><ul>{''.join(lines)}</ul>" if lines else ""


def _details(number: int, learner: str, grades: Sequence[Grade]) -> str:
    lines = "".join(
        f"<tr><th scope='row'>{escape(g.exercise)}</th><td>{_mark(g.state)}</td>"
        f"<td>{f'{g.passed} of {g.cases}' if g.cases else ''}</td><td>{escape(g.message)}</td>"
        f"<td>{escape(g.notebook)}</td></tr>"
        for g in grades
    )
    names = ("exercise", "state", "cases passed", "what the check said", "file")
    head = "".join(f"<th scope='col'>{name}</th>" for name in names)
    return f"<h3>{escape(learner)}</h3><table><tr>{head}</tr>{lines}</table>"
