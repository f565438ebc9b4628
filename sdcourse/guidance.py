"""Guidance: how a prediction is steered towards what the prompt says, or towards a loss."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from diffusers import SchedulerMixin
    from transformers import CLIPModel, CLIPTokenizer


def classifier_free_guidance(
    noise_pred_uncond: "torch.Tensor", noise_pred_text: "torch.Tensor", guidance_scale: float
) -> "torch.Tensor":
    """Go from the unconditional prediction towards the one with text, `guidance_scale` times as far.

    Scale 0 gives the unconditional prediction, 1 the one with text, more exaggerates the difference
    (Ho and Salimans, 2022, eq. 6, with guidance_scale = 1 + w).

    Args:
        noise_pred_uncond, noise_pred_text: tensors of the same shape.
    """
    return noise_pred_uncond + guidance_scale * (noise_pred_text - noise_pred_uncond)


def classifier_guidance(
    noise_pred: "torch.Tensor",
    gradient: "torch.Tensor",
    alpha_cumprod: "torch.Tensor",
    guidance_scale: float,
) -> "torch.Tensor":
    """Move the predicted noise so that a class becomes more likely (Dhariwal and Nichol, 2021, algorithm 2).

    Args:
        noise_pred: (n, channels, height, width).
        gradient: of log p(class | noisy images) with respect to the noisy images, in the same shape.
        alpha_cumprod: ᾱ of this timestep, as `scheduler.alphas_cumprod[t]`.
        guidance_scale: 0 leaves the prediction as it is.
    """
    return noise_pred - guidance_scale * (1 - alpha_cumprod).sqrt() * gradient


def predict_clean_images(
    scheduler: "SchedulerMixin",
    prediction: "torch.Tensor",
    timestep: "torch.Tensor",
    noisy_images: "torch.Tensor",
) -> "torch.Tensor":
    """What is left of noisy images when the predicted noise is taken out (Ho et al., 2020, eq. 15).

    Or the same from a predicted velocity (Salimans and Ho, 2022, appendix D): the scheduler's configuration
    says which of the two the network predicts.

    Args:
        scheduler: one that keeps the variance, so that noisy_images = sqrt(ᾱ) clean + sqrt(1 - ᾱ) noise:
            DDPM, DDIM, PNDM or DPM++, not Euler.
        prediction, noisy_images: (n, channels, height, width).
        timestep: one for all, or (n,).
    """
    alpha = scheduler.alphas_cumprod.to(noisy_images.device)[timestep].to(noisy_images.dtype)
    while alpha.ndim and alpha.ndim < noisy_images.ndim:
        alpha = alpha[..., None]
    if scheduler.config.prediction_type == "v_prediction":
        return alpha.sqrt() * noisy_images - (1 - alpha).sqrt() * prediction
    return (noisy_images - (1 - alpha).sqrt() * prediction) / alpha.sqrt()


def loss_guidance(
    noisy_images: "torch.Tensor", clean_images: "torch.Tensor", loss: Callable, guidance_strength: float
) -> "torch.Tensor":
    """Move noisy images a little downhill on a loss of the clean images that are predicted from them.

    Args:
        noisy_images: (n, channels, height, width), that `clean_images` were computed from with a gradient.
        loss: from clean images to their mean, a number. It is multiplied by n: a picture is pulled alike,
            however many are beside it.
        guidance_strength: how far, 0 or more.
    """
    import torch

    [gradient] = torch.autograd.grad(loss(clean_images) * len(noisy_images), noisy_images)
    return (noisy_images - guidance_strength * gradient).detach()


def color_loss(
    images: "torch.Tensor", target_color: tuple[float, float, float] = (0.1, 0.3, 0.9)
) -> "torch.Tensor":
    """Mean absolute distance of all pixels from one colour: 0 for a picture of that colour only.

    Args:
        images: (n, 3, h, w) in [-1, 1].
        target_color: red, green, blue in [0, 1]; blue unless told otherwise.

    Returns:
        a scalar with a gradient to `images`, 0 to 2.

    Raises:
        ValueError: if `images` has no three channels, or `target_color` is not three numbers in [0, 1].
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images has the shape {tuple(images.shape)}: colour needs (n, 3, height, width).")
    if len(target_color) != 3 or not all(0 <= c <= 1 for c in target_color):
        raise ValueError(f"target_color is {target_color}: give red, green and blue, each between 0 and 1.")
    target = images.new_tensor(target_color).view(1, 3, 1, 1) * 2 - 1
    return (images - target).abs().mean()


def text_loss(clip: "CLIPModel", tokenizer: "CLIPTokenizer", text: str) -> Callable:
    """A loss that is small for pictures which fit a text, in the eyes of CLIP (Radford et al., 2021).

    Returns:
        a function from images (n, 3, h, w) in [-1, 1] to a scalar with a gradient: 1 minus the mean cosine of
        their embeddings and the text's, 0 to 2.
    """
    import torch
    import torch.nn.functional as F

    tokens = tokenizer([text], padding=True, truncation=True, return_tensors="pt").to(clip.device)
    with torch.no_grad():
        wanted = F.normalize(clip.get_text_features(**tokens).pooler_output, dim=-1)  # (1, d)
    size = clip.config.vision_config.image_size

    def loss(images):
        enlarged = F.interpolate(images.clamp(-1, 1), size=size, mode="bilinear")
        seen = F.normalize(clip.get_image_features(enlarged).pooler_output, dim=-1)  # (n, d)
        return 1 - (seen * wanted).sum(1).mean()

    return loss
