"""What our own CLIP thinks of a picture and a text, and how well it can tell captions apart."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from sdcourse.data.gallery import all_twins, full_caption, random_scenes, render

FRESH = 123_456  # seed of pictures that no training saw


@torch.no_grad()
def embed_images(clip, images: torch.Tensor) -> torch.Tensor:
    """(n, d) of length 1, from (n, 3, 64, 64) in [-1, 1]."""
    parts = [clip.get_image_features(part.to(clip.device)).pooler_output for part in images.split(256)]
    return F.normalize(torch.cat(parts), dim=-1)


@torch.no_grad()
def embed_texts(clip, tokenizer, texts: Sequence[str]) -> torch.Tensor:
    """(n, d) of length 1."""
    inputs = tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt").to(clip.device)
    parts = [
        clip.get_text_features(ids, attention_mask=mask).pooler_output
        for ids, mask in zip(inputs.input_ids.split(512), inputs.attention_mask.split(512), strict=True)
    ]
    return F.normalize(torch.cat(parts), dim=-1)


def clip_score(clip, tokenizer, images: torch.Tensor, texts: Sequence[str]) -> float:
    """100 times the mean cosine of pictures and their texts, negative ones as 0 (Hessel et al., 2021).

    Their factor is 2.5; 100 is what is usual today. Scores of different CLIPs cannot be compared.
    """
    cosines = (embed_images(clip, images) * embed_texts(clip, tokenizer, texts)).sum(-1)
    return 100 * cosines.clamp(min=0).mean().item()


def caption_choice(clip, tokenizer, n: int = 500, captions: int = 32) -> float:
    """How often CLIP picks a render's own caption among `captions` that differ from it in one attribute."""
    rng = np.random.default_rng(FRESH)
    twins = {
        scene: [full_caption(twin) for twin in all_twins(scene)] for scene in random_scenes(2 * n, FRESH)
    }
    scenes = [scene for scene in twins if len(twins[scene]) >= captions - 1][:n]
    right = 0
    embeddings = embed_images(clip, render(scenes).float() / 127.5 - 1)
    for scene, embedding in zip(scenes, embeddings, strict=True):
        others = rng.choice(twins[scene], captions - 1, replace=False)
        texts = embed_texts(clip, tokenizer, [full_caption(scene), *others.tolist()])
        right += int((texts @ embedding).argmax() == 0)
    return right / len(scenes)
