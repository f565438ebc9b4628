"""`sdcourse doctor`: is everything there that the course needs?"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import typer

import sdcourse
from sdcourse import runtime
from sdcourse.models import registry
from sdcourse.models.integrity import verify_weights

SHOWN = ("torch", "diffusers", "transformers", "datasets", "ipywidgets", "jupyterlab")
MEMORY_GB = 4
DISK_GB = {"pocket": 1, "full": 5}
WIDGETS = "@jupyter-widgets/jupyterlab-manager"


class Finding(NamedTuple):
    """One line of the report."""

    state: str  # ok, warning or problem
    what: str
    advice: str = ""


def doctor() -> None:
    """Check whether all is there that the course needs.

    Versions, profile, device, memory, disk, widgets and weights, with what to do where something is wrong.
    """
    counts = {"ok": 0, "warning": 0, "problem": 0}
    for finding in findings():
        counts[finding.state] += 1
        typer.echo(f"{finding.state:<8} {finding.what}")
        if finding.advice:
            typer.echo(f"{'':<8} -> {finding.advice}")
    if counts["problem"] or counts["warning"]:
        typer.echo(f"problems: {counts['problem']}, warnings: {counts['warning']}")
    else:
        typer.echo("All is well.")
    if counts["problem"]:
        raise typer.Exit(1)


def findings() -> Iterator[Finding]:
    """The report line by line, as it comes: looking at torch takes seconds."""
    yield Finding("ok", f"sdcourse {sdcourse.__version__}")
    yield from check_versions()
    profile, finding = check_profile()
    yield finding
    yield check_device(profile)
    yield check_cores()
    yield check_memory()
    yield check_disk(profile)
    yield check_widgets()
    yield from check_weights()


def check_versions() -> Iterator[Finding]:
    """Python and the packages, against what pyproject.toml asks for."""
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    try:
        own = metadata.metadata("sdcourse")
    except metadata.PackageNotFoundError:
        yield Finding("problem", "the package is not installed", "run `make env` in the clone")
        return
    pythons = SpecifierSet(own.get("Requires-Python") or "")
    python = platform.python_version()
    if pythons.contains(python, prereleases=True):
        yield Finding("ok", f"python {python}")
    else:
        yield Finding(
            "problem", f"python {python}, but {pythons} is needed", "make the environment with another one"
        )
    for line in own.get_all("Requires-Dist") or []:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            finding = check_package(requirement)
            if requirement.name in SHOWN or finding.state != "ok":
                yield finding


def check_package(requirement) -> Finding:
    """One package, against one requirement such as `torch>=2.11`."""
    name, wanted = requirement.name, str(requirement.specifier)
    advice = f'python -m pip install "{name}{wanted}"'
    try:
        installed = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Finding("problem", f"{name} is missing ({wanted} is needed)", advice)
    if not requirement.specifier.contains(installed, prereleases=True):
        return Finding("problem", f"{name} {installed}, but {wanted} is needed", advice)
    return Finding("ok", f"{name} {installed}")


def check_profile() -> tuple[str, Finding]:
    """The profile, and "pocket" in place of one that does not exist."""
    try:
        profile = runtime.current_profile()
    except ValueError as error:
        return "pocket", Finding("problem", str(error), "correct the environment variable SDCOURSE_PROFILE")
    return profile, Finding("ok", f"profile {profile}")


def check_device(profile: str) -> Finding:
    """What torch computes on."""
    try:
        import torch

        device = runtime.default_device(profile)
    except Exception as error:  # a broken installation can raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        return Finding(
            "problem", f"torch cannot be loaded ({reason})", "python -m pip install --force-reinstall torch"
        )
    if device == "cuda":
        return Finding("ok", f"device cuda ({torch.cuda.get_device_name()})")
    if profile == "full" and device == "cpu":
        advice = "use a machine with a GPU, or the pocket profile"
        return Finding("warning", "device cpu: the full profile takes minutes for a picture", advice)
    return Finding("ok", f"device {device}")


def check_cores() -> Finding:
    """The cores that this process may use, which in a container are fewer than the machine has."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if cores < 2:
        return Finding("warning", "1 core: the lessons are timed for 2", "expect cells to take twice as long")
    return Finding("ok", f"{cores} cores")


def check_memory() -> Finding:
    """Memory of the machine."""
    try:
        import psutil
    except ImportError:
        return Finding("warning", "memory unknown, because psutil is missing")
    memory = psutil.virtual_memory()
    what = f"memory {memory.total / 1e9:.1f} GB, {memory.available / 1e9:.1f} GB free"
    # What is sold as 4 GB reports a little less than 4 × 10⁹ bytes after the system has taken its part.
    if memory.total < 0.9 * MEMORY_GB * 1e9:
        return Finding("warning", f"{what}: the lessons need {MEMORY_GB} GB", "close other programs")
    return Finding("ok", what)


def check_disk(profile: str) -> Finding:
    """Free space where files will be written: here, or in the cache of the hub."""
    folder, where = Path.cwd(), "this folder"  # without its name: the lessons' outputs are for everybody
    if profile == "full":
        folder = Path(os.environ.get("HF_HOME", Path.home() / ".cache")).expanduser()
        while not folder.exists():
            folder = folder.parent
        where = "the cache of the hub"
    free = shutil.disk_usage(folder).free / 1e9
    what = f"disk {free:.1f} GB free in {where}"
    if free < DISK_GB[profile]:
        return Finding("warning", f"{what}: {DISK_GB[profile]} GB are needed", "free some space")
    return Finding("ok", what)


def check_widgets() -> Finding:
    """Whether JupyterLab can draw widgets: without its extension, sliders stay grey."""
    advice = 'python -m pip install --force-reinstall "jupyterlab_widgets>=3", then restart JupyterLab'
    try:
        from jupyter_core.paths import jupyter_path
    except ImportError:
        return Finding("problem", "Jupyter is missing", "python -m pip install jupyterlab ipywidgets")
    for folder in jupyter_path("labextensions"):
        if (Path(folder) / WIDGETS / "package.json").is_file():
            return Finding("ok", "widgets are installed for JupyterLab")
    return Finding("problem", "widgets are not installed for JupyterLab", advice)


def check_weights() -> Iterator[Finding]:
    """The weights that come with the package: there, whole, and as released."""
    problems = verify_weights()
    for problem in problems:
        what, _, advice = problem.partition("; ")
        yield Finding("problem", what, advice.removesuffix("."))
    if not problems:
        names = sorted(folder.name for folder in registry.WEIGHTS_ROOT.iterdir() if folder.is_dir())
        yield Finding("ok", f"weights are whole: {', '.join(names)}")
