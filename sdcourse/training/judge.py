"""Train the judge on renders of every combination, held-out ones too: it must read what a model draws."""

from pathlib import Path

import torch
import torch.nn.functional as F

from sdcourse.models.judge import Judge, labels

from .batches import gallery_batch
from .loop import train_for

BATCH_SIZE = 64
LEARNING_RATE = 2e-3


def soften(images: torch.Tensor, step: int) -> torch.Tensor:
    """Half of the batches blurred, some slightly and some a lot, and noisy, as decoded pictures are."""
    if step % 2:
        return images
    blurred = images
    for _ in range(1 + step // 2 % 3):
        blurred = F.avg_pool2d(blurred, 3, 1, 1, count_include_pad=False)
    strength = torch.rand(len(images), 1, 1, 1, device=images.device)
    return torch.lerp(images, blurred, strength) + 0.04 * torch.randn_like(images)


def train_judge(folder: Path, budget: float, device: str, seed: int = 0) -> Judge:
    """Train for `budget` seconds and save to `folder/judge`."""
    torch.manual_seed(seed)
    judge = (Judge.load(folder / "judge") if (folder / "judge").is_dir() else Judge()).to(device)
    judge = judge.to(memory_format=torch.channels_last)

    def compute_loss(step):
        scenes, images = gallery_batch(step, BATCH_SIZE, seed=3_000_000 + seed, split="all")
        with torch.autocast(device, torch.bfloat16):
            logits = judge(soften(images.to(device), step).to(memory_format=torch.channels_last))
        logits = {name: values.float() for name, values in logits.items()}
        truth = {k: v.to(device) for k, v in labels(scenes, judge.attributes).items()}
        loss = sum(F.cross_entropy(logits[k], truth[k]) for k in logits)
        accuracy = sum((logits[k].argmax(1) == truth[k]).float().mean() for k in logits) / len(logits)
        return loss, {"accuracy": accuracy.item()}

    train_for(budget, judge, compute_loss, folder / "runs" / "judge", LEARNING_RATE, weight_decay=0.05)
    judge.save(folder / "judge")
    return judge
