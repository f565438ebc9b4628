"""Every instrument at once: what `sdcourse evaluate` measures."""

from collections import Counter
from dataclasses import asdict
from functools import partial

import torch

from sdcourse.data.gallery import ATTRIBUTES, random_scenes, render
from sdcourse.models.clip import load_clip
from sdcourse.models.judge import Judge

from .accuracy import Accuracy, attribute_accuracy
from .clip_score import FRESH, caption_choice, clip_score
from .distance import diversity, frechet_distance
from .drawing import draw_pictures
from .prompts import Prompt, evaluation_prompts
from .reconstruction import measure_reconstruction

SCALES = (1.0, 2.0, 3.0, 5.0, 7.5, 12.0, 20.0)
STEPS = (2, 4, 6, 8, 15, 25)
STEPS_OF_GOAL = 100
REFERENCES = 10  # renders for each picture, as references of the Fréchet distance
SEEDS_FOR_DIVERSITY = 8
SEEDS_OF_KNOWN = 16


def evaluate(pipe, judge: Judge, n: int = 500, guidance_scale: float = 5.0, steps: int = 25) -> dict:
    """Measure a Stable Diffusion that draws the gallery.

    Args:
        pipe: as from `load_pipeline`; pictures of 64×64.
        n: prompts of each split, 20 to 500. The curves, which need many pictures for each point, take a
            quarter of them.
        guidance_scale, steps: of the pictures in the tables, drawn with DPM++.

    Returns:
        nested dictionaries of numbers, ready for JSON; under "pictures", which is not, the first pictures
        of the known prompts for the report.

    Raises:
        ValueError: if `n` is out of range or the model's pictures are not of 64×64.
    """
    if not 20 <= n <= 500:
        raise ValueError(f"The number of prompts is {n}: it must be 20 to 500.")
    size = pipe.unet.config.sample_size * pipe.vae_scale_factor
    if size != 64:
        raise ValueError(
            f"This model draws pictures of {size}×{size}: the judge reads pictures of 64×64, those of models "
            "that were trained on the pocket gallery."
        )
    draw = partial(draw_pictures, pipe, guidance_scale=guidance_scale, num_inference_steps=steps)
    figures = {
        "settings": {"n": n, "guidance scale": guidance_scale, "steps": steps, "scheduler": "dpm++"},
        "judge on renders": judge_on_renders(judge),
        "vae": asdict(measure_reconstruction(pipe.vae, renders(n, "heldout"))),
    }
    for split in ("train", "heldout"):
        prompts = evaluation_prompts(n, split)
        pictures = draw([p.text for p in prompts], desc=f"{split} prompts")
        readings = judge.read(pictures)
        figures[split] = in_numbers(attribute_accuracy(readings, prompts))
        if split == "train":
            figures["confusion"] = confusion(readings, prompts)
            figures |= against_renders(judge, pictures)
            clip, tokenizer = load_clip()
            figures["clip score"] = clip_score(clip, tokenizer, pictures, [p.text for p in prompts])
            figures["clip caption choice"] = caption_choice(clip, tokenizer, n)
    figures["known prompts"], pictures = known_prompts(draw, judge)
    few = max(20, n // 4)
    figures["guidance curve"] = guidance_curve(pipe, judge, few, steps)
    figures["steps curve"] = steps_curve(pipe, judge, few, guidance_scale)
    # Strong guidance upsets schedulers of higher order (Lu et al., 2022), so once more with little of it.
    figures["steps curve at scale 2"] = steps_curve(pipe, judge, few, 2.0)
    figures["negative prompt"] = negative_prompt_rates(draw, judge, few)
    return {**figures, "pictures": pictures}


def renders(n: int, split: str = "train", seed: int = FRESH) -> torch.Tensor:
    """Pictures that no training saw, (n, 3, 64, 64) in [-1, 1]."""
    return render(random_scenes(n, seed, split)).float() / 127.5 - 1


def judge_on_renders(judge: Judge, n: int = 2000) -> dict[str, float]:
    """Share of fresh renders, half of them held-out combinations, whose attribute the judge reads right."""
    scenes = random_scenes(n // 2, FRESH) + random_scenes(n // 2, FRESH, "heldout")
    readings = judge.read(render(scenes).float() / 127.5 - 1)
    pairs = list(zip(readings, scenes, strict=True))
    return {a: sum(read[a] == getattr(scene, a) for read, scene in pairs) / n for a in ATTRIBUTES}


def in_numbers(accuracy: Accuracy) -> dict:
    return {**asdict(accuracy), "mean": accuracy.mean}


def confusion(readings: list[dict[str, str]], prompts: list[Prompt]) -> dict[str, list[list[int]]]:
    """For each attribute a square table: rows what was asked for, columns what was read."""
    tables = {}
    for name, values in ATTRIBUTES.items():
        seen = Counter(
            (p.asks.get(name), reading[name]) for reading, p in zip(readings, prompts, strict=True)
        )
        tables[name] = [[seen[asked, read] for read in values] for asked in values]
    return tables


def against_renders(judge: Judge, pictures: torch.Tensor) -> dict[str, float]:
    """Fréchet distance to renders, and its floor: what as many other renders have."""
    references = renders(REFERENCES * len(pictures), seed=FRESH + 1)
    return {
        "frechet distance": frechet_distance(judge, pictures, references),
        "frechet floor": frechet_distance(judge, renders(len(pictures), seed=FRESH + 2), references),
    }


def known_prompts(draw, judge: Judge) -> tuple[dict[str, int], torch.Tensor]:
    """How many of 16 seeds are right for each of the ten, and their pictures (10, 16, 3, 64, 64)."""
    prompts = evaluation_prompts(10, "known")
    pictures = draw([p.text for p in prompts for _ in range(SEEDS_OF_KNOWN)], desc="known prompts")
    right = {}
    for prompt, part in zip(prompts, pictures.split(SEEDS_OF_KNOWN), strict=True):
        right[prompt.text] = sum(all(prompt.verdicts(r).values()) for r in judge.read(part))
    return right, pictures.unflatten(0, (len(prompts), SEEDS_OF_KNOWN))


def guidance_curve(pipe, judge: Judge, n: int, steps: int) -> list[dict[str, float]]:
    """Accuracy and diversity at each of `SCALES`."""
    prompts = evaluation_prompts(n)
    varied = [p.text for p in evaluation_prompts(max(4, n // 12)) for _ in range(SEEDS_FOR_DIVERSITY)]
    points = []
    for scale in SCALES:
        draw = partial(draw_pictures, pipe, guidance_scale=scale, num_inference_steps=steps)
        accuracy = attribute_accuracy(
            judge.read(draw([p.text for p in prompts], desc=f"scale {scale:g}")), prompts
        )
        pictures = draw(varied, desc=f"scale {scale:g}, diversity")
        points.append(
            {
                "guidance scale": scale, "mean": accuracy.mean, "all right": accuracy.all_right,
                "diversity": diversity(judge, pictures.unflatten(0, (-1, SEEDS_FOR_DIVERSITY))),
                "saturation": saturation(pictures),
            }
        )  # fmt: skip
    return points


def saturation(pictures: torch.Tensor) -> float:
    """Mean difference of a pixel's largest and smallest colour channel, 0 (grey) to 1."""
    return ((pictures.amax(1) - pictures.amin(1)) / 2).mean().item()


def steps_curve(pipe, judge: Judge, n: int, guidance_scale: float) -> list[dict]:
    """By number of steps, for DDIM and DPM++: accuracy, blur, and how far the pictures are from their goal.

    "error" is the root mean square difference of pixels, in [0, 1], to where DDIM arrives after 100 steps. It
    says how good few steps are; with many it favours DDIM, whose goal it is.
    """
    prompts = evaluation_prompts(n)

    def draw(steps, scheduler):
        name = f"{scheduler}, scale {guidance_scale:g}, {steps} steps"
        return draw_pictures(pipe, [p.text for p in prompts], guidance_scale, steps, scheduler, desc=name)

    goal, points = draw(STEPS_OF_GOAL, "ddim"), []
    for scheduler in ("ddim", "dpm++"):
        for steps in STEPS:
            pictures = draw(steps, scheduler)
            accuracy = attribute_accuracy(judge.read(pictures), prompts)
            points.append(
                {
                    "scheduler": scheduler, "steps": steps, "mean": accuracy.mean,
                    "all right": accuracy.all_right, "sharpness": sharpness(pictures),
                    "error": (pictures - goal).square().mean().sqrt().item() / 2,
                }
            )  # fmt: skip
    return points


def sharpness(pictures: torch.Tensor) -> float:
    """Mean difference of neighbouring pixels: blur makes it small."""
    return sum(pictures.diff(dim=d).abs().mean() for d in (2, 3)).item() / 2


def negative_prompt_rates(draw, judge: Judge, n: int) -> dict[str, dict[str, float]]:
    """How often there are a white hat, a hat and the cat, without and with "white hat" as negative prompt."""
    rates = {}
    for negative_prompt in ("", "white hat"):
        pictures = draw(
            ["a cat wearing a hat"] * n,
            negative_prompt=negative_prompt,
            desc=f"negative prompt {negative_prompt!r}",
        )
        readings = judge.read(pictures)
        rates[negative_prompt or "none"] = {
            "white hat": sum(r["hat"] != "none" and r["hat_color"] == "white" for r in readings) / n,
            "hat": sum(r["hat"] != "none" for r in readings) / n,
            "cat": sum(r["subject"] == "cat" for r in readings) / n,
        }
    return rates
