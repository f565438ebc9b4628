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
from transformers import CLIPModel, CLIPTokenizer

from sdcourse.data import gallery
from sdcourse.data.gallery import ATTRIBUTES, Caption, Scene
from sdcourse.models.clip import text_half
from sdcourse.models.components import MAX_TOKENS, make_clip
from sdcourse.models.judge import labels

from .batches import cumulative_odds
from .loop import start_from, train_for

BATCH_SIZE = 128
POOL = 1024
GROUP = 4  # a scene and three twins, which differ from it in one attribute each
FULL_CAPTIONS = 0.5
LEARNING_RATE = 1e-3
ATTRIBUTE_WEIGHT = 0.3


@lru_cache(maxsize=1)
def _pool(index: int, seed: int) -> tuple[list[Scene], torch.Tensor]:
    rng = np.random.default_rng([seed, index])
    drawn = gallery.random_scenes(POOL // 2, seed=seed + index)
    odds, scenes = cumulative_odds(drawn), []
    for place in np.searchsorted(odds, rng.random(POOL // GROUP)):
        scene = drawn[place]
        scenes += [scene, *(gallery.twin(scene, rng) for _ in range(GROUP - 1))]
    return scenes, gallery.render(scenes)


def _describe(scene: Scene, rng: np.random.Generator) -> Caption:
    """Half of the time everything at once: what is left out teaches nothing."""
    if rng.random() < FULL_CAPTIONS:
        named = frozenset(name for name in ATTRIBUTES if getattr(scene, name) != "none")
        return Caption(gallery.full_caption(scene), named)
    return gallery.describe(scene, rng)


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

    def __init__(self, width: int):
        super().__init__()
        self.heads = nn.ModuleDict({k: nn.Linear(width, len(v)) for k, v in ATTRIBUTES.items()})

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
    clip = _train(folder, "clip", budget, device, seed)
    text_half(clip).save_pretrained(folder / "text_encoder")
    return clip


def train_clip_vision(folder: Path, budget: float, device: str, seed: int = 0) -> CLIPModel:
    """Train the picture half of `folder/clip` on, with the text half locked (Zhai et al., 2022).

    The text encoder stays what it is, and with it a UNet that was trained on it.
    """
    return _train(folder, "clip-vision", budget, device, seed, locked=True)


def _train(folder: Path, name: str, budget: float, device: str, seed: int, locked: bool = False) -> CLIPModel:
    torch.manual_seed(seed)
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    clip = start_from(folder / "clip", CLIPModel, lambda: make_clip(tokenizer)).to(device)
    clip.set_attn_implementation("eager")  # half the time of a step on a CPU, see the UNet's recipe
    clip.text_model.requires_grad_(not locked)
    heads = AttributeHeads(clip.config.projection_dim).to(device)

    def compute_loss(step):
        per_pool = POOL // BATCH_SIZE
        scenes, pictures = _pool(step // per_pool, 5_000_000 + seed)
        part = slice(step % per_pool * BATCH_SIZE, (step % per_pool + 1) * BATCH_SIZE)
        rng = np.random.default_rng([seed, step])
        captions = [_describe(s, rng) for s in scenes[part]]
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
    train_for(budget, both, compute_loss, folder / "runs" / name, LEARNING_RATE, weight_decay=0.05)
    clip.requires_grad_(True).cpu().save_pretrained(folder / "clip")
    tokenizer.save_pretrained(folder / "clip")
    return clip
