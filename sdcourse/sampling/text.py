"""The sampling loop of Stable Diffusion, built by hand (lesson 08).

Encode the prompt, start from noise, predict the noise with and without the prompt, step, decode.
The result equals that of `StableDiffusionPipeline` with the same weights, seed and scheduler.
"""

import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sdcourse.guidance import classifier_free_guidance

from .schedulers import make_generators, make_scheduler, step_arguments

if TYPE_CHECKING:
    import torch
    from diffusers import StableDiffusionPipeline
    from PIL import Image

# A fast tokenizer keeps padding and truncation as its state: of two threads, one would get the other's.
_tokenizing = threading.Lock()


@dataclass(frozen=True)
class Step:
    """What a callback sees after each step of the loop.

    Predictions and latents have the shape (n, 4, height / 8, width / 8). At guidance scale 1 the
    unconditional prediction is not needed and is None; at scale 0 the prediction with text is.
    """

    index: int
    timestep: "torch.Tensor"
    latents: "torch.Tensor"
    noise_pred_uncond: "torch.Tensor | None"
    noise_pred_text: "torch.Tensor | None"


def text_to_image(
    pipe: "StableDiffusionPipeline",
    prompt: str | Sequence[str],
    negative_prompt: str | Sequence[str] = "",
    guidance_scale: float = 7.5,
    num_inference_steps: int = 30,
    seed: int | Sequence[int] = 0,
    scheduler: str | None = None,
    height: int | None = None,
    width: int | None = None,
    num_images_per_prompt: int = 1,
    progress: bool = True,
    callback_on_step_end: Callable[[Step], None] | None = None,
) -> "list[Image.Image]":
    """Draw what a prompt says.

    Args:
        pipe: gives the models; its own `__call__` is not used, and it is not changed.
        prompt: one text, or several for a batch. "" draws without a prompt.
        negative_prompt: what to steer away from; one for all prompts, or one each.
        guidance_scale: 0 ignores the prompt, 1 follows it plainly, more exaggerates it.
        num_inference_steps: 1 to the number of training timesteps (1000).
        seed: picture i starts from noise of seed + i; or give one seed for each picture.
        scheduler: a key of `SCHEDULERS`; None takes the pipeline's own.
        height, width: pixels, multiples of 8; None takes the size that the model was trained on.
        num_images_per_prompt: pictures for each prompt, side by side in the result.
        progress: show a bar.
        callback_on_step_end: is called after each step; what it raises stops the loop.

    Returns:
        PIL images, prompt by prompt.

    Raises:
        ValueError: one sentence, if an argument is out of range.
    """
    import torch
    from diffusers.image_processor import VaeImageProcessor

    latents = sample_latents(
        pipe, prompt, negative_prompt, guidance_scale, num_inference_steps, seed, scheduler, height, width,
        num_images_per_prompt, progress, callback_on_step_end,
    )  # fmt: skip
    with torch.no_grad():
        images = decode_latents(pipe.vae, latents)
    return VaeImageProcessor.numpy_to_pil(images.float().cpu().permute(0, 2, 3, 1).numpy())


def sample_latents(
    pipe, prompt, negative_prompt="", guidance_scale=7.5, num_inference_steps=30, seed=0, scheduler=None,
    height=None, width=None, num_images_per_prompt=1, progress=True, callback_on_step_end=None,
) -> "torch.Tensor":  # fmt: skip
    """The loop of `text_to_image`, without the decoding: latents (n, 4, height / 8, width / 8)."""
    import torch
    from tqdm.auto import tqdm

    height, width = _check_size(pipe, height, width)
    _check_numbers(pipe, guidance_scale, num_inference_steps, num_images_per_prompt)
    prompts = [p for p in _as_texts("prompt", prompt) for _ in range(num_images_per_prompt)]
    negative_prompts = _as_texts("negative_prompt", negative_prompt)
    negative_prompts = [p for p in negative_prompts for _ in range(num_images_per_prompt)]
    if len(negative_prompts) == num_images_per_prompt:  # one for all
        negative_prompts = (negative_prompts * len(prompts))[: len(prompts)]
    if len(negative_prompts) != len(prompts):
        raise ValueError("There must be one negative prompt for all prompts, or one for each of them.")
    generators = make_generators(seed, len(prompts))
    scheduler = make_scheduler(pipe.scheduler, scheduler)

    with torch.no_grad():
        # Unconditional first, then the prompt: (2n, 77, d). What is not needed is not computed.
        texts = negative_prompts * (guidance_scale != 1) + prompts * (guidance_scale != 0)
        text_embeddings = encode_prompt(pipe.tokenizer, pipe.text_encoder, texts)
        latents = prepare_latents(pipe, scheduler, generators, height, width, num_inference_steps)
        extra_step_kwargs = step_arguments(scheduler, generators)
        for i, t in enumerate(tqdm(scheduler.timesteps, disable=not progress, desc="steps")):
            halves = len(texts) // len(prompts)
            latent_model_input = scheduler.scale_model_input(torch.cat([latents] * halves), t)
            noise_pred = pipe.unet(latent_model_input, t, encoder_hidden_states=text_embeddings).sample
            noise_pred_uncond = noise_pred[: len(prompts)] if guidance_scale != 1 else None
            noise_pred_text = noise_pred[-len(prompts) :] if guidance_scale != 0 else None
            if halves == 2:
                noise_pred = classifier_free_guidance(noise_pred_uncond, noise_pred_text, guidance_scale)
            latents = scheduler.step(noise_pred, t, latents, **extra_step_kwargs).prev_sample
            if callback_on_step_end is not None:
                callback_on_step_end(Step(i, t, latents, noise_pred_uncond, noise_pred_text))
    return latents


def encode_prompt(tokenizer, text_encoder, prompts: Sequence[str]) -> "torch.Tensor":
    """Hidden states of the texts, (n, 77, d). Warns, with the words, where a text is too long."""
    with _tokenizing:
        inputs = tokenizer(
            list(prompts),
            padding="max_length",
            max_length=tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
    for prompt in dict.fromkeys(prompts):
        lost = words_cut_off(tokenizer, prompt)
        if lost:
            warnings.warn(
                f"The prompt is longer than {tokenizer.model_max_length} tokens; "
                f"this part was cut off and has no effect: {lost!r}.",
                stacklevel=3,
            )
    return text_encoder(inputs.input_ids.to(text_encoder.device))[0]


def words_cut_off(tokenizer, prompt: str) -> str:
    """The end of `prompt` that does not fit into the text encoder's positions; "" if all fits."""
    with _tokenizing:
        ids = tokenizer(prompt, truncation=False, verbose=False).input_ids
    room = tokenizer.model_max_length - 1  # the end token takes the last place
    return tokenizer.decode(ids[room:-1]).strip() if len(ids) > tokenizer.model_max_length else ""


def prepare_latents(pipe, scheduler, generators, height, width, num_inference_steps) -> "torch.Tensor":
    """Noise (n, 4, height / 8, width / 8), scaled as the scheduler wants it; sets the timesteps."""
    import torch
    from diffusers.utils.torch_utils import randn_tensor

    device, dtype = pipe.unet.device, pipe.unet.dtype
    scheduler.set_timesteps(num_inference_steps, device=device)
    factor = pipe.vae_scale_factor
    shape = (1, pipe.unet.config.in_channels, height // factor, width // factor)
    # One generator for each picture, so that a picture does not depend on its neighbours in the batch.
    noise = [randn_tensor(shape, generator=g, device=device, dtype=dtype) for g in generators]
    return torch.cat(noise) * scheduler.init_noise_sigma


def decode_latents(vae, latents: "torch.Tensor") -> "torch.Tensor":
    """Latents (n, 4, h, w) to pictures (n, 3, 8h, 8w) in [0, 1]."""
    images = vae.decode(latents / vae.config.scaling_factor).sample
    return (images / 2 + 0.5).clamp(0, 1)


def _as_texts(name: str, value) -> list[str]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, Sequence) or not texts or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{name} must be a text or a list of texts, not {value!r}.")
    return list(texts)


def _check_size(pipe, height, width) -> tuple[int, int]:
    factor = pipe.vae_scale_factor
    default = pipe.unet.config.sample_size * factor
    sizes = [default if size is None else size for size in (height, width)]
    for name, size in zip(("height", "width"), sizes, strict=True):
        if size < factor or size % factor:
            near = max(1, round(size / factor)) * factor
            raise ValueError(f"{name} is {size}: it must be a multiple of {factor}, for example {near}.")
    return sizes[0], sizes[1]


def _check_numbers(pipe, guidance_scale, num_inference_steps, num_images_per_prompt):
    if not 0 <= guidance_scale < float("inf"):
        raise ValueError(
            f"guidance_scale is {guidance_scale}: it must be 0 or more (1 is no guidance, 7.5 is usual); "
            "to steer away from something, use negative_prompt."
        )
    most = pipe.scheduler.config.num_train_timesteps
    if not 1 <= num_inference_steps <= most:
        raise ValueError(
            f"num_inference_steps is {num_inference_steps}: it must be 1 to {most}; 20 to 50 are usual."
        )
    if num_images_per_prompt < 1:
        raise ValueError(f"num_images_per_prompt is {num_images_per_prompt}: it must be 1 or more.")
