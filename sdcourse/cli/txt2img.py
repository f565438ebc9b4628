"""`sdcourse txt2img`: from a prompt to PNG files."""

from __future__ import annotations

import math
import platform
import re
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

import sdcourse
from sdcourse.cli.arguments import check_seed, check_writable
from sdcourse.errors import check_name
from sdcourse.models import registry
from sdcourse.runtime import quiet_libraries
from sdcourse.sampling import SCHEDULERS

MAX_STEPS = 1000  # the training steps of every Stable Diffusion; the loop checks those of the model
MULTIPLE = 8  # pixels for one latent
PIXELS_AT_ONCE = 512 * 512


def txt2img(
    prompt: Annotated[str, typer.Argument(help='What to draw. "" draws without a prompt.')],
    negative_prompt: Annotated[str, typer.Option(help="What to steer away from.")] = "",
    scale: Annotated[
        float, typer.Option(help="Guidance scale: 1 plainly, more exaggerates the prompt.")
    ] = 7.5,
    steps: Annotated[int, typer.Option(help=f"Denoising steps, 1 to {MAX_STEPS}.")] = 30,
    seed: Annotated[int, typer.Option(help="Of the first picture; the next one has the next seed.")] = 0,
    scheduler: Annotated[
        str | None, typer.Option(help=f"One of {', '.join(SCHEDULERS)}.", show_default="the model's own")
    ] = None,
    n_samples: Annotated[int, typer.Option(help="Pictures to draw; several also give a grid.")] = 1,
    size: Annotated[
        str | None,
        typer.Option(help="Pixels: 64, or 96x64 (width x height).", show_default="the model's own"),
    ] = None,
    outdir: Annotated[
        Path, typer.Option(help="Folder for the pictures; nothing in it is overwritten.")
    ] = Path("outputs"),
    model: Annotated[
        str | None,
        typer.Option(
            help="A name that `sdcourse models` lists, a folder of diffusers or a .safetensors file.",
            show_default="that of the profile",
        ),
    ] = None,
) -> None:
    """Draw what a prompt says, into PNG files.

    The prompt and all settings are kept inside the files.
    """
    check_numbers(scale, steps, n_samples)
    check_seed(seed)
    check_seed(seed + n_samples - 1)
    width, height = parse_size(size)
    if scheduler is not None:
        check_name("scheduler", scheduler, SCHEDULERS)
    model = model or registry.default_model()
    if model in registry.MODELS:
        check_pipeline_class(model, registry.MODELS[model].pipeline_class)
    outdir = outdir.expanduser()
    check_writable(outdir, "--outdir")

    quiet_libraries()
    warnings.showwarning = lambda message, *_: typer.echo(f"Warning: {message}", err=True)
    typer.echo(f"Loading {model} ...", err=True)
    pipe = sdcourse.load_pipeline(model)
    check_pipeline_class(model, type(pipe).__name__)

    trained_on = pipe.unet.config.sample_size * pipe.vae_scale_factor
    width, height = width or trained_on, height or trained_on
    settings = {  # as text_to_image calls them
        "prompt": prompt,
        "negative_prompt": negative_prompt,
        "guidance_scale": scale,
        "num_inference_steps": steps,
        "seed": seed,
        "scheduler": scheduler or scheduler_name(pipe.scheduler),
        "width": width,
        "height": height,
        "model": model,
        "device": pipe.unet.device.type,
        "dtype": str(pipe.unet.dtype).removeprefix("torch."),
        "versions": {
            "python": platform.python_version(),
            "sdcourse": sdcourse.__version__,
            **{name: version(name) for name in ("torch", "diffusers", "transformers")},
        },
    }

    # As many at once as make up one picture of 512×512, so that memory does not grow with their number.
    at_once = max(1, PIXELS_AT_ONCE // (width * height))
    pictures = []
    for start in range(0, n_samples, at_once):
        batch = sdcourse.text_to_image(
            pipe,
            prompt,
            negative_prompt=negative_prompt,
            guidance_scale=scale,
            num_inference_steps=steps,
            seed=seed + start,
            scheduler=scheduler,
            height=height,
            width=width,
            num_images_per_prompt=min(at_once, n_samples - start),
        )
        for picture in batch:
            own = settings | {"seed": seed + len(pictures)}
            typer.echo(save_numbered(picture, outdir, "picture", own))
            pictures.append(picture)
    if n_samples > 1:
        grid = sdcourse.image_grid(pictures)
        typer.echo(save_numbered(grid, outdir, "grid", settings | {"n_samples": n_samples}))


def check_numbers(scale: float, steps: int, n_samples: int) -> None:
    """Raise ValueError for a number that no model takes, in the words of the command line."""
    if not (scale >= 0 and math.isfinite(scale)):
        raise ValueError(
            f"--scale is {scale:g}: it must be 0 or more (1 is no guidance, 7.5 is usual); "
            "to steer away from something, use --negative-prompt."
        )
    if not 1 <= steps <= MAX_STEPS:
        raise ValueError(f"--steps is {steps}: it must be 1 to {MAX_STEPS}; 20 to 50 are usual.")
    if n_samples < 1:
        raise ValueError(f"--n-samples is {n_samples}: it must be 1 or more.")


def parse_size(size: str | None) -> tuple[int | None, int | None]:
    """Width and height from "64" or "96x64"; None for both without a size.

    Raises:
        ValueError: not of that form, or not a multiple of 8.
    """
    if size is None:
        return None, None
    match = re.fullmatch(r"(\d+)(?:[x×](\d+))?", size.strip())
    if not match:
        raise ValueError(f"--size is {size!r}: write it as 64, or as 96x64 for width and height.")
    width, height = int(match[1]), int(match[2] or match[1])
    for name, pixels in (("width", width), ("height", height)):
        if pixels < MULTIPLE or pixels % MULTIPLE:
            near = max(1, round(pixels / MULTIPLE)) * MULTIPLE
            raise ValueError(
                f"--size gives a {name} of {pixels}: it must be a multiple of {MULTIPLE}, for example {near}."
            )
    return width, height


def check_pipeline_class(model: str, class_name: str) -> None:
    """Raise ValueError for kinds of models that the loop of `text_to_image` does not drive."""
    if class_name != "StableDiffusionPipeline":
        fit = [s.name for s in registry.MODELS.values() if s.pipeline_class == "StableDiffusionPipeline"]
        raise ValueError(
            f"{model} is a {class_name}, which txt2img cannot drive yet. Allowed: {', '.join(fit)}."
        )


def scheduler_name(scheduler: Any) -> str:
    """What `--scheduler` calls it, or its class where it has no such name."""
    class_name = type(scheduler).__name__
    return next((name for name, cls in SCHEDULERS.items() if cls == class_name), class_name)


def save_numbered(picture: Any, folder: Path, stem: str, settings: dict[str, Any]) -> Path:
    """Save as `stem-0000.png` or the number after the highest one there is, with the settings inside."""
    from sdcourse.images import save_image
    from sdcourse.settings_png import settings_info

    names = [file.name for file in folder.iterdir()] if folder.is_dir() else []
    matches = [re.fullmatch(rf"{stem}-(\d+)\.png", name) for name in names]
    number = 1 + max((int(m[1]) for m in matches if m), default=-1)
    while True:
        try:
            return save_image(picture, folder / f"{stem}-{number:04}.png", info=settings_info(settings))
        except FileExistsError:  # another sdcourse took it a moment ago
            number += 1
