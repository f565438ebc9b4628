"""Build the notebooks from lessons/: `make notebooks`, or one by one, `python tools/build_notebooks.py 08`.

A lesson is one file in jupytext's py:percent form; `lessons/08_sampling_loop.py` becomes
`notebooks/08_sampling_loop.ipynb`, executed from the top, with its outputs. Pictures apart, every machine
stores the same: ids that come from the source, no progress bars, no paths, no timestamps.

A sheet of exercises, `lessons/exercises/08_sampling_loop.py`, becomes two notebooks, both executed: in
solutions/ as it is, and in exercises/ without what stands between `### BEGIN SOLUTION` and
`### END SOLUTION`, the markers of nbgrader.

    build_notebooks.py [NAMES...]                build and execute these lessons, or all
    build_notebooks.py --check [NAMES...]        execute nothing; fail where a notebook is not its lesson's
    build_notebooks.py --no-execute [NAMES...]   build, and keep the stored outputs of unchanged cells

Execution is without a network, in the pocket profile and on the CPU, whatever this machine has.
"""

from __future__ import annotations

import argparse
import atexit
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from sdcourse.errors import check_name

ROOT = Path(__file__).resolve().parent.parent
OFFLINE = ROOT / "tests" / "offline"  # its sitecustomize.py blocks the network in every Python that finds it

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
CELL_SECONDS = 600
OUTPUT_BYTES = 200_000
NOTEBOOK_BYTES = 1_000_000  # beyond this GitHub often fails to show a notebook

METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
NBVAL_TAGS = ["nbval-ignore-output", "nbval-check-output", "nbval-raises-exception", "raises-exception"]
RAISES_TAGS = {"nbval-raises-exception", "raises-exception"}

MY_SD = re.compile(r"\S*[/\\]sdcourse-build-\w+[/\\]my-sd")
WIDGET = "application/vnd.jupyter.widget-view+json"
PROGRESS_LINE = re.compile(r"\d+%\|.*\| *\d\S*/\S+ \[|\d+it \[\d")
SOURCE_OF_WARNING = re.compile(r"^\S*(/ipykernel_\d+/\d+\.py:\d+: |/site-packages/)", re.MULTILINE)
OF_THIS_MACHINE = re.compile(
    r"(?<![\w.:/-])/(?:home|root|Users|tmp|private|var|mnt|opt)/[^\s'\"<>)]*|[A-Z]:\\Users\\\S*|\S*site-packages\S*"
    r"|\b0x[0-9a-f]{8,}|" + "|".join(re.escape(folder) for folder in (str(ROOT), sys.prefix))
)


class BuildError(Exception):
    """What is wrong with a lesson, in words for its author."""


# --- from a lesson to a notebook without outputs


def build(lesson: Path, change: Callable[[str], str] | None = None) -> NotebookNode:
    """Read a lesson as a notebook that has not been executed.

    Args:
        change: what to do with the source of each code cell.

    Raises:
        BuildError: a cell has metadata other than tags, or a tag that nbval would silently not know.
    """
    notebook = nbformat.v4.new_notebook(metadata=deepcopy(METADATA))
    for cell in jupytext.read(lesson, fmt="py:percent").cells:
        metadata = {key: value for key, value in cell.metadata.items() if key != "lines_to_next_cell"}
        cell = NotebookNode(cell_type=cell.cell_type, id="", metadata=metadata, source=cell.source)
        if cell.cell_type == "code":
            cell.update(execution_count=None, outputs=[])
            cell.source = change(cell.source) if change else cell.source
        notebook.cells.append(cell)
    # The Colab badge, once the repository has a public address: a markdown cell that opens this very notebook
    # (f"notebooks/{lesson.stem}.ipynb") goes in front of notebook.cells, here, before the ids are given.
    for number, cell in enumerate(notebook.cells, 1):
        _check_metadata(lesson, number, cell)
    for cell, cell_id in zip(notebook.cells, cell_ids(lesson.stem, notebook.cells), strict=True):
        cell.id = cell_id
    return notebook


def without_solutions(source: str) -> str:
    """The source of a cell as learners get it: an exercise that is not attempted yet says so, and runs.

    Raises:
        BuildError: a solution is not closed, or stands outside of a function, where it would stop Run All.
    """
    lines, inside = [], False
    for line in source.splitlines():
        indent = line[: len(line) - len(line.lstrip())]
        if line.strip() == BEGIN:
            if not indent:
                raise BuildError(f"{BEGIN} stands outside of a function: an answer is a function.")
            lines += [f"{indent}# YOUR CODE HERE", f"{indent}raise NotImplementedError()"]
            inside = True
        elif line.strip() == END:
            inside = False
        elif not inside:
            lines.append(line)
    if inside:
        raise BuildError(f"{BEGIN} is not followed by {END}.")
    return "\n".join(lines)


@dataclass(frozen=True)
class Collection:
    """A folder of sources and the folder of notebooks that are built from it."""

    sources: str
    notebooks: str
    change: Callable[[str], str] | None = None


COLLECTIONS = (
    Collection("lessons", "notebooks"),
    Collection("lessons/exercises", "exercises", without_solutions),
    Collection("lessons/exercises", "solutions"),
)


def cell_ids(name: str, cells: list[NotebookNode]) -> list[str]:
    """Ids from the lesson's name and each cell's text, so that a new cell leaves the other ids alone."""
    prefix = re.sub(r"[^A-Za-z0-9_-]", "-", name)[:40]  # an id has 64 characters at most
    seen: Counter[str] = Counter()
    ids = []
    for cell in cells:
        digest = hashlib.sha256(cell.source.encode()).hexdigest()[:12]
        seen[digest] += 1
        ids.append(f"{prefix}-{digest}" + (f"-{seen[digest]}" if seen[digest] > 1 else ""))
    return ids


def _check_metadata(lesson: Path, number: int, cell: NotebookNode) -> None:
    where = f"{lesson.name}: {_name(number, cell)}"
    if extra := sorted(set(cell.metadata) - {"tags"}):
        raise BuildError(
            f"{where} has {', '.join(extra)} in its `# %%` line; a cell carries only tags=[...]."
        )
    for tag in cell.metadata.get("tags", []):
        if tag.startswith(("nbval", "raises")):
            try:
                check_name("tag", tag, NBVAL_TAGS)
            except ValueError as error:
                raise BuildError(f"{where}: {error}") from None


def _name(number: int, cell: NotebookNode) -> str:
    first_line = next((line for line in cell.source.splitlines() if line.strip()), "empty")
    return f"cell {number} ({first_line[:60]})"


# --- execution


def kernel_environment() -> dict[str, str]:
    """The environment in which notebooks are executed, here and by the tests: the same everywhere."""
    trained_before = tempfile.mkdtemp(prefix="sdcourse-build-")  # nothing, so that a lesson stands alone
    atexit.register(shutil.rmtree, trained_before, ignore_errors=True)
    return {
        **os.environ,
        "SDCOURSE_PROFILE": "pocket",
        "HF_HUB_OFFLINE": "1",
        "SDCOURSE_MY_SD": os.path.join(trained_before, "my-sd"),
        "SDCOURSE_CHALLENGE": "short",  # a challenge that trains: for a quarter of the time, with a lower bar
        "CUDA_VISIBLE_DEVICES": "",  # a maintainer's GPU must not show up in the stored outputs
        "PYTHONPATH": os.pathsep.join(filter(None, [str(OFFLINE), os.environ.get("PYTHONPATH")])),
    }


def execute(notebook: NotebookNode, folder: Path, name: str = "notebook") -> None:
    """Execute a notebook in place, with `folder` as the current folder, and keep the storable outputs.

    Raises:
        BuildError: a cell fails, takes too long, or ends the kernel.
    """
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        coalesce_streams=True,
        record_timing=False,
        store_widget_state=False,
    )
    started = []
    client.on_cell_start = lambda cell, cell_index: started.append(_name(cell_index + 1, cell))
    try:
        # what a kernel says to the terminal is not about the lesson: its cells write into the notebook
        client.execute(env=kernel_environment(), stderr=subprocess.DEVNULL)
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        raise BuildError(f"{name}: {started[-1]} failed:\n{error}") from None
    notebook.metadata = NotebookNode(deepcopy(METADATA))  # nbclient adds the version of Python
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = storable(cell.outputs)


def storable(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """The outputs as they are stored. nbval passes both sides through this as well (see nbval_rules.py)."""
    kept = []
    for output in deepcopy(outputs):
        if output.output_type in ("display_data", "execute_result") and WIDGET in output.data:
            # A widget lives only as long as its kernel, and JupyterLab would show an error in its place. Its
            # static form stays if it has one; a progress bar has none.
            del output.data[WIDGET]
            if set(output.data) <= {"text/plain"}:
                continue
        elif output.output_type == "stream" and output.name == "stderr":
            lines = output.text.splitlines(keepends=True)
            text = "".join(line for line in lines if not PROGRESS_LINE.search(line))
            output.text = SOURCE_OF_WARNING.sub("", text)
            if not output.text.strip():
                continue
        elif output.output_type == "stream":
            output.text = MY_SD.sub("~/sdcourse/my-sd", output.text)  # where it lies for a learner
        elif output.output_type == "error":
            # the whole traceback names files of this machine; its last line says what the lesson shows
            output.traceback = [f"{output.ename}: {output.evalue}"]
        kept.append(output)
    return kept


# --- what must not be stored


def problems(notebook: NotebookNode) -> list[str]:
    """What is wrong with an executed notebook, one sentence each."""
    found = []
    if dict(notebook.metadata) != METADATA:
        found.append(
            f"the metadata of the notebook is not the minimal one: {json.dumps(notebook.metadata)[:200]}"
        )
    expected = 0
    for number, cell in enumerate(notebook.cells, 1):
        where = _name(number, cell)
        found += [f"{where} names {match} of this machine" for match in OF_THIS_MACHINE.findall(cell.source)]
        if cell.cell_type == "markdown" and re.search(r"!\[\s*\]", cell.source):
            found.append(f"{where} has a picture without alternative text: write ![what it shows](...)")
        if cell.cell_type != "code":
            continue
        if not cell.source.strip():
            found.append(f"{where} has no code")
            continue
        expected += 1
        if cell.execution_count != expected:
            found.append(f"{where} has the execution count {cell.execution_count} instead of {expected}")
        raises = RAISES_TAGS & set(cell.metadata.get("tags", []))
        for output in cell.outputs:
            found += [f"{where} {what}" for what in _output_problems(output, raises)]
        if raises and not any(output.output_type == "error" for output in cell.outputs):
            found.append(f"{where} is tagged to raise an exception, and raised none")
    if (size := len(nbformat.writes(notebook).encode())) > NOTEBOOK_BYTES:
        found.append(
            f"the notebook has {size:,} bytes, and {NOTEBOOK_BYTES:,} are allowed: show fewer pictures"
        )
    return found


def _output_problems(output: NotebookNode, raises: set[str]) -> list[str]:
    found = []
    if output.output_type == "error" and not raises:
        found.append(f"ends in {output.ename}: {output.evalue}")
    data = output.get("data", {})
    if WIDGET in data:
        found.append("stores a widget, which no viewer can show without its kernel")
    texts = [value if isinstance(value, str) else json.dumps(value) for value in data.values()]
    size = sum(map(len, texts)) + len(output.get("text", ""))
    if size > OUTPUT_BYTES:
        found.append(f"has an output of {size:,} bytes, and {OUTPUT_BYTES:,} are allowed")
    html = "".join(data.get("text/html", ""))
    pictures = re.findall(r"<img\b[^>]*>", html)
    if any(not re.search(r"\balt=\"[^\"]", picture) for picture in pictures) or (
        not pictures and any(kind.startswith("image/") for kind in data)
    ):
        found.append(
            "shows a picture without alternative text: use show_image(picture or figure, alt=...) of sdcourse"
        )
    texts = [output.get("text", ""), output.get("evalue", ""), *output.get("traceback", [])]
    texts += [data.get("text/plain", ""), re.sub(r"data:image/[^\"']*", "", html)]
    for text in texts:
        found += [
            f"prints {match}, which differs from machine to machine"
            for match in OF_THIS_MACHINE.findall(text)
        ]
    return found


# --- comparing and writing


def first_difference(built: NotebookNode, stored: NotebookNode) -> str | None:
    """Where a stored notebook is not what its lesson builds, outputs apart; None if nowhere."""
    if dict(stored.metadata) != dict(built.metadata):
        return "the metadata of the notebook"
    if (stored.nbformat, stored.nbformat_minor) != (built.nbformat, built.nbformat_minor):
        return "the version of the notebook format"
    for number, (new, old) in enumerate(zip_longest(built.cells, stored.cells), 1):
        if new is None:
            return f"{_name(number, old)} is not in the lesson"
        if old is None:
            return f"{_name(number, new)} is missing"
        for key in ("cell_type", "source", "id", "metadata"):
            if new[key] != old.get(key):
                return f"{_name(number, new)}: its {key.replace('cell_type', 'type')}"
        if unknown := set(old) - set(new):
            return f"{_name(number, new)}: it has {', '.join(sorted(unknown))}"
    return None


def keep_outputs(built: NotebookNode, stored: NotebookNode) -> None:
    """Give the cells of a new build the stored outputs of those with the same id, so the same code."""
    old = {cell.id: cell for cell in stored.cells if cell.cell_type == "code"}
    for cell in built.cells:
        if cell.cell_type == "code" and cell.id in old:
            cell.outputs, cell.execution_count = old[cell.id].outputs, old[cell.id].execution_count


def find_sources(root: Path, names: list[str]) -> list[tuple[Path, Path, Collection]]:
    """What to build: sources with their targets, for lessons and sheets of these names, or for all.

    Args:
        names: such as `08` or `08_sampling_loop`.

    Raises:
        BuildError: there are no lessons, or one of the names is unknown.
    """
    found = [
        (source, root / collection.notebooks / f"{source.stem}.ipynb", collection)
        for collection in COLLECTIONS
        for source in sorted((root / collection.sources).glob("[0-9][0-9]_*.py"))
    ]
    if not found:
        raise BuildError(f"There are no lessons in {root / 'lessons'}: a lesson is called NN_name.py.")
    known = {source.stem for source, *_ in found}
    chosen = set()
    for name in names:
        stem = Path(name).stem
        matching = {k for k in known if k == stem or k.split("_")[0] == stem}
        try:
            chosen |= matching or {check_name("lesson", stem, sorted(known))}
        except ValueError as error:
            raise BuildError(str(error)) from None
    return [one for one in found if not names or one[0].stem in chosen]


def check(source: Path, target: Path, change: Callable[[str], str] | None = None) -> None:
    """Compare a stored notebook with its source.

    Raises:
        BuildError: they differ; the message names the first cell that does.
    """
    built = build(source, change)
    if not target.exists():
        raise BuildError(f"{_in_its_folder(target)} is missing: run `make notebooks`.")
    if difference := first_difference(built, _read(target)):
        raise BuildError(
            f"{_in_its_folder(target)} is not what {_in_its_folder(source)} builds, first at {difference}."
        )


def _in_its_folder(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def write(
    lesson: Path, target: Path, with_execution: bool, change: Callable[[str], str] | None = None
) -> None:
    """Build a notebook into its place; nothing is written when anything is wrong.

    Raises:
        BuildError: the lesson cannot be built or executed, or shows what must not be stored.
    """
    start = time.monotonic()
    notebook = build(lesson, change)
    if with_execution:
        execute(notebook, target.parent, target.name)
        if found := problems(notebook):
            raise BuildError("\n".join(f"{target.name}: {problem}." for problem in found))
    elif target.exists():
        keep_outputs(notebook, _read(target))
    nbformat.validate(notebook)
    target.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
    print(f"{_in_its_folder(target)}: {len(notebook.cells)} cells in {time.monotonic() - start:.0f} s")


def _read(path: Path) -> NotebookNode:
    try:
        return nbformat.read(path, as_version=4)
    except (nbformat.reader.NotJSONError, nbformat.ValidationError) as error:
        raise BuildError(
            f"{path.name} is not a notebook ({str(error)[:80]}): run `make notebooks`."
        ) from None


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """The command line. Returns 0, or 1 when something is wrong; every lesson is tried."""
    parser = argparse.ArgumentParser(description="Build the notebooks from lessons/.")
    parser.add_argument("names", nargs="*", help="lessons, such as 08 or 08_sampling_loop; all without names")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument(
        "--check", action="store_true", help="only compare the stored notebooks with the lessons"
    )
    mode.add_argument("--no-execute", action="store_true", help="keep the stored outputs of unchanged code")
    options = parser.parse_args(arguments)

    wrong = []
    try:
        chosen = find_sources(root, options.names)
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    for source, target, collection in chosen:
        target.parent.mkdir(exist_ok=True)
        try:
            if options.check:
                check(source, target, collection.change)
            else:
                write(source, target, not options.no_execute, collection.change)
        except BuildError as error:
            wrong.append(str(error))
    if not options.names:
        wrong += orphans(root, {target for _, target, _ in chosen})
    for message in wrong:
        print(message, file=sys.stderr)
    return 1 if wrong else 0


def orphans(root: Path, targets: set[Path]) -> list[str]:
    """Notebooks that no source builds, one sentence each."""
    return [
        f"{_in_its_folder(notebook)} has no lesson: remove it, or restore {c.sources}/{notebook.stem}.py."
        for c in COLLECTIONS
        for notebook in sorted((root / c.notebooks).glob("*.ipynb"))
        if notebook not in targets
    ]


if __name__ == "__main__":
    sys.exit(main())
