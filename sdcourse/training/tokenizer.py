"""Learn byte pairs from our captions, in the layout of CLIP's tokenizer."""

import json
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from sdcourse.data.gallery import caption, random_scenes
from sdcourse.models.components import MAX_TOKENS

CAPTIONS = 20_000
MERGES = 700


def train_clip_tokenizer(texts: list[str], n_merges: int = MERGES) -> CLIPTokenizer:
    """256 byte symbols, the same 256 with `</w>`, the merges, `<|startoftext|>`, `<|endoftext|>`.

    The same order as in the real vocabulary of 49,408 (Radford et al., 2021; Sennrich et al., 2016).
    """
    clip = CLIPTokenizer()  # empty, but with CLIP's way to normalise and split text
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>", continuing_subword_prefix=""))
    learner.normalizer = clip.backend_tokenizer.normalizer
    learner.pre_tokenizer = clip.backend_tokenizer.pre_tokenizer
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    learner.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=2 * len(alphabet) + n_merges,
            min_frequency=2,
            end_of_word_suffix="</w>",
            initial_alphabet=alphabet,
            show_progress=False,
        ),
    )
    merges = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]][:n_merges]
    # The trainer only knows `x</w>` for letters that it saw at a word's end; a prompt may hold others.
    tokens = alphabet + [letter + "</w>" for letter in alphabet] + [a + b for a, b in merges]
    tokens = [*dict.fromkeys(tokens), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={token: i for i, token in enumerate(tokens)}, merges=merges, model_max_length=MAX_TOKENS
    )


def train_tokenizer(folder: Path, seed: int = 0) -> CLIPTokenizer:
    """Learn from 20,000 captions and save to `folder/tokenizer`. Takes seconds."""
    rng = np.random.default_rng(seed)
    texts = [caption(scene, rng) for scene in random_scenes(CAPTIONS, seed=4_000_000 + seed)]
    tokenizer = train_clip_tokenizer(texts)
    tokenizer.save_pretrained(folder / "tokenizer")
    return tokenizer
