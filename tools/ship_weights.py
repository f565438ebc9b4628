"""Put trained parts into the package: `python tools/ship_weights.py runs/pocket-sd`.

Writes sdcourse/weights/{pocket-sd,pocket-clip,judge} in half precision, measures them, and writes what was
measured onto their cards. Takes about ten minutes on two cores.
"""

import argparse
import json
from pathlib import Path

import torch
from transformers import CLIPModel, CLIPTokenizer

from sdcourse.data.gallery import ATTRIBUTES, random_scenes, render
from sdcourse.metrics import measure_accuracy
from sdcourse.models import write_checksums
from sdcourse.models.judge import Judge, load_judge
from sdcourse.training.recipes import assemble

WEIGHTS = Path(__file__).resolve().parent.parent / "sdcourse" / "weights"
FRESH = 123_456  # seed of pictures that no training saw


def ship(parts: Path):
    Judge.load(parts / "judge").save(WEIGHTS / "judge")
    clip = CLIPModel.from_pretrained(parts / "clip", dtype=torch.float32)
    clip.half().save_pretrained(WEIGHTS / "pocket-clip")
    CLIPTokenizer.from_pretrained(parts / "tokenizer").save_pretrained(WEIGHTS / "pocket-clip")
    config = WEIGHTS / "pocket-clip" / "config.json"
    config.write_text(config.read_text().replace('"dtype": "float16"', '"dtype": "float32"'))
    assemble(parts, WEIGHTS / "pocket-sd")  # over what is there: the log of what was tried stays
    for file in WEIGHTS.rglob("*.safetensors"):
        file.chmod(0o644)  # safetensors writes for the owner alone, and a lab machine has many users


def measure() -> dict:
    """Everything that the cards state."""
    from sdcourse import load_pipeline

    pipe, judge = load_pipeline("pocket-sd"), load_judge()
    figures = {"judge": judge_on_renders(judge), "psnr": vae_psnr(pipe.vae)}
    for split in ("train", "heldout"):
        accuracy = measure_accuracy(pipe, judge, split=split)
        figures[split] = {**accuracy.per_attribute, "mean": accuracy.mean, "all right": accuracy.all_right}
    return figures


def judge_on_renders(judge: Judge, n: int = 2000) -> dict[str, float]:
    scenes = random_scenes(n // 2, FRESH) + random_scenes(n // 2, FRESH, "heldout")
    readings = judge.read(render(scenes).float() / 127.5 - 1)
    pairs = list(zip(readings, scenes, strict=True))
    return {a: sum(read[a] == getattr(scene, a) for read, scene in pairs) / n for a in ATTRIBUTES}


@torch.no_grad()
def vae_psnr(vae, n: int = 512) -> float:
    """Decibels over held-out renders, mean over pictures."""
    images = render(random_scenes(n, FRESH, "heldout")).float() / 127.5 - 1
    psnr = []
    for part in images.split(64):
        output = vae.decode(vae.encode(part).latent_dist.mode()).sample.clamp(-1, 1)
        psnr.append(-10 * torch.log10((output - part).square().mean((1, 2, 3)) / 4))
    return torch.cat(psnr).mean().item()


def training_times(parts: Path) -> str:
    """A table row per part: steps and minutes, as the logs have them."""
    rows = []
    for log in sorted(parts.glob("runs/*/log.csv")):
        step, seconds, *_ = log.read_text().splitlines()[-1].split(",")
        rows.append(f"| {log.parent.name} | {int(step):,} | {float(seconds) / 60:.0f} |")
    return "\n".join(rows)


def write_cards(parts: Path, figures: dict):
    cards = Path(__file__).with_name("cards")
    named = [a for a in ATTRIBUTES if a in figures["train"]]
    train, heldout = figures["train"], figures["heldout"]
    accuracy = [f"| {a} | {train[a]:.3f} | {heldout[a]:.3f} |" for a in [*named, "mean", "all right"]]
    values = {
        "accuracy": "\n".join(accuracy),
        "judge": "\n".join(f"| {a} | {value:.3f} |" for a, value in figures["judge"].items()),
        "judge_mean": f"{sum(figures['judge'].values()) / len(figures['judge']):.3f}",
        "psnr": f"{figures['psnr']:.1f}",
        "times": training_times(parts),
    }
    for name in ("pocket-sd", "pocket-clip", "judge"):
        text = (cards / f"{name}.md").read_text()
        for key, value in values.items():
            text = text.replace("{" + key + "}", value)
        (WEIGHTS / name / "README.md").write_text(text)
    (WEIGHTS / "pocket-sd" / "measured.json").write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", type=Path, help="the folder that `sdcourse train` wrote")
    folder = parser.parse_args().parts
    ship(folder)
    write_checksums(WEIGHTS)
    measured = measure()
    write_cards(folder, measured)
    print(json.dumps(measured, indent=1))
