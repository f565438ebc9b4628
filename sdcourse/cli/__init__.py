"""The command `sdcourse`.

Each command has a module of its own. They import heavy libraries only inside their functions, after their
arguments are checked, so that help and refusals come at once.
"""

from __future__ import annotations

from typing import Annotated

import typer
from typer.core import TyperGroup

from sdcourse.cli.doctor import doctor
from sdcourse.cli.evaluate import evaluate
from sdcourse.cli.grade import grade
from sdcourse.cli.lab import lab
from sdcourse.cli.models import models
from sdcourse.cli.train import train
from sdcourse.cli.txt2img import txt2img


class _OneSentenceErrors(TyperGroup):
    """Commands whose errors are one sentence on stderr, and a traceback only with `--debug`."""

    def parse_args(self, ctx, args):
        # `--debug` is an option of the group, yet people add it at the end of the line that failed.
        end = args.index("--") if "--" in args else len(args)
        if "--debug" in args[:end]:
            args = ["--debug", *(a for a in args[:end] if a != "--debug"), *args[end:]]
        return super().parse_args(ctx, args)

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except Exception as error:
            # Typer (before 0.20: click) reports wrong usage by itself, and ends commands by exceptions too.
            if ctx.params["debug"] or type(error).__module__.partition(".")[0] in ("click", "typer"):
                raise
            typer.echo(_sentence(error), err=True)
            raise typer.Exit(1) from None


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    ours = type(error).__module__.partition(".")[0] == "sdcourse" or isinstance(error, (ValueError, OSError))
    message = " ".join(str(error).split())
    if ours and message:
        return message
    return f"Unexpected error, {type(error).__name__}: {message} (add --debug to see where it comes from)"


app = typer.Typer(
    cls=_OneSentenceErrors,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback()
def course(debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False) -> None:
    """A course on Stable Diffusion: train every part yourself, offline, on a laptop."""


app.command()(txt2img)
app.command()(doctor)
# What `lab` does not know, JupyterLab may.
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(lab)
app.command()(models)
app.command()(train)
app.command()(evaluate)
app.command()(grade)


def main() -> None:
    """Entry point of the console script."""
    app()
