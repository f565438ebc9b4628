"""Go on with my-sd, the learner's own Stable Diffusion, where lessons 04 to 06 left it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPModel, CLIPTextModel, CLIPTokenizer

from sdcourse.models.my_sd import (
    fingerprint,
    is_own,
    keep_parts,
    my_part_folders,
    my_sd_folder,
    set_aside,
)
from sdcourse.models.registry import WEIGHTS_ROOT

# The share of the budget that each part gets, if it is trained. The VAE comes before the UNet, which learns
# from its latents.
SHARES = {"clip": 0.15, "vae": 0.35, "unet": 0.5}
_BEGAN = "began_with.json"


def train_my_sd(train_part: Callable, budget: float, device: str, seed: int = 0) -> Path:
    """Train the parts of my-sd for `budget` seconds in all, then put them in the places of the former ones.

    The work is done in a folder beside them, so that my-sd stays whole whenever this is stopped. Parts that
    my-sd lacks are those of pocket-sd, and stay as they are; a UNet is always trained.

    Args:
        train_part: `sdcourse.training.recipes.train`.

    Returns:
        the folder of my-sd.
    """
    work = _working_folder()
    parts = json.loads((work / _BEGAN).read_text())["trained"]
    total = sum(SHARES[name] for name in parts)
    for name in parts:
        train_part(name, work, budget * SHARES[name] / total, device, seed)
    trained = {
        "tokenizer": CLIPTokenizer.from_pretrained(work / "tokenizer"),
        "text_encoder": CLIPTextModel.from_pretrained(work / "text_encoder", dtype=torch.float32),
        "vae": AutoencoderKL.from_pretrained(work / "vae"),
        "unet": UNet2DConditionModel.from_pretrained(work / "unet"),
    }
    if "clip" in parts:
        trained["clip"] = CLIPModel.from_pretrained(work / "clip", dtype=torch.float32)
    folder = keep_parts(**trained)
    _note_beginning(work, parts)
    return folder


def _working_folder() -> Path:
    """What the recipes need, in one folder: the one that is there, if it began with the parts of today."""
    work = my_sd_folder() / "training"
    if work.is_dir():
        if json.loads((work / _BEGAN).read_text())["fingerprints"] == _fingerprints():
            return work
        print("Parts of my-sd were replaced since training began: it begins again with those of today.")
        set_aside(work)
    mine, homes = my_sd_folder(), my_part_folders()
    own_clip = is_own(homes["text_encoder"]) and (mine / "clip").is_dir()
    new = mine / ".training.new"  # whole, or not there
    shutil.rmtree(new, ignore_errors=True)
    for name, home in homes.items():
        shutil.copytree(home, new / name)
    shutil.copytree(WEIGHTS_ROOT / "judge", new / "judge")
    shutil.copytree(mine / "clip" if own_clip else WEIGHTS_ROOT / "pocket-clip", new / "clip")
    if (mine / "unet").is_dir():
        shutil.copytree(mine / "unet", new / "unet")
    _note_beginning(new, ["clip"] * own_clip + ["vae"] * is_own(homes["vae"]) + ["unet"])
    new.rename(work)
    return work


def _note_beginning(work: Path, trained: list[str]):
    note = {"trained": trained, "fingerprints": _fingerprints()}
    (work / _BEGAN).write_text(json.dumps(note, indent=1) + "\n")


def _fingerprints() -> dict[str, str | None]:
    """Which parts lie in my-sd."""
    return {name: fingerprint(my_sd_folder() / name) for name in ("vae", "text_encoder", "unet")}
