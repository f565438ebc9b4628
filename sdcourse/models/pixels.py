"""The small diffusion models on pixels of lessons 01 to 03: clothing, and gallery pictures of 32×32."""

from pathlib import Path
from typing import TYPE_CHECKING

from sdcourse.errors import check_name

from .integrity import DamagedWeights, verify_weights
from .registry import WEIGHTS_ROOT

if TYPE_CHECKING:
    from diffusers import DDPMScheduler, UNet2DModel

PIXEL_MODELS = ("fashion", "fashion-unconditional", "gallery-pixels")


def find_pixel_model(name: str | Path) -> Path | None:
    """The folder of a model by its name or its path; None if this is none on pixels."""
    if name in PIXEL_MODELS:
        return WEIGHTS_ROOT / name
    folder = Path(name).expanduser()
    is_one = all((folder / part).is_dir() for part in ("unet", "scheduler"))
    return folder if is_one and not (folder / "model_index.json").is_file() else None


def load_pixel_model(
    name: str | Path = "fashion", device: str | None = None
) -> "tuple[UNet2DModel, DDPMScheduler]":
    """A network for noisy pictures (n, channels, 32, 32), and the scheduler with the noise levels it knows.

    It predicts the noise; "fashion-unconditional" the velocity, as its scheduler's `prediction_type` says.

    Args:
        name: "fashion" draws clothing by class, and its last class means none; "fashion-unconditional"
            draws any clothing, "gallery-pixels" any gallery picture. Or a folder that
            `sdcourse train fashion --out FOLDER` made: FOLDER/fashion.

    Raises:
        ValueError: for a name that is none of these, nor a folder.
        DamagedWeights: a file is missing or damaged; names it and says how to restore it.
    """
    from diffusers import DDPMScheduler, UNet2DModel

    folder = find_pixel_model(name)
    if folder is None:
        try:
            check_name("model on pixels", str(name), PIXEL_MODELS)
        except ValueError as error:
            allowed = str(error).removesuffix(".")
            raise ValueError(f"{allowed}, or a folder with unet/ and scheduler/.") from None
    if problems := verify_weights(folder):
        raise DamagedWeights(problems[0])
    unet = UNet2DModel.from_pretrained(folder / "unet").eval()
    return unet.to(device or "cpu"), DDPMScheduler.from_pretrained(folder / "scheduler")
