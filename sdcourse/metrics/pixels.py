"""Measures of the small models on pixels: clothing by class, clothing without, gallery pictures of 32×32."""

import torch
import torch.nn.functional as F
from tqdm.auto import tqdm

from sdcourse.data import BatchLoader, load_fashion
from sdcourse.data.fashion import CLASSES
from sdcourse.models.judge import load_judge
from sdcourse.sampling import generate_from_class

from .clip_score import FRESH
from .distance import diversity, frechet_distance
from .evaluate import renders

BATCH_SIZE = 100
SCALES = (0.0, 1.0, 2.0, 4.0, 8.0)
REFERENCES = 8000


def evaluate_pixel_model(
    unet, noise_scheduler, n: int = 500, guidance_scale: float = 2.0, steps: int = 25
) -> dict:
    """Measure a model that draws pictures of 32×32: of clothing (grey) or of the gallery (in colour).

    Args:
        unet, noise_scheduler: as from `load_pixel_model`.
        n: pictures, 20 to 2000; by class n / 10 of each.
        guidance_scale: of a model that draws by class.
        steps: with DDPM, which keeps every guess of the picture within [-1, 1]. Schedulers that do not
            (DPM++, Euler) let errors of the first steps grow: there the signal is 0.006 of the noise.

    Returns:
        dictionaries of numbers, ready for JSON. "frechet distance" stands beside "frechet floor", the
        distance of as many drawn pictures that no training saw; by class also "accuracy", what the judge
        reads right, for each class and each of `SCALES`.

    Raises:
        ValueError: if `n` is out of range.
    """
    if not 20 <= n <= 2000:
        raise ValueError(f"The number of pictures is {n}: it must be 20 to 2000.")
    clothing = unet.config.in_channels == 1
    judge = load_judge("fashion" if clothing else "gallery")
    references, others = _clothing(n) if clothing else _gallery(n)
    settings = {"n": n, "steps": steps, "scheduler": "ddpm"}
    figures = {"settings": settings, "frechet floor": frechet_distance(judge, others, references)}
    if not unet.config.num_class_embeds:
        pictures = draw_pixels(unet, noise_scheduler, n=n, steps=steps)
        return figures | {"frechet distance": frechet_distance(judge, _as_read(pictures, judge), references)}

    settings["guidance scale"] = guidance_scale
    labels = torch.arange(len(CLASSES)).repeat_interleave(n // len(CLASSES))
    right = {}
    figures["guidance curve"] = []
    for scale in sorted({*SCALES, guidance_scale}):
        pictures = draw_pixels(unet, noise_scheduler, labels, scale, steps=steps)
        right[scale] = class_is_right(judge, pictures, labels)
        figures["guidance curve"].append(
            {
                "guidance scale": scale, "accuracy": right[scale].mean().item(),
                "frechet distance": frechet_distance(judge, pictures, references),
                "diversity": diversity(judge, pictures.unflatten(0, (len(CLASSES), -1))),
            }
        )  # fmt: skip
    best = right[guidance_scale].view(len(CLASSES), -1).mean(1)
    return figures | {
        "accuracy": best.mean().item(),
        "accuracy by class": dict(zip(CLASSES, best.tolist(), strict=True)),
    }


def draw_pixels(unet, noise_scheduler, labels=None, guidance_scale=1.0, n=None, steps=25) -> torch.Tensor:
    """Many pictures at once with DDPM, picture i from noise of seed i: (n, channels, 32, 32) in [-1, 1]."""
    n = n if labels is None else len(labels)
    pictures = []
    for start in tqdm(range(0, n, BATCH_SIZE), desc=f"scale {guidance_scale:g}", unit="batch"):
        count = min(BATCH_SIZE, n - start)
        part = None if labels is None else labels[start : start + count]
        pictures.append(
            generate_from_class(
                unet, noise_scheduler, part, guidance_scale, steps, start, "ddpm", count, progress=False
            )
        )
    return torch.cat(pictures).cpu()


def class_is_right(judge, pictures: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """1.0 where the judge reads the class that was asked for, else 0.0: (n,)."""
    readings = judge.read(pictures)
    return torch.tensor(
        [float(r["class"] == CLASSES[label]) for r, label in zip(readings, labels.tolist(), strict=True)]
    )


def _clothing(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """References, and n other pictures of the test split."""
    test = next(iter(BatchLoader(load_fashion()["test"], REFERENCES + n)))["images"]
    return test[:-n], test[-n:]


def _gallery(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Renders reduced to 32×32 and enlarged again, as the judge sees what the model draws."""
    drawn = F.interpolate(renders(REFERENCES // 2 + n, seed=FRESH + 3), scale_factor=0.5, mode="area")
    drawn = F.interpolate(drawn, scale_factor=2, mode="bilinear")
    return drawn[:-n], drawn[-n:]


def _as_read(pictures: torch.Tensor, judge) -> torch.Tensor:
    """At the size that the judge reads."""
    if pictures.shape[-1] == judge.size:
        return pictures
    return F.interpolate(pictures, size=judge.size, mode="bilinear")
