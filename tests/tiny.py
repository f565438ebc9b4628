"""A Stable Diffusion small enough for tests: random weights, real classes, the real layout on disk."""

import json
import re
from pathlib import Path

WORDS = (
    "a an photo oil painting of cat dog bird horse robot rose in the snow on hat red blue green white".split()
)


def tiny_tokenizer():
    """A CLIPTokenizer with the layout of the real one: bytes, bytes with `</w>`, merges, start and end."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import CLIPTokenizer

    clip = CLIPTokenizer().backend_tokenizer  # for its normalizer and pre-tokenizer
    raw = Tokenizer(models.BPE(end_of_word_suffix="</w>", continuing_subword_prefix=""))
    raw.normalizer, raw.pre_tokenizer = clip.normalizer, clip.pre_tokenizer
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=600, end_of_word_suffix="</w>", initial_alphabet=alphabet, show_progress=False
    )
    raw.train_from_iterator([" ".join(WORDS)] * 3, trainer)
    merges = [tuple(merge) for merge in json.loads(raw.to_str())["model"]["merges"]]
    tokens = [*alphabet, *(c + "</w>" for c in alphabet), *(a + b for a, b in merges)]
    tokens = [*dict.fromkeys(tokens), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77)


def make_tiny_sd(seed=0):
    """A StableDiffusionPipeline of 0.9 million random weights that draws pictures of 32×32."""
    import torch
    from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(seed)
    tokenizer = tiny_tokenizer()
    text_config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=77,
        projection_dim=32,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    vae = AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        sample_size=32,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    )
    unet = UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(32, 64),
        norm_num_groups=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=4,
    )
    # from_config, because it keeps clip_sample, which DDIM reads when it takes this one's place
    scheduler = PNDMScheduler.from_config(
        {
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "beta_schedule": "scaled_linear",
            "num_train_timesteps": 1000,
            "skip_prk_steps": True,
            "set_alpha_to_one": False,
            "steps_offset": 1,
            "clip_sample": False,
            "trained_betas": None,
        }
    )
    return StableDiffusionPipeline(
        vae=vae.eval(),
        text_encoder=CLIPTextModel(text_config).eval(),
        tokenizer=tokenizer,
        unet=unet.eval(),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def save_tiny_sd(folder, seed=0, **save_options):
    """Save a tiny pipeline to `folder` and return the folder; `save_options` go to `save_pretrained`."""
    from diffusers.utils import logging

    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    make_tiny_sd(seed).save_pretrained(folder, **save_options)
    if bars:
        logging.enable_progress_bar()
    return Path(folder)


def draw(pipe, prompt="a photo of a cat", steps=2, seed=0):
    """A picture as an array (32, 32, 3) in [0, 1], drawn by the pipeline itself."""
    import torch

    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(seed)
    return pipe(prompt, num_inference_steps=steps, generator=generator, output_type="np").images[0]


def single_file_tensors(pipe):
    """All tensors of a pipeline under the names that single files of Stable Diffusion 1.x use."""
    unet = pipe.unet.state_dict()
    tensors = {f"model.diffusion_model.{_unet_name(k, pipe.unet.config)}": v for k, v in unet.items()}
    blocks = len(pipe.vae.config.block_out_channels)
    for key, value in pipe.vae.state_dict().items():
        name = _vae_name(key, blocks)
        if re.search(r"attn_1\.(q|k|v|proj_out)\.weight", name):
            value = value[:, :, None, None]  # there, attention is made of convolutions
        tensors[f"first_stage_model.{name}"] = value
    for key, value in pipe.text_encoder.state_dict().items():
        key = key.removeprefix("text_model.")
        tensors[f"cond_stage_model.transformer.text_model.{key}"] = value
    return {key: value.contiguous() for key, value in tensors.items()}


def _unet_name(key, config):
    per_block = config.layers_per_block + 1
    if match := re.match(r"(down|up)_blocks\.(\d+)\.(resnets|attentions)\.(\d+)\.(.*)", key):
        side, block, kind, layer, rest = match.groups()
        number = per_block * int(block) + int(layer) + (side == "down")
        key = f"{'input' if side == 'down' else 'output'}_blocks.{number}.{int(kind == 'attentions')}.{rest}"
    elif match := re.match(r"down_blocks\.(\d+)\.downsamplers\.0\.conv\.(.*)", key):
        key = f"input_blocks.{per_block * (int(match[1]) + 1)}.0.op.{match[2]}"
    elif match := re.match(r"up_blocks\.(\d+)\.upsamplers\.0\.(.*)", key):
        place = 2 if "CrossAttn" in config.up_block_types[int(match[1])] else 1
        key = f"output_blocks.{per_block * int(match[1]) + config.layers_per_block}.{place}.{match[2]}"
    else:
        key = re.sub(r"^mid_block\.resnets\.(\d)", lambda m: f"middle_block.{2 * int(m[1])}", key)
        key = key.replace("mid_block.attentions.0", "middle_block.1")
        key = key.replace("time_embedding.linear_1", "time_embed.0")
        key = key.replace("time_embedding.linear_2", "time_embed.2")
        key = re.sub(r"^conv_in\.", "input_blocks.0.0.", key)
        key = re.sub(r"^conv_norm_out\.", "out.0.", key)
        key = re.sub(r"^conv_out\.", "out.2.", key)
    if re.match(r"(input_blocks\.(?!0\.)|middle_block\.|output_blocks\.)\d*\.?[0-9]\.", key):
        for new, old in {
            "time_emb_proj": "emb_layers.1",
            "conv_shortcut": "skip_connection",
        }.items():
            key = key.replace(new, old)
        if "transformer_blocks" not in key:
            for new, old in {
                ".norm1.": ".in_layers.0.",
                ".conv1.": ".in_layers.2.",
                ".norm2.": ".out_layers.0.",
                ".conv2.": ".out_layers.3.",
            }.items():
                key = key.replace(new, old)
    return key


def _vae_name(key, blocks):
    key = re.sub(r"down_blocks\.(\d+)\.resnets\.", r"down.\1.block.", key)
    key = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0\.", r"down.\1.downsample.", key)
    key = re.sub(
        r"up_blocks\.(\d+)\.(resnets|upsamplers\.0)\.",
        lambda m: f"up.{blocks - 1 - int(m[1])}.{'block' if m[2] == 'resnets' else 'upsample'}.",
        key,
    )
    key = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", key)
    key = key.replace("mid_block.attentions.0", "mid.attn_1")
    for new, old in {
        "conv_shortcut": "nin_shortcut",
        "conv_norm_out": "norm_out",
        "group_norm": "norm",
        "to_q": "q",
        "to_k": "k",
        "to_v": "v",
        "to_out.0": "proj_out",
    }.items():
        key = key.replace(new, old)
    return key


def save_tiny_sdxl(folder):
    """Save a tiny StableDiffusionXLPipeline, with two tokenizers and text encoders, and return the folder."""
    import torch
    from diffusers import (
        AutoencoderKL,
        EulerDiscreteScheduler,
        StableDiffusionXLPipeline,
        UNet2DConditionModel,
    )
    from diffusers.utils import logging
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(0)
    tokenizer = tiny_tokenizer()
    text_config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=77,
        projection_dim=32,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    unet = UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(32, 64),
        norm_num_groups=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=64,  # both text encoders side by side
        attention_head_dim=(2, 4),
        transformer_layers_per_block=(1, 2),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=32 + 6 * 8,  # pooled text, and six sizes
    )
    vae = AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        sample_size=32,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    )
    pipe = StableDiffusionXLPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(text_config),
        text_encoder_2=CLIPTextModelWithProjection(text_config),
        tokenizer=tokenizer,
        tokenizer_2=tiny_tokenizer(),
        unet=unet,
        scheduler=EulerDiscreteScheduler(),
        add_watermarker=False,
    )
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    pipe.save_pretrained(folder)
    if bars:
        logging.enable_progress_bar()
    return Path(folder)
