"""The hand-built loop against `StableDiffusionPipeline`, and what bad input gets."""

import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from tiny import make_tiny_sd

from sdcourse.guidance import classifier_free_guidance, color_loss
from sdcourse.sampling import (
    SCHEDULERS,
    decode_latents,
    encode_prompt,
    make_scheduler,
    sample_latents,
    text_to_image,
    words_cut_off,
)


@pytest.fixture(scope="module")
def pipe():
    pipe = make_tiny_sd()
    pipe.set_progress_bar_config(disable=True)
    return pipe


def ours(pipe, prompts, **arguments):
    with torch.no_grad():
        return decode_latents(pipe.vae, sample_latents(pipe, prompts, progress=False, **arguments))


def theirs(pipe, prompts, seeds, scheduler, negative_prompt=None, **arguments):
    kept, pipe.scheduler = pipe.scheduler, make_scheduler(pipe.scheduler, scheduler)
    try:
        generators = [torch.Generator().manual_seed(s) for s in seeds]
        if negative_prompt is not None and not isinstance(prompts, str):
            negative_prompt = [negative_prompt] * len(prompts)
        images = pipe(
            prompts, negative_prompt=negative_prompt, generator=generators, output_type="np", **arguments
        ).images
    finally:
        pipe.scheduler = kept
    return torch.from_numpy(images).permute(0, 3, 1, 2)


@pytest.mark.parametrize("guidance_scale", [1.0, 7.5])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("negative_prompt", [None, "a hat"])
@pytest.mark.parametrize("scheduler", ["pndm", "ddim", "euler", "dpm++"])
def test_equal_to_the_pipeline(pipe, scheduler, negative_prompt, batch, guidance_scale):
    prompts = ["a cat in the snow", "an oil painting of a dog", "a red rose"][:batch]
    same = dict(guidance_scale=guidance_scale, num_inference_steps=7)
    mine = ours(pipe, prompts, negative_prompt=negative_prompt or "", seed=3, scheduler=scheduler, **same)
    reference = theirs(pipe, prompts, range(3, 3 + batch), scheduler, negative_prompt, **same)
    assert mine.shape == reference.shape and reference.std() > 0.01
    assert (mine - reference).abs().max() <= 1e-5


@pytest.mark.parametrize("scheduler", ["euler-a", "ddpm"])
def test_equal_to_the_pipeline_where_steps_add_noise(pipe, scheduler):
    same = dict(guidance_scale=3.0, num_inference_steps=5)
    mine = ours(pipe, ["a cat", "a dog"], seed=8, scheduler=scheduler, **same)
    assert (mine - theirs(pipe, ["a cat", "a dog"], (8, 9), scheduler, **same)).abs().max() <= 1e-5


def test_other_sizes_are_equal_too(pipe):
    same = dict(guidance_scale=2.0, num_inference_steps=3, height=48, width=32)
    assert (ours(pipe, "a cat", **same) - theirs(pipe, "a cat", [0], "pndm", **same)).abs().max() <= 1e-5


def test_a_picture_does_not_depend_on_its_batch(pipe):
    both = ours(pipe, ["a cat", "a dog"], seed=[5, 11], num_inference_steps=3)
    assert (both[1:] - ours(pipe, "a dog", seed=11, num_inference_steps=3)).abs().max() <= 1e-5
    assert (both[0] - both[1]).abs().max() > 1e-3


def test_several_pictures_per_prompt_count_the_seed_on(pipe):
    four = ours(pipe, ["a cat", "a dog"], num_images_per_prompt=2, seed=4, num_inference_steps=2)
    assert (four[2:] - ours(pipe, ["a dog", "a dog"], seed=6, num_inference_steps=2)).abs().max() <= 1e-5


def test_scale_0_ignores_the_prompt_and_scale_1_the_negative_prompt(pipe):
    few = dict(num_inference_steps=2)
    assert torch.equal(
        ours(pipe, "a cat", guidance_scale=0, **few), ours(pipe, "a dog", guidance_scale=0, **few)
    )
    plain = ours(pipe, "a cat", guidance_scale=1, **few)
    assert torch.equal(plain, ours(pipe, "a cat", negative_prompt="a dog", guidance_scale=1, **few))
    assert not torch.equal(plain, ours(pipe, "a dog", guidance_scale=1, **few))


def test_the_pipeline_is_left_as_it_was(pipe):
    before = dict(pipe.scheduler.config)
    text_to_image(pipe, "a cat", num_inference_steps=2, scheduler="euler", progress=False)
    assert type(pipe.scheduler).__name__ == "PNDMScheduler" and dict(pipe.scheduler.config) == before


def test_pictures_are_pil_images_of_the_model_s_size(pipe):
    images = text_to_image(pipe, "", num_inference_steps=2, num_images_per_prompt=3, progress=False)
    assert [image.size for image in images] == [(32, 32)] * 3
    assert np.asarray(images[0]).std() > 0


def test_the_callback_sees_every_step_and_can_stop_the_loop(pipe):
    seen = []
    text_to_image(
        pipe,
        "a cat",
        num_inference_steps=4,
        scheduler="ddim",
        progress=False,
        callback_on_step_end=seen.append,
    )
    assert [s.index for s in seen] == [0, 1, 2, 3] and seen[0].timestep > seen[3].timestep
    assert seen[0].latents.shape == seen[0].noise_pred_text.shape == (1, 4, 16, 16)

    def stop(step):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        text_to_image(pipe, "a cat", num_inference_steps=4, progress=False, callback_on_step_end=stop)


def test_a_prompt_that_is_too_long_is_cut_with_a_warning_that_names_the_words(pipe):
    prompt = "red " * 75 + "blue green"
    with pytest.warns(UserWarning, match="blue green"):
        text_to_image(pipe, prompt, num_inference_steps=1, progress=False)
    assert words_cut_off(pipe.tokenizer, "red " * 75) == ""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text_to_image(pipe, "red " * 75, num_inference_steps=1, progress=False)


def test_two_threads_do_not_get_each_others_padding(pipe, monkeypatch):
    """As when a cell and an explorer draw at once: texts of one length were encoded without their padding."""
    set_state, prompts = pipe.tokenizer.set_truncation_and_padding, ["a robot", "a hat"]

    def set_slowly(*args, **kwargs):
        set_state(*args, **kwargs)
        time.sleep(0.005)  # the other thread comes in

    expected = encode_prompt(pipe.tokenizer, pipe.text_encoder, prompts)
    monkeypatch.setattr(pipe.tokenizer, "set_truncation_and_padding", set_slowly)
    with ThreadPoolExecutor(2) as threads:
        runs = [threads.submit(encode_prompt, pipe.tokenizer, pipe.text_encoder, prompts) for _ in range(8)]
        for encoded in (run.result() for run in runs):
            assert encoded.shape == expected.shape and (encoded - expected).abs().max() <= 1e-5


@pytest.mark.parametrize(
    "wrong, message",
    [
        (dict(guidance_scale=-1), "0 or more"),
        (dict(guidance_scale=float("nan")), "0 or more"),
        (dict(guidance_scale=float("inf")), "0 or more"),
        (dict(num_inference_steps=0), "1 to 1000"),
        (dict(num_inference_steps=1001), "1 to 1000"),
        (dict(height=63), "multiple of 2, for example 6[24]"),
        (dict(width=0), "multiple of 2"),
        (dict(scheduler="eular"), "Did you mean 'euler'"),
        (dict(prompt=[]), "a text or a list of texts"),
        (dict(prompt=7), "a text or a list of texts"),
        (dict(prompt=["a", "b", "c"], negative_prompt=["x", "y"]), "one negative prompt for all"),
        (dict(seed=[1, 2]), "2 seeds for 1 pictures"),
        (dict(num_images_per_prompt=0), "1 or more"),
    ],
)
def test_bad_input_gets_one_sentence(pipe, wrong, message):
    with pytest.raises(ValueError, match=message) as caught:
        text_to_image(pipe, **dict(dict(prompt="a cat", num_inference_steps=1, progress=False), **wrong))
    assert "\n" not in str(caught.value)


def test_every_scheduler_name_works(pipe):
    for name in SCHEDULERS:
        assert text_to_image(pipe, "a cat", num_inference_steps=3, scheduler=name, progress=False)


def test_classifier_free_guidance_at_known_scales():
    uncond, text = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    assert torch.equal(classifier_free_guidance(uncond, text, 0), uncond)
    torch.testing.assert_close(classifier_free_guidance(uncond, text, 1), text)
    torch.testing.assert_close(classifier_free_guidance(uncond, text, 2), 2 * text - uncond)


def test_color_loss_is_zero_at_the_colour_and_its_gradient_leads_there():
    color = (0.2, 0.7, 0.5)
    there = (torch.tensor(color) * 2 - 1).view(1, 3, 1, 1).expand(2, 3, 8, 8)
    assert color_loss(there, color) < 1e-6
    images = torch.zeros(2, 3, 8, 8, requires_grad=True)
    loss = color_loss(images, color)
    (gradient,) = torch.autograd.grad(loss, images)
    assert color_loss(images - gradient * 100, color) < loss
    step = torch.zeros_like(images)
    step[0, 1, 2, 3] = 1e-2
    finite = (color_loss(images + step, color) - color_loss(images - step, color)) / 2e-2
    torch.testing.assert_close(finite.detach(), gradient[0, 1, 2, 3], rtol=1e-2, atol=1e-6)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((torch.zeros(1, 1, 8, 8),), "needs .n, 3"),
        ((torch.zeros(1, 3, 8, 8), (0, 0, 255)), "between 0 and 1"),
    ],
)
def test_color_loss_refuses_what_has_no_colour(arguments, message):
    with pytest.raises(ValueError, match=message):
        color_loss(*arguments)
