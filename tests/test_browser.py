"""The explorers in JupyterLab, as people use them: a real browser with a mouse and a keyboard."""

import json
import os
import re
from contextlib import contextmanager

import numpy as np
import pytest
from lab import (
    KERNEL,
    Notebook,
    browser,
    expect,
    is_local,
    jupyterlab,
    missing,
    pixels,
    write_lesson,
    write_notebook,
)
from PIL import Image

MISSING = missing()
pytestmark = [
    pytest.mark.slow,
    # in CI the fixtures fail instead
    pytest.mark.skipif(bool(MISSING) and not os.environ.get("CI"), reason=MISSING),
]

SETUP = """
import threading, time
import sdcourse
import sdcourse.widgets.explorer as module
from sdcourse.widgets import GuidanceSweep, NegativePromptLab, PromptExplorer, TrajectoryViewer, XYGrid
from sdcourse.widgets.settings import Settings, render

sdcourse.setup()
pipe = sdcourse.load_pipeline()
"""
EXPLORER = "explorer = PromptExplorer(pipe, prompt='a photo of a cat in the snow')\nexplorer"
OTHERS = [
    "NegativePromptLab(pipe, num_inference_steps=3)",
    "GuidanceSweep(pipe, (1, 4), num_inference_steps=3)",
    "TrajectoryViewer(pipe, num_inference_steps=3)",
    "XYGrid(pipe, x_values=(1.0, 4.0), y_values=(0, 1), num_inference_steps=2)",
    "XYGrid(pipe, x_values=range(1, 11), y_values=range(10)).box",
]
# A busy machine is no failure: a picture follows the mouse however long it takes.
RESET = """
module.LIVE_SECONDS, explorer._controls["guidance_scale"].continuous_update = 600, True
explorer._pictures.clear()
explorer.history.clear()
explorer._code.value = ""
explorer.set(
    prompt="a photo of a cat in the snow", negative_prompt="", guidance_scale=5.0, seed=0,
    num_inference_steps=20, scheduler="dpm++",
)
assert explorer.wait(60)
"""
BREAK = """
def broken(*args, **kwargs):
    raise MemoryError("out of memory")
forward, pipe.unet.forward = pipe.unet.forward, broken
"""
WHILE = """
import os
well = False
while True:
    {}
    if not os.path.exists("go-on"):
        break
well = True
"""
NAME_OF_FOCUS = """() => {
    const focus = document.activeElement;
    const label = focus.closest('.widget-slider')?.querySelector('label') ?? focus.labels?.[0] ?? focus;
    return label.textContent.trim();
}"""


@pytest.fixture(scope="module")
def chrome():
    assert not MISSING, MISSING
    with browser() as chrome:
        yield chrome


@pytest.fixture(scope="module", params=["subshells", "main thread"])
def open_notebook(request, chrome, tmp_path_factory):
    """The explorer, run from the top; once with callbacks in a thread of their own, once without."""
    folder, subshells = tmp_path_factory.mktemp("lab"), request.param == "subshells"
    with jupyterlab(folder, subshells) as address, Notebook(chrome) as notebook:
        write_notebook(folder / "notebooks" / "explorer.ipynb", SETUP, EXPLORER)
        notebook.open(address.format("explorer.ipynb"))
        notebook.run_all()
        notebook.wait_until_run()
        notebook.folder, notebook.subshells = folder / "notebooks", subshells
        yield notebook


class Explorer:
    """The PromptExplorer on the page, by what people see of it."""

    def __init__(self, notebook, place=1):
        self.notebook, self.page, self.box = notebook, notebook.page, notebook.cell(place)
        self.picture, self.status = self.box.locator("img[width='320']"), self.box.get_by_role("status")
        self.prompt = self.box.get_by_label("Prompt", exact=True)
        self.negative_prompt = self.box.get_by_label("Negative prompt")
        self.seed = self.box.get_by_label("Seed")
        self.scale = slider(self.box, "Guidance scale")
        self.history = self.box.get_by_role("button", name=re.compile("^scale "))

    def type_seed(self, seed):
        self.seed.fill(str(seed))
        self.seed.press("Enter")

    def shown_scale(self):
        return float(self.scale.get_attribute("aria-valuenow"))

    def button(self, name):
        return self.box.get_by_role("button", name=name)

    def expect_finished(self, *words):
        for word in words:
            expect(self.status).to_have_text(re.compile(f"^finished: .*{re.escape(word)}( |$)"))
        shown = self.status.text_content()  # the text of what is out of sight, too
        expect(self.picture).to_have_attribute("alt", shown.removeprefix("finished: "))

    def expect_said(self, words):
        expect(self.status).to_contain_text(words)

    def expect_shown(self, drawn):
        """The picture, given as hex, up to rounding: another number of threads sums in another order."""
        expected = np.frombuffer(bytes.fromhex(drawn.strip()), np.uint8).reshape(64, 64, 3)
        assert np.abs(pixels(self.picture).astype(int) - expected).max() <= 1

    def run(self, code):
        return self.notebook.execute(code)


@pytest.fixture
def explorer(open_notebook):
    """As it was when its cell had run; the test must leave no complaint and ask nobody elsewhere."""
    explorer = Explorer(open_notebook)
    explorer.run(RESET)
    explorer.expect_finished("scale 5", "seed 0", "20 steps")
    yield explorer
    expect_quiet(open_notebook)


# the explorer --------------------------------------------------------------------------------


def test_a_run_notebook_shows_the_first_picture(explorer):
    expect(explorer.picture).to_be_visible()
    assert pixels(explorer.picture).shape == (64, 64, 3) and pixels(explorer.picture).std() > 10
    assert explorer.picture.evaluate("img => img.naturalWidth") == 64  # the browser has decoded it


def test_the_picture_follows_the_mouse(explorer):
    before = pixels(explorer.picture)
    with dragged(explorer, 60):
        expect(explorer.status).not_to_contain_text("scale 5 ")  # while the button is down
    explorer.expect_finished(f"scale {explorer.shown_scale():g}")
    assert not np.array_equal(pixels(explorer.picture), before)


def test_a_slow_model_is_drawn_when_the_mouse_lets_go(explorer):
    explorer.run("module.LIVE_SECONDS = 0")
    explorer.type_seed(1)
    explorer.expect_finished("seed 1")
    with dragged(explorer, 60):
        explorer.page.wait_for_timeout(1000)  # that nothing happens takes a while to see
        explorer.expect_finished("scale 5")
    assert explorer.shown_scale() > 5
    explorer.expect_finished(f"scale {explorer.shown_scale():g}")


@contextmanager
def dragged(explorer, distance):
    """The mouse has moved the guidance scale, and holds it while the block is worked through."""
    handle = explorer.scale.bounding_box()
    x, y = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
    mouse = explorer.page.mouse
    mouse.move(x, y)
    mouse.down()
    try:
        mouse.move(x + distance, y, steps=6)
        yield
    finally:
        mouse.up()


def test_the_picture_follows_the_arrow_keys(explorer):
    before = pixels(explorer.picture)
    explorer.scale.focus()
    for _ in range(6):
        explorer.page.keyboard.press("ArrowRight")
    assert explorer.shown_scale() > 5
    explorer.expect_finished(f"scale {explorer.shown_scale():g}")
    assert not np.array_equal(pixels(explorer.picture), before)
    for _ in range(6):
        explorer.page.keyboard.press("ArrowLeft")
    explorer.expect_finished("scale 5")
    assert np.array_equal(pixels(explorer.picture), before)


def test_a_negative_prompt_changes_the_picture(explorer):
    before = pixels(explorer.picture)
    explorer.negative_prompt.press_sequentially("a white hat")
    explorer.expect_finished("not a white hat")
    assert not np.array_equal(pixels(explorer.picture), before)


def test_the_picture_is_the_one_of_the_controls(explorer):
    explorer.prompt.fill("an oil painting of a collie")
    explorer.type_seed(7)
    explorer.box.get_by_label("Scheduler").select_option("ddim")
    explorer.expect_finished("an oil painting of a collie", "seed 7", "ddim")
    drawn = explorer.run(
        "settings = Settings('an oil painting of a collie', seed=7, scheduler='ddim')\n"
        "print(render(pipe, settings).tobytes().hex())"
    )
    explorer.expect_shown(drawn)


def test_the_dice_gives_another_picture(explorer):
    explorer.button("Another seed").click()
    expect(explorer.status).not_to_contain_text("seed 0 ")
    explorer.expect_finished(f"seed {explorer.seed.input_value()}")


def test_words_that_the_model_has_never_seen_are_named(explorer):
    explorer.prompt.fill("a cat and a <b>giraffe</b>")
    expect(explorer.box).to_contain_text("Not in this model's vocabulary: <b>giraffe</b>.")


def test_a_render_that_fails_says_why_and_the_next_one_works(explorer):
    explorer.run(BREAK)
    try:
        explorer.type_seed(1)
        explorer.expect_said("MemoryError: out of memory")
    finally:
        explorer.run("pipe.unet.forward = forward")
    explorer.type_seed(2)
    explorer.expect_finished("seed 2")


def test_a_bad_value_says_what_is_wrong_and_the_next_one_works(explorer):
    explorer.type_seed(99999999999999999999)
    expect(explorer.status).to_have_text(re.compile(r"^seed is 1\d+: it must be 0 to \d+\.$"))
    explorer.type_seed(3)
    explorer.expect_finished("seed 3")


def test_a_saved_picture_brings_its_settings_back(explorer):
    explorer.negative_prompt.fill("a white hat")
    explorer.type_seed(4)
    explorer.expect_finished("not a white hat", "seed 4")
    before = pixels(explorer.picture)
    explorer.button("Save").click()
    expect(explorer.status).to_have_text(re.compile(r"^Saved as \S+\.png\.$"))
    name = explorer.status.inner_text().removeprefix("Saved as ").removesuffix(".")
    saved = explorer.notebook.folder / name
    assert np.array_equal(np.array(Image.open(saved)), before)

    for _ in range(2):  # the same file again, too
        explorer.negative_prompt.fill("")
        explorer.type_seed(5)
        explorer.expect_finished("seed 5")
        load(explorer, saved)
        explorer.expect_finished("not a white hat", "seed 4")
        assert np.array_equal(pixels(explorer.picture), before)
        expect(explorer.negative_prompt).to_have_value("a white hat")
        expect(explorer.seed).to_have_value("4")


def test_a_file_without_settings_is_said(explorer, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "plain.png")
    (tmp_path / "text.png").write_text("no picture")
    load(explorer, tmp_path / "plain.png")
    explorer.expect_said("has no settings inside")
    load(explorer, tmp_path / "text.png")
    explorer.expect_said("is not a picture")
    explorer.type_seed(6)
    explorer.expect_finished("seed 6")


def load(explorer, file):
    with explorer.page.expect_file_chooser() as chooser:
        explorer.button("Load").click()
    chooser.value.set_files(file)


def test_a_click_in_the_history_brings_settings_back(explorer):
    before = pixels(explorer.picture)
    explorer.prompt.fill("a robot")
    explorer.type_seed(8)
    explorer.expect_finished("a robot", "seed 8")
    expect(explorer.history).to_have_count(2)
    explorer.history.first.click()
    explorer.expect_finished("a photo of a cat in the snow", "seed 0")
    expect(explorer.prompt).to_have_value("a photo of a cat in the snow")
    expect(explorer.seed).to_have_value("0")
    assert np.array_equal(pixels(explorer.picture), before)


def test_the_code_draws_the_picture(explorer):
    explorer.prompt.fill("a 'red' <robot>")
    explorer.expect_finished("a 'red' <robot>")
    explorer.button("As code").click()
    code = explorer.box.locator("pre").inner_text()
    drawn = explorer.run(f"print(eval({code!r})[0].tobytes().hex())")
    explorer.expect_shown(drawn)


def test_every_control_has_a_name_and_every_picture_says_what_it_shows(explorer):
    expect_names(explorer.box)


def test_everything_can_be_reached_with_the_tab_key(explorer):
    explorer.prompt.focus()
    reached = []
    for _ in range(13):
        reached.append(explorer.page.evaluate(NAME_OF_FOCUS))
        explorer.page.keyboard.press("Tab")
    # a slider is followed by its number, which can be typed over
    assert reached == [
        "Prompt", "Negative prompt", "Guidance scale", "Guidance scale", "Steps", "Steps", "Scheduler",
        "Seed", "Another seed", "Save", "Load (0)", "As code", "scale 5",
    ]  # fmt: skip


def test_buttons_are_pressed_with_the_enter_key(explorer):
    explorer.button("As code").focus()
    explorer.page.keyboard.press("Enter")
    expect(explorer.box.locator("pre")).to_contain_text("sdcourse.text_to_image(")


def test_no_label_says_null(explorer):
    # as ipywidgets 8 writes where no tooltip is given
    expect(explorer.box.locator("label:visible")).to_have_count(6)
    expect(explorer.box.locator("[title='null']:visible")).to_have_count(0)


# a cell that runs meanwhile --------------------------------------------------------------------


def test_a_control_that_is_moved_meanwhile_is_obeyed_when_the_cell_has_ended(explorer):
    """Or before: it is ipykernel that decides whether a message waits for a cell, and versions differ."""
    before = pixels(explorer.picture)
    with running(explorer, "time.sleep(0.05)"):
        explorer.type_seed(11)
        if not explorer.notebook.subshells:  # where it waits in all versions
            explorer.page.wait_for_timeout(1500)  # that nothing happens takes a while to see
            explorer.expect_finished("seed 0")
            assert np.array_equal(pixels(explorer.picture), before)
    explorer.expect_finished("seed 11")
    assert not np.array_equal(pixels(explorer.picture), before)


def test_a_cell_and_the_explorer_that_draw_at_once_do_not_disturb_each_other(explorer):
    explorer.run("drawn, settings = set(), Settings('a robot', 'a hat', num_inference_steps=3)")
    explorer.run("explorer.set(guidance_scale=9.0, num_inference_steps=50)")
    with running(explorer, "drawn.add(render(pipe, settings).tobytes())"):
        explorer.expect_finished("scale 9", "50 steps")
    assert explorer.run("print(len(drawn), render(pipe, settings).tobytes() in drawn)").strip() == "1 True"
    explorer.expect_shown(explorer.run("print(render(pipe, explorer.settings).tobytes().hex())"))


@contextmanager
def running(explorer, line):
    """A cell that repeats a line of code, without an error, while the block is worked through."""
    go_on = explorer.notebook.folder / "go-on"
    go_on.touch()
    start = f"void {KERNEL}.requestExecute({{ code: {json.dumps(WHILE.format(line))} }})"
    explorer.page.evaluate(start)
    explorer.page.wait_for_function(f"() => {KERNEL}.status === 'busy'")
    try:
        yield
    finally:
        go_on.unlink()
    assert explorer.run("print(well)").strip() == "True"


# the others ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def others(chrome, tmp_path_factory):
    """One cell with each of the other explorers, run."""
    folder = tmp_path_factory.mktemp("lab")
    with jupyterlab(folder) as address, Notebook(chrome) as notebook:
        write_notebook(folder / "notebooks" / "others.ipynb", SETUP, *OTHERS)
        notebook.open(address.format("others.ipynb"))
        notebook.run_all()
        notebook.wait_until_run()
        yield notebook
        expect_quiet(notebook)


def test_a_grid_is_stopped_by_its_button(others):
    box = others.cell(5)
    box.get_by_role("button", name="Stop").click()
    expect(box.get_by_role("status")).to_contain_text("Stopped after")
    assert box.get_by_role("img").count() < 100


def test_the_lab_shows_pictures_with_and_without_and_the_curves(others):
    box = others.cell(1)
    expect(box.get_by_role("img")).to_have_count(3)
    without, with_negative, curves = box.get_by_role("img").all()
    expect(curves).to_have_attribute("alt", re.compile("cosine"))
    assert not np.array_equal(pixels(without), pixels(with_negative))
    box.get_by_label("Negative prompt").fill("in the snow")
    expect(with_negative).to_have_attribute("alt", re.compile("not in the snow"))
    expect_names(box)


def test_the_sweep_draws_again_for_another_prompt(others):
    box = others.cell(2)
    pictures = box.get_by_role("img")
    expect(pictures).to_have_count(2)
    before = pixels(pictures.last)
    box.get_by_label("Prompt", exact=True).fill("a robot")
    expect(box.get_by_role("status")).to_contain_text("a robot, seed 0, at the scales 1, 4")
    assert not np.array_equal(pixels(pictures.last), before)
    expect_names(box)


def test_the_viewer_goes_through_the_steps_by_keyboard(others):
    box = others.cell(3)
    expect(box.get_by_role("img")).to_have_count(3)
    before = pixels(box.get_by_role("img").first)
    slider(box, "Step").focus()
    others.page.keyboard.press("End")
    expect(box.get_by_role("status")).to_contain_text("step 2: ")
    assert not np.array_equal(pixels(box.get_by_role("img").first), before)
    expect_names(box)


def test_the_grid_fills_its_table(others):
    box = others.cell(4)
    expect(box.get_by_role("img")).to_have_count(4)
    expect(box.get_by_role("columnheader")).to_have_text(["guidance_scale 1.0", "guidance_scale 4.0"])
    expect(box.get_by_role("rowheader")).to_have_text(["seed 0", "seed 1"])
    expect_names(box)


# the lessons -----------------------------------------------------------------------------------


@contextmanager
def lesson(chrome, folder, number):
    """A lesson, run from the top: the open notebook, and the place of each of its cells by a word in it."""
    with jupyterlab(folder) as address, Notebook(chrome) as notebook:
        cells = write_lesson(folder / "notebooks" / "lesson.ipynb", number).cells
        notebook.open(address.format("lesson.ipynb"))
        notebook.run_all()
        notebook.wait_until_run(1200)
        outputs = [output for cell in notebook.read().cells for output in cell.get("outputs", [])]
        assert [output.ename for output in outputs if output.output_type == "error"] == []
        yield notebook, lambda word: next(n for n, cell in enumerate(cells) if word in cell.source)
        expect_quiet(notebook)


def test_lesson_09_runs_and_its_explorer_goes_on(chrome, tmp_path):
    with lesson(chrome, tmp_path, "09") as (notebook, place):
        explorer = Explorer(notebook, place("explorer = PromptExplorer("))
        explorer.expect_finished("scale 5")
        before = pixels(explorer.picture)
        explorer.scale.focus()
        explorer.page.keyboard.press("ArrowRight")
        explorer.negative_prompt.fill("a white hat")
        explorer.expect_finished("not a white hat", f"scale {explorer.shown_scale():g}")
        assert explorer.shown_scale() > 5 and not np.array_equal(pixels(explorer.picture), before)
        for widget in ("explorer = PromptExplorer(", "GuidanceSweep(pipe", "NegativePromptLab(\n"):
            expect_names(notebook.cell(place(widget)))


def test_lesson_10_runs(chrome, tmp_path):
    with lesson(chrome, tmp_path, "10"):
        pass


# what holds for all ----------------------------------------------------------------------------


def slider(box, label):
    """ipywidgets gives a slider a visible label, but no name that a screen reader could say."""
    return box.locator(".widget-slider", has=box.page.get_by_text(label, exact=True)).get_by_role("slider")


def expect_names(box):
    """Every control has a name, and every picture an alternative text."""
    box.scroll_into_view_if_needed()  # JupyterLab does not lay out what is out of sight
    for role in ("button", "combobox", "spinbutton", "textbox", "img"):
        for control in box.get_by_role(role).all():
            expect(control).to_have_accessible_name(re.compile(r"\w"))
    for control in box.locator(".widget-slider, .widget-hprogress").all():
        expect(control.locator("label")).to_be_visible()
        expect(control.locator("label")).to_have_text(re.compile(r"\w"))
    expect(box.locator("img:not([alt]), img[alt='']")).to_have_count(0)


def expect_quiet(notebook):
    """Nothing to complain about, and nobody elsewhere asked."""
    assert notebook.complaints == []
    assert [address for address in notebook.requests if not is_local(address)] == []


def test_complaints_and_requests_would_be_noticed(chrome):
    with Notebook(chrome) as notebook:
        notebook.page.evaluate("() => { console.error('broken'); fetch('http://192.0.2.1/').catch(() => 0) }")
        with pytest.raises(AssertionError, match="broken"):
            expect_quiet(notebook)
        notebook.complaints.clear()
        with pytest.raises(AssertionError, match="192.0.2.1"):
            expect_quiet(notebook)
