"""Does the picture show what the prompt says? The judge reads it and we count."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tqdm.auto import tqdm

from sdcourse.data.gallery import ATTRIBUTES, Caption, Scene, describe, random_scenes
from sdcourse.models.judge import Judge
from sdcourse.sampling import decode_latents, sample_latents

EVALUATION_SEED = 9_000_000


@dataclass(frozen=True)
class Accuracy:
    per_attribute: dict[str, float]  # share of pictures right, among the prompts that name the attribute
    counts: dict[str, int]  # how many prompts name it
    all_right: float  # share of pictures where everything named is right

    @property
    def mean(self) -> float:
        """Over attributes, each counting the same."""
        return float(np.mean(list(self.per_attribute.values())))

    def __str__(self) -> str:
        rows = [f"{name:16} {value:.3f}  ({self.counts[name]})" for name, value in self.per_attribute.items()]
        return "\n".join([*rows, f"{'mean':16} {self.mean:.3f}", f"{'all right':16} {self.all_right:.3f}"])


def evaluation_prompts(n: int = 500, split: str = "train") -> list[tuple[Caption, Scene]]:
    """The same `n` captions and their scenes at every call; single words are left out."""
    rng = np.random.default_rng(EVALUATION_SEED)
    pairs = []
    for scene in random_scenes(2 * n + 50, seed=EVALUATION_SEED, split=split):
        caption = describe(scene, rng)
        if "subject" in caption.named and len(caption.named) >= 2:
            pairs.append((caption, scene))
    return pairs[:n]


def attribute_accuracy(
    readings: Sequence[dict[str, str]], prompts: Sequence[tuple[Caption, Scene]]
) -> Accuracy:
    """Compare what the judge read with what the captions fixed.

    "A hat" without a kind is right if there is any hat; what a caption leaves out does not count.
    """
    right: dict[str, list[bool]] = {}
    whole = []
    for read, (caption, scene) in zip(readings, prompts, strict=True):
        verdicts = {a: read[a] == getattr(scene, a) for a in ATTRIBUTES if a in caption.named}
        if "any hat" in caption.named:
            verdicts["hat"] = read["hat"] != "none"
        for attribute, verdict in verdicts.items():
            right.setdefault(attribute, []).append(verdict)
        whole.append(all(verdicts.values()))
    named = [a for a in ATTRIBUTES if a in right]
    return Accuracy(
        per_attribute={a: float(np.mean(right[a])) for a in named},
        counts={a: len(right[a]) for a in named},
        all_right=float(np.mean(whole)),
    )


def measure_accuracy(
    pipe,
    judge: Judge,
    n: int = 500,
    guidance_scale: float = 5.0,
    num_inference_steps: int = 25,
    split: str = "train",
    scheduler: str = "dpm++",
    batch_size: int = 50,
) -> Accuracy:
    """Draw the evaluation prompts with `pipe` and let the judge read the pictures."""
    prompts = evaluation_prompts(n, split)
    readings = []
    for start in tqdm(range(0, n, batch_size), desc=f"{n} pictures", unit="batch"):
        texts = [caption.text for caption, _ in prompts[start : start + batch_size]]
        latents = sample_latents(
            pipe, texts, "", guidance_scale, num_inference_steps, start, scheduler, progress=False
        )
        with torch.no_grad():
            pictures = decode_latents(pipe.vae, latents)
        readings += judge.read(pictures * 2 - 1)
    return attribute_accuracy(readings, prompts)
