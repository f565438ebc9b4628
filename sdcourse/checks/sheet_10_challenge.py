"""The challenge after lesson 10: six calls of the network for each picture, judged by what they show."""

from contextlib import contextmanager
from functools import cache

import torch

from .engine import Exercise, close, expect, expect_tensor

CALLS = 6  # of the UNet for each picture; a batch of two counts as two
BAR = 0.80  # three steps of DDIM at scale 5, the course's usual one, give 0.62
PICTURES = 80

challenge = Exercise("10-challenge", "draw", "get good pictures out of a quarter of the usual time")


@cache
def _pipe():
    from sdcourse.models import load_pipeline

    pipe = load_pipeline("pocket-sd", device="cpu")
    pipe.set_progress_bar_config(disable=True)
    return pipe


@contextmanager
def _counted(pipe, most):
    """Count for how many rows of a batch the UNet is asked; more than `most` are refused."""
    forward, rows = pipe.unet.forward, [0]

    def count(sample, *arguments, **named):
        rows[0] += len(sample)
        expect(
            rows[0] <= most,
            f"The UNet was asked more than {CALLS} times for each picture. With guidance a step asks it "
            "twice, for the empty text and for the prompt.",
        )
        return forward(sample, *arguments, **named)

    pipe.unet.forward = count
    try:
        yield rows
    finally:
        del pipe.unet.forward  # the instance's; the class's is seen again


def _noise(n, first=0):
    generators = [torch.Generator().manual_seed(first + i) for i in range(n)]
    return torch.stack([torch.randn(4, 8, 8, generator=g) for g in generators])


def _draw(answer, prompts, latents):
    pipe = _pipe()
    scheduler = pipe.scheduler
    with _counted(pipe, CALLS * len(prompts)) as rows:
        try:
            got = answer(pipe, list(prompts), latents.clone())
        finally:
            pipe.scheduler = scheduler  # whatever was put in its place
    expect(got is not None, "The result is None: does your function end with a return?")
    expect(rows[0] > 0, "The UNet was never asked: the pictures have to come from it.")
    expect(
        isinstance(got, torch.Tensor),
        f"The result should be a tensor (n, 3, 64, 64), and is a {type(got).__name__}: with pipe(...) ask "
        'for output_type="pt" and take .images.',
    )
    expect_tensor(got, (len(prompts), 3, 64, 64))
    low, high = got.float().aminmax()
    expect(
        0 <= low and high <= 1,
        f"The pictures hold numbers from {low:.1f} to {high:.1f}: they should lie in [0, 1].",
    )
    return got.detach().float()


@challenge.case
def _(answer):
    prompts = ["a photo of a cat", "a watercolor of a rose"]
    latents = _noise(2)
    got = _draw(answer, prompts, latents)
    expect(
        close(_draw(answer, prompts, latents), got, 1e-3),
        "The same prompts and latents give two different results: start from the latents that you are given, "
        "and take a scheduler without fresh noise.",
    )
    expect(
        not close(_draw(answer, prompts, _noise(2, first=50)), got, 1e-2),
        "Other latents give the same pictures: start from the latents that you are given.",
    )
    other = _draw(answer, prompts[:1] * 2, latents)
    expect(
        close(other[0], got[0], 0.05),
        "Another second prompt changes the first picture: prompts and latents belong together row by row.",
    )
    expect(
        not close(other[1], got[1], 1e-2),
        "Another second prompt gives the same second picture: each picture has its own prompt.",
    )


@challenge.case
def _(answer):
    from sdcourse.metrics import attribute_accuracy, evaluation_prompts
    from sdcourse.models.judge import load_judge

    prompts = evaluation_prompts(PICTURES)
    pictures = _draw(answer, [prompt.text for prompt in prompts], _noise(PICTURES))
    share = attribute_accuracy(load_judge(device="cpu").read(pictures * 2 - 1), prompts).all_right
    said = f"In {share:.0%} of {PICTURES} pictures the judge finds all that the prompt says."
    expect(
        share >= BAR,
        f"{said} The bar is {BAR:.0%}. Which scale is best when there are few steps? Does every step need "
        "guidance?",
    )
    return f"{said} Three steps of DDIM at scale 5 give 62 %."


def _plain(pipe, prompts, latents, *, steps=3, scale=5.0, decode=True, halved=True, text=None, eta=0.0):
    from diffusers import DDIMScheduler

    prompt_embeds, negative_embeds = pipe.encode_prompt(
        text or prompts, "cpu", 1, True, negative_prompt=[""] * len(prompts)
    )
    scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    scheduler.set_timesteps(steps)
    for t in scheduler.timesteps:
        noise_pred = pipe.unet(
            torch.cat([latents] * 2), t, encoder_hidden_states=torch.cat([negative_embeds, prompt_embeds])
        ).sample
        uncond, with_text = noise_pred.chunk(2)
        guided = uncond + scale * (with_text - uncond)
        latents = scheduler.step(guided, t, latents, eta=eta).prev_sample
    if not decode:
        return latents
    images = pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample
    return (images / 2 + 0.5).clamp(0, 1) if halved else images


@challenge.rejects("more than 6 times for each picture")
@torch.no_grad()
def _(pipe, prompts, latents):
    return _plain(pipe, prompts, latents, steps=6)


@challenge.rejects("more than 6 times for each picture")
def _(pipe, prompts, latents):
    return pipe(prompts, latents=latents, output_type="pt").images


@challenge.rejects("and is a list")
def _(pipe, prompts, latents):
    return pipe(prompts, latents=latents, num_inference_steps=2).images


@challenge.rejects("should have the shape (2, 3, 64, 64)")
@torch.no_grad()
def _(pipe, prompts, latents):
    return _plain(pipe, prompts, latents, decode=False)


@challenge.rejects("they should lie in [0, 1]")
@torch.no_grad()
def _(pipe, prompts, latents):
    return _plain(pipe, prompts, latents, halved=False)


@challenge.rejects("two different results")
@torch.no_grad()
def _(pipe, prompts, latents):
    return _plain(pipe, prompts, torch.randn_like(latents))


@challenge.rejects("a scheduler without fresh noise")
@torch.no_grad()
def _(pipe, prompts, latents):
    return _plain(pipe, prompts, latents, eta=1.0)


@challenge.rejects("Other latents give the same pictures")
@torch.no_grad()
def _(pipe, prompts, latents):
    return _plain(pipe, prompts, _noise(len(prompts), first=7))


@challenge.rejects("each picture has its own prompt")
@torch.no_grad()
def _(pipe, prompts, latents):
    return _plain(pipe, prompts, latents, text=prompts[:1] * len(prompts))


@challenge.rejects("belong together row by row")
@torch.no_grad()
def _(pipe, prompts, latents):
    return _plain(pipe, prompts, latents, text=prompts[1:] + prompts[:1])


@challenge.rejects("The UNet was never asked")
def _(pipe, prompts, latents):
    from sdcourse.data.gallery import random_scenes, render

    return render(random_scenes(len(prompts), seed=1)).float() / 255
