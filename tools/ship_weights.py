"""Put trained parts into the package: `python tools/ship_weights.py runs/pocket-sd`.

Writes sdcourse/weights/{pocket-sd,pocket-clip,judge} in half precision, measures them, and writes what was
measured onto their cards. Takes about a quarter of an hour on two idle cores.
"""

import argparse
import json
from pathlib import Path

import torch
from transformers import CLIPModel, CLIPTokenizer

from sdcourse.metrics import evaluate, table
from sdcourse.models import load_pipeline, write_checksums
from sdcourse.models.judge import Judge, load_judge
from sdcourse.training.recipes import assemble

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = ROOT / "sdcourse" / "weights"


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


def training_times(parts: Path) -> str:
    """A table row per part: steps and minutes, as the logs have them."""
    rows = []
    for log in sorted(parts.glob("runs/*/log.csv")):
        step, seconds, *_ = log.read_text().splitlines()[-1].split(",")
        rows.append(f"| {log.parent.name} | {int(step):,} | {float(seconds) / 60:.0f} |")
    return "\n".join(rows)


def write_cards(parts: Path, figures: dict):
    cards = Path(__file__).with_name("cards")
    judge = figures["judge on renders"]
    settings = figures["settings"]
    values = {
        "settings": f"{settings['n']} prompts of each split, guidance scale {settings['guidance scale']:g}, "
        f"{settings['steps']} DPM++ steps",
        "accuracy": table.accuracy_table(figures),
        "known": table.known_table(figures),
        "guidance": table.curve_table("guidance scale", figures["guidance curve"]),
        "steps": table.curve_table("steps", figures["steps curve"]),
        "steps_mild": table.curve_table("steps", figures["steps curve at scale 2"]),
        "negative": table.negative_prompt_table(figures),
        "quality": table.quality_table(figures),
        "judge": table.judge_table(figures),
        "judge_mean": f"{sum(judge.values()) / len(judge):.3f}",
        "choice": f"{figures['clip caption choice']:.3f}",
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
    parser.add_argument("--scale", type=float, default=5.0, help="guidance scale of the tables")
    arguments = parser.parse_args()
    ship(arguments.parts)
    write_checksums(WEIGHTS)
    measured = evaluate(load_pipeline("pocket-sd"), load_judge(), guidance_scale=arguments.scale)
    del measured["pictures"]
    write_cards(arguments.parts, measured)
    print(table.as_table(measured))
