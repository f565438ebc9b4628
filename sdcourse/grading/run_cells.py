"""Run the cells of one notebook and save the learner's functions: `python -m … MEMORY_GB NOTEBOOK "
"OUT NAME...`."""

import json
import sys
from pathlib import Path

from sdcourse.grading.limits import limit_this_process


def main(memory_gb: str, notebook: str, out: str, *names: str) -> None:
    limit_this_process(float(memory_gb))
    import cloudpickle
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    # Functions of __main__ are saved with all that they need; those of other modules only by name.
    shell.user_module = sys.modules["__main__"]
    shell.user_ns = vars(shell.user_module)
    shell.user_ns.clear()
    shell.user_ns["__name__"] = "__main__"
    shell.init_user_ns()
    for source in code_cells(Path(notebook)):
        shell.run_cell(source)  # an error in a cell ends that cell only
    for name in names:
        answer = shell.user_ns.get(name)
        if answer is None:
            continue
        try:
            saved = cloudpickle.dumps(answer)
        except Exception as error:
            (Path(out) / f"{name}.error").write_text(f"{type(error).__name__}: {error}")
        else:
            (Path(out) / f"{name}.pickle").write_bytes(saved)
    (Path(out) / "done").touch()


def code_cells(path: Path) -> list[str]:
    """The sources of a notebook's code cells, in order.

    Raises:
        ValueError: if the file is not a notebook.
    """
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ValueError(f"{path.name} is not a notebook ({type(error).__name__}).") from None


if __name__ == "__main__":
    from sdcourse.grading.run_cells import main as run  # so that no learner's name hides one of ours

    run(*sys.argv[1:])
