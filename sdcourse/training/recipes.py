"""All recipes by name, and the way from their parts to a folder that any tool can load."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from sdcourse.errors import check_name
from sdcourse.models.components import make_scheduler
from sdcourse.models.my_sd import MY_SD

from .clip import train_clip, train_clip_vision
from .judge import train_judge
from .loop import count_processes
from .my_sd import train_my_sd
from .pixels import train_fashion, train_fashion_judge, train_fashion_unconditional, train_gallery_pixels
from .tokenizer import train_tokenizer
from .unet import train_unet
from .vae import train_decoder, train_vae

# What each part needs to be there before it.
NEEDS = {
    "tokenizer": (),
    "judge": (),
    "clip": ("tokenizer",),
    "vae": ("judge", "clip"),
    "decoder": ("vae", "judge", "clip"),
    "unet": ("vae", "tokenizer", "text_encoder"),
    "clip-vision": ("clip",),
    "fashion": (),
    "fashion-unconditional": (),
    "fashion-judge": (),
    "gallery-pixels": (),
}
# Of pocket-sd, in order, and the share of its budget that each part gets; the tokenizer takes seconds.
SHARES = {"tokenizer": 0, "judge": 0.08, "clip": 0.12, "vae": 0.34, "decoder": 0.08, "unet": 0.38}
RECIPES = (*NEEDS, "pocket-sd", MY_SD)


def train(name: str, folder: Path, budget: float, device: str, seed: int = 0):
    """Train one part, or everything in order, into `folder`; started again, it goes on.

    Args:
        name: one of `RECIPES`. "pocket-sd" is the whole; it ends in `folder/pocket-sd`. "my-sd" goes on with
            the learner's own parts, which lie in a folder of their own.
        budget: seconds of training in all.
        device: "cpu", "cuda", ...

    Raises:
        ValueError: for an unknown name.
        FileNotFoundError: if a part that this one builds on is not in `folder`.
    """
    check_name("recipe", name, RECIPES)
    if count_processes() > 1 and name in ("pocket-sd", MY_SD):
        raise ValueError("torchrun is for one part at a time: all but the first process end with a part.")
    if name == MY_SD:
        return train_my_sd(train, budget, device, seed)
    folder.mkdir(parents=True, exist_ok=True)
    if name == "pocket-sd":
        for part, share in SHARES.items():
            train(part, folder, budget * share, device, seed)
        return assemble(folder, folder / "pocket-sd")
    for need in NEEDS[name]:
        if not (folder / need).is_dir():
            trainer = "clip" if need == "text_encoder" else need
            raise FileNotFoundError(
                f"{name} builds on {need}, which is not in {folder}: "
                f"run `sdcourse train {trainer} --out {folder}` first."
            )
    if name == "tokenizer":
        return train_tokenizer(folder, seed)
    recipes = {
        "judge": train_judge, "vae": train_vae, "decoder": train_decoder, "clip": train_clip,
        "clip-vision": train_clip_vision, "unet": train_unet, "fashion": train_fashion,
        "fashion-unconditional": train_fashion_unconditional, "fashion-judge": train_fashion_judge,
        "gallery-pixels": train_gallery_pixels,
    }  # fmt: skip
    return recipes[name](folder, budget, device, seed)


def assemble(parts: Path, out: Path) -> StableDiffusionPipeline:
    """Put trained parts together as a Stable Diffusion pipeline in half precision, in `out`."""
    text_encoder = CLIPTextModel.from_pretrained(parts / "text_encoder", dtype=torch.float32)
    pipe = StableDiffusionPipeline(
        vae=AutoencoderKL.from_pretrained(parts / "vae"),
        text_encoder=text_encoder,
        tokenizer=CLIPTokenizer.from_pretrained(parts / "tokenizer"),
        unet=UNet2DConditionModel.from_pretrained(parts / "unet"),
        scheduler=make_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.to(torch.float16).save_pretrained(out)
    _say_float32(out / "text_encoder" / "config.json")
    return pipe.to(torch.float32)


def _say_float32(config: Path):
    """transformers loads what the configuration says, diffusers float32: unless both agree, mixing fails."""
    config.write_text(config.read_text().replace('"dtype": "float16"', '"dtype": "float32"'))
