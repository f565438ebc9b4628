"""`sdcourse grade`: a folder of submissions gives exactly the expected table, whatever is in it."""

import csv
import json
import re
import time
from pathlib import Path

import nbformat
import pytest

from sdcourse.checks.engine import Exercise
from sdcourse.checks.exercises import items_of
from sdcourse.grading.grade import Grade, find_submissions, grade
from sdcourse.grading.limits import TimedOut, run_limited
from sdcourse.grading.report import write_csv, write_html

LESSONS = Path(__file__).parent.parent / "lessons"
[SHEET] = LESSONS.glob("**/exercises/05_*.py")
NAMES = list(items_of("sheet_05", Exercise))
FUNCTIONS = {e.function: name for name, e in items_of("sheet_05", Exercise).items()}


def solution_cells():
    """The cells with the functions and their checks."""
    cells = SHEET.read_text(encoding="utf-8").split("\n# %%")
    return ["import torch\nfrom sdcourse.checks import check", *(c for c in cells if 'check("' in c)]


def stub(cell):
    return re.sub(
        r"### BEGIN SOLUTION.*?### END SOLUTION", "raise NotImplementedError()", cell, flags=re.DOTALL
    )


def right():
    return solution_cells()


def untouched():
    return [stub(cell) for cell in solution_cells()]


def half():
    """The first three are right, the others untouched."""
    return [cell if i < 4 else stub(cell) for i, cell in enumerate(solution_cells())]


def wrong_loss():
    """One that forgets to bring the embeddings to length 1."""
    return [
        re.sub(r"\w+_embeds = torch.nn.functional.normalize\(\w+_embeds, dim=-1\)", "pass", cell)
        if "def contrastive_loss" in cell
        else cell
        for cell in solution_cells()
    ]


def without_checks():
    return [re.sub(r"^(\w+ = )?check\(.*$", "", cell, flags=re.MULTILINE) for cell in solution_cells()]


def forged():
    """Cells that replace the checks; nothing else is right."""
    attack = """
import sdcourse.checks, sdcourse.checks.engine as engine
from sdcourse.checks import Result
engine.Exercise.check = lambda self, answer: Result(self.name, "correct", "", 9, 9)
engine.close = lambda *a, **k: True
check = lambda name, answer: print("✓ correct")
"""
    return [attack, *untouched()]


def attacks_when_called():
    """An answer that changes the checks at the moment it is checked; the rest is right."""
    attack = """
def causal_mask(n):
    import sdcourse.checks.engine as engine
    engine.Exercise.check = lambda self, answer: engine.Result(self.name, "correct", "", 9, 9)
    engine.expect = lambda *a: None
    return torch.zeros(n, n)
"""
    return [*solution_cells(), attack]


def ends_the_process():
    return [*solution_cells(), "import os\nos._exit(0)"]


def leaves():
    return ["raise SystemExit", *solution_cells(), "1 / 0"]


def hangs():
    return [*solution_cells(), "while True: pass"]


def hangs_in_an_answer():
    return [*solution_cells(), "def causal_mask(n):\n    while True: pass"]


def eats_memory():
    return ["x = []\nwhile True: x.append(bytearray(2**28))", *solution_cells()]


def calls_home():
    """Only a notebook that got through would have its answers."""
    opened = "import socket\nsocket.create_connection(('192.0.2.1', 80), timeout=1)\nopen('reached', 'w')"
    return [opened, "import os\nif not os.path.exists('reached'):\n    raise SystemExit", *solution_cells()]


def table(**states):
    return {name: states.get(name.removeprefix("05-").replace("-", "_"), states["rest"]) for name in NAMES}


ALL_RIGHT = table(rest="correct")
EXPECTED = {
    right: ALL_RIGHT,
    untouched: table(rest="not attempted"),
    half: table(best_pair="correct", merge="correct", layout="correct", rest="not attempted"),
    wrong_loss: table(contrastive_loss="not yet", rest="correct"),
    without_checks: ALL_RIGHT,
    forged: table(rest="not attempted"),
    attacks_when_called: table(causal_mask="tampered", rest="correct"),
    ends_the_process: table(rest="crashed"),
    leaves: ALL_RIGHT,
    hangs: table(rest="timed out"),
    calls_home: ALL_RIGHT,
}


def write_notebook(path, cells):
    path.parent.mkdir(parents=True, exist_ok=True)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbformat.write(notebook, path)


@pytest.mark.slow
def test_thirty_submissions_give_exactly_the_expected_table(tmp_path):
    expected = {}
    for i in range(29):
        kind = list(EXPECTED)[i % len(EXPECTED)]
        write_notebook(tmp_path / f"learner-{i:02}" / "05_text_encoder.ipynb", kind())
        expected[f"learner-{i:02}"] = EXPECTED[kind]
    broken = tmp_path / "learner-29" / "05_text_encoder.ipynb"
    broken.parent.mkdir()
    broken.write_text("{")
    expected["learner-29"] = table(rest="unreadable")

    got = {s.learner: {g.exercise: g.state for g in found} for s, found in grade(tmp_path, 60, jobs=2)}
    assert got == expected


@pytest.mark.slow
def test_an_answer_that_hangs_or_a_notebook_that_eats_memory_costs_only_its_own_lines(tmp_path):
    write_notebook(tmp_path / "a_05.ipynb", hangs_in_an_answer())
    write_notebook(tmp_path / "b_05.ipynb", eats_memory())
    a, b = ({g.exercise: g.state for g in found} for _, found in grade(tmp_path, 60, memory_gb=6, jobs=2))
    assert a == table(
        best_pair="correct", merge="correct", layout="correct", causal_mask="crashed", rest="crashed"
    )
    # The cell fails, or the system ends the process; where the cell fails, other answers may lack memory too.
    assert set(b) == set(NAMES) and set(b.values()) <= {"correct", "not yet", "crashed"}


def test_a_process_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path):
    (tmp_path / "slow.py").write_text(
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "open('pid', 'w').write(str(child.pid))\ntime.sleep(60)\n"
    )
    with pytest.raises(TimedOut):
        run_limited("slow", [], 3, 8, tmp_path)
    child = (tmp_path / "pid").read_text()
    deadline = time.monotonic() + 20  # a busy system takes a moment to end what was killed
    while is_running(child):
        assert time.monotonic() < deadline, "what it had started still runs"
        time.sleep(0.05)


def is_running(pid):
    try:
        return "zombie" not in Path("/proc", pid, "status").read_text()
    except OSError:  # gone, perhaps while it was read
        return False


def test_submissions_are_found_by_folder_and_by_name(tmp_path):
    sheets = {
        "ada/07b/05_text_encoder.ipynb": ("ada", "sheet_05"),
        "ada/08_sampling_loop (1).ipynb": ("ada", "sheet_08"),
        "grace_01.ipynb": ("grace", "sheet_01"),
        "grace_03_challenge.ipynb": ("grace", "sheet_03_challenge"),
        "m2041_13_02_class_conditioning.ipynb": ("m2041_13", "sheet_02"),
        "notes.ipynb": ("notes", None),
    }
    for name in (*sheets, "ada/.ipynb_checkpoints/08_sampling_loop.ipynb"):
        write_notebook(tmp_path / name, [])
    assert [(s.learner, s.sheet) for s in find_submissions(tmp_path)] == list(sheets.values())


def test_a_notebook_of_no_sheet_costs_only_its_own_line(tmp_path):
    write_notebook(tmp_path / "ada" / "notes.ipynb", [])
    (tmp_path / "ada" / "05_text_encoder.ipynb").write_text("{")
    sheet, stray = (found for _, found in grade(tmp_path))
    assert {g.state for g in sheet} == {"unreadable"} and sheet[0].notebook == "ada/05_text_encoder.ipynb"
    [stray] = stray
    assert (stray.exercise, stray.state, stray.notebook) == ("", "no sheet", "ada/notes.ipynb")
    assert "ada/notes.ipynb belongs to no sheet" in stray.message


@pytest.mark.parametrize(
    ("name", "words"),
    [("ada/notes.ipynb", "ada/notes.ipynb belongs to no sheet: call it"), (None, "holds no notebooks")],
)
def test_a_folder_that_cannot_be_graded_is_named(tmp_path, name, words):
    if name:
        write_notebook(tmp_path / name, [])
    with pytest.raises(ValueError, match=words):
        find_submissions(tmp_path)
    with pytest.raises(ValueError, match="is not a folder"):
        find_submissions(tmp_path / "missing")


def test_the_reports_hold_every_grade_and_escape_what_learners_wrote(tmp_path):
    grades = [
        Grade("ada", "05-merge", "correct", 2, 2, "You can now build the vocabulary."),
        Grade("<b>grace</b>", "05-merge", "not yet", 1, 2, "Yours is <i>, not a tuple."),
        Grade("<b>grace</b>", "05-layout", "crashed"),
    ]
    write_csv(tmp_path / "grades.csv", grades)
    rows = list(csv.DictReader((tmp_path / "grades.csv").open(encoding="utf-8")))
    assert [(r["learner"], r["exercise"], r["state"], r["passed"]) for r in rows] == [
        ("ada", "05-merge", "correct", "2"),
        ("<b>grace</b>", "05-merge", "not yet", "1"),
        ("<b>grace</b>", "05-layout", "crashed", "0"),
    ]
    write_html(tmp_path / "grades.html", grades)
    page = (tmp_path / "grades.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;grace&lt;/b&gt;" in page and "<b>grace" not in page and "&lt;i&gt;, not a tuple" in page
    assert "✓ correct" in page and "✗ not yet" in page and "! crashed" in page


def test_the_page_has_a_table_for_each_sheet_and_what_was_said_often(tmp_path):
    wrong = "Yours starts at the wrong end."
    grades = [
        Grade("ada", "05-merge", "not yet", 1, 2, wrong, "ada/05.ipynb"),
        Grade("ada", "05-merge", "correct", 2, 2, "You can.", "ada/05b.ipynb"),
        Grade("bo", "05-merge", "not yet", 1, 2, wrong, "bo/05.ipynb"),
        Grade("cy", "05-merge", "not yet", 1, 2, wrong, "cy/05.ipynb"),
        Grade("cy", "08-guidance", "not attempted", 0, 2, "", "cy/08.ipynb"),
        Grade("cy", "", "no sheet", message="notes belongs to no sheet", notebook="cy/notes.ipynb"),
    ]
    write_html(tmp_path / "grades.html", grades)
    page = (tmp_path / "grades.html").read_text(encoding="utf-8")
    merge, guidance = page.split("<h2>Sheet 05</h2>")[1].split("<h2>Sheet 08</h2>")
    assert "1 of 3" in merge and "0 of 1" in guidance  # ada's better one counts
    assert f"2 learners, 05-merge: {wrong}" in merge and "learners" not in guidance.split("</table>")[0]
    assert "<li>notes belongs to no sheet</li>" in guidance and "ada/05b.ipynb" in guidance


def test_a_file_that_is_no_notebook_is_unreadable(tmp_path):
    (tmp_path / "ada_05.ipynb").write_text(json.dumps([1]))
    [(_, found)] = grade(tmp_path)
    assert {g.state for g in found} == {"unreadable"} and "ada_05.ipynb is not a notebook" in found[0].message
