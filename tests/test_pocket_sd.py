"""The shipped Stable Diffusion: it loads anywhere, and draws what prompts say."""

import json
import logging
import warnings

import pytest
import torch

from sdcourse.metrics import measure_accuracy
from sdcourse.models import load_pipeline
from sdcourse.models.judge import load_judge
from sdcourse.models.registry import WEIGHTS_ROOT
from sdcourse.sampling import decode_latents, sample_latents

FOLDER = WEIGHTS_ROOT / "pocket-sd"


@pytest.fixture(scope="module")
def pipe():
    return load_pipeline("pocket-sd")


def test_diffusers_loads_it_without_a_warning(caplog):
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("error", FutureWarning)
        pipe = StableDiffusionPipeline.from_pretrained(FOLDER)
    messages = [record.getMessage() for record in caplog.records]
    # transformers says once for each process that torchvision is not installed: not about these weights
    assert [message for message in messages if "torchvision" not in message] == []
    # without dtype= all parts agree, or the first matrix product would fail
    assert pipe.unet.dtype == pipe.vae.dtype == pipe.text_encoder.dtype == torch.float32
    assert DDIMScheduler.from_config(pipe.scheduler.config).config.clip_sample is False
    assert pipe.tokenizer.vocab_size > 500 and pipe.vae.config.scaling_factor != 0.18215


def test_it_is_small_enough_to_ship():
    def size(*folders):
        files = (file for folder in folders for file in folder.rglob("*") if file.is_file())
        return sum(file.stat().st_size for file in files)

    assert size(*(WEIGHTS_ROOT / name for name in ("pocket-sd", "pocket-clip", "judge"))) < 40e6
    assert size(WEIGHTS_ROOT) < 50e6  # with the small models of lessons 01 to 03


def test_our_loop_equals_the_pipeline_on_the_real_weights(pipe):
    from diffusers import DPMSolverMultistepScheduler

    prompts = ["a cat wearing a white hat in the snow", "an oil painting of a collie in a top hat"]
    same = dict(guidance_scale=7.5, num_inference_steps=8)
    latents = sample_latents(pipe, prompts, "a scarf", seed=1, scheduler="dpm++", progress=False, **same)
    with torch.no_grad():
        ours = decode_latents(pipe.vae, latents)
    kept = pipe.scheduler
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(kept.config)
    generators = [torch.Generator().manual_seed(s) for s in (1, 2)]
    negative = ["a scarf"] * 2
    theirs = pipe(prompts, negative_prompt=negative, generator=generators, output_type="pt", **same).images
    pipe.scheduler = kept
    assert (ours - theirs).abs().max() <= 1e-5


@pytest.mark.slow
def test_pictures_show_what_prompts_say(pipe):
    """The card's measurement on fewer prompts; what it may lose is chance."""
    card = json.loads((FOLDER / "measured.json").read_text())
    accuracy = measure_accuracy(pipe, load_judge(), n=150)
    assert accuracy.mean >= card["train"]["mean"] - 0.04, accuracy
    without = measure_accuracy(pipe, load_judge(), n=50, guidance_scale=0)
    assert without.mean < accuracy.mean - 0.3  # the prompt is what does it


def test_the_card_states_what_was_measured():
    card = (FOLDER / "README.md").read_text()
    measured = json.loads((FOLDER / "measured.json").read_text())
    for split in ("train", "heldout"):
        assert f"{measured[split]['mean']:.3f}" in card
    assert f"{measured['vae']['psnr']:.1f} dB" in card and "{" not in card
