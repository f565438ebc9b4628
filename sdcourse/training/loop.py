"""The loop that every recipe runs in: a time budget, a log, checkpoints, resume.

A recipe gives modules and a function that computes the loss of one batch. Training lasts a given
time, not a given number of steps, so that the same command fits a laptop and a GPU; the learning
rate follows the share of the budget that is spent. Killed at any moment and started again with the
same folder, it goes on from the last checkpoint.

Started by `torchrun --nproc-per-node 2`, the processes train one model together: each draws its share of a
batch, and their gradients are averaged.
"""

import csv
import math
import os
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from diffusers.training_utils import EMAModel
from tqdm.auto import tqdm

CHECKPOINT_EVERY = 120.0  # seconds
LOG_EVERY = 10.0
WARMUP_STEPS = 100


@dataclass
class Progress:
    step: int = 0
    elapsed: float = 0.0  # seconds of training, over all runs


def parse_budget(text: str) -> float:
    """Seconds in "90s", "10m" or "2h".

    Raises:
        ValueError: if `text` is none of these.
    """
    units = {"s": 1, "m": 60, "h": 3600}
    try:
        seconds = float(text[:-1]) * units[text[-1]]
    except (KeyError, ValueError, IndexError):
        seconds = -1
    if not (0 < seconds < math.inf):
        raise ValueError(f"The budget {text!r} is not a time: write it as 90s, 10m or 2h.")
    return seconds


def start_from(folder: Path, kind: type, make: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    """The weights that are in `folder` already, to be made better; else a new model from `make`."""
    return kind.from_pretrained(folder, dtype=torch.float32) if folder.is_dir() else make()


def train_for(
    budget: float,
    module: torch.nn.Module,
    compute_loss: Callable[[int], tuple[torch.Tensor, dict[str, float]]],
    folder: Path,
    learning_rate: float,
    weight_decay: float = 0.01,
    ema_decay: float = 0.999,
) -> Progress:
    """Train `module` for `budget` seconds in all and leave the averaged (EMA) weights in it.

    Args:
        compute_loss: from the number of the step to the loss and the figures to log. It draws its
            own batch, by the number of the step, so that a resumed run sees new data.
        folder: holds `log.csv`, `checkpoint.pt` and the one before it.
    """
    rank, processes = join_processes()
    folder.mkdir(parents=True, exist_ok=True)
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        parameters, lr=learning_rate, weight_decay=weight_decay, betas=(0.9, 0.99), fused=True
    )
    ema = EMAModel(parameters, decay=ema_decay, use_ema_warmup=True, power=0.75, foreach=True)
    progress = load_checkpoint(folder, module, optimizer, ema)
    ema.to(parameters[0].device)
    log = _Log(folder / "log.csv")
    module.train()

    tick = last_save = last_log = time.monotonic()
    bar = tqdm(
        total=round(budget), initial=round(progress.elapsed), unit="s", desc=f"train {folder.name}",
        disable=rank > 0,
    )  # fmt: skip
    try:
        while progress.elapsed < budget:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * _schedule(progress, budget)
            loss, figures = compute_loss(progress.step * processes + rank)
            loss.backward()
            if processes > 1:
                average_gradients(parameters)
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            ema.step(parameters)
            progress.step += 1

            now = time.monotonic()
            progress.elapsed = agree(progress.elapsed + now - tick)
            tick = now
            if rank > 0:
                continue
            if now - last_log > LOG_EVERY:
                log.write(progress, {"loss": loss.item(), **figures})
                bar.set_postfix(step=progress.step, loss=f"{loss.item():.4f}")
                bar.update(min(round(progress.elapsed), bar.total) - bar.n)
                last_log = now
            if now - last_save > CHECKPOINT_EVERY:
                save_checkpoint(folder, module, optimizer, ema, progress)
                last_save = now
    finally:  # also when the learner stops it
        bar.close()
        if rank == 0:
            save_checkpoint(folder, module, optimizer, ema, progress)
    leave_processes()
    if rank > 0:
        raise SystemExit(0)  # the first process has the same weights, and saves them
    ema.copy_to(parameters)
    module.eval()
    return progress


# several processes --------------------------------------------------------------------------


def count_processes() -> int:
    """1, unless torchrun started several."""
    return int(os.environ.get("WORLD_SIZE", 1))


def join_processes() -> tuple[int, int]:
    """The number of this process and how many there are."""
    processes = count_processes()
    if processes == 1:
        return 0, 1
    if not dist.is_initialized():
        dist.init_process_group("gloo")
    rank = dist.get_rank()
    torch.manual_seed(torch.initial_seed() + rank)  # the weights are made; from here on noise should differ
    return rank, processes


def leave_processes() -> None:
    """End the work together: a process that ends while its group's threads run can be aborted."""
    if dist.is_initialized():
        dist.barrier()  # the last message of the others is read
        dist.destroy_process_group()


@contextmanager
def first_alone():
    """The first process does what is inside, then the others do."""
    rank, processes = join_processes()
    if rank > 0:
        dist.barrier()
    yield
    if rank == 0 and processes > 1:
        dist.barrier()


def average_gradients(parameters: list[torch.nn.Parameter]) -> None:
    """Put the mean over all processes into every gradient."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def agree(elapsed: float) -> float:
    """The first process's time, so that all stop after the same step."""
    if not dist.is_initialized():
        return elapsed
    seconds = torch.tensor(elapsed, dtype=torch.float64)
    dist.broadcast(seconds, 0)
    return seconds.item()


def _schedule(progress: Progress, budget: float) -> float:
    """Linear warm-up, then a cosine down to a hundredth."""
    warm = min(1.0, (progress.step + 1) / WARMUP_STEPS)
    return warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress.elapsed / budget))))


class _Log:
    def __init__(self, path: Path):
        self.path = path

    def write(self, progress: Progress, figures: dict[str, float]):
        row = {"step": progress.step, "seconds": round(progress.elapsed, 1)}
        row |= {name: round(float(value), 5) for name, value in figures.items()}
        new = not self.path.exists()
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, row)
            if new:
                writer.writeheader()
            writer.writerow(row)


# checkpoints --------------------------------------------------------------------------------


def save_checkpoint(folder: Path, module, optimizer, ema, progress: Progress):
    """Write beside, then rename: a kill in the middle leaves the checkpoint before."""
    current, previous, fresh = (folder / f"checkpoint{x}.pt" for x in ("", ".previous", ".new"))
    torch.save(
        {
            "module": module.state_dict(),
            "optimizer": optimizer.state_dict(),
            "ema": ema.state_dict(),
            "progress": vars(progress),
        },
        fresh,
    )
    if current.exists():
        current.replace(previous)
    fresh.replace(current)


def load_checkpoint(folder: Path, module, optimizer, ema) -> Progress:
    """Take up the newest checkpoint that is whole; a damaged one is named and passed over."""
    for name in ("checkpoint.pt", "checkpoint.previous.pt"):
        path = folder / name
        if not path.exists():
            continue
        try:
            saved = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds for a damaged file
            tqdm.write(f"{path} is damaged ({type(error).__name__}); trying the one before.")
            continue
        module.load_state_dict(saved["module"])
        optimizer.load_state_dict(saved["optimizer"])
        ema.load_state_dict(saved["ema"])
        progress = Progress(**saved["progress"])
        tqdm.write(f"Going on from {path}: step {progress.step}, {progress.elapsed:.0f} s.")
        return progress
    return Progress()
