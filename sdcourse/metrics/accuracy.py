"""Does the picture show what the prompt says? The judge reads it and we count."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sdcourse.data.gallery import ATTRIBUTES
from sdcourse.models.judge import Judge

from .drawing import draw_pictures
from .prompts import Prompt, evaluation_prompts


@dataclass(frozen=True)
class Accuracy:
    per_attribute: dict[str, float]  # share of pictures right, among the prompts that name the attribute
    counts: dict[str, int]  # how many prompts name it
    all_right: float  # share of pictures where everything named is right
    n: int  # pictures

    @property
    def mean(self) -> float:
        """Over attributes, each counting the same."""
        return sum(self.per_attribute.values()) / len(self.per_attribute)

    def __str__(self) -> str:
        rows = [(name, value, self.counts[name]) for name, value in self.per_attribute.items()]
        lines = [_line(*row) for row in (*rows, ("all right", self.all_right, self.n))]
        lines.insert(-1, f"{'mean':16} {self.mean:.3f}")
        return "\n".join(lines)


def _line(name: str, value: float, n: int) -> str:
    low, high = wilson_interval(value, n)
    return f"{name:16} {value:.3f}  ({low:.2f} to {high:.2f}, {n} pictures)"


def wilson_interval(share: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """Where the true share lies with 95 % confidence (z = 1.96), when `share` of `n` were right.

    Unlike share ± z·deviation it stays within 0 and 1 and keeps a width at both ends (Wilson, 1927).
    """
    center = share + z * z / (2 * n)
    spread = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, (center - spread) / (1 + z * z / n)), min(1.0, (center + spread) / (1 + z * z / n))


def attribute_accuracy(readings: Sequence[dict[str, str]], prompts: Sequence[Prompt]) -> Accuracy:
    """Compare what the judge read in each picture with what its prompt asks for."""
    verdicts = [prompt.verdicts(reading) for reading, prompt in zip(readings, prompts, strict=True)]
    right = {name: [v[name] for v in verdicts if name in v] for name in ATTRIBUTES}
    right = {name: values for name, values in right.items() if values}
    return Accuracy(
        per_attribute={name: sum(values) / len(values) for name, values in right.items()},
        counts={name: len(values) for name, values in right.items()},
        all_right=sum(all(v.values()) for v in verdicts) / len(verdicts),
        n=len(verdicts),
    )


def measure_accuracy(
    pipe,
    judge: Judge,
    n: int = 500,
    guidance_scale: float = 5.0,
    num_inference_steps: int = 25,
    split: str = "train",
    scheduler: str = "dpm++",
) -> Accuracy:
    """Draw evaluation prompts with `pipe` and let the judge read the pictures."""
    prompts = evaluation_prompts(n, split)
    pictures = draw_pictures(
        pipe, [prompt.text for prompt in prompts], guidance_scale, num_inference_steps, scheduler
    )
    return attribute_accuracy(judge.read(pictures), prompts)
