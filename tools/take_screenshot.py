"""Take the picture of the explorer that stands in the README: `python tools/take_screenshot.py`.

Opens it in JupyterLab in a headless Chromium, which `.ci/install-debian-packages` installs, moves the
guidance scale, and writes docs/explorer.png. Takes half a minute.
"""

import re
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from lab import Notebook, browser, expect, jupyterlab, missing, write_notebook  # noqa: E402

CELLS = (
    "import sdcourse\n"
    "from sdcourse.widgets import PromptExplorer\n\n"
    "pipe = sdcourse.load_pipeline()\n"
    'explorer = PromptExplorer(pipe, prompt="a photo of a cat wearing a hat in the snow", guidance_scale=5)\n'
    "explorer",
)
SCALES = (1, 3, 8, 5)  # the history strip shows what came of each


def take(path: Path):
    with tempfile.TemporaryDirectory() as folder, jupyterlab(Path(folder)) as address, browser() as chrome:
        write_notebook(Path(folder) / "notebooks" / "explorer.ipynb", *CELLS)
        with Notebook(chrome) as notebook:
            notebook.open(address.format("explorer.ipynb"))
            notebook.run_all()
            notebook.wait_until_run()
            box = notebook.cell(0)
            for scale in SCALES:
                notebook.execute(f"explorer.set(guidance_scale={scale})")
                expect(box.get_by_role("status")).to_have_text(re.compile(f"finished: .*scale {scale:g} "))
            box.screenshot(path=path)


if __name__ == "__main__":
    if missing():
        sys.exit(missing())
    take(ROOT / "docs" / "explorer.png")
