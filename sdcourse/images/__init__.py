"""Pictures: between tensors and PIL, shown in a notebook, put in a grid, saved and loaded."""

from .convert import to_pil, to_tensor
from .files import image_grid, load_image, save_image, unique_path
from .show import show_image, show_images

__all__ = [
    "image_grid", "load_image", "save_image", "show_image", "show_images", "to_pil", "to_tensor",
    "unique_path",
]  # fmt: skip
