"""`sdcourse train`: the recipes that made the shipped models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sdcourse.cli.arguments import check_seed, check_writable
from sdcourse.errors import check_name
from sdcourse.models.my_sd import FOLDER_VARIABLE, MY_SD, my_sd_folder
from sdcourse.runtime import available_devices, default_device, quiet_libraries

# As in sdcourse.training.recipes, whose import takes seconds. A test compares them.
NAMES = (
    "tokenizer", "judge", "clip", "vae", "decoder", "unet", "clip-vision", "fashion",
    "fashion-unconditional", "fashion-judge", "gallery-pixels", "pocket-sd", MY_SD,
)  # fmt: skip

DEFAULT_OUT = Path("my-pocket-sd")


def train(
    name: Annotated[
        str,
        typer.Argument(
            help=f"One of {', '.join(NAMES)}. The first six, in order, are the parts of pocket-sd."
        ),
    ],
    budget: Annotated[str, typer.Option(help="Time to train for, in all: 90s, 10m or 2h.")] = "30m",
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the result; parts that belong together share it.", show_default=str(DEFAULT_OUT)
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda or mps.", show_default="the best there is")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of weights and data.")] = 0,
) -> None:
    """Train a model of the course from nothing, or go on with your own, my-sd.

    Stopped and started again, it goes on where it was.
    """
    check_name("recipe", name, NAMES)
    check_seed(seed)
    if name == MY_SD and out:
        raise ValueError(f"--out does not go with {MY_SD}: set the variable {FOLDER_VARIABLE} to move it.")
    out = my_sd_folder() if name == MY_SD else (out or DEFAULT_OUT).expanduser()
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
    if name in ("pocket-sd", MY_SD):
        model = MY_SD if name == MY_SD else out / name
        typer.echo(f'To draw with it: sdcourse txt2img "a photograph of a puppy" --model {model}')
    else:
        typer.echo(f"{name} is trained, in {out}.")
