"""Many pictures at once, as the instruments want them."""

from collections.abc import Sequence

import torch
from tqdm.auto import tqdm

from sdcourse.sampling import decode_latents, sample_latents

BATCH_SIZE = 50


@torch.no_grad()
def draw_pictures(
    pipe,
    prompts: Sequence[str],
    guidance_scale: float = 5.0,
    num_inference_steps: int = 25,
    scheduler: str = "dpm++",
    negative_prompt: str = "",
    seed: int = 0,
    desc: str | None = None,
) -> torch.Tensor:
    """One picture for each prompt, picture i from noise of seed + i: (n, 3, height, width) in [-1, 1]."""
    pictures = []
    with tqdm(total=len(prompts), desc=desc or f"{len(prompts)} pictures", unit="picture") as bar:
        for start in range(0, len(prompts), BATCH_SIZE):
            texts = list(prompts[start : start + BATCH_SIZE])
            latents = sample_latents(
                pipe, texts, negative_prompt, guidance_scale, num_inference_steps, seed + start, scheduler,
                progress=False,
            )  # fmt: skip
            pictures.append(decode_latents(pipe.vae, latents).float().cpu() * 2 - 1)
            bar.update(len(texts))
    return torch.cat(pictures)
