"""What all sampling loops share: schedulers by name, and a random generator for each picture."""

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sdcourse.errors import check_name

if TYPE_CHECKING:
    import torch
    from diffusers import SchedulerMixin

SCHEDULERS = {
    "pndm": "PNDMScheduler",
    "ddim": "DDIMScheduler",
    "ddpm": "DDPMScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler-a": "EulerAncestralDiscreteScheduler",
    "dpm++": "DPMSolverMultistepScheduler",
}


def make_scheduler(current: "SchedulerMixin", name: str | None = None) -> "SchedulerMixin":
    """A fresh scheduler with the settings of `current`; of its class, or of the class called `name`.

    Fresh, because a scheduler remembers the steps of the loop that it served.
    """
    import diffusers

    if name is None:
        kind = type(current)
    else:
        kind = getattr(diffusers, SCHEDULERS[check_name("scheduler", name, SCHEDULERS)])
    return kind.from_config(current.config)


def step_arguments(scheduler, generators) -> dict:
    """Schedulers that add noise take it from the pictures' own generators."""
    takes = inspect.signature(scheduler.step).parameters
    return {"generator": generators} if "generator" in takes else {}


def make_generators(seed: int | Sequence[int], n: int) -> "list[torch.Generator]":
    """One for each picture, so that a picture does not depend on its neighbours in the batch."""
    import torch

    seeds = [seed + i for i in range(n)] if isinstance(seed, int) else [int(s) for s in seed]
    if len(seeds) != n:
        raise ValueError(
            f"There are {len(seeds)} seeds for {n} pictures: give one number, or one for each picture."
        )
    return [torch.Generator().manual_seed(s) for s in seeds]
