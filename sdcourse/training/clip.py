"""Train CLIP on gallery pictures and their captions; its text half becomes the text encoder.

The contrastive loss alone takes long to notice a hat of forty pixels, so the embeddings of both sides also
have to tell the attributes, through heads that they share and that are thrown away afterwards.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import CLIPModel, CLIPTextModel, CLIPTokenizer

from sdcourse.data.gallery import ATTRIBUTES, Caption, Scene, describe, random_scenes, render, twin
from sdcourse.models.components import MAX_TOKENS, TEXT_WIDTH, make_clip
from sdcourse.models.judge import labels

from .loop import start_from, train_for

BATCH_SIZE = 128
POOL = 1024
LEARNING_RATE = 1e-3
ATTRIBUTE_WEIGHT = 0.3


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


class AttributeHeads(nn.Module):
    """Reads every attribute from an embedding, of a picture or of a text."""

    def __init__(self):
        super().__init__()
        self.heads = nn.ModuleDict({k: nn.Linear(TEXT_WIDTH, len(v)) for k, v in ATTRIBUTES.items()})

    def loss(self, text_embeds, image_embeds, scenes: list[Scene], captions: list[Caption]) -> torch.Tensor:
        """Cross-entropy over all attributes of the pictures, and over those that the captions name."""
        total = 0.0
        for name, truth in labels(scenes).items():
            truth = truth.to(image_embeds.device)
            named = torch.tensor([name in c.named for c in captions], device=truth.device)
            total += F.cross_entropy(self.heads[name](image_embeds), truth)
            if named.any():
                total += F.cross_entropy(self.heads[name](text_embeds[named]), truth[named])
        return total


def train_clip(folder: Path, budget: float, device: str, seed: int = 0) -> CLIPModel:
    """Train for `budget` seconds and save to `folder/clip`, the text half to `folder/text_encoder`.

    Needs `folder/tokenizer`.
    """
    torch.manual_seed(seed)
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    clip = start_from(folder / "clip", CLIPModel, lambda: make_clip(tokenizer)).to(device)
    clip.set_attn_implementation("eager")  # half the time of a step on a CPU, see the UNet's recipe
    heads = AttributeHeads().to(device)

    def compute_loss(step):
        per_pool = POOL // BATCH_SIZE
        scenes, pictures = _pool(step // per_pool, 5_000_000 + seed)
        part = slice(step % per_pool * BATCH_SIZE, (step % per_pool + 1) * BATCH_SIZE)
        rng = np.random.default_rng([seed, step])
        captions = [describe(s, rng) for s in scenes[part]]
        ids = tokenize(tokenizer, [c.text for c in captions], full_length=False).to(device)
        with torch.autocast(device, torch.bfloat16):
            images = pictures[part].to(device).float() / 127.5 - 1
            image_embeds = clip.get_image_features(images).pooler_output
            text_embeds = clip.get_text_features(ids).pooler_output
        text_embeds, image_embeds = text_embeds.float(), image_embeds.float()
        loss, logits = contrastive_loss(text_embeds, image_embeds, clip.logit_scale)
        told = heads.loss(text_embeds, image_embeds, scenes[part], captions)
        found = (logits.argmax(1) == torch.arange(len(logits), device=device)).float().mean()
        figures = {"found": found.item(), "told": told.item(), "scale": clip.logit_scale.exp().item()}
        return loss + ATTRIBUTE_WEIGHT * told, figures

    both = nn.ModuleDict({"clip": clip, "heads": heads})
    train_for(budget, both, compute_loss, folder / "runs" / "clip", LEARNING_RATE, weight_decay=0.05)
    clip.cpu().save_pretrained(folder / "clip")
    tokenizer.save_pretrained(folder / "clip")
    text_encoder = CLIPTextModel(clip.config.text_config)
    text_encoder.load_state_dict(clip.text_model.state_dict())
    text_encoder.save_pretrained(folder / "text_encoder")
    return clip
