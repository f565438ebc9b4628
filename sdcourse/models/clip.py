"""CLIP: pictures and texts in one space."""

from typing import TYPE_CHECKING

from .integrity import DamagedWeights, verify_weights
from .registry import WEIGHTS_ROOT

if TYPE_CHECKING:
    from transformers import CLIPModel, CLIPTextModel, CLIPTokenizer


def load_clip(device: str | None = None) -> "tuple[CLIPModel, CLIPTokenizer]":
    """pocket-clip, whose text half is the text encoder of pocket-sd, and its tokenizer.

    Raises:
        DamagedWeights: one of its files is missing or damaged; names it and says how to restore it.
    """
    import torch
    from transformers import CLIPModel, CLIPTokenizer

    folder = WEIGHTS_ROOT / "pocket-clip"
    if problems := verify_weights(folder):
        raise DamagedWeights(problems[0])
    clip = CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
    return clip.to(device or "cpu"), CLIPTokenizer.from_pretrained(folder)


def text_half(clip: "CLIPModel") -> "CLIPTextModel":
    """The text encoder of a CLIP, as Stable Diffusion uses it, with copies of its weights."""
    from transformers import CLIPTextModel

    text_encoder = CLIPTextModel(clip.config.text_config)
    text_encoder.load_state_dict(clip.text_model.state_dict())
    return text_encoder.eval()
