"""Which words each place of the picture listens to (lesson 06).

Cross-attention gives every place of the latents a mixture of the words. The weights of that mixture, seen as
pictures, show where a word has a say (Hertz et al., 2022; Tang et al., 2022).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from diffusers import UNet2DConditionModel


@contextmanager
def record_attention(unet: "UNet2DConditionModel") -> "Iterator[list[torch.Tensor]]":
    """Within it, each call of the UNet adds its maps to the list that is given.

    A map is the mean over heads and over all cross-attention layers, each enlarged to the latents' size:
    (n, words, height, width), and the words of each place add up to 1. Latents must be square.

    >>> with record_attention(pipe.unet) as maps:
    ...     sdcourse.text_to_image(pipe, "a cat in the snow", num_inference_steps=20)
    >>> maps[7][1, 2]  # at the 8th step, with the prompt (0 is unconditional), of the word "cat"
    """
    import torch.nn.functional as F

    layers, calls = [], []
    before = unet.attn_processors
    # Stable Diffusion's blocks call the one that looks at the text "attn2".
    recorders = {name: _Recorder(layers) if ".attn2." in name else kept for name, kept in before.items()}

    def gather(module, inputs, output):
        size = inputs[0].shape[-2:]
        enlarged = [F.interpolate(maps, size, mode="bilinear") for maps in layers]
        calls.append(sum(enlarged) / len(enlarged))
        layers.clear()

    unet.set_attn_processor(recorders)
    hook = unet.register_forward_hook(gather)
    try:
        yield calls
    finally:
        hook.remove()
        unet.set_attn_processor(before)


class _Recorder:
    """Cross-attention written out, because the fused one never holds its weights."""

    def __init__(self, layers: "list[torch.Tensor]"):
        self.layers = layers

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None):
        query = attn.head_to_batch_dim(attn.to_q(hidden_states))  # (n · heads, places, width / heads)
        key = attn.head_to_batch_dim(attn.to_k(encoder_hidden_states))
        value = attn.head_to_batch_dim(attn.to_v(encoder_hidden_states))
        weights = attn.get_attention_scores(query, key, attention_mask)  # (n · heads, places, words)
        side = round(weights.shape[1] ** 0.5)
        maps = weights.detach().unflatten(0, (-1, attn.heads)).mean(1).transpose(1, 2)
        self.layers.append(maps.unflatten(2, (side, side)))  # (n, words, side, side)
        return attn.to_out[0](attn.batch_to_head_dim(weights @ value))
