"""The sampling loops that the lessons build by hand: by class, by a loss, and by text."""

from .by_class import generate_from_class
from .by_loss import generate_with_loss
from .schedulers import SCHEDULERS, make_scheduler
from .text import (
    Step,
    decode_latents,
    encode_prompt,
    prepare_latents,
    sample_latents,
    text_to_image,
    words_cut_off,
)  # fmt: skip

__all__ = [
    "SCHEDULERS", "Step", "decode_latents", "encode_prompt", "generate_from_class", "generate_with_loss",
    "make_scheduler", "prepare_latents", "sample_latents", "text_to_image",
    "words_cut_off",
]  # fmt: skip
