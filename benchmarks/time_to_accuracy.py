"""How long a learner trains until pictures show what was asked for: our recipe against the usual one.

`python benchmarks/time_to_accuracy.py --minutes 30`: of training, each; measuring takes as long again.

Usual: a `UNet2DModel` of 16 million weights, learning rate 3e-4, batches of 64, plain mean squared error,
float32, as tutorials on class-conditional diffusion have it; they train it for 25 epochs and sample with 1000
steps of DDPM. Ours: `sdcourse train fashion`. Both train on the same data at the same time, each with one
thread, and stop their clock while they are measured: 100 pictures, 25 DDPM steps, read by the judge. The
usual recipe does not get to its 25 epochs in the time; so they are compared at the best accuracy it reaches.

Writes benchmarks/time_to_accuracy.json.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import UNet2DModel
from diffusers.training_utils import EMAModel

import sdcourse
from sdcourse.data.fashion import CLASSES
from sdcourse.metrics.pixels import class_is_right, draw_pixels
from sdcourse.models.components import make_pixel_scheduler, make_pixel_unet
from sdcourse.runtime import quiet_libraries
from sdcourse.training.pixels import (
    LABEL_DROPOUT,
    LEARNING_RATE,
    fashion_batches,
    pixel_loss,
    use_plain_attention,
)

RESULTS = Path(__file__).with_suffix(".json")
MEASURE_EVERY = {"ours": 30.0, "usual": 240.0}  # seconds of training; the usual network is slow to draw
PICTURES = 100
USUAL_EPOCHS, USUAL_STEPS, EPOCH = 25, 1000, 60_000


class Ours:
    """`sdcourse train fashion`, with a constant learning rate, so that it can be stopped at any moment."""

    guidance_scale = 2.0

    def __init__(self):
        self.unet, self.scheduler = make_pixel_unet(num_class_embeds=len(CLASSES) + 1), make_pixel_scheduler()
        use_plain_attention(self.unet)
        self.batches = fashion_batches(seed=0)
        self.optimizer = torch.optim.AdamW(self.unet.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.99))
        self.ema = EMAModel(self.unet.parameters(), decay=0.999, use_ema_warmup=True, power=0.75)

    def step(self) -> int:
        batch = next(self.batches)
        dropped = torch.rand(len(batch["labels"])) < LABEL_DROPOUT
        labels = torch.where(dropped, len(CLASSES), batch["labels"])
        with torch.autocast("cpu", torch.bfloat16):
            loss = pixel_loss(self.unet, self.scheduler, batch["images"], labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.unet.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.ema.step(self.unet.parameters())
        return len(labels)

    def draw(self, labels):
        self.ema.store(self.unet.parameters())
        self.ema.copy_to(self.unet.parameters())
        pictures = draw_pixels(self.unet, self.scheduler, labels, self.guidance_scale)
        self.ema.restore(self.unet.parameters())
        return pictures


class Usual:
    """What tutorials do."""

    def __init__(self):
        self.unet = UNet2DModel(
            sample_size=32, in_channels=1, out_channels=1, layers_per_block=2,
            block_out_channels=(64, 128, 256),
            down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"), num_class_embeds=len(CLASSES),
        )  # fmt: skip
        self.scheduler = make_pixel_scheduler()
        self.batches = fashion_batches(seed=0, batch_size=64)
        self.optimizer = torch.optim.AdamW(self.unet.parameters(), lr=3e-4)

    def step(self) -> int:
        batch = next(self.batches)
        noise = torch.randn_like(batch["images"])
        timesteps = torch.randint(0, 1000, (len(noise),))
        noisy_images = self.scheduler.add_noise(batch["images"], noise, timesteps)
        noise_pred = self.unet(noisy_images, timesteps, class_labels=batch["labels"]).sample
        F.mse_loss(noise_pred, noise).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return len(noise)

    def draw(self, labels):
        return draw_pixels(self.unet, self.scheduler, labels)


def train_and_measure(name: str, minutes: float):
    """Print one JSON line for each measurement: seconds of training, pictures seen, accuracy."""
    quiet_libraries()
    torch.manual_seed(0)
    recipe = {"ours": Ours, "usual": Usual}[name]()
    judge = sdcourse.load_judge("fashion")
    labels = torch.arange(len(CLASSES)).repeat_interleave(PICTURES // len(CLASSES))
    seconds, seen, due = 0.0, 0, MEASURE_EVERY[name]
    while seconds < minutes * 60:
        start = time.monotonic()
        seen += recipe.step()
        seconds += time.monotonic() - start
        if seconds > min(due, minutes * 60):
            start = time.monotonic()
            accuracy = class_is_right(judge, recipe.draw(labels), labels).mean().item()
            point = {"seconds": seconds, "pictures": seen, "accuracy": accuracy}
            print(json.dumps(point | {"seconds to draw": time.monotonic() - start}), flush=True)
            due += MEASURE_EVERY[name]


def compare(curves: dict[str, list[dict]]) -> dict:
    """Seconds of both at the best accuracy of the usual recipe, and of ours at 0.90."""

    def reached(curve, accuracy):
        return next((point["seconds"] for point in curve if point["accuracy"] >= accuracy), None)

    best = max(point["accuracy"] for point in curves["usual"])
    ours, usual = (reached(curves[name], best) for name in ("ours", "usual"))
    last = curves["usual"][-1]
    epoch = EPOCH * last["seconds"] / last["pictures"]
    step = last["seconds to draw"] / 25
    return {
        "accuracy of the usual recipe": best,
        "seconds of ours": ours,
        "seconds of the usual": usual,
        "ratio": ours / usual if ours else None,
        "seconds of ours to 0.90": reached(curves["ours"], 0.90),
        "seconds of the usual to 0.90": reached(curves["usual"], 0.90),
        "hours of 25 usual epochs, computed": USUAL_EPOCHS * epoch / 3600,
        "hours to draw 100 pictures in 1000 steps, computed": USUAL_STEPS * step / 3600,
    }


def main(minutes: float):
    command = [sys.executable, __file__, "--minutes", str(minutes), "--recipe"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    children = {
        name: subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True, env=environment)
        for name in ("ours", "usual")
    }
    curves = {
        name: list(map(json.loads, child.communicate()[0].splitlines())) for name, child in children.items()
    }
    results = {"minutes": minutes, "curves": curves} | compare(curves)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps({k: v for k, v in results.items() if k != "curves"}, indent=1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0, help="of training, each")
    parser.add_argument("--recipe", choices=["ours", "usual"], help="one of them only; for its own use")
    arguments = parser.parse_args()
    if arguments.recipe:
        train_and_measure(arguments.recipe, arguments.minutes)
    else:
        main(arguments.minutes)
