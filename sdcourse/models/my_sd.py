"""my-sd, the learner's own Stable Diffusion: lessons 04 to 06 keep its parts in one folder.

The folder has the layout of diffusers. Nothing in it is overwritten: what a new part replaces moves to
`earlier/`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from .registry import MODELS

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np

MY_SD = "my-sd"
FOLDER_VARIABLE = "SDCOURSE_MY_SD"
# Each part, and the lesson that trains it. `clip` holds the text encoder and its picture half.
LESSONS = {"vae": "04", "tokenizer": "05", "clip": "05", "text_encoder": "05", "unet": "06"}
_NEEDED = ("tokenizer", "text_encoder", "vae", "unet")
_TRAINED_WITH = "trained_with.json"
# Of the VAE the encoder alone decides what latents mean: a UNet still fits when the decoder gets better.
_DECIDES = {"vae": ("encoder.", "quant_conv."), "text_encoder": ("",)}

# In configurations, of loading and saving; truncation and padding are those of a tokenizer's last call.
_NOTES = (
    "name_or_path", "diffusers_version", "dtype", "is_local", "local_files_only", "truncation", "padding",
)  # fmt: skip


def my_sd_folder() -> Path:
    """Where my-sd lies: what the environment variable SDCOURSE_MY_SD says, else ~/sdcourse/my-sd."""
    return Path(os.environ.get(FOLDER_VARIABLE) or Path("~") / "sdcourse" / MY_SD).expanduser()


def keep_parts(**parts) -> None:
    """Keep trained parts in the folder of my-sd, and say where.

    Args:
        parts: by name, of `LESSONS`: `keep_parts(vae=vae)`. With `clip` its text half is kept as the text
            encoder. Keep a UNet together with the VAE, text encoder and tokenizer that it was trained with.

    Raises:
        ValueError: for a name that is no part.
    """
    if unknown := set(parts) - set(LESSONS):
        raise ValueError(f"my-sd has no part {unknown.pop()!r}: its parts are {', '.join(LESSONS)}.")
    if "clip" in parts:
        from .clip import text_half

        parts.setdefault("text_encoder", text_half(parts["clip"]))
    folder = my_sd_folder()
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in parts.items():  # all are written before the first takes its place
        shutil.rmtree(folder / f".{name}.new", ignore_errors=True)
        part.save_pretrained(folder / f".{name}.new")
    for name in parts:
        _put_in_place(folder / f".{name}.new", folder / name)
    if "unet" in parts:
        trained_with = {name: fingerprint(folder / name) for name in _DECIDES}
        (folder / "unet" / _TRAINED_WITH).write_text(json.dumps(trained_with, indent=1) + "\n")
    _complete(folder)
    print(f"Kept in {folder}: {', '.join(parts)}.")


def load_my_parts() -> dict:
    """Tokenizer, text encoder and VAE: the learner's own where they are kept, else those of pocket-sd.

    Says which are whose. A tokenizer and a text encoder belong together: with one of them missing, both are
    those of pocket-sd.
    """
    import torch
    from diffusers import AutoencoderKL
    from transformers import CLIPTextModel, CLIPTokenizer

    homes = my_part_folders()
    whose = {name: "yours" if is_own(homes[name]) else "pocket-sd's" for name in _DECIDES}
    print(f"VAE: {whose['vae']}; tokenizer and text encoder: {whose['text_encoder']}.")
    return {
        "tokenizer": CLIPTokenizer.from_pretrained(homes["tokenizer"]),
        "text_encoder": CLIPTextModel.from_pretrained(homes["text_encoder"], dtype=torch.float32).eval(),
        "vae": AutoencoderKL.from_pretrained(homes["vae"]).eval(),
    }


def my_part_folders() -> dict[str, Path]:
    """Where tokenizer, text encoder and VAE lie: in my-sd, else in pocket-sd."""
    folder, pocket = my_sd_folder(), MODELS["pocket-sd"].folder
    texts = all((folder / name).is_dir() for name in ("tokenizer", "text_encoder"))
    return {
        "tokenizer": (folder if texts else pocket) / "tokenizer",
        "text_encoder": (folder if texts else pocket) / "text_encoder",
        "vae": (folder if (folder / "vae").is_dir() else pocket) / "vae",
    }


def is_own(part: Path) -> bool:
    """Whether a VAE or a text encoder is another than that of pocket-sd."""
    return fingerprint(part) != fingerprint(MODELS["pocket-sd"].folder / part.name)


def check_my_sd() -> Path:
    """The folder of my-sd, when all parts are there and fit each other.

    Raises:
        FileNotFoundError: parts are missing; names them and their lessons.
        ValueError: two parts do not fit; names them and what to do.
    """
    folder = my_sd_folder()
    missing = [f"{name} (lesson {LESSONS[name]})" for name in _NEEDED if not (folder / name).is_dir()]
    if missing:
        raise FileNotFoundError(f"my-sd is not complete: {folder} has no {', no '.join(missing)}.")
    if misfit := _misfit(folder):
        raise ValueError(f"my-sd in {folder} does not fit together: {misfit}.")
    _complete(folder)
    return folder


def _put_in_place(new: Path, old: Path):
    """The part that is replaced moves to `earlier/`, unless it is the same."""
    if old.is_dir() and _same_files(old, new):
        shutil.rmtree(new)
        return
    if old.is_dir():
        set_aside(old)
    new.rename(old)


def set_aside(old: Path):
    """Move a folder of my-sd to `earlier/NAME-1`, or the first number that is free."""
    earlier = my_sd_folder() / "earlier"
    earlier.mkdir(exist_ok=True)
    places = (earlier / f"{old.name}-{number}" for number in count(1))
    old.rename(next(place for place in places if not place.exists()))


def _same_files(old: Path, new: Path) -> bool:
    """Whether the old part holds all that the new one does. Where it was loaded from does not count."""

    def without_notes(entries: dict) -> dict:
        kept = {key: value for key, value in entries.items() if key.strip("_") not in _NOTES}
        return {key: without_notes(v) if isinstance(v, dict) else v for key, v in kept.items()}

    def content(file: Path):
        return without_notes(_read(file)) if file.suffix == ".json" else file.read_bytes()

    return all(
        (old / file.name).is_file() and content(old / file.name) == content(file) for file in new.iterdir()
    )


def _complete(folder: Path):
    """When all parts are there, add what makes the folder a pipeline: any tool of diffusers opens it then."""
    pocket = MODELS["pocket-sd"].folder
    if all((folder / name).is_dir() for name in _NEEDED) and not (folder / "model_index.json").is_file():
        shutil.copytree(pocket / "scheduler", folder / "scheduler", dirs_exist_ok=True)
        shutil.copy(pocket / "model_index.json", folder)


def _misfit(folder: Path) -> str | None:
    """What does not fit, in one clause; None if all does."""
    from transformers import CLIPTokenizer

    config = {name: _read(folder / name / "config.json") for name in ("text_encoder", "vae", "unet")}
    tokens = len(CLIPTokenizer.from_pretrained(folder / "tokenizer"))
    rows = config["text_encoder"]["vocab_size"]
    if tokens != rows:
        return f"the tokenizer has {tokens} tokens, the text encoder {rows}; lesson 05 makes both"
    width, expected = config["text_encoder"]["hidden_size"], config["unet"]["cross_attention_dim"]
    if width != expected:
        return f"the text encoder is {width} wide, the UNet expects {expected}; lesson 06 makes one that fits"
    channels, expected = config["vae"]["latent_channels"], config["unet"]["in_channels"]
    if channels != expected:
        return f"the VAE has {channels} latent channels, the UNet {expected}; lesson 06 makes one that fits"
    path = folder / "unet" / _TRAINED_WITH
    for name, trained_with in (_read(path) if path.is_file() else {}).items():
        if trained_with != fingerprint(folder / name):
            words = {"vae": "VAE", "text_encoder": "text encoder"}[name]
            return (
                f"the UNet was trained with another {words}; train it on this one with lesson 06 or "
                f"`sdcourse train my-sd`, or take the former {words} out of {folder / 'earlier'}"
            )
    return None


def fingerprint(part: Path) -> str | None:
    """Of the weights in a folder, of a VAE those on which a UNet depends; None where there are none."""
    from safetensors.numpy import load_file

    file = next(part.glob("*.safetensors"), None)
    if file is None:
        return None
    tensors = load_file(file)
    keys = [key for key in sorted(tensors) if key.startswith(_DECIDES.get(part.name, ""))]
    scaling_factor = _read(part / "config.json").get("scaling_factor")
    return digest_of((tensors[key] for key in keys), scaling_factor)


def digest_of(weights: Iterable[np.ndarray], scaling_factor: float | None) -> str:
    """The same for the same weights, in whatever precision they are stored."""
    digest = hashlib.sha256(str(scaling_factor).encode())
    for weight in weights:
        digest.update(weight.astype("float32").tobytes())
    return digest.hexdigest()


def _read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))
