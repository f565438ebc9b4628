"""The explorers: the newest wish wins, errors are said, and a picture can be made again from its file."""

import threading
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest
import torch
from tiny import make_tiny_sd

import sdcourse
from sdcourse.data.gallery import caption, known_words, random_scenes
from sdcourse.widgets import (
    GuidanceSweep,
    NegativePromptLab,
    PromptExplorer,
    TrajectoryViewer,
    XYGrid,
)
from sdcourse.widgets.latest import Latest, Stale
from sdcourse.widgets.negative import noise_directions
from sdcourse.widgets.settings import Settings, render
from sdcourse.widgets.trajectory import trajectory
from sdcourse.widgets.walk import walk

VIEW = "application/vnd.jupyter.widget-view+json"


@pytest.fixture(scope="module")
def tiny_pipeline():
    return make_tiny_sd()


@pytest.fixture
def explorer(tiny_pipeline):
    explorer = PromptExplorer(tiny_pipeline, prompt="a cat", num_inference_steps=12)
    assert explorer.wait(60)
    return explorer


def equal(a, b):
    return np.array_equal(np.array(a), np.array(b))


# the worker ---------------------------------------------------------------------------------


def test_the_newest_wish_is_finished_and_overtaken_ones_are_not():
    started, go_on, finished = threading.Event(), threading.Event(), []

    def work(wish, check):
        started.set()
        go_on.wait(10)
        check()
        finished.append(wish)

    latest = Latest(work)
    latest.request(0)
    started.wait(10)
    for wish in range(1, 20):
        latest.request(wish)
    go_on.set()
    assert latest.wait(10)
    assert finished == [19]


def test_the_worker_goes_on_after_a_stale_wish():
    def work(wish, check):
        if wish == "stale":
            raise Stale
        finished.append(wish)

    finished = []
    latest = Latest(work)
    for wish in ("stale", "a"):
        latest.request(wish)
        assert latest.wait(10)
    assert finished == ["a"]


def test_without_a_thread_the_work_is_done_inside_the_request():
    threads = []
    Latest(lambda wish, check: threads.append(threading.current_thread()), threaded=False).request(1)
    assert threads == [threading.current_thread()]


def test_a_core_is_left_to_the_browser(tiny_pipeline, monkeypatch):
    seen, before = [], torch.get_num_threads()

    class Watched(PromptExplorer):
        def _draw(self, settings, check):
            seen.append(torch.get_num_threads())

    monkeypatch.setattr("os.cpu_count", lambda: 4)
    try:
        for threads, expected in ((4, 3), (2, 2)):  # what was limited already is not raised
            torch.set_num_threads(threads)
            assert Watched(tiny_pipeline).wait(60)
            assert seen.pop() == expected and torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


# the pure part ------------------------------------------------------------------------------


def test_a_render_is_what_text_to_image_draws(tiny_pipeline):
    settings = Settings("a cat", "a hat", guidance_scale=3.0, num_inference_steps=4, seed=5, scheduler="ddim")
    expected = sdcourse.text_to_image(
        tiny_pipeline, "a cat", "a hat", guidance_scale=3.0, num_inference_steps=4, seed=5, scheduler="ddim"
    )
    assert equal(render(tiny_pipeline, settings), expected[0])


def test_the_code_draws_the_same_picture(tiny_pipeline):
    settings = Settings("a 'quoted' cat", num_inference_steps=3)
    [picture] = eval(settings.as_code(), {"sdcourse": sdcourse, "pipe": tiny_pipeline})
    assert equal(picture, render(tiny_pipeline, settings))


def test_captions_hold_known_words_only():
    rng = np.random.default_rng(0)
    words = {
        word
        for scene in random_scenes(3000, seed=4)
        for word in caption(scene, rng).lower().replace(",", " ").split()
    }
    assert words <= known_words()
    assert not known_words() - words, "words that no caption holds"


# the explorer -------------------------------------------------------------------------------


def test_it_draws_at_once_and_after_each_change(explorer):
    assert equal(explorer.image, render(explorer.pipe, explorer.settings))
    explorer._controls["guidance_scale"].value = 9.0
    assert explorer.wait(60)
    assert explorer.settings.guidance_scale == 9.0
    assert equal(explorer.image, render(explorer.pipe, explorer.settings))
    assert "scale 9" in explorer._picture.value and "finished" in explorer._status.value


def test_the_last_of_many_changes_wins(explorer):
    for scale in range(2, 18):
        explorer._controls["guidance_scale"].value = float(scale)
    assert explorer.wait(60)
    assert explorer.history[-1][0].guidance_scale == 17.0
    assert equal(explorer.image, render(explorer.pipe, explorer.settings))


def test_history_brings_settings_back(explorer):
    first = explorer.settings
    explorer.set(prompt="a hat", seed=3)
    assert explorer.wait(60)
    back = explorer._strip.children[0].children[1]
    back.click()
    assert explorer.wait(60)
    assert (
        explorer.settings == first
        and explorer._controls["prompt"].value == "a cat"
        and explorer._controls["seed"].value == 0
    )


def test_save_and_load(explorer, tmp_path):
    explorer.set(guidance_scale=2.5, negative_prompt="a hat")
    assert explorer.wait(60)
    saved, picture = explorer.save(tmp_path / "a.png"), explorer.image
    assert explorer.save(tmp_path / "a.png") != saved
    explorer.set(prompt="something else", guidance_scale=1.0, negative_prompt="")
    explorer.load(saved)
    assert explorer.wait(60)
    assert explorer.settings.negative_prompt == "a hat" and equal(explorer.image, picture)


@pytest.mark.parametrize("as_in", [7, 8])
def test_upload(explorer, tmp_path, as_in):
    content = explorer.save(tmp_path / "a.png").read_bytes()
    explorer.set(prompt="something else")
    files = {"a.png": {"content": content}} if as_in == 7 else ({"content": memoryview(content)},)
    explorer._upload = type("Upload", (), {"value": files})()
    explorer._load_upload()
    assert explorer.wait(60) and explorer.settings.prompt == "a cat"


def test_an_error_is_said_and_the_next_change_works(explorer, monkeypatch):
    def broken(*args, **kwargs):
        raise MemoryError("out of memory")

    with monkeypatch.context() as m:
        m.setattr(explorer.pipe.unet, "forward", broken)
        explorer.set(seed=1)
        assert explorer.wait(60)
    assert "MemoryError: out of memory" in explorer._status.value
    assert isinstance(explorer.last_error, MemoryError)
    explorer.set(seed=2)
    assert explorer.wait(60)
    assert "finished" in explorer._status.value


def test_an_error_of_many_lines_is_said_in_one_sentence(explorer):
    explorer._fail(RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee the documentation."))
    assert ">RuntimeError: CUDA out of memory<" in explorer._status.value


@pytest.mark.parametrize("seed", [-1, 2**32, 10**20])
def test_a_seed_that_cannot_be_is_said(explorer, seed):
    with pytest.raises(ValueError, match=f"seed is {seed}: it must be 0 to"):
        explorer.set(seed=seed)
    explorer._controls["seed"].value = seed
    assert explorer.wait(60) and f"seed is {seed}: it must be 0 to" in explorer._status.value
    viewer = TrajectoryViewer(explorer.pipe, seed=seed, num_inference_steps=2)
    assert viewer.wait(60) and f"seed is {seed}" in viewer._status.value


def test_settings_beyond_a_slider_are_kept(explorer):
    explorer.set(guidance_scale=25.0, num_inference_steps=60)
    assert explorer.settings.guidance_scale == 25.0 and explorer.settings.num_inference_steps == 60
    other = PromptExplorer(explorer.pipe, guidance_scale=30.0, num_inference_steps=1)
    assert other._controls["guidance_scale"].value == 30.0


def test_an_unknown_scheduler_moves_nothing(explorer):
    before = explorer.settings
    with pytest.raises(ValueError, match="Did you mean 'euler'"):
        explorer.set(prompt="a hat", scheduler="eular")
    assert explorer.settings == before and explorer._controls["prompt"].value == "a cat"


def test_the_same_file_can_be_loaded_again(explorer, tmp_path):
    content = explorer.save(tmp_path / "a.png").read_bytes()
    file = {"name": "a.png", "type": "image/png", "size": len(content), "content": memoryview(content)}
    for _ in range(2):
        explorer.set(prompt="something else")
        explorer._upload.value = ({**file, "last_modified": datetime(2026, 1, 1)},)
        assert explorer.settings.prompt == "a cat"
    assert explorer._upload.value == ()


def test_controls_have_a_width_and_a_tooltip_of_their_own(explorer):
    controls = explorer._controls
    assert controls["seed"].layout.width == "70%" and controls["prompt"].layout.width == "98%"
    tooltips = [control.tooltip for control in [*controls.values(), explorer._upload]]
    assert all(tooltips) and len(set(tooltips)) == len(tooltips)


def test_a_bad_file_is_said(explorer, tmp_path):
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(ValueError, match="not a picture"):
        explorer.load(tmp_path / "a.png")
    explorer._try(lambda: explorer.load(tmp_path / "a.png"))
    assert "not a picture" in explorer._status.value


def test_viewers_without_a_kernel_get_the_picture(explorer):
    bundle = explorer._repr_mimebundle_()
    assert bundle[VIEW]["model_id"] == explorer.box.model_id
    assert bundle["image/png"] and 'alt="a cat · scale 5' in bundle["text/html"]
    assert bundle["text/plain"].startswith("[PromptExplorer: a cat")


def test_every_control_has_a_label(explorer):
    assert all(control.description for control in explorer._controls.values())


def test_words_that_the_model_has_never_seen_are_named(explorer):
    explorer.set(prompt="a <giraffe> in the snow, wearing a hat")
    assert "&lt;giraffe&gt;" in explorer._unknown.value and "snow" not in explorer._unknown.value
    explorer.set(prompt="a cat")
    assert explorer._unknown.value == ""


def test_without_threads(tiny_pipeline):
    explorer = PromptExplorer(tiny_pipeline, threaded=False, num_inference_steps=3)
    assert equal(explorer.image, render(tiny_pipeline, explorer.settings))


def test_a_slow_model_is_not_dragged_live(tiny_pipeline, monkeypatch):
    from sdcourse.widgets import explorer as module

    monkeypatch.setattr(module, "LIVE_SECONDS", 0.0)
    explorer = PromptExplorer(tiny_pipeline, num_inference_steps=12)
    assert explorer.wait(60) and not explorer._controls["guidance_scale"].continuous_update


# the other explorers ------------------------------------------------------------------------


def test_walking_is_the_loop_of_text_to_image(tiny_pipeline):
    settings = Settings("a cat", "a hat", 3.0, 4, 5, "ddim")
    [*_, last] = trajectory(tiny_pipeline, settings)
    assert [last[0]] == [1] and last[1].shape == (2, 3, 32, 32) and last[2].shape == (16, 16)

    def guide(noise_preds):
        return noise_preds[:1] + 3.0 * (noise_preds[1:] - noise_preds[:1])

    *_, moment = walk(tiny_pipeline, settings, ["a hat", "a cat"], guide)
    expected = []
    sdcourse.text_to_image(
        tiny_pipeline, "a cat", "a hat", guidance_scale=3.0, num_inference_steps=4, seed=5, scheduler="ddim",
        callback_on_step_end=lambda step: expected.append(step.latents),
    )  # fmt: skip
    assert torch.allclose(moment.latents, expected[-2], atol=1e-5)


def test_directions_are_those_of_the_three_predictions(tiny_pipeline):
    same = Settings("a cat", "a cat", num_inference_steps=3)
    for step in noise_directions(tiny_pipeline, same):
        assert step.cosine == pytest.approx(1, abs=1e-4) and step.prompt == pytest.approx(step.negative)
    for step in noise_directions(tiny_pipeline, replace(same, negative_prompt="")):
        assert step.negative == pytest.approx(0, abs=1e-5) and step.prompt > 0


def test_a_sweep_draws_each_scale_and_the_judge_reads_it(tiny_pipeline):
    class Judge:
        def read(self, images):
            assert images.shape == (1, 3, 32, 32) and images.min() < 0
            return [
                {"subject": "cat", "color": "white", "hat": "cap", "hat_color": "red", "style": "picasso"}
            ]

    sweep = GuidanceSweep(tiny_pipeline, (1, 3), Judge(), prompt="a cat", num_inference_steps=3)
    assert sweep.wait(60) and sweep.last_error is None
    assert "a white cat wearing a red cap" in sweep._cells[1].value and "scale 3" in sweep._cells[1].value
    before = sweep.image
    sweep._controls["seed"].value = 4
    assert sweep.wait(60) and not equal(sweep.image, before)


def test_the_lab_shows_both_pictures_and_the_curves(tiny_pipeline):
    lab = NegativePromptLab(tiny_pipeline, prompt="a cat", num_inference_steps=3)
    assert lab.wait(60) and lab.last_error is None
    assert lab.image.width > 2 * 32 and "no negative prompt" in lab._cells[0].value
    assert "without a white hat" in lab._cells[1].value and "cosine" in lab._curves.value


def test_the_viewer_moves_through_the_steps(tiny_pipeline):
    viewer = TrajectoryViewer(tiny_pipeline, prompt="a cat", num_inference_steps=3)
    assert viewer.wait(60) and viewer.last_error is None and viewer._slider.max == 2
    first = viewer.image
    viewer._slider.value = 2
    assert "t = 1)" in viewer._cells[0].value and not equal(viewer.image, first)


def test_a_grid_varies_two_settings(tiny_pipeline):
    grid = XYGrid(tiny_pipeline, "guidance_scale", (1.0, 4.0), "seed", (0, 1, 2), num_inference_steps=2)
    assert grid.wait(60) and grid.last_error is None and grid._bar.value == 6
    expected = render(tiny_pipeline, replace(grid.settings, guidance_scale=4.0, seed=2))
    right, bottom = grid.image.size
    assert equal(grid.image.crop((right - 32, bottom - 32, right, bottom)), expected)


def test_a_grid_can_be_stopped(tiny_pipeline):
    grid = XYGrid(tiny_pipeline, num_inference_steps=40)
    grid.stop()
    assert grid.wait(60) and grid._bar.value < grid._bar.max and "Stopped" in grid._status.value


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (dict(x="scale"), "guidance_scale"),
        (dict(x="seed"), "two different"),
        (dict(y_values=()), "no values for seed"),
    ],
)
def test_a_grid_that_cannot_be(tiny_pipeline, arguments, words):
    with pytest.raises(ValueError, match=words):
        XYGrid(tiny_pipeline, **arguments)


def test_a_bad_value_is_one_sentence(tiny_pipeline):
    grid = XYGrid(tiny_pipeline, x="guidance_scale", x_values=(-1.0,), num_inference_steps=2)
    assert grid.wait(60) and "guidance_scale is -1.0: it must be 0 or more" in grid._status.value
