"""Checks of the exercises on the sampling loop."""

import torch
from diffusers.configuration_utils import FrozenDict
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput
from transformers import BatchEncoding
from transformers.modeling_outputs import BaseModelOutputWithPooling

from .engine import Exercise, close, expect, expect_close, expect_tensor
from .quiz import Choice, Quiz

# Small stand-ins for the networks: they take and give what the real ones do, and their answers are known.


class Tokenizer:
    """Numbers of letters for words."""

    model_max_length = 77
    eos_token_id = 1

    def __call__(self, text, padding=False, max_length=None, truncation=False, return_tensors=None):
        texts = [text] if isinstance(text, str) else list(text)
        rows = [[0, *(2 + len(word) for word in t.split()), self.eos_token_id] for t in texts]
        if truncation:
            rows = [row[: max_length or self.model_max_length] for row in rows]
        longest = max(map(len, rows))
        width = {"max_length": max_length or self.model_max_length, "longest": longest, True: longest}
        rows = [row + [self.eos_token_id] * (width.get(padding, 0) - len(row)) for row in rows]
        if return_tensors == "pt" and len(set(map(len, rows))) > 1:
            lacks = "truncation=True" if padding else "padding='max_length'"
            raise ValueError(f"The texts have different lengths, which makes no tensor: use {lacks}")
        ids = torch.tensor(rows) if return_tensors == "pt" else rows
        mask = torch.ones_like(ids) if return_tensors == "pt" else [[1] * len(row) for row in rows]
        return BatchEncoding({"input_ids": ids, "attention_mask": mask})


class TextEncoder(torch.nn.Module):
    """Every token becomes a vector of 4, by a fixed rule."""

    device = torch.device("cpu")

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))

    def forward(self, input_ids, attention_mask=None, return_dict=True):
        if not isinstance(input_ids, torch.Tensor):
            advice = (
                "pass inputs.input_ids"
                if isinstance(input_ids, BatchEncoding)
                else "ask the tokenizer for return_tensors='pt'"
            )
            raise TypeError(f"the text encoder got a {type(input_ids).__name__} for input_ids: {advice}")
        states = torch.stack([(input_ids * k).float().sin() for k in (0.3, 0.7, 1.1, 1.9)], -1) * self.scale
        pooled = states[:, -1]
        if not return_dict:
            return states, pooled
        return BaseModelOutputWithPooling(last_hidden_state=states, pooler_output=pooled)


class UNet(torch.nn.Module):
    """Predicts noise that depends on the latents, the timestep and the mean of the text."""

    config = FrozenDict(in_channels=4, sample_size=4)
    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(0.6))
        self.timesteps = []  # of each call

    def forward(self, sample, timestep, encoder_hidden_states=None, return_dict=True, **_):
        if len(sample) != len(encoder_hidden_states):
            raise ValueError(
                f"the UNet got {len(sample)} latents and {len(encoder_hidden_states)} texts: give it the "
                "latents twice, torch.cat([latents] * 2)"
            )
        timesteps = torch.as_tensor(timestep).float().flatten()
        self.timesteps.append(timesteps[0].item())
        text = encoder_hidden_states.mean((1, 2)).view(-1, 1, 1, 1)
        noise = self.weight * sample + 0.3 * text + 0.0002 * timesteps.view(-1, 1, 1, 1) * torch.tanh(sample)
        return UNet2DConditionOutput(sample=noise) if return_dict else (noise,)


class VAE(torch.nn.Module):
    """Each latent becomes 2×2 pixels of three channels; answers beyond [-1, 1], as real ones do."""

    config = FrozenDict(scaling_factor=0.25)

    def __init__(self):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(0.4))

    def decode(self, latents, return_dict=True):
        pixels = latents[:, :3].repeat_interleave(2, -1).repeat_interleave(2, -2)
        pixels = self.gain * pixels + 0.3 * pixels**2
        return DecoderOutput(sample=pixels) if return_dict else (pixels,)

    def forward(self, *_):
        raise TypeError("vae(...) encodes and decodes a picture: call vae.decode(...)")


# 1 · guidance -------------------------------------------------------------------------------

guidance = Exercise(
    "08-guidance",
    "classifier_free_guidance",
    "steer any diffusion model that was trained with dropped captions",
)


@guidance.case
def _(answer):
    uncond, text = torch.randn(2, 1, 4, 3, 3)
    results = [answer(uncond.clone(), text.clone(), scale) for scale in (0.0, 5.0)]
    expect_tensor(results[1], (1, 4, 3, 3))
    expect(
        not close(*results),
        "Scales 0 and 5 give the same: guidance_scale has no effect in your function.",
    )
    expect_close(
        answer(uncond.clone(), text.clone(), 0.0),
        uncond,
        "At scale 0 the unconditional prediction should be left.",
        {
            "Yours is that with text: they are swapped, or the difference is added to the other one.": text,
            "Yours is the difference alone: add it to the unconditional prediction.": 0 * uncond,
        },
    )
    expect_close(
        answer(uncond.clone(), text.clone(), 1.0),
        text,
        "At scale 1 the prediction with text should be left.",
        {
            "Yours is one step further than it should be: at scale 1 the whole difference is added once.": (
                uncond + 2 * (text - uncond)
            ),
            "The sign of the difference is turned round: go from unconditional to text.": 2 * uncond - text,
            "Yours adds the predictions instead of their difference.": uncond + text,
        },
    )


@guidance.case
def _(answer):
    uncond, text = torch.randn(2, 2, 4, 3, 3)
    expect_close(
        answer(uncond.clone(), text.clone(), 7.5),
        uncond + 7.5 * (text - uncond),
        "At scale 7.5 the difference should be taken 7.5 times.",
        {
            "Yours stays between the two predictions: guidance goes beyond the one with text.": text,
        },
    )


@guidance.case
def _(answer):
    uncond, text = torch.randn(2, 2, 4, 3, 3)
    before = uncond.clone(), text.clone()
    answer(uncond, text, 3.0)
    expect(
        close(uncond, before[0]) and close(text, before[1]),
        "Your function changes the predictions that it was given: use a + b instead of a += b.",
    )


@guidance.rejects("they are swapped")
def _(noise_pred_uncond, noise_pred_text, guidance_scale):
    return noise_pred_text + guidance_scale * (noise_pred_uncond - noise_pred_text)


@guidance.rejects("difference is added to the other one")
def _(noise_pred_uncond, noise_pred_text, guidance_scale):
    return noise_pred_text + guidance_scale * (noise_pred_text - noise_pred_uncond)


@guidance.rejects("guidance_scale has no effect")
def _(noise_pred_uncond, noise_pred_text, guidance_scale):
    return noise_pred_uncond + 7.5 * (noise_pred_text - noise_pred_uncond)


@guidance.rejects("difference alone")
def _(noise_pred_uncond, noise_pred_text, guidance_scale):
    return guidance_scale * (noise_pred_text - noise_pred_uncond)


@guidance.rejects("sign of the difference")
def _(noise_pred_uncond, noise_pred_text, guidance_scale):
    return noise_pred_uncond + guidance_scale * (noise_pred_uncond - noise_pred_text)


@guidance.rejects("adds the predictions")
def _(noise_pred_uncond, noise_pred_text, guidance_scale):
    return noise_pred_uncond + guidance_scale * noise_pred_text


@guidance.rejects("one step further")
def _(noise_pred_uncond, noise_pred_text, guidance_scale):
    scale = guidance_scale + (guidance_scale > 0)
    return noise_pred_uncond + scale * (noise_pred_text - noise_pred_uncond)


@guidance.rejects("stays between")
def _(noise_pred_uncond, noise_pred_text, guidance_scale):
    return noise_pred_uncond + min(guidance_scale, 1.0) * (noise_pred_text - noise_pred_uncond)


@guidance.rejects("a + b instead of a += b")
def _(noise_pred_uncond, noise_pred_text, guidance_scale):
    difference = noise_pred_text - noise_pred_uncond
    noise_pred_uncond += guidance_scale * difference
    return noise_pred_uncond


@guidance.rejects("end with a return")
def _(noise_pred_uncond, noise_pred_text, guidance_scale):
    noise_pred_uncond + guidance_scale * (noise_pred_text - noise_pred_uncond)


# 2 · encode prompts -------------------------------------------------------------------------

encode = Exercise(
    "08-encode", "encode_prompts", "prepare a batch of prompts and negative prompts for the UNet"
)


def _encode(tokenizer, text_encoder, texts):
    inputs = tokenizer(texts, padding="max_length", max_length=77, truncation=True, return_tensors="pt")
    return text_encoder(inputs.input_ids)[0].detach()


@encode.case
def _(answer):
    tokenizer, text_encoder = Tokenizer(), TextEncoder()
    prompts, negative = ["a red cat", "a house at night"], ["rain", "snow and ice"]
    got = answer(tokenizer, text_encoder, list(prompts), list(negative))
    expect(got is not None, "The result is None: does your function end with a return?")
    expect(isinstance(got, torch.Tensor), f"The result should be a tensor, and is a {type(got).__name__}.")
    expect(
        tuple(got.shape) not in ((2, 2, 77, 4), (2, 154, 4), (2, 77, 8)),
        f"The result has the shape {tuple(got.shape)}: join the texts along the first dimension, (4, 77, 4).",
    )
    expect(
        got.ndim != 2,
        f"The result has the shape {tuple(got.shape)}, one vector for each text: that is the pooled output. "
        "The UNet reads the hidden states, text_encoder(...)[0].",
    )
    expect(
        got.ndim == 3 and got.shape[1] == 77,
        f"Each text should have 77 places, and the shape is {tuple(got.shape)}: pad with "
        "padding='max_length' and max_length=77.",
    )
    expect(
        len(got) != 2,
        "There are 2 texts, and there should be 4: the negative prompts are needed too, for guidance.",
    )
    expect_tensor(got, (4, 77, 4))

    def encoded(*lists):
        return torch.cat([_encode(tokenizer, text_encoder, texts) for texts in lists])

    mixed = [text for both in zip(negative, prompts, strict=True) for text in both]
    expect_close(
        got,
        encoded(negative, prompts),
        "The negative prompts should come first, then the prompts.",
        {
            "Yours have the prompts first: chunk(2) would then swap the two predictions.": encoded(
                prompts, negative
            ),
            "Yours alternate: chunk(2) takes the first half for unconditional.": encoded(mixed),
            "Yours put the empty text in place of the negative prompts.": encoded(["", ""], prompts),
            "Yours repeat the first negative prompt: each prompt has its own.": encoded(
                [negative[0]] * 2, prompts
            ),
        },
    )


@encode.case
def _(answer):
    prompts, negative = ["a red cat"], ["rain"]
    answer(Tokenizer(), TextEncoder(), prompts, negative)
    expect(
        prompts == ["a red cat"] and negative == ["rain"],
        "Your function changes the lists that it was given: use a + b instead of a += b or extend.",
    )


@encode.case
def _(answer):
    long = " ".join(["word"] * 100)
    got = answer(Tokenizer(), TextEncoder(), [long], [""])
    expect_tensor(got, (2, 77, 4), "for a prompt of 100 words the result")


@encode.case
def _(answer):
    got = answer(Tokenizer(), TextEncoder(), ["a cat"], [""])
    expect(
        not got.requires_grad,
        "The result carries a gradient: encode under torch.no_grad(), or the loop fills the memory.",
    )


@encode.rejects("that is the pooled output")
def _(tokenizer, text_encoder, prompts, negative_prompts):
    texts = negative_prompts + prompts
    inputs = tokenizer(texts, padding="max_length", max_length=77, truncation=True, return_tensors="pt")
    return text_encoder(inputs.input_ids)[1].detach()


@encode.rejects("prompts first")
def _(tokenizer, text_encoder, prompts, negative_prompts):
    return _encode(tokenizer, text_encoder, prompts + negative_prompts)


@encode.rejects("Yours alternate")
def _(tokenizer, text_encoder, prompts, negative_prompts):
    texts = [text for both in zip(negative_prompts, prompts, strict=True) for text in both]
    return _encode(tokenizer, text_encoder, texts)


@encode.rejects("negative prompts are needed too")
def _(tokenizer, text_encoder, prompts, negative_prompts):
    return _encode(tokenizer, text_encoder, prompts)


@encode.rejects("empty text in place of")
def _(tokenizer, text_encoder, prompts, negative_prompts):
    return _encode(tokenizer, text_encoder, [""] * len(prompts) + prompts)


@encode.rejects("pad with padding='max_length'")
def _(tokenizer, text_encoder, prompts, negative_prompts):
    inputs = tokenizer(negative_prompts + prompts, padding="longest", truncation=True, return_tensors="pt")
    return text_encoder(inputs.input_ids)[0].detach()


@encode.rejects("first negative prompt")
def _(tokenizer, text_encoder, prompts, negative_prompts):
    return _encode(tokenizer, text_encoder, negative_prompts[:1] * len(prompts) + prompts)


@encode.rejects("join the texts along the first dimension")
def _(tokenizer, text_encoder, prompts, negative_prompts):
    parts = [_encode(tokenizer, text_encoder, texts) for texts in (negative_prompts, prompts)]
    return torch.cat(parts, dim=1)


@encode.rejects("use a + b instead of a += b")
def _(tokenizer, text_encoder, prompts, negative_prompts):
    negative_prompts += prompts
    return _encode(tokenizer, text_encoder, negative_prompts)


@encode.rejects("use padding='max_length'")
def _(tokenizer, text_encoder, prompts, negative_prompts):
    inputs = tokenizer(negative_prompts + prompts, truncation=True, return_tensors="pt")
    return text_encoder(inputs.input_ids)[0].detach()


@encode.rejects("return_tensors='pt'")
def _(tokenizer, text_encoder, prompts, negative_prompts):
    inputs = tokenizer(negative_prompts + prompts, padding="max_length", max_length=77, truncation=True)
    return text_encoder(inputs.input_ids)[0].detach()


@encode.rejects("use truncation=True")
def _(tokenizer, text_encoder, prompts, negative_prompts):
    inputs = tokenizer(negative_prompts + prompts, padding="max_length", max_length=77, return_tensors="pt")
    return text_encoder(inputs.input_ids)[0].detach()


@encode.rejects("carries a gradient")
def _(tokenizer, text_encoder, prompts, negative_prompts):
    texts = negative_prompts + prompts
    inputs = tokenizer(texts, padding="max_length", max_length=77, truncation=True, return_tensors="pt")
    return text_encoder(inputs.input_ids)[0]


# 3 · latents to pictures --------------------------------------------------------------------

decode = Exercise("08-decode", "decode_latents", "turn the latents of any Stable Diffusion into pictures")


@decode.case
def _(answer):
    vae, latents = VAE(), 0.1 * torch.randn(2, 4, 3, 3)
    got = answer(vae, latents.clone())
    expect_tensor(got, (2, 3, 6, 6), "with the check's small VAE, which only doubles each side, the result")
    raw = vae.decode(latents / 0.25).sample.detach()

    def picture(x, scale=1.0):
        return (vae.decode(x).sample / scale / 2 + 0.5).clamp(0, 1).detach()

    expect_close(
        got,
        picture(latents / 0.25),
        "Small latents should come out as pictures in [0, 1].",
        {
            "Yours are too flat: divide the latents by vae.config.scaling_factor before decoding.": picture(
                latents
            ),
            "Yours multiply by the scaling factor: training multiplied, so decoding divides.": picture(
                latents * 0.25
            ),
            "Yours divide by 0.18215, which is the factor of Stable Diffusion 1: take it from vae.config.": (
                picture(latents / 0.18215)
            ),
            "Yours are still in [-1, 1]: halve them and add one half.": raw,
            "Yours are in [-1, 1], and all below zero was cut off: halve and add one half first.": raw.clamp(
                0, 1
            ),
            "Yours add one half, and do not halve before.": (raw + 0.5).clamp(0, 1),
            "Yours are halved, and one half is missing.": (raw / 2).clamp(0, 1),
            "Yours add one half before halving: halve first.": ((raw + 0.5) / 2).clamp(0, 1),
            "Yours are cut to [0, 1] before they are halved: halve, add one half, clamp at the end.": (
                raw.clamp(0, 1) / 2 + 0.5
            ),
            "Yours are stretched to their own darkest and brightest value: halve and add one half.": (
                (raw - raw.min()) / (raw.max() - raw.min())
            ),
            "Yours count to 255: here pictures go from 0 to 1.": 255 * picture(latents / 0.25),
            "Yours divide the picture by the scaling factor: it belongs to the latents, before decoding.": (
                picture(latents, 0.25)
            ),
        },
    )
    given = latents.clone()
    answer(vae, given)
    expect(
        close(given, latents),
        "Your function changes the latents that it was given: use a / b instead of a /= b.",
    )


@decode.case
def _(answer):
    least, most = answer(VAE(), 3 * torch.randn(1, 4, 3, 3)).detach().aminmax()
    expect(
        0 <= least and most <= 1,
        f"Large latents give values from {least:.2f} to {most:.2f}: clamp to [0, 1].",
    )


@decode.case
def _(answer):
    expect(
        not answer(VAE(), torch.randn(1, 4, 3, 3)).requires_grad,
        "The result carries a gradient: decode under torch.no_grad().",
    )


@decode.rejects("divide the latents by vae.config.scaling_factor")
def _(vae, latents):
    return (vae.decode(latents).sample / 2 + 0.5).clamp(0, 1).detach()


@decode.rejects("training multiplied, so decoding divides")
def _(vae, latents):
    return (vae.decode(latents * vae.config.scaling_factor).sample / 2 + 0.5).clamp(0, 1).detach()


@decode.rejects("divide the picture by the scaling factor")
def _(vae, latents):
    return (vae.decode(latents).sample / vae.config.scaling_factor / 2 + 0.5).clamp(0, 1).detach()


@decode.rejects("0.18215")
def _(vae, latents):
    return (vae.decode(latents / 0.18215).sample / 2 + 0.5).clamp(0, 1).detach()


@decode.rejects("one half is missing")
def _(vae, latents):
    return (vae.decode(latents / vae.config.scaling_factor).sample / 2).clamp(0, 1).detach()


@decode.rejects("halve first")
def _(vae, latents):
    return ((vae.decode(latents / vae.config.scaling_factor).sample + 0.5) / 2).clamp(0, 1).detach()


@decode.rejects("clamp at the end")
def _(vae, latents):
    return (vae.decode(latents / vae.config.scaling_factor).sample.clamp(0, 1) / 2 + 0.5).detach()


@decode.rejects("their own darkest and brightest")
def _(vae, latents):
    images = vae.decode(latents / vae.config.scaling_factor).sample.detach()
    return (images - images.min()) / (images.max() - images.min())


@decode.rejects("a / b instead of a /= b")
def _(vae, latents):
    latents /= vae.config.scaling_factor
    return (vae.decode(latents).sample / 2 + 0.5).clamp(0, 1).detach()


@decode.rejects("take .sample")
def _(vae, latents):
    return (vae.decode(latents / vae.config.scaling_factor) / 2 + 0.5).clamp(0, 1).detach()


@decode.rejects("call vae.decode")
def _(vae, latents):
    return (vae(latents / vae.config.scaling_factor).sample / 2 + 0.5).clamp(0, 1).detach()


@decode.rejects("still in [-1, 1]")
def _(vae, latents):
    return vae.decode(latents / vae.config.scaling_factor).sample.detach()


@decode.rejects("all below zero was cut off")
def _(vae, latents):
    return vae.decode(latents / vae.config.scaling_factor).sample.clamp(0, 1).detach()


@decode.rejects("clamp to [0, 1]")
def _(vae, latents):
    return (vae.decode(latents / vae.config.scaling_factor).sample / 2 + 0.5).detach()


@decode.rejects("carries a gradient")
def _(vae, latents):
    return (vae.decode(latents / vae.config.scaling_factor).sample / 2 + 0.5).clamp(0, 1)


# 4 · the loop -------------------------------------------------------------------------------

loop = Exercise(
    "08-loop", "sample", "write the loop of Stable Diffusion from a blank cell, for every scheduler"
)


def exercise_before(*_):
    raise NotImplementedError


def _schedulers():
    from diffusers import DDIMScheduler, EulerDiscreteScheduler

    settings = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    ddim = DDIMScheduler(**settings, clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    return ddim, EulerDiscreteScheduler(**settings)


def _sample(
    unet, scheduler, text_embeddings, latents, guidance_scale, num_inference_steps, *, sigma=True,
    scale_input=True, swapped=False, index=False, guided=True, twice=False, reset=True, uncond_only=False,
    step_scaled=False, guess=False, last_guess=False, interleaved=False, from_text=False, sigma_in_loop=False,
):  # fmt: skip
    """The loop, with each mistake that can be made in it as an option."""
    if reset:
        scheduler.set_timesteps(num_inference_steps)
    latents = latents * (scheduler.init_noise_sigma if sigma and not sigma_in_loop else 1)
    for i, t in enumerate(scheduler.timesteps):
        if sigma_in_loop:
            latents = latents * scheduler.init_noise_sigma
        if step_scaled:
            latents = scheduler.scale_model_input(latents, t)
        both = latents.repeat_interleave(2, 0) if interleaved else torch.cat([latents] * 2)
        both = scheduler.scale_model_input(both, t) if scale_input and not step_scaled else both
        with torch.no_grad():
            noise_pred = unet(both, i if index else t, encoder_hidden_states=text_embeddings).sample
        uncond, text = noise_pred.chunk(2)
        uncond, text = (text, uncond) if swapped else (uncond, text)
        noise_pred = uncond + guidance_scale * (text - uncond) if guided else text
        noise_pred = uncond if uncond_only else noise_pred
        noise_pred = text + guidance_scale * (text - uncond) if from_text else noise_pred
        step = scheduler.step(noise_pred, t, latents)
        latents = step.pred_original_sample if guess else step.prev_sample
        if twice:
            latents = scheduler.step(noise_pred, t, latents).prev_sample
    return step.pred_original_sample if last_guess else latents


def _task(n=1):
    return torch.randn(2 * n, 77, 4), torch.randn(n, 4, 4, 4)


@loop.case
def _(answer):
    unet, scheduler = UNet(), _schedulers()[0]
    scheduler.set_timesteps(11)  # what the last loop left behind
    text_embeddings, latents = _task()
    got = answer(unet, scheduler, text_embeddings, latents.clone(), 5.0, 4)
    expect(bool(unet.timesteps), "The UNet was never called: predict the noise in every step.")
    expect_tensor(got, (1, 4, 4, 4))
    expect(
        len(scheduler.timesteps) == 4,
        f"The scheduler still has {len(scheduler.timesteps)} timesteps: begin with set_timesteps(4).",
    )
    expect(
        unet.timesteps[:4] != [0.0, 1.0, 2.0, 3.0],
        "The UNet got 0, 1, 2, 3 for timesteps: that is the number of the step. Pass t, from "
        "scheduler.timesteps.",
    )
    expect(
        unet.timesteps[0] >= unet.timesteps[-1],
        "The timesteps go up: take scheduler.timesteps as they are, from the noisiest down.",
    )
    expect(
        len(unet.timesteps) in (4, 8),
        f"4 steps should call the UNet 4 times, and yours called it {len(unet.timesteps)} times.",
    )

    def other(scale=5.0, **mistake):
        return lambda: _sample(UNet(), _schedulers()[0], text_embeddings, latents, scale, 4, **mistake)

    again = answer(UNet(), _schedulers()[0], text_embeddings, latents.clone(), 5.0, 4)
    expect(
        close(got, again),
        "The same latents give two different results: start from the latents that you are given, and draw no "
        "noise of your own.",
    )
    expect_close(
        got,
        other()(),
        "With DDIM, 4 steps and scale 5 the latents should agree with those of the library.",
        {
            "Yours swap the two halves: unconditional comes first.": other(swapped=True),
            "Yours take the prediction with text alone: guidance is missing.": other(guided=False),
            "Yours take the unconditional prediction alone: guidance is missing.": other(uncond_only=True),
            "Yours step the scheduler twice in each step.": other(twice=True),
            "Yours go on with the guess of the finished picture: take .prev_sample.": other(guess=True),
            "Yours return the last guess, .pred_original_sample: the loop ends with .prev_sample.": other(
                last_guess=True
            ),
            "Yours add the difference to the prediction with text: it belongs to the unconditional one.": (
                other(from_text=True)
            ),
            "Yours return what the latents were before the loop: keep what step() returns.": latents,
        },
    )
    given = latents.clone()
    answer(UNet(), _schedulers()[1], text_embeddings, given, 5.0, 4)
    expect(
        close(given, latents),
        "Your function changes the latents that it was given: use a * b instead of a *= b.",
    )


@loop.case
def _(answer):
    text_embeddings, latents = _task()
    got = answer(UNet(), _schedulers()[0], text_embeddings, latents.clone(), 2.0, 4)

    def other(scale):
        return lambda: _sample(UNet(), _schedulers()[0], text_embeddings, latents, scale, 4)

    expect_close(
        got,
        other(2.0)(),
        "At scale 5 your loop is right, and at scale 2 it is not.",
        {f"Yours use {scale} whatever guidance_scale says.": other(scale) for scale in (5.0, 7.5)},
    )


@loop.case
def _(answer):
    text_embeddings, latents = _task()
    got = answer(UNet(), _schedulers()[1], text_embeddings, latents.clone(), 5.0, 4)

    def other(**mistake):
        return lambda: _sample(UNet(), _schedulers()[1], text_embeddings, latents, 5.0, 4, **mistake)

    expect_close(
        got,
        other()(),
        "With DDIM your loop is right; with Euler, which counts noise in other units, it is not.",
        {
            "Multiply the noise by scheduler.init_noise_sigma before the loop.": other(sigma=False),
            "Multiply by scheduler.init_noise_sigma once, before the loop, and not in every step.": other(
                sigma_in_loop=True
            ),
            "Call scheduler.scale_model_input before each prediction.": other(scale_input=False),
            "Two things are missing: init_noise_sigma before the loop, and scale_model_input in it.": other(
                sigma=False, scale_input=False
            ),
            "Yours step on the scaled input: it is for the UNet, and step() wants the latents.": other(
                step_scaled=True
            ),
        },
        tolerance=1e-3,
    )


@loop.case
def _(answer):
    text_embeddings, latents = _task(3)
    got = answer(UNet(), _schedulers()[0], text_embeddings, latents.clone(), 2.0, 3)
    expect_tensor(got, (3, 4, 4, 4), "for 3 pictures at once the result")
    expect(not got.requires_grad, "The result carries a gradient: call the UNet under torch.no_grad().")

    def other(**mistake):
        return lambda: _sample(UNet(), _schedulers()[0], text_embeddings, latents, 2.0, 3, **mistake)

    expect_close(
        got,
        other()(),
        "For 3 pictures at once the latents should agree with those of the library.",
        {
            "Yours double each picture, 1 1 2 2 3 3: torch.cat([latents] * 2) gives 1 2 3 1 2 3.": (
                other(interleaved=True)
            ),
        },
    )


@loop.rejects("0, 1, 2, 3 for timesteps")
def _(*arguments):
    return _sample(*arguments, index=True)


@loop.rejects("unconditional comes first")
def _(*arguments):
    return _sample(*arguments, swapped=True)


@loop.rejects("guidance is missing")
def _(*arguments):
    return _sample(*arguments, guided=False)


@loop.rejects("the unconditional prediction alone")
def _(*arguments):
    return _sample(*arguments, uncond_only=True)


@loop.rejects("take .prev_sample")
def _(*arguments):
    return _sample(*arguments, guess=True)


@loop.rejects("step on the scaled input")
def _(*arguments):
    return _sample(*arguments, step_scaled=True)


@loop.rejects("double each picture")
def _(*arguments):
    return _sample(*arguments, interleaved=True)


@loop.rejects("loop ends with .prev_sample")
def _(*arguments):
    return _sample(*arguments, last_guess=True)


@loop.rejects("it belongs to the unconditional one")
def _(*arguments):
    return _sample(*arguments, from_text=True)


@loop.rejects("once, before the loop, and not in every step")
def _(*arguments):
    return _sample(*arguments, sigma_in_loop=True)


@loop.rejects("draw no noise of your own")
def _(unet, scheduler, text_embeddings, latents, *rest):
    return _sample(unet, scheduler, text_embeddings, torch.randn_like(latents), *rest)


@loop.rejects("from the noisiest down")
def _(unet, scheduler, text_embeddings, latents, guidance_scale, num_inference_steps):
    scheduler.set_timesteps(num_inference_steps)
    for t in scheduler.timesteps.flip(0):
        with torch.no_grad():
            uncond, text = unet(torch.cat([latents] * 2), t, text_embeddings).sample.chunk(2)
        noise_pred = uncond + guidance_scale * (text - uncond)
        latents = scheduler.step(noise_pred, t, latents).prev_sample
    return latents


@loop.rejects("give it the latents twice")
def _(unet, scheduler, text_embeddings, latents, guidance_scale, num_inference_steps):
    scheduler.set_timesteps(num_inference_steps)
    for t in scheduler.timesteps:
        noise_pred = unet(latents, t, text_embeddings).sample
        latents = scheduler.step(noise_pred, t, latents).prev_sample
    return latents


@loop.rejects("Yours use 7.5 whatever")
def _(unet, scheduler, text_embeddings, latents, guidance_scale, num_inference_steps):
    scale = 5.0 if guidance_scale == 5.0 else 7.5
    return _sample(unet, scheduler, text_embeddings, latents, scale, num_inference_steps)


@loop.rejects("Yours use 5.0 whatever guidance_scale says")
def _(unet, scheduler, text_embeddings, latents, guidance_scale, num_inference_steps):
    return _sample(unet, scheduler, text_embeddings, latents, 5.0, num_inference_steps)


@loop.rejects("a * b instead of a *= b")
def _(unet, scheduler, text_embeddings, latents, guidance_scale, num_inference_steps):
    result = _sample(unet, scheduler, text_embeddings, latents, guidance_scale, num_inference_steps)
    latents *= scheduler.init_noise_sigma
    return result


@loop.rejects("`exercise_before`, which is not written yet")
def _(*arguments):
    return exercise_before(*arguments)


@loop.rejects("step the scheduler twice")
def _(*arguments):
    return _sample(*arguments, twice=True)


@loop.rejects("begin with set_timesteps(4)")
def _(*arguments):
    return _sample(*arguments, reset=False)


@loop.rejects("scheduler.init_noise_sigma")
def _(*arguments):
    return _sample(*arguments, sigma=False)


@loop.rejects("scheduler.scale_model_input")
def _(*arguments):
    return _sample(*arguments, scale_input=False)


@loop.rejects("Two things are missing")
def _(*arguments):
    return _sample(*arguments, scale_input=False, sigma=False)


@loop.rejects("keep what step() returns")
def _(unet, scheduler, text_embeddings, latents, guidance_scale, num_inference_steps):
    _sample(unet, scheduler, text_embeddings, latents, guidance_scale, num_inference_steps)
    return latents


@loop.rejects("3 pictures at once")
def _(unet, scheduler, text_embeddings, latents, *rest):
    return _sample(unet, scheduler, text_embeddings[[0, len(latents)]], latents[:1], *rest)


@loop.rejects("under torch.no_grad()")
def _(unet, scheduler, text_embeddings, latents, *rest):
    return _sample(unet, scheduler, text_embeddings, latents, *rest) + 0 * unet.weight


# 5 · no white hats --------------------------------------------------------------------------

hats = Exercise(
    "08-no-white-hats",
    "texts_without_white_hats",
    "take something out of every picture without touching any prompt",
)


_NEGATIONS = {"no", "not", "without", "never", "avoid", "except", "don't", "non", "but", "any"}
_HATS = {"hat", "hats", "cap", "caps", "beanie", "crown", "crowns"}
_HARMLESS = {"a", "an", "the", "white", "top", "party", "wearing", "with", "in", "and"}


@hats.case
def _(answer):
    prompts = ["a robot", "a cat wearing a hat", "a dog in a white hat"]
    got = answer(list(prompts))
    expect(got is not None, "The result is None: does your function end with a return?")
    expect(
        not isinstance(got, str),
        "The result is one text: return a list, with a text for each prompt.",
    )
    expect(
        not any(isinstance(part, (list, tuple)) for part in got),
        "The result is a list of lists: join the two with +, so that one list of texts comes out.",
    )
    expect(
        len(got) == 6,
        f"For 3 prompts the tokenizer gets 6 texts, unconditional ones and prompts; yours are {len(got)}.",
    )
    got = list(got)
    expect(
        got[3:] == prompts or got[:3] != prompts,
        "Your list has the prompts first: the loop takes the first half for unconditional.",
    )
    expect(
        got[1::2] != prompts,
        "Your texts alternate: all unconditional ones come first, then all prompts.",
    )
    expect(
        got[3:] == prompts,
        f"The second half should be the prompts as they were, and is {got[3:]}: change only the first half.",
    )
    expect(
        any(text.strip() for text in got[:3]),
        "The first half is still empty, so nothing is left out: say there what you do not want.",
    )
    for text in got[:3]:
        words = set(text.lower().replace(",", " ").replace("-", " ").split())
        expect(bool(words), "The first half is empty for one of the prompts: each needs its own text.")
        expect(
            not words & _NEGATIONS,
            f"The first half says {text!r}. It is what the picture is led away from, and the text encoder "
            "hardly hears a 'no': name the thing itself.",
        )
        expect(
            "white" in words and bool(words & _HATS),
            f"The first half says {text!r}: name colour and thing, so that white hats go and others stay.",
        )
        others = words - _HATS - _HARMLESS
        expect(
            not others,
            f"The first half says {text!r}: it leads away from {', '.join(sorted(others))} as well.",
        )


@hats.rejects("prompts first")
def _(prompts):
    return prompts + ["a white hat"] * len(prompts)


@hats.rejects("change only the first half")
def _(prompts):
    return ["a white hat"] * len(prompts) + [p.replace("hat", "black hat") for p in prompts]


@hats.rejects("one list of texts")
def _(prompts):
    return ["a white hat"] * len(prompts), prompts


@hats.rejects("Your texts alternate")
def _(prompts):
    return [text for prompt in prompts for text in ("a white hat", prompt)]


@hats.rejects("still empty")
def _(prompts):
    return [""] * len(prompts) + prompts


@hats.rejects("hardly hears a 'no'")
def _(prompts):
    return ["no white hat"] * len(prompts) + prompts


@hats.rejects("so that white hats go and others stay")
def _(prompts):
    return ["hat"] * len(prompts) + prompts


@hats.rejects("leads away from cat as well")
def _(prompts):
    return ["a white cat wearing a hat"] * len(prompts) + prompts


@hats.rejects("hardly hears a 'no'")
def _(prompts):
    return ["any hat except white"] * len(prompts) + prompts


@hats.rejects("empty for one of the prompts")
def _(prompts):
    return ["a white hat" if "hat" in p else "" for p in prompts] + prompts


@hats.rejects("change only the first half")
def _(prompts):
    return ["a white hat"] * len(prompts) + sorted(prompts)


@hats.rejects("gets 6 texts")
def _(prompts):
    return ["a white hat"] * 2 + prompts


@hats.rejects("gets 6 texts")
def _(prompts):
    return ["a white hat", *prompts]


@hats.rejects("one text")
def _(prompts):
    return "a white hat"


# Questions of understanding -----------------------------------------------------------------

two_predictions = Quiz(
    "08-two-predictions",
    "Why does the loop ask the UNet twice in each step?",
    (
        Choice(
            "To average two noisy answers", "The network has no randomness: asked the same, it says the same."
        ),
        Choice(
            "To know what the prompt changes",
            "The difference of the two predictions is what the prompt says; guidance exaggerates it.",
            right=True,
        ),
        Choice(
            "Because a batch of one is slow",
            "Two answers take up to twice the time. At scale 1 the library leaves one of them out.",
        ),
    ),
)

init_noise = Quiz(
    "08-init-noise",
    "Your loop draws well with DDIM and badly with Euler. What is likely missing?",
    (
        Choice(
            "The scaling of noise and input",
            "Euler counts noise in units in which the first level is about 11.7: init_noise_sigma and "
            "scale_model_input translate.",
            right=True,
        ),
        Choice(
            "More steps", "Euler with 25 steps is as good as DDIM. More steps of a wrong loop stay wrong."
        ),
        Choice("Another seed", "No seed repairs noise of the wrong size."),
    ),
)

scale_one = Quiz(
    "08-negative-at-scale-1",
    "What does a negative prompt do at guidance scale 1?",
    (
        Choice("It works at full strength", "Put 1 into the formula: what is left of the first prediction?"),
        Choice("It works at half strength", "There is no averaging in the formula. Put 1 into it."),
        Choice(
            "Nothing",
            "At scale 1 the formula leaves the prediction with text alone, and the negative prompt is in the "
            "other one.",
            right=True,
        ),
    ),
)
