"""One page of pictures about one model."""

from pathlib import Path

import numpy as np
import torch

from sdcourse.data.gallery import ATTRIBUTES

SHOWN = 4  # pictures of each known prompt


def write_report(path: Path, name: str, figures: dict, pictures: torch.Tensor) -> None:
    """Samples, confusion tables, the guidance curve and the steps curve, as one picture file.

    Args:
        figures, pictures: as from `evaluate`.
    """
    from matplotlib.figure import Figure  # without pyplot: no window, no state

    page = Figure(figsize=(13, 18), dpi=100, layout="constrained")
    page.suptitle(f"{name}: {figures['train']['mean']:.1%} of what prompts name is right", fontsize=16)
    top, middle, bottom = page.subfigures(3, 1, height_ratios=[8, 6, 4])
    _samples(top, figures["known prompts"], pictures)
    _confusions(middle, figures["confusion"])
    left, right = bottom.subplots(1, 2)
    _guidance_curve(left, figures["guidance curve"])
    _steps_curve(right, figures)
    page.savefig(path)


def _samples(figure, right: dict[str, int], pictures):
    for axes, (prompt, count), row in zip(figure.subplots(5, 2).flat, right.items(), pictures, strict=True):
        strip = torch.cat(list(row[:SHOWN]), dim=2).permute(1, 2, 0) / 2 + 0.5
        axes.imshow(strip.clamp(0, 1).numpy())
        axes.set_title(f"{prompt}\n{count} of {row.shape[0]} right", fontsize=9)
        axes.axis("off")


def _confusions(figure, tables: dict[str, list[list[int]]]):
    for axes, (name, table) in zip(figure.subplots(2, 5).flat, tables.items(), strict=False):
        table = np.array(table, float)
        shares = table / np.maximum(1, table.sum(1, keepdims=True))
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        values = ATTRIBUTES[name]
        axes.set_xticks(range(len(values)), values, rotation=90, fontsize=6)
        axes.set_yticks(range(len(values)), values, fontsize=6)
        axes.set_title(f"{name}: asked (rows), read", fontsize=8)
    for axes in figure.axes[len(tables) :]:
        axes.axis("off")


def _guidance_curve(axes, points):
    scales = [p["guidance scale"] for p in points]
    for key in ("mean", "all right", "saturation"):
        axes.plot(scales, [p[key] for p in points], "o-", label=key)
    most = max(p["diversity"] for p in points)
    axes.plot(scales, [p["diversity"] / most for p in points], "o-", label="diversity (of its largest)")
    axes.set(xscale="log", xlabel="guidance scale", ylim=(0, 1.02), title="guidance")
    axes.set_xticks(scales, [f"{s:g}" for s in scales])
    axes.legend(fontsize=8)


def _steps_curve(axes, figures):
    for curve, line in (("steps curve", "o-"), ("steps curve at scale 2", "o--")):
        for color, scheduler in enumerate(("ddim", "dpm++")):
            own = [p for p in figures[curve] if p["scheduler"] == scheduler]
            axes.plot(
                [p["steps"] for p in own], [p["mean"] for p in own], line, color=f"C{color}",
                label=scheduler + curve.removeprefix("steps curve"),
            )  # fmt: skip
    axes.set(xlabel="steps", ylim=(0, 1.02), title="mean accuracy by steps")
    axes.legend(fontsize=8)
