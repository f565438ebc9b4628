"""Between tensors, arrays, figures and PIL pictures."""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    import torch

PIXELS_COUNT = 32  # below this side length it is a map whose single pixels matter: they stay squares


def to_pil(images: Any) -> list[Image.Image]:
    """Turn anything that holds pictures into a list of RGB pictures.

    Args:
        images: a PIL picture; a tensor (3, H, W), (1, H, W), (H, W) or (n, 3, H, W), (n, 1, H, W); an array
            (H, W), (H, W, 3) or (n, H, W, 3); a matplotlib figure; or any iterable of these.
            Numbers are `uint8` from 0 to 255, `bool`, or floats from 0 to 1.

    Raises:
        TypeError: not pictures.
        ValueError: a shape that is not a picture's, numbers outside the range, or nothing at all.
    """
    pictures = _to_pil(images)
    if not pictures:
        raise ValueError("There are no pictures in an empty list.")
    return pictures


def to_tensor(images: Any) -> torch.Tensor:
    """Turn anything that `to_pil` takes into one float tensor (n, 3, H, W) from 0 to 1.

    Float tensors keep their exact numbers, their device and their gradient.

    Raises:
        TypeError, ValueError: as `to_pil`; also when the pictures differ in size.
    """
    import torch

    batches = _to_tensors(images)
    if not batches:
        raise ValueError("There are no pictures in an empty list.")
    sizes = sorted({(batch.shape[-1], batch.shape[-2]) for batch in batches})
    if len(sizes) > 1:
        raise ValueError(f"One tensor needs pictures of one size; these are {list_sizes(sizes)}.")
    return torch.cat(batches)


def _to_pil(images: Any) -> list[Image.Image]:
    if isinstance(images, Image.Image):
        return [as_rgb(images)]
    if _is_tensor(images):
        # numpy has no bfloat16, so every float goes through float32
        tensor = _channels_first(images.detach()).cpu()
        array = (tensor.float() if tensor.is_floating_point() else tensor).permute(0, 2, 3, 1).numpy()
        return [Image.fromarray(pixels) for pixels in _as_bytes(array)]
    if isinstance(images, np.ndarray):
        return [Image.fromarray(pixels) for pixels in _as_bytes(_channels_last(images))]
    if _is_figure(images):
        return [_draw_figure(images)]
    return [picture for item in _items(images) for picture in _to_pil(item)]


def _to_tensors(images: Any) -> list[torch.Tensor]:
    import torch

    if _is_tensor(images):
        tensor = _channels_first(images)
    elif isinstance(images, np.ndarray):
        tensor = torch.tensor(_channels_last(images)).permute(0, 3, 1, 2)
    elif isinstance(images, Image.Image) or _is_figure(images):
        tensor = torch.tensor(np.stack(_to_pil(images))).permute(0, 3, 1, 2)
    else:
        return [tensor for item in _items(images) for tensor in _to_tensors(item)]
    if tensor.dtype == torch.uint8:
        return [tensor.float() / 255]
    if tensor.is_floating_point():
        _check_range(tensor.detach().min().item(), tensor.detach().max().item())
    elif tensor.dtype != torch.bool:
        raise TypeError(_number_advice(tensor.dtype))
    return [tensor.float()]


def _is_tensor(thing: Any) -> bool:
    # whoever holds a tensor has imported torch already; whoever does not should not wait for it
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(thing, torch.Tensor)


def _is_figure(thing: Any) -> bool:
    module = sys.modules.get("matplotlib.figure")
    return module is not None and isinstance(thing, module.Figure)


def _items(images: Any) -> Iterable:
    if isinstance(images, (str, bytes, Path)):
        raise TypeError(f"{images!r:.60} is not a picture: open it with load_image(...) first.")
    if not isinstance(images, Iterable) or isinstance(images, dict):
        raise TypeError(
            f"A {type(images).__name__} is not a picture. Allowed: PIL pictures, tensors, arrays, matplotlib "
            "figures, and lists of these."
        )
    return images


def _channels_first(tensor: torch.Tensor) -> torch.Tensor:
    """Check the layout of a tensor; return it as (n, 3, H, W)."""
    shape = tuple(tensor.shape)
    if tensor.ndim == 2:
        tensor = tensor[None, None]
    elif tensor.ndim == 3:
        tensor = tensor[None]
    if tensor.ndim != 4 or tensor.shape[1] not in (1, 3) or tensor.numel() == 0:
        advice = "Allowed: (3, H, W), (1, H, W), (H, W), (n, 3, H, W) and (n, 1, H, W)."
        if len(shape) >= 3 and shape[-1] == 3:
            order = "2, 0, 1" if len(shape) == 3 else "0, 3, 1, 2"
            advice = f"Tensors have their channels first: use .permute({order})."
        elif len(shape) >= 3 and shape[-3] == 4:
            advice = "Four channels are latents: decode them with the VAE first."
        raise ValueError(f"A tensor of shape {shape} is not a picture. {advice}")
    return tensor.expand(-1, 3, -1, -1)


def _channels_last(array: np.ndarray) -> np.ndarray:
    """Check the layout of an array; return it as (n, H, W, 3)."""
    shape = array.shape
    if array.ndim == 2:
        array = array[None, :, :, None]
    elif array.ndim == 3:
        array = array[None]
    if array.ndim != 4 or array.shape[-1] not in (1, 3) or array.size == 0:
        advice = "Allowed: (H, W), (H, W, 3) and (n, H, W, 3)."
        if len(shape) >= 3 and shape[-3] == 3:
            order = "1, 2, 0" if len(shape) == 3 else "0, 2, 3, 1"
            advice = f"Arrays have their channels last: use .transpose({order})."
        raise ValueError(f"An array of shape {shape} is not a picture. {advice}")
    return np.broadcast_to(array, (*array.shape[:-1], 3))


def _as_bytes(array: np.ndarray) -> np.ndarray:
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype == bool:
        return array.astype(np.uint8) * 255
    if not np.issubdtype(array.dtype, np.floating):
        raise TypeError(_number_advice(array.dtype))
    _check_range(float(array.min()), float(array.max()))
    return (array.clip(0, 1) * 255).round().astype(np.uint8)


def _number_advice(dtype: Any) -> str:
    return f"Pictures are uint8 from 0 to 255, bool, or floats from 0 to 1; these numbers are {dtype}."


def _check_range(low: float, high: float) -> None:
    # rounding in half precision and in resizing may leave the range by a hair
    if low >= -1e-3 and high <= 1 + 1e-3:
        return
    if math.isnan(low) or math.isnan(high):
        raise ValueError(
            "The picture holds NaN (not a number): a step before it went wrong, often in half precision."
        )
    if low >= 0 and high <= 255 and high > 2:
        advice = "Divide by 255."
    else:
        advice = "A model's picture runs from -1 to 1: use (x / 2 + 0.5).clamp(0, 1)."
    raise ValueError(f"Pictures of floats run from 0 to 1; these run from {low:.3g} to {high:.3g}. {advice}")


def as_rgb(picture: Image.Image) -> Image.Image:
    """RGB; what was transparent becomes white, as on paper, and not the black that lies under it."""
    if picture.mode == "RGB":
        return picture
    if picture.mode.startswith("I;16"):  # 16-bit grey, as in depth maps: Pillow would cut it off at 255
        return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        paper = Image.new("RGBA", picture.size, "white")
        paper.alpha_composite(picture)
        picture = paper
    return picture.convert("RGB")


def _draw_figure(figure: Any) -> Image.Image:
    buffer = io.BytesIO()
    # no bbox_inches="tight": it depends on the fonts, and the size stands in the compared text
    figure.savefig(buffer, format="png", dpi=100, bbox_inches=None)
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close(figure)  # otherwise the notebook shows it a second time, without alternative text
    return as_rgb(Image.open(buffer))


def is_map(picture: Image.Image) -> bool:
    return max(picture.size) < PIXELS_COUNT


def resized(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    if is_map(picture):
        return picture.resize(size, Image.Resampling.NEAREST)
    # bicubic: Lanczos draws rings around the hard edges of small pictures
    reduced = size[0] < picture.width
    return picture.resize(size, Image.Resampling.LANCZOS if reduced else Image.Resampling.BICUBIC)


def list_sizes(sizes: Iterable[tuple[int, int]]) -> str:
    return ", ".join(f"{width}×{height}" for width, height in sizes)
