"""`sdcourse evaluate`: is a model any good?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from sdcourse.cli.arguments import check_writable
from sdcourse.runtime import quiet_libraries


def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            help="pocket-sd, my-sd, fashion, fashion-unconditional, gallery-pixels, or such a folder."
        ),
    ],
    n: Annotated[int, typer.Option(help="Pictures, or prompts of each split, 20 to 500.")] = 500,
    scale: Annotated[
        float | None, typer.Option(help="Guidance scale.", show_default="5 for prompts, 2 for classes")
    ] = None,
    steps: Annotated[int, typer.Option(help="Steps: of DPM++, and of DDPM for a model on pixels.")] = 25,
    out: Annotated[Path, typer.Option(help="Folder for the figures and the report.")] = Path("evaluation"),
) -> None:
    """Measure a model: the judge reads what it draws.

    Prints a table and writes evaluation.json; for a Stable Diffusion report.png too. Takes about a quarter of
    an hour on two cores; fewer pictures take less.
    """
    if not 20 <= n <= 500:
        raise ValueError(f"--n is {n}: it must be 20 to 500.")
    out = out.expanduser()
    check_writable(out, "--out")

    quiet_libraries()
    from sdcourse import load_judge, load_pipeline, load_pixel_model, metrics
    from sdcourse.metrics.report import write_report
    from sdcourse.metrics.table import as_table, beside_table, pixel_table
    from sdcourse.models import MODELS, find_pixel_model
    from sdcourse.models.my_sd import MY_SD

    if find_pixel_model(model):
        figures = metrics.evaluate_pixel_model(
            *load_pixel_model(model), n, 2.0 if scale is None else scale, steps
        )
        typer.echo(pixel_table(figures))
        typer.echo(f"\nWritten: {_write(out, figures)}")
        return
    figures = metrics.evaluate(load_pipeline(model), load_judge(), n, 5.0 if scale is None else scale, steps)
    pictures = figures.pop("pictures")
    typer.echo(as_table(figures))
    if model == MY_SD:
        measured = json.loads((MODELS["pocket-sd"].folder / "measured.json").read_text())
        typer.echo("\n" + beside_table({MY_SD: figures, "pocket-sd": measured}))
    written = _write(out, figures)
    write_report(out / "report.png", Path(model).name, figures, pictures)
    typer.echo(f"\nWritten: {written} and {out / 'report.png'}")


def _write(out: Path, figures: dict) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    path = out / "evaluation.json"
    path.write_text(json.dumps(figures, indent=1) + "\n")
    return path
