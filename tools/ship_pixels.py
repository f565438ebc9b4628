"""Put the trained models on pixels into the package: `python tools/ship_pixels.py runs/fashion`.

Writes sdcourse/weights/{fashion,fashion-unconditional,gallery-pixels,judge-fashion} in half precision,
measures them, and writes what was measured onto their cards. Takes about ten minutes on two idle cores.
"""

import argparse
import json
from pathlib import Path

import torch

from sdcourse.data import BatchLoader, load_fashion
from sdcourse.data.fashion import CLASSES
from sdcourse.metrics import evaluate_pixel_model
from sdcourse.metrics.pixels import class_is_right
from sdcourse.metrics.table import pixel_table
from sdcourse.models import PIXEL_MODELS, load_pixel_model, write_checksums
from sdcourse.models.judge import Judge, load_judge

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = ROOT / "sdcourse" / "weights"
CARDS = Path(__file__).with_name("cards")


def ship(parts: Path):
    Judge.load(parts / "fashion-judge").save(WEIGHTS / "judge-fashion")
    for name in PIXEL_MODELS:
        unet, scheduler = load_pixel_model(parts / name)
        unet.half().save_pretrained(WEIGHTS / name / "unet")
        scheduler.save_pretrained(WEIGHTS / name / "scheduler")
    for file in WEIGHTS.rglob("*.safetensors"):
        file.chmod(0o644)  # safetensors writes for the owner alone, and a lab machine has many users
    write_checksums(WEIGHTS)


def training_log(parts: Path, name: str) -> dict[str, str]:
    step, seconds, *_ = (parts / "runs" / name / "log.csv").read_text().splitlines()[-1].split(",")
    return {"steps": f"{int(step):,}", "minutes": f"{float(seconds) / 60:.0f}"}


def write_words(name: str, values: dict):
    (WEIGHTS / name / "README.md").write_text((CARDS / f"{name}.md").read_text().format(**values))


def write_card(parts: Path, name: str):
    unet, scheduler = load_pixel_model(name)
    figures = evaluate_pixel_model(unet, scheduler)
    millions = sum(p.numel() for p in unet.parameters()) / 1e6
    values = {"weights": f"{millions:.1f}", "n": figures["settings"]["n"], "figures": pixel_table(figures)}
    write_words(name, values | training_log(parts, name))
    (WEIGHTS / name / "measured.json").write_text(json.dumps(figures, indent=1) + "\n")
    print(pixel_table(figures))


def write_judge_card(parts: Path):
    test = next(iter(BatchLoader(load_fashion("pocket")["test"], 10_000, flip=False)))
    right = class_is_right(load_judge("fashion"), test["images"], test["labels"])
    shares = {name: right[test["labels"] == label].mean() for label, name in enumerate(CLASSES)}
    values = training_log(parts, "fashion-judge") | {
        "accuracy": f"{right.mean():.3f}",
        "classes": "\n".join(f"| {name} | {share:.3f} |" for name, share in shares.items()),
    }
    write_words("judge-fashion", values)
    print("judge", values["accuracy"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", type=Path, help="the folder that `sdcourse train` wrote")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    ship(arguments.parts)
    write_judge_card(arguments.parts)
    for name in PIXEL_MODELS:
        write_card(arguments.parts, name)
