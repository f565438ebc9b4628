"""The explorers: the newest wish wins, errors are said, and a picture can be made again from its file."""

import threading

import numpy as np
import pytest
from tiny import make_tiny_sd

import sdcourse
from sdcourse.data.gallery import caption, known_words, random_scenes
from sdcourse.widgets import PromptExplorer
from sdcourse.widgets.latest import Latest, Stale
from sdcourse.widgets.settings import Settings, render

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
