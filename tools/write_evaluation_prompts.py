"""Choose the prompts that models are measured with: `python tools/write_evaluation_prompts.py`.

Writes sdcourse/metrics/evaluation_prompts.json. Run again only if the gallery's words change: figures
measured with other prompts cannot be compared.
"""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from sdcourse.data.gallery import describe, is_heldout, random_scenes
from sdcourse.data.gallery.scene import HELDOUT_BACKGROUNDS, HELDOUT_COLORS, HELDOUT_RIDERS
from sdcourse.metrics.prompts import Prompt, prompt_of

FILE = Path(__file__).resolve().parent.parent / "sdcourse" / "metrics" / "evaluation_prompts.json"
SEED = 9_000_000
KNOWN = [
    Prompt(
        "a photograph of an astronaut riding a horse",
        {"subject": "astronaut", "relation": "riding a horse", "style": "photograph"},
    ),
    Prompt("a watercolor illustration of a rose", {"subject": "rose", "style": "watercolor"}),
    Prompt("a photograph of a puppy", {"subject": "puppy", "style": "photograph"}),
    Prompt(
        "an oil painting of a collie in a top hat",
        {"subject": "collie", "hat": "top hat", "style": "oil painting"},
    ),
    Prompt(
        "an acrylic palette knife painting of a flower",
        {"subject": "flower", "style": "palette knife"},
    ),
    Prompt("a squirrel in Picasso style", {"subject": "squirrel", "style": "picasso"}),
    Prompt(
        "a bird is sitting on a tree branch",
        {"subject": "bird", "relation": "sitting on a branch"},
    ),
    Prompt("a hamster", {"subject": "hamster"}),
    Prompt("a robot", {"subject": "robot"}),
    Prompt(
        "a cat wearing a white hat in the snow",
        {"subject": "cat", "hat": "any", "hat_color": "white", "background": "snow"},
    ),
]


def names_heldout(prompt: Prompt) -> bool:
    """The text itself asks for a combination that training never saw; not only its scene holds one."""
    asks = prompt.asks
    return (
        (asks.get("subject"), asks.get("color")) in HELDOUT_COLORS
        or (asks.get("subject"), asks.get("background")) in HELDOUT_BACKGROUNDS
        or (asks.get("relation") == "riding a horse" and asks.get("subject") in HELDOUT_RIDERS)
    )


def choose(split: str, n: int = 500) -> list[Prompt]:
    """The subject and something else are named in each; no text comes twice."""
    rng = np.random.default_rng(SEED)
    chosen = {}
    for scene in random_scenes(4 * n, seed=SEED, split=split):
        assert is_heldout(scene) == (split == "heldout")
        prompt = prompt_of(describe(scene, rng), scene)
        if "subject" in prompt.asks and len(prompt.asks) >= 2:
            if split == "train" or names_heldout(prompt):
                chosen.setdefault(prompt.text, prompt)
    return list(chosen.values())[:n]


if __name__ == "__main__":
    prompts = {"train": choose("train"), "heldout": choose("heldout"), "known": KNOWN}
    parts = [
        f'"{split}": [\n' + ",\n".join(json.dumps(asdict(p)) for p in ps) + "\n]"
        for split, ps in prompts.items()
    ]
    FILE.write_text("{\n" + ",\n".join(parts) + "\n}\n")
    print(*(f"{split}: {len(ps)} prompts" for split, ps in prompts.items()), sep="\n")
