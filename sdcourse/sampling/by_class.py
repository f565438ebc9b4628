"""The sampling loop of class-conditional diffusion, in pixels (lesson 02; with guidance, lesson 03)."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sdcourse.guidance import classifier_free_guidance

from .schedulers import make_generators, make_scheduler, step_arguments

if TYPE_CHECKING:
    import torch


def generate_from_class(
    unet,
    noise_scheduler,
    labels: "Sequence[int] | torch.Tensor | None" = None,
    guidance_scale: float = 1.0,
    num_inference_steps: int = 25,
    seed: int | Sequence[int] = 0,
    scheduler: str | None = None,
    num_images: int = 1,
    progress: bool = True,
    callback_on_step_end: "Callable[[int, torch.Tensor, torch.Tensor], None] | None" = None,
) -> "torch.Tensor":
    """Draw one picture for each label, from noise to the last step.

    Args:
        unet: a `UNet2DModel`; with labels, one that was trained with `num_class_embeds`, whose last class
            stands for "no class", where `guidance_scale` is not 1 (Ho and Salimans, 2022).
        noise_scheduler: gives the noise levels that the model was trained with.
        labels: the class of each picture; None for an unconditional model.
        guidance_scale: 0 ignores the label, 1 follows it plainly, more exaggerates it, less than 0 avoids it.
        num_inference_steps: 1 to the number of training timesteps (1000).
        seed: picture i starts from noise of seed + i; or give one seed for each picture.
        scheduler: a key of `SCHEDULERS`; None takes the class of `noise_scheduler`.
        num_images: pictures of an unconditional model; with labels their number counts.
        progress: show a bar.
        callback_on_step_end: is called with the number of the step, the pictures so far, and the noise
            prediction.

    Returns:
        (n, channels, height, width) in [-1, 1].

    Raises:
        ValueError: one sentence, if labels and model do not fit together or a number is out of range.
    """
    import torch
    from tqdm.auto import tqdm

    n = num_images if labels is None else len(labels)
    classes = unet.config.num_class_embeds
    labels = _check(labels, classes, guidance_scale, n, num_inference_steps, noise_scheduler)
    generators = make_generators(seed, n)
    scheduler = make_scheduler(noise_scheduler, scheduler)
    scheduler.set_timesteps(num_inference_steps, device=unet.device)
    size = unet.config.sample_size
    shape = (unet.config.in_channels, size, size)
    noise = [torch.randn(shape, generator=g) for g in generators]
    images = torch.stack(noise).to(unet.device, unet.dtype) * scheduler.init_noise_sigma
    guided = labels is not None and guidance_scale != 1
    if labels is not None:
        labels = labels.to(unet.device)
        if guided:  # unconditional first, then the labels: (2n,)
            labels = torch.cat([torch.full_like(labels, classes - 1), labels])
    for i, t in enumerate(tqdm(scheduler.timesteps, disable=not progress, desc="steps")):
        model_input = scheduler.scale_model_input(torch.cat([images, images]) if guided else images, t)
        with torch.no_grad():
            noise_pred = unet(model_input, t, class_labels=labels).sample
        if guided:
            noise_pred = classifier_free_guidance(*noise_pred.chunk(2), guidance_scale)
        images = scheduler.step(noise_pred, t, images, **step_arguments(scheduler, generators)).prev_sample
        if callback_on_step_end is not None:
            callback_on_step_end(i, images, noise_pred)
    return images.clamp(-1, 1)


def _check(labels, classes, guidance_scale, n, num_inference_steps, scheduler):
    import torch

    if (labels is None) != (classes is None):
        raise ValueError(
            "This model knows no classes: leave labels out."
            if classes is None
            else f"This model draws by class: give labels, whole numbers from 0 to {classes - 1}."
        )
    if n < 1:
        raise ValueError("No picture is asked for: give one label or more, or num_images of 1 or more.")
    most = scheduler.config.num_train_timesteps
    if not 1 <= num_inference_steps <= most:
        raise ValueError(f"num_inference_steps is {num_inference_steps}: it must be 1 to {most}.")
    if labels is None:
        if guidance_scale != 1:
            raise ValueError("An unconditional model has nothing to be guided by: leave guidance_scale at 1.")
        return None
    labels = torch.as_tensor(labels, dtype=torch.long)
    if not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(f"labels are {labels.tolist()}: they must be 0 to {classes - 1}.")
    return labels
