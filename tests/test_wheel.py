"""The wheel holds everything that the notebooks need."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
LESSON = ROOT / "notebooks" / "08_sampling_loop.ipynb"

# Runs the notebook that lies in the current folder, then asks its kernel where the package came from.
RUN = """
import sys
import nbformat
from nbclient import NotebookClient

notebook = nbformat.read(sys.argv[1], as_version=4)
question = nbformat.v4.new_code_cell('''
import sys
print(*sorted(m.__file__ for n, m in sys.modules.items() if n.partition(".")[0] == "sdcourse"), sep="\\\\n")
''')
notebook.cells.append(question)
NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
print("".join(o["text"] for o in question.outputs if o["output_type"] == "stream"))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from a copy, because a build folder in the tree would leak old files into it."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "sdcourse", source / "sdcourse", ignore=shutil.ignore_patterns("__pycache__"))
    out = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", out, source)
    [file] = out.glob("*.whl")
    return file


def pip(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", "pip", *map(str, arguments)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_wheel_holds_every_file_of_the_package(wheel):
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("sdcourse/")}
    files = {
        file.relative_to(ROOT).as_posix()
        for file in (ROOT / "sdcourse").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert files - packed == set()
    assert any(name.endswith(".safetensors") for name in packed), "the wheel has no weights"


def test_lesson_08_runs_from_the_wheel_alone(wheel, tmp_path):
    target, folder = tmp_path / "target", tmp_path / "folder"
    pip("install", "--no-deps", "--target", target, wheel)
    folder.mkdir()
    shutil.copy(LESSON, folder)

    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(target), environment["PYTHONPATH"]])
    done = subprocess.run(
        [sys.executable, "-c", RUN, LESSON.name],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    origins = [Path(line) for line in done.stdout.split("\n") if line]
    assert target / "sdcourse" / "__init__.py" in origins
    assert [file for file in origins if target not in file.parents] == []
