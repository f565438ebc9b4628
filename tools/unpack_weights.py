"""Lay the shipped weights out as parts, to train them further: `python tools/unpack_weights.py runs/next`.

Then `sdcourse train unet --budget 1h --out runs/next`, and `python tools/ship_weights.py runs/next`.
"""

import argparse
import shutil
from pathlib import Path

WEIGHTS = Path(__file__).resolve().parent.parent / "sdcourse" / "weights"


def unpack(parts: Path):
    for name in ("vae", "unet", "text_encoder", "tokenizer"):
        shutil.copytree(WEIGHTS / "pocket-sd" / name, parts / name)
    shutil.copytree(WEIGHTS / "pocket-clip", parts / "clip")
    shutil.copytree(WEIGHTS / "judge", parts / "judge")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", type=Path, help="a folder that does not exist yet")
    unpack(parser.parse_args().parts)
