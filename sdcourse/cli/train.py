"""`sdcourse train`: the recipes that made the shipped models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sdcourse.cli.arguments import check_seed, check_writable
from sdcourse.errors import check_name
from sdcourse.runtime import available_devices, default_device, quiet_libraries

# As in sdcourse.training.recipes, whose import takes seconds. A test compares them.
NAMES = (
    "tokenizer", "judge", "clip", "vae", "decoder", "unet", "clip-vision", "fashion",
    "fashion-unconditional", "fashion-judge", "gallery-pixels", "pocket-sd",
)  # fmt: skip


def train(
    name: Annotated[
        str, typer.Argument(help=f"One of {', '.join(NAMES)} (its parts, the first six, in order).")
    ],
    budget: Annotated[str, typer.Option(help="Time to train for, in all: 90s, 10m or 2h.")] = "30m",
    out: Annotated[
        Path, typer.Option(help="Folder for the result; parts that belong together share it.")
    ] = Path("my-pocket-sd"),
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda or mps.", show_default="the best there is")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of weights and data.")] = 0,
) -> None:
    """Train a model of the course from nothing.

    Stopped and started again, it goes on where it was.
    """
    check_name("recipe", name, NAMES)
    check_seed(seed)
    out = out.expanduser()
    check_writable(out, "--out")

    quiet_libraries()
    from sdcourse.training import recipes
    from sdcourse.training.loop import parse_budget

    seconds = parse_budget(budget)
    device = device or default_device()
    check_name("device", device.partition(":")[0], available_devices())
    try:
        recipes.train(name, out, seconds, device, seed)
    except KeyboardInterrupt:
        typer.echo("\nStopped; the same command goes on from the last checkpoint.", err=True)
        raise typer.Exit(130) from None
    if name == "pocket-sd":
        typer.echo(f'To draw with it: sdcourse txt2img "a photograph of a puppy" --model {out / name}')
    else:
        typer.echo(f"{name} is trained, in {out}.")
