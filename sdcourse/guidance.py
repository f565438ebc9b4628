"""Guidance: how a prediction is steered towards what the prompt says, or towards a loss."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


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
