"""Guidance by a loss: an unconditional model, pulled towards pictures with a small loss (lesson 03)."""

from collections.abc import Callable, Sequence

from sdcourse.guidance import loss_guidance, predict_clean_images

from .schedulers import make_generators, make_scheduler, step_arguments


def generate_with_loss(
    unet,
    noise_scheduler,
    loss: "Callable",
    guidance_strength: float = 4.0,
    through_unet: bool = False,
    num_images: int = 1,
    num_inference_steps: int = 40,
    seed: int | Sequence[int] = 0,
    scheduler: str | None = None,
    labels=None,
    progress: bool = True,
):
    """Draw pictures, and before each step move them a little downhill on a loss of the predicted picture.

    Args:
        unet: a `UNet2DModel`.
        noise_scheduler: gives the noise levels that the model was trained with.
        loss: from predicted clean images, (n, channels, height, width) in about [-1, 1], to a number with a
            gradient; for example `color_loss`. It is the mean over pictures, so it is multiplied by n: a
            picture is pulled alike, however many are drawn beside it.
        guidance_strength: how far; 0 draws without guidance.
        through_unet: take the gradient through the network too. It tells how the prediction itself would
            change, and costs the network's backward pass.
        labels: (n,) classes, for a model that draws by class.
        scheduler: a key of `SCHEDULERS`; None takes the class of `noise_scheduler`. It is stepped once for
            each timestep, because some schedulers remember their steps.

    Returns:
        (n, channels, height, width) in [-1, 1].

    Raises:
        ValueError: one sentence, if a number is out of range.
    """
    import torch
    from tqdm.auto import tqdm

    if guidance_strength < 0:
        raise ValueError(f"guidance_strength is {guidance_strength}: it must be 0 or more.")
    if scheduler in ("euler", "euler-a"):
        raise ValueError(
            f"scheduler is {scheduler!r}: its noise is scaled in another way; take ddim or ddpm."
        )
    generators = make_generators(seed, num_images)
    scheduler = make_scheduler(noise_scheduler, scheduler)
    scheduler.set_timesteps(num_inference_steps, device=unet.device)
    size = unet.config.sample_size
    noise = [torch.randn((unet.config.in_channels, size, size), generator=g) for g in generators]
    images = torch.stack(noise).to(unet.device, unet.dtype) * scheduler.init_noise_sigma
    for t in tqdm(scheduler.timesteps, disable=not progress, desc="steps"):
        images = images.detach().requires_grad_(guidance_strength > 0)
        with torch.set_grad_enabled(through_unet and guidance_strength > 0):
            noise_pred = unet(scheduler.scale_model_input(images, t), t, class_labels=labels).sample
        if guidance_strength > 0:
            clean_images = predict_clean_images(scheduler, noise_pred, t, images)
            images = loss_guidance(images, clean_images, loss, guidance_strength)
        with torch.no_grad():
            step = scheduler.step(noise_pred, t, images, **step_arguments(scheduler, generators))
        images = step.prev_sample
    return images.detach().clamp(-1, 1)
