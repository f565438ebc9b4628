"""`sdcourse lab`: JupyterLab in the folder of the notebooks."""

from __future__ import annotations

import os
from pathlib import Path

import typer

CONFIG = Path(__file__).parent / "jupyter"
"""Settings of JupyterLab that hold unless the user chose otherwise: no question about Jupyter news."""


def lab(ctx: typer.Context) -> None:
    """Open JupyterLab in the notebooks folder.

    Arguments for JupyterLab go after two dashes: sdcourse lab -- --no-browser --port 9999
    """
    notebooks = find_notebooks()
    paths = [str(CONFIG), os.environ.get("JUPYTER_CONFIG_PATH", "")]
    # A path beside the user's own configuration, which stays as it is and is stronger.
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(filter(None, paths))
    # The clone is the root, because the exercises lie beside the notebooks.
    arguments = [f"--ServerApp.root_dir={notebooks.parent}", f"--ServerApp.preferred_dir={notebooks}"]
    # In a container people are root, and without this JupyterLab refuses to start. It still listens to this
    # machine only, and asks for its token.
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments.append("--allow-root")

    from jupyterlab import labapp

    labapp.main([*arguments, *ctx.args])


def find_notebooks() -> Path:
    """`notebooks/` of the clone around the current folder, else of the clone that is installed.

    Raises:
        FileNotFoundError: neither is there, as after installing a wheel.
    """
    here = Path.cwd()
    installed_from = Path(__file__).resolve().parents[2]
    for folder in (here, *here.parents, installed_from):
        ours = (folder / "sdcourse" / "__init__.py").is_file() and (folder / "pyproject.toml").is_file()
        if ours and (folder / "notebooks").is_dir():
            return folder / "notebooks"
    raise FileNotFoundError(
        "The notebooks are not part of the installed package: run `sdcourse lab` in a clone of the "
        "repository, or open a folder that holds copies with `jupyter lab FOLDER`."
    )
