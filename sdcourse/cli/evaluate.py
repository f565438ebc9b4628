"""`sdcourse evaluate`: is a model any good?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from sdcourse.cli.arguments import check_writable
from sdcourse.runtime import quiet_libraries


def evaluate(
    model: Annotated[str, typer.Argument(help="pocket-sd, or the folder of a model trained on the gallery.")],
    n: Annotated[int, typer.Option(help="Prompts of each split, 20 to 500.")] = 500,
    scale: Annotated[float, typer.Option(help="Guidance scale.")] = 5.0,
    steps: Annotated[int, typer.Option(help="DPM++ steps.")] = 25,
    out: Annotated[Path, typer.Option(help="Folder for the figures and the report.")] = Path("evaluation"),
) -> None:
    """Measure a model: the judge reads what it draws.

    Prints a table and writes evaluation.json and report.png. Takes about ten minutes on two cores; fewer
    prompts take less.
    """
    if not 20 <= n <= 500:
        raise ValueError(f"--n is {n}: it must be 20 to 500.")
    out = out.expanduser()
    check_writable(out, "--out")

    quiet_libraries()
    from sdcourse import load_judge, load_pipeline, metrics
    from sdcourse.metrics.report import write_report
    from sdcourse.metrics.table import as_table

    figures = metrics.evaluate(load_pipeline(model), load_judge(), n, scale, steps)
    pictures = figures.pop("pictures")
    typer.echo(as_table(figures))
    out.mkdir(parents=True, exist_ok=True)
    (out / "evaluation.json").write_text(json.dumps(figures, indent=1) + "\n")
    write_report(out / "report.png", Path(model).name, figures, pictures)
    typer.echo(f"\nWritten: {out / 'evaluation.json'} and {out / 'report.png'}")
