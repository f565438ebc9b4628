"""Time the explorer in a real browser: `.venv/bin/python benchmarks/widget_latency.py`.

About two minutes on two cores that do nothing else. It needs Chromium: `.ci/install-debian-packages`. What
counts is what a person sees: from the event in the browser (a cell is run, the mouse has moved) to the frame
with the picture. Writes benchmarks/widget_latency.json and its table in benchmarks/README.md; with --dry-run
it only prints the table.
"""

import argparse
import json
import re
import sys
import tempfile
from pathlib import Path

import run

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from lab import IS_IDLE, KERNEL, NOTEBOOK, Notebook, browser, expect, jupyterlab, missing, write_notebook  # noqa: E402

COLD_STARTS = 5
MOVES = 15
PIXELS_A_MOVE = 12  # of the mouse; far enough for another guidance scale

CELLS = (
    "import sdcourse\nfrom sdcourse.widgets import PromptExplorer\npipe = sdcourse.load_pipeline()",
    "explorer = PromptExplorer(pipe)\nexplorer",
)
CLEAR = f"""() => {{
    {NOTEBOOK}.content.activeCellIndex = 1;
    return window.jupyterapp.commands.execute('notebook:clear-cell-output');
}}"""
RUN = """() => {
    window.last = '';
    window.asked = performance.now();
    void window.jupyterapp.commands.execute('notebook:run-cell');
}"""
RESTART = f"() => {KERNEL}.restart()"
# Keeps the time of the last movement of the mouse, and of each frame with another large picture.
WATCH = """() => {
    window.frames_shown = [];
    document.addEventListener('pointermove', event => { window.asked = event.timeStamp; }, true);
    new MutationObserver(() => {
        const picture = document.querySelector("img[width='320']");
        if (!picture || picture.src === window.last) return;
        window.last = picture.src;
        requestAnimationFrame(() => window.frames_shown.push([performance.now(), picture.alt]));
    }).observe(document.body, { subtree: true, childList: true, attributes: true });
}"""
SHOWN = "() => window.frames_shown.filter(([time, alt]) => time > window.asked)"


def cold_start(notebook: Notebook) -> float:
    """Seconds from running the explorer's cell to its first picture, in a kernel that has drawn nothing."""
    notebook.page.evaluate(RESTART)
    notebook.page.wait_for_function(IS_IDLE)
    notebook.execute(CELLS[0])
    notebook.page.evaluate(CLEAR)
    expect(notebook.page.locator("img[width='320']")).to_have_count(0)
    notebook.page.evaluate(RUN)
    notebook.page.wait_for_function(f"({SHOWN})().length")
    return _seconds(notebook)[0]


def moves(notebook: Notebook) -> list[list[float]]:
    """Seconds to the coarse and to the final picture, each time that the mouse has dragged the slider on."""
    box, mouse = notebook.cell(1), notebook.page.mouse
    status = box.get_by_role("status")
    slider = box.locator(".widget-slider", has_text="Guidance scale").get_by_role("slider")
    handle = slider.bounding_box()
    x, y = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
    mouse.move(x, y)
    mouse.down()
    seconds = []
    for _ in range(MOVES):
        x += PIXELS_A_MOVE
        mouse.move(x, y)
        scale = float(slider.get_attribute("aria-valuenow"))
        expect(status).to_have_text(re.compile(f"finished: .*scale {scale:g} "))
        notebook.page.wait_for_function(f"({SHOWN})().length === 2")
        seconds.append(_seconds(notebook))
    mouse.up()
    return seconds


def _seconds(notebook: Notebook) -> list[float]:
    """From what was asked for last to each picture since then."""
    asked = notebook.page.evaluate("window.asked")
    return [(time - asked) / 1000 for time, _ in notebook.page.evaluate(SHOWN)]


def measure(folder: Path) -> dict:
    with jupyterlab(folder) as address, browser() as chrome, Notebook(chrome) as notebook:
        write_notebook(folder / "notebooks" / "explorer.ipynb", *CELLS)
        notebook.open(address.format("explorer.ipynb"))
        notebook.page.evaluate(WATCH)
        cold = [cold_start(notebook) for _ in range(COLD_STARTS)]
        # a busy machine must not end the live dragging that is measured
        notebook.execute("import sdcourse.widgets.explorer as e; e.LIVE_SECONDS = 600")
        notebook.execute("explorer._controls['guidance_scale'].continuous_update = True")
        coarse, final = zip(*moves(notebook), strict=True)
        version = chrome.version
    return {
        "machine": f"{run.machine()}, Chromium {version}",
        "first picture after its cell has run, in a fresh kernel": run.summary(cold) | {"times": cold},
        "coarse picture after the slider has moved": run.summary(coarse) | {"times": coarse},
        "final picture after the slider has moved": run.summary(final) | {"times": final},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dry-run", action="store_true", help="print the table, and write nothing")
    options = parser.parse_args()
    if lacking := missing():
        sys.exit(lacking)
    with tempfile.TemporaryDirectory() as folder:
        results = measure(Path(folder))
    print(run.latency_as_markdown(results))
    if not options.dry_run:
        run.LATENCY.write_text(json.dumps(results, indent=1) + "\n")
        run.write_readme()


if __name__ == "__main__":
    main()
