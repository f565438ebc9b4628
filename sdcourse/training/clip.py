"""Train CLIP on gallery pictures and their captions; its text half becomes the text encoder."""

import dataclasses
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from transformers import CLIPModel, CLIPTextModel, CLIPTokenizer

from sdcourse.data.gallery import ATTRIBUTES, Scene, caption, is_heldout, random_scenes, render
from sdcourse.models.components import MAX_TOKENS, make_clip

from .loop import start_from, train_for

BATCH_SIZE = 128
POOL = 1024
LEARNING_RATE = 1e-3


def twin(scene: Scene, rng: np.random.Generator) -> Scene:
    """The same scene but for one attribute: the pairs that are hard to tell apart."""
    while True:
        attribute = rng.choice(
            ["subject", "color", "hat_color", "hat", "accessory_color", "background", "style"]
        )
        value = str(rng.choice(ATTRIBUTES[attribute]))
        try:
            other = dataclasses.replace(scene, **{attribute: value})
        except ValueError:  # a house in a hat
            continue
        if other != scene and not is_heldout(other):
            return other


@lru_cache(maxsize=1)
def _pool(index: int, seed: int) -> tuple[list[Scene], torch.Tensor]:
    rng = np.random.default_rng([seed, index])
    scenes = []
    for scene in random_scenes(POOL // 2, seed=seed + index):
        scenes += [scene, twin(scene, rng)]
    return scenes, render(scenes)


def tokenize(tokenizer: CLIPTokenizer, texts: list[str], full_length: bool = True) -> torch.Tensor:
    """Token numbers (n, 77); or (n, longest) to save time where nothing looks at the padding."""
    padding = "max_length" if full_length else "longest"
    return tokenizer(
        texts, padding=padding, max_length=MAX_TOKENS, truncation=True, return_tensors="pt"
    ).input_ids


def contrastive_loss(text_embeds: torch.Tensor, image_embeds: torch.Tensor, logit_scale: torch.Tensor):
    """Each caption has to find its picture, each picture its caption (Radford et al., 2021, figure 3).

    Args:
        text_embeds, image_embeds: (n, d), rows belong together.

    Returns:
        the loss and the logits (n texts, n pictures).
    """
    text_embeds, image_embeds = F.normalize(text_embeds, dim=-1), F.normalize(image_embeds, dim=-1)
    logits = logit_scale.exp() * text_embeds @ image_embeds.T
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2, logits


def train_clip(folder: Path, budget: float, device: str, seed: int = 0) -> CLIPModel:
    """Train for `budget` seconds and save to `folder/clip`, the text half to `folder/text_encoder`.

    Needs `folder/tokenizer`.
    """
    torch.manual_seed(seed)
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    clip = start_from(folder / "clip", CLIPModel, lambda: make_clip(tokenizer)).to(device)

    def compute_loss(step):
        per_pool = POOL // BATCH_SIZE
        scenes, pictures = _pool(step // per_pool, 5_000_000 + seed)
        part = slice(step % per_pool * BATCH_SIZE, (step % per_pool + 1) * BATCH_SIZE)
        rng = np.random.default_rng([seed, step])
        ids = tokenize(tokenizer, [caption(s, rng) for s in scenes[part]], full_length=False).to(device)
        with torch.autocast(device, torch.bfloat16):
            images = pictures[part].to(device).float() / 127.5 - 1
            image_embeds = clip.get_image_features(images).pooler_output
            text_embeds = clip.get_text_features(ids).pooler_output
        loss, logits = contrastive_loss(text_embeds.float(), image_embeds.float(), clip.logit_scale)
        found = (logits.argmax(1) == torch.arange(len(logits), device=device)).float().mean()
        return loss, {"found": found.item(), "scale": clip.logit_scale.exp().item()}

    train_for(budget, clip, compute_loss, folder / "runs" / "clip", LEARNING_RATE, weight_decay=0.05)
    clip.cpu().save_pretrained(folder / "clip")
    tokenizer.save_pretrained(folder / "clip")
    text_encoder = CLIPTextModel(clip.config.text_config)
    text_encoder.load_state_dict(clip.text_model.state_dict())
    text_encoder.save_pretrained(folder / "text_encoder")
    return clip
