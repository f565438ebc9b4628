"""The recorder of cross-attention: it changes nothing, and what it records are the weights."""

import pytest
import torch
from diffusers import UNet2DConditionModel

from sdcourse.attention import record_attention


@pytest.fixture
def unet():
    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=8,
        layers_per_block=1,
        block_out_channels=(16, 32),
        norm_num_groups=8,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=12,
        attention_head_dim=4,
    ).eval()


@torch.no_grad()
def test_recording_changes_nothing_and_ends(unet):
    latents, text = torch.randn(3, 4, 8, 8), torch.randn(3, 7, 12)
    before, processors = unet(latents, 500, text).sample, unet.attn_processors
    with record_attention(unet) as maps:
        recorded = unet(latents, 500, text).sample
        unet(latents[:1], 20, text[:1])
    assert torch.allclose(before, recorded, atol=1e-5)
    assert [tuple(m.shape) for m in maps] == [(3, 7, 8, 8), (1, 7, 8, 8)]
    assert all(torch.allclose(m.sum(1), torch.ones_like(m[:, 0]), atol=1e-5) for m in maps)
    unet(latents, 500, text)
    assert len(maps) == 2 and unet.attn_processors == processors


@torch.no_grad()
def test_an_error_inside_leaves_the_unet_as_it_was(unet):
    processors = unet.attn_processors
    with pytest.raises(RuntimeError), record_attention(unet):
        unet(torch.randn(1, 4, 8, 8), 500, torch.randn(1, 7, 99))
    assert unet.attn_processors == processors and not unet._forward_hooks


@torch.no_grad()
def test_a_word_that_stands_alone_gets_all_of_it(unet):
    with record_attention(unet) as maps:
        unet(torch.randn(1, 4, 8, 8), 500, torch.randn(1, 1, 12))
    assert torch.allclose(maps[0], torch.ones(1, 1, 8, 8))


@torch.no_grad()
def test_the_map_is_the_mean_of_the_weights_of_all_layers(unet):
    """Against weights that are computed here from each layer's own input."""
    latents, text, expected = torch.randn(2, 4, 8, 8), torch.randn(2, 5, 12), []

    def weigh(attn, inputs, kwargs):
        query = attn.to_q(inputs[0]).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
        key = attn.to_k(kwargs["encoder_hidden_states"]).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
        weights = (query @ key.mT / query.shape[-1] ** 0.5).softmax(-1).mean(1).mT
        side = int(weights.shape[-1] ** 0.5)
        maps = weights.unflatten(-1, (side, side))
        expected.append(torch.nn.functional.interpolate(maps, (8, 8), mode="bilinear"))

    hooks = [
        module.register_forward_pre_hook(weigh, with_kwargs=True)
        for name, module in unet.named_modules()
        if name.endswith("attn2")
    ]
    unet(latents, 300, text)
    for hook in hooks:
        hook.remove()
    with record_attention(unet) as maps:
        unet(latents, 300, text)
    assert torch.allclose(maps[0], torch.stack(expected).mean(0), atol=1e-5)


def test_the_real_unet_s_shapes():
    """Stable Diffusion 1.5's UNet on the meta device: shapes without numbers."""
    with torch.device("meta"), torch.no_grad():
        real = UNet2DConditionModel(sample_size=64, cross_attention_dim=768)
        with record_attention(real) as maps:
            real(torch.zeros(2, 4, 64, 64), torch.tensor(1), torch.zeros(2, 77, 768))
    assert tuple(maps[0].shape) == (2, 77, 64, 64)
