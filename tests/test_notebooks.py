"""Notebooks are what their lessons build, and do what their stored outputs say.

The first half tests the build on a small lesson; the second half tests the notebooks of the course.
"""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parent.parent
TOOLS = ROOT / "tools"
NOTEBOOKS = sorted(
    path for folder in ("notebooks", "exercises", "solutions") for path in (ROOT / folder).glob("*.ipynb")
)

sys.path.insert(0, str(TOOLS))
import build_notebooks  # noqa: E402
from build_notebooks import main, problems  # noqa: E402

MINI = """
# %% [markdown]
# # A small lesson

# %%
import sys
from tqdm.auto import tqdm

squares = [n * n for n in tqdm(range(3))]
print(squares)
print("to stderr", file=sys.stderr)

# %%
for n in tqdm(range(2), desc="again"):
    pass
len(squares)

# %%
from PIL import Image

from sdcourse.images import show_images

show_images([Image.new("RGB", (64, 64), color) for color in ("red", "blue")], titles=["red", "blue"])

# %% tags=["nbval-ignore-output"]
import random

random.random()

# %% tags=["raises-exception"]
1 / 0

# %%
len(squares)
"""


class Course:
    """Lessons and notebooks in a folder of their own."""

    def __init__(self, folder):
        self.root, self.lessons, self.notebooks = folder, folder / "lessons", folder / "notebooks"
        self.lessons.mkdir()
        self.lesson = self.lessons / "01_mini.py"
        self.notebook = self.notebooks / "01_mini.ipynb"
        self.write(MINI)

    def write(self, source):
        self.lesson.write_text(textwrap.dedent(source).lstrip(), encoding="utf-8")

    def build(self, *arguments):
        return main(list(arguments), self.root)

    def read(self):
        return nbformat.read(self.notebook, as_version=4)

    def change(self, change):
        notebook = self.read()
        change(notebook)
        nbformat.write(notebook, self.notebook)


@pytest.fixture
def course(tmp_path):
    return Course(tmp_path)


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The small lesson, built and executed once; tests copy it."""
    course = Course(tmp_path_factory.mktemp("executed"))
    assert course.build() == 0
    return course


@pytest.fixture
def built(executed, tmp_path):
    """A copy of the executed small lesson that a test may change."""
    course = Course(tmp_path)
    course.notebooks.mkdir()
    shutil.copy(executed.notebook, course.notebook)
    return course


def nbval(notebook, seconds=600):
    """Run nbval strictly, as the whole project does; returns the exit status and what it printed."""
    environment = build_notebooks.kernel_environment()
    environment["PYTHONPATH"] = os.pathsep.join([str(TOOLS), environment["PYTHONPATH"]])
    command = [sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", str(notebook.parent)]
    command += ["-p", "nbval_rules", "-p", "no:cacheprovider", "--color=no", "-q"]
    command += ["--nbval", "--nbval-current-env", f"--nbval-cell-timeout={seconds}"]
    command += [f"--nbval-sanitize-with={TOOLS / 'nbval_sanitize.cfg'}", str(notebook)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def texts(cell):
    """What nbval compares of a cell's stored outputs."""
    found = []
    for output in cell.outputs:
        if output.output_type == "stream" and output.name == "stdout":
            found.append(output.text)
        elif output.output_type == "error":
            found.append(output.evalue)
        elif "data" in output:
            found.append(output.data.get("text/plain", ""))
    return found


# --- the build, on a small lesson


def test_a_new_cell_leaves_the_ids_of_the_others(course):
    course.build("--no-execute")
    before = [cell.id for cell in course.read().cells]
    course.write(MINI.replace("# %%\nfrom PIL", "# %%\nnew = 1\n\n# %% [markdown]\n# New.\n\n# %%\nfrom PIL"))
    course.build("--no-execute")
    after = [cell.id for cell in course.read().cells]
    assert len(after) == len(before) + 2
    assert [cell_id for cell_id in after if cell_id in before] == before
    assert all(cell_id.startswith("01_mini-") for cell_id in after)


def test_equal_cells_have_different_ids(course):
    course.write("# %%\n1\n\n# %%\n1\n\n# %%\n1\n\n# %% [markdown]\n# 1\n")
    course.build("--no-execute")
    ids = [cell.id for cell in course.read().cells]
    assert len(set(ids)) == 4
    assert ids[1] == f"{ids[0]}-2" and ids[2] == f"{ids[0]}-3"
    nbformat.validate(course.read())


def test_long_and_odd_lesson_names_give_valid_ids(course):
    course.lesson.rename(course.lessons / f"02_{'long name é ' * 8}.py")
    course.build("--no-execute")
    [path] = course.notebooks.glob("*.ipynb")
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", cell.id) for cell in notebook.cells)


def test_metadata_is_minimal_and_tags_are_carried(executed):
    notebook = executed.read()
    assert notebook.metadata == build_notebooks.METADATA
    assert [dict(cell.metadata) for cell in notebook.cells if cell.metadata] == [
        {"tags": ["nbval-ignore-output"]},
        {"tags": ["raises-exception"]},
    ]


def test_cells_are_executed_in_order_and_outputs_are_stored(executed):
    cells = code_cells(executed.read())
    assert [cell.execution_count for cell in cells] == [1, 2, 3, 4, 5, 6]
    assert texts(cells[0]) == ["[0, 1, 4]\n"]
    assert texts(cells[1]) == ["3"]
    assert texts(cells[2]) == ["[2 pictures]\n  1. picture 64×64: red\n  2. picture 64×64: blue"]
    assert [output.output_type for output in cells[2].outputs] == ["display_data"]
    assert cells[4].outputs[0].traceback == ["ZeroDivisionError: division by zero"]
    assert problems(executed.read()) == []
    nbformat.validate(executed.read())


def test_progress_bars_are_not_stored_and_other_words_are(executed):
    stored = executed.notebook.read_text(encoding="utf-8")
    assert "it/s" not in stored and "0%|" not in stored and "widget" not in stored
    assert "to stderr" in stored


def test_plain_progress_bars_and_paths_in_warnings_are_not_stored():
    text = (
        "  0%|          | 0/3 [00:00<?, ?it/s]\n100%|████| 3/3 [00:00<00:00, 9.1it/s]\n"
        "7it [00:01,  5.2it/s]\n"
        "/tmp/ipykernel_12/3456.py:1: UserWarning: 'purple' is cut off\n"
        "/home/me/.venv/lib/python3.11/site-packages/diffusers/x.py:3: FutureWarning: old\n"
    )
    [output] = build_notebooks.storable([nbformat.v4.new_output("stream", name="stderr", text=text)])
    assert output.text == "UserWarning: 'purple' is cut off\ndiffusers/x.py:3: FutureWarning: old\n"
    assert problems_of(output) == []


def test_a_widget_keeps_its_static_form():
    data = {build_notebooks.WIDGET: {"model_id": "1"}, "text/plain": "Explorer()", "text/html": "<b>x</b>"}
    [output] = build_notebooks.storable([nbformat.v4.new_output("display_data", data=data)])
    assert set(output.data) == {"text/plain", "text/html"}
    del data["text/html"]
    assert build_notebooks.storable([nbformat.v4.new_output("display_data", data=data)]) == []


def test_building_twice_gives_the_same_file(built):
    built.write(MINI.replace("random.random()", "4"))  # the one cell that differs from run to run
    built.build()
    first = built.notebook.read_bytes()
    built.build()
    assert built.notebook.read_bytes() == first


def test_a_fresh_build_passes_the_check(built, capsys):
    assert built.build("--check") == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda nb: nb.cells[0].update(source="# Another title"), "cell 1 (# A small lesson): its source"),
        (lambda nb: nb.cells[1].update(source=nb.cells[1].source + " "), "cell 2 (import sys): its source"),
        (lambda nb: nb.cells[2].update(id="random"), "cell 3 (for n in tqdm"),
        (lambda nb: nb.cells[4].metadata.update(tags=["other"]), "cell 5 (import random): its metadata"),
        (lambda nb: nb.cells[4].metadata.clear(), "cell 5 (import random): its metadata"),
        (
            lambda nb: nb.cells[3].metadata.update(execution={}),
            "cell 4 (from PIL import Image): its metadata",
        ),
        (lambda nb: nb.cells.pop(), "cell 7 (len(squares)) is missing"),
        (lambda nb: nb.cells.append(nbformat.v4.new_code_cell("x")), "cell 8 (x) is not in the lesson"),
        (lambda nb: nb.metadata.update(widgets={}), "the metadata of the notebook"),
        (lambda nb: nb.metadata.language_info.update(version="3.11.7"), "the metadata of the notebook"),
        (lambda nb: nb.cells.insert(0, nb.cells.pop(1)), "cell 1 (# A small lesson): its type"),
        (lambda nb: nb.cells[0].update(attachments={}), "cell 1 (# A small lesson): it has attachments"),
    ],
)
def test_an_edited_notebook_is_noticed(built, capsys, change, words):
    built.change(change)
    assert built.build("--check") == 1
    error = capsys.readouterr().err
    assert "01_mini.ipynb is not what lessons/01_mini.py builds" in error and words in error


def test_an_edited_lesson_is_noticed(built, capsys):
    built.write(MINI.replace("range(2)", "range(4)"))
    assert built.build("--check") == 1
    assert "cell 3 (for n in tqdm(range(4)" in capsys.readouterr().err


def test_missing_orphaned_and_damaged_notebooks_are_named(built, capsys):
    built.notebook.rename(built.notebooks / "02_other.ipynb")
    assert built.build("--check") == 1
    error = capsys.readouterr().err
    assert "01_mini.ipynb is missing" in error and "02_other.ipynb has no lesson" in error
    built.notebook.write_text("{}")
    assert built.build("--check", "01") == 1
    built.notebook.write_text("<<<<<<< HEAD")
    assert built.build("--check", "01") == 1
    assert "01_mini.ipynb is not a notebook" in capsys.readouterr().err


def test_one_lesson_can_be_named(built, capsys):
    (built.lessons / "02_other.py").write_text("# %%\n1\n")
    for name in ("01", "01_mini", "lessons/01_mini.py"):
        assert built.build("--check", name) == 0
    assert built.build("--check") == 1
    assert built.build("--check", "01_mimi") == 1
    assert "Unknown lesson '01_mimi'. Did you mean '01_mini'?" in capsys.readouterr().err


def test_no_lessons_is_an_error(course, capsys):
    course.lesson.unlink()
    assert course.build("--check") == 1
    assert "There are no lessons" in capsys.readouterr().err


def test_without_execution_unchanged_code_keeps_its_outputs(built):
    stored = built.read()
    built.write(MINI.replace("A small lesson", "The same lesson"))
    assert built.build("--no-execute") == 0
    assert code_cells(built.read()) == code_cells(stored)
    built.write(MINI.replace("range(2)", "range(4)"))
    built.build("--no-execute")
    changed = [cell for cell in code_cells(built.read()) if cell.execution_count is None]
    assert len(changed) == 1 and changed[0].outputs == []
    assert "execution count None instead of 2" in problems(built.read())[0]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("# %% A title\n1\n", "has title in its `# %%` line"),
        ('# %% tags=["nbval-ignore-ouput"]\n1\n', "Did you mean 'nbval-ignore-output'?"),
        ("# %%\nx = 1\n\n# %%\nprint(undefined)\n", "cell 2 (print(undefined)) failed:"),
        ("# %%\nimport os\nos._exit(1)\n", "cell 1 (import os) failed:"),
        ("# %%\n1\n\n# %%\n\n# %%\n2\n", "cell 2 (empty) has no code"),
        ('# %% tags=["raises-exception"]\n1\n', "is tagged to raise an exception, and raised none"),
        ("# %%\nprint(object())\n", "which differs from machine to machine"),
        ("# %%\nimport tempfile\nprint(tempfile.gettempdir() + '/a')\n", "prints /tmp/a, which differs"),
        ("# %%\nimport os\nprint(os.__file__)\n", "which differs from machine to machine"),
        ("# %%\nopen('/home/someone/a', 'r') if False else 1\n", "names /home/someone/a of this machine"),
        ("# %% [markdown]\n# ![](cat.png)\n\n# %%\n1\n", "has a picture without alternative text"),
        (
            "# %%\nfrom PIL import Image\nImage.new('RGB', (8, 8))\n",
            "shows a picture without alternative text",
        ),
    ],
)
def test_what_must_not_be_stored_stops_the_build(course, capsys, source, words):
    course.write(source)
    assert course.build() == 1
    assert words in capsys.readouterr().err
    assert not course.notebook.exists()


def test_a_failing_build_keeps_the_old_notebook(built):
    before = built.notebook.read_bytes()
    built.write(MINI + "\n# %%\nprint(undefined)\n")
    assert built.build() == 1
    assert built.notebook.read_bytes() == before


def test_a_cell_that_takes_too_long_is_named(course, capsys, monkeypatch):
    monkeypatch.setattr(build_notebooks, "CELL_SECONDS", 1)
    course.write("# %%\nimport time\ntime.sleep(60)\n")
    assert course.build() == 1
    assert "cell 1 (import time) failed" in capsys.readouterr().err


def problems_of(output, tags=()):
    """The problems of a notebook with one cell that has this output."""
    cell = nbformat.v4.new_code_cell("x", execution_count=1, outputs=[output], metadata={"tags": list(tags)})
    return problems(nbformat.v4.new_notebook(cells=[cell], metadata=build_notebooks.METADATA))


def picture_output(size=100, **more):
    data = {"image/png": "A" * size, "text/html": '<img src="" alt="a cat">', "text/plain": "x", **more}
    return nbformat.v4.new_output("display_data", data=data)


def test_large_pictures_and_notebooks_are_refused():
    assert problems_of(picture_output(199_000)) == []
    assert "cell 1 (x) has an output of 200," in problems_of(picture_output(200_000))[0]
    cells = [
        nbformat.v4.new_code_cell("x", execution_count=n, outputs=[picture_output(150_000)])
        for n in range(1, 8)
    ]
    [problem] = problems(nbformat.v4.new_notebook(cells=cells, metadata=build_notebooks.METADATA))
    assert problem.startswith("the notebook has 1,05")


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (picture_output(**{"text/html": '<img src="">'}), "without alternative text"),
        (picture_output(**{"text/html": '<img src="" alt="">'}), "without alternative text"),
        (picture_output(**{"text/html": ""}), "without alternative text"),
        (picture_output(**{build_notebooks.WIDGET: {"model_id": "1"}}), "stores a widget"),
        (picture_output(**{"text/plain": str(ROOT / "notebooks")}), "differs from machine to machine"),
        (picture_output(**{"text/html": '<img alt="x"> /home/x/y'}), "differs from machine to machine"),
        (
            nbformat.v4.new_output("error", ename="ValueError", evalue="no", traceback=[]),
            "ends in ValueError: no",
        ),
    ],
)
def test_problems_of_outputs_are_named(output, words):
    assert words in problems_of(output)[0]


def test_metadata_that_editors_add_is_named():
    notebook = nbformat.v4.new_notebook(metadata={**build_notebooks.METADATA, "widgets": {}})
    assert "the metadata of the notebook is not the minimal one" in problems(notebook)[0]


def test_pixels_in_base64_are_not_taken_for_paths():
    html = '<img alt="x" src="data:image/png;base64,A+/tmp/x/home/y/0x12345678">'
    assert problems_of(picture_output(**{"text/html": html})) == []


# --- nbval, on a small lesson


@pytest.mark.slow
def test_nbval_passes_a_fresh_build(built):
    status, report = nbval(built.notebook)
    assert status == 0 and "6 passed" in report, report


@pytest.mark.slow
def test_nbval_lets_pixels_and_warnings_differ(built):
    def change(notebook):
        printed, _, figure, *_ = code_cells(notebook)
        [warning] = [output for output in printed.outputs if output.get("name") == "stderr"]
        warning.text = "a library has something else to say on this machine\n"
        for kind in ("text/html", "image/jpeg"):
            figure.outputs[0].data[kind] = figure.outputs[0].data[kind].replace("A", "B")

    built.change(change)
    status, report = nbval(built.notebook)
    assert status == 0, report


@pytest.mark.slow
def test_nbval_finds_every_changed_text(built):
    def change(notebook):
        printed, value, figure, ignored, error, missing = code_cells(notebook)
        printed.outputs[0].text = printed.outputs[0].text.replace("4", "5")
        value.outputs[0].data["text/plain"] = "4"
        figure.outputs[0].data["text/plain"] = figure.outputs[0].data["text/plain"].replace("red", "rot")
        ignored.outputs.clear()  # its tag says that it may differ, so this is the one that passes
        error.outputs[0].evalue = "multiplication by zero"
        missing.outputs.clear()

    built.change(change)
    status, report = nbval(built.notebook)
    assert status == 1 and "5 failed, 1 passed" in report, report
    assert sorted(re.findall(r"^FAILED .*::Cell (\d)", report, re.MULTILINE)) == ["0", "1", "2", "4", "5"]


@pytest.mark.slow
def test_measured_times_may_differ(course):
    course.write("# %%\nimport time\nprint(f'{time.perf_counter() % 97:.2f} s for 3 pictures')\n")
    assert course.build() == 0
    assert nbval(course.notebook)[0] == 0
    course.change(lambda notebook: notebook.cells[0].outputs[0].update(text="1.00 s for 4 pictures\n"))
    assert nbval(course.notebook)[0] == 1


@pytest.fixture
def probe(course, monkeypatch):
    """A built lesson that tries to leave this machine and says in what environment it runs."""
    # conftest.py blocks the network for every test; here the build and nbval must do so by themselves
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("HF_HUB_OFFLINE", "SDCOURSE_PROFILE", "CUDA_VISIBLE_DEVICES", "SDCOURSE_MY_SD"):
        monkeypatch.setenv(name, "of this machine")
    course.write("""
        # %%
        import socket

        for name in ("192.0.2.1", "example.org"):
            try:
                socket.create_connection((name, 80), timeout=3)
            except OSError as error:
                print(type(error).__name__, error)

        # %%
        import os

        [os.environ[name] for name in ("SDCOURSE_PROFILE", "HF_HUB_OFFLINE", "CUDA_VISIBLE_DEVICES")]

        # %%
        from sdcourse.models import my_sd_folder

        print("Kept in", my_sd_folder(), my_sd_folder().exists())
        """)
    assert course.build() == 0
    return course


def test_the_build_runs_without_network_in_the_pocket_profile(probe):
    cells = code_cells(probe.read())
    [text] = texts(cells[0])
    # NetworkBlocked is what our block raises; a machine that merely has no network raises something else
    assert re.findall(r"^NetworkBlocked .* (192\.0\.2\.1|example\.org)", text, re.MULTILINE) == [
        "192.0.2.1",
        "example.org",
    ]
    assert texts(cells[1]) == ["['pocket', '1', '']"]
    # nobody's own model, and no path of this machine
    assert texts(cells[2]) == ["Kept in ~/sdcourse/my-sd False\n"]


@pytest.mark.slow
def test_nbval_runs_without_network_in_the_pocket_profile(probe):
    status, report = nbval(probe.notebook)  # compares the words of the block and the environment
    assert status == 0, report


# --- sheets of exercises

SHEET = '''
# %%
from sdcourse.checks.engine import Exercise

double = Exercise("99-double", "double", "double")


@double.case
def _(answer):
    assert answer(2) == 4


# %%
def twice(x):
    """Twice x."""
    ### BEGIN SOLUTION
    y = 2 * x
    return y
    ### END SOLUTION


double.check(twice)
'''


def test_a_sheet_becomes_stubs_and_solutions(course):
    sheet = course.lessons / "exercises" / "01_sheet.py"
    sheet.parent.mkdir()
    sheet.write_text(SHEET.lstrip())
    assert course.build("01_sheet") == 0
    stub, solution = (
        nbformat.read(course.root / folder / "01_sheet.ipynb", as_version=4)
        for folder in ("exercises", "solutions")
    )
    stub, solution = code_cells(stub)[1], code_cells(solution)[1]
    assert "y = 2" not in stub.source and "SOLUTION" not in stub.source
    assert stub.source.splitlines()[1:4] == [
        '    """Twice x."""',
        "    # YOUR CODE HERE",
        "    raise NotImplementedError()",
    ]
    assert stub.source.endswith("double.check(twice)") and "y = 2" in solution.source
    assert "not attempted" in texts(stub)[0] and "correct" in texts(solution)[0]
    assert course.build("--check", "01_sheet") == 0
    sheet.write_text(SHEET.lstrip().replace("y = 2", "y = 2.0"))
    assert course.build("--check", "01_sheet") == 1  # exercises/ is the same, solutions/ is not


@pytest.mark.parametrize(
    "source, words",
    [
        ("### BEGIN SOLUTION\nx = 1\n### END SOLUTION", "outside of a function"),
        ("def f():\n    ### BEGIN SOLUTION\n    return 1", "not followed by"),
    ],
)
def test_a_solution_that_cannot_be_taken_out_is_refused(source, words):
    with pytest.raises(build_notebooks.BuildError, match=words):
        build_notebooks.without_solutions(source)


SHEETS = sorted((ROOT / "lessons" / "exercises").glob("*.py"))


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda path: path.stem)
def test_an_untouched_sheet_is_not_attempted_and_its_solution_is_correct(sheet):
    from sdcourse.checks.engine import Exercise
    from sdcourse.checks.exercises import items_of, sheet_of
    from sdcourse.checks.quiz import Quiz

    asked = re.findall(r'check\("([\w-]+)"', sheet.read_text())
    assert asked == list(items_of(sheet_of(sheet.stem), Exercise))
    shown = re.findall(r'quiz\("([\w-]+)"', sheet.read_text())
    assert shown == list(items_of(sheet_of(sheet.stem), Quiz))
    for folder, state in (("exercises", "not attempted"), ("solutions", "correct")):
        notebook = nbformat.read(ROOT / folder / f"{sheet.stem}.ipynb", as_version=4)
        said = [text for cell in code_cells(notebook) for text in texts(cell)]
        for name in asked:
            assert any(f"{name}: {state}." in text for text in said), (folder, name)


# --- the notebooks of the course


def test_there_are_notebooks():
    # without this, an empty folder would pass every test below
    assert NOTEBOOKS, "notebooks/ is empty: run `make notebooks`"


def test_notebooks_are_what_the_lessons_build(capsys):
    status = main(["--check"])
    assert status == 0, capsys.readouterr().err


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_notebook_is_executed_in_order_and_clean(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert problems(notebook) == []
    assert "widgets" not in notebook.metadata
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    # nbval compares nothing where nothing is stored, so something has to be
    compared = [
        cell
        for cell in cells
        if any(texts(cell)) and "nbval-ignore-output" not in cell.metadata.get("tags", [])
    ]
    assert len(compared) >= len(cells) / 4, f"nbval compares only {len(compared)} of {len(cells)} cells"


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_notebook_does_what_its_outputs_say(path, tmp_path):
    # in a folder of its own: it needs nothing that lies beside it, and what it saves does not stay here
    status, report = nbval(Path(shutil.copy(path, tmp_path)))
    assert status == 0, report
    count = len(code_cells(nbformat.read(path, as_version=4)))
    assert f"{count} passed" in report, report  # none skipped, none expected to fail
