"""The shapes of the pocket models: real `diffusers` and `transformers` classes, only smaller."""

from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTokenizer, CLIPVisionConfig

PICTURE_SIZE = 64
LATENT_CHANNELS = 4
LATENT_SIZE = 8  # the VAE halves three times, as the real one does
TEXT_WIDTH = 128
MAX_TOKENS = 77


def make_vae() -> AutoencoderKL:
    """(n, 3, 64, 64) to (n, 4, 8, 8) and back: 48 to 1, as in Stable Diffusion (Rombach et al., 2022)."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=LATENT_CHANNELS,
        block_out_channels=(24, 48, 96, 128),
        layers_per_block=1,
        norm_num_groups=8,
        sample_size=PICTURE_SIZE,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        mid_block_add_attention=False,
    )


def make_clip(tokenizer: CLIPTokenizer) -> CLIPModel:
    """Text and picture encoders for contrastive training (Radford et al., 2021)."""
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=4 * TEXT_WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=MAX_TOKENS,
        projection_dim=TEXT_WIDTH,
        bos_token_id=tokenizer.bos_token_id,  # without these three, pooling looks for token 49407
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    vision = CLIPVisionConfig(
        hidden_size=TEXT_WIDTH,
        intermediate_size=4 * TEXT_WIDTH,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=PICTURE_SIZE,
        patch_size=8,
        projection_dim=TEXT_WIDTH,
    )
    return CLIPModel(
        CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=TEXT_WIDTH)
    )


def make_unet() -> UNet2DConditionModel:
    """Predicts the noise in (n, 4, 8, 8) latents under (n, 77, 128) hidden states of the text."""
    return UNet2DConditionModel(
        sample_size=LATENT_SIZE,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        layers_per_block=1,
        block_out_channels=(96, 192),
        norm_num_groups=8,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,  # the number of heads, despite its name
    )


def make_scheduler() -> PNDMScheduler:
    """Stable Diffusion 1.5's own configuration.

    From a dictionary, because `clip_sample` is not an argument of PNDM but must stay in the file:
    without it `DDIMScheduler.from_config(pipe.scheduler.config)` would clip the latents.
    """
    return PNDMScheduler.from_config(
        dict(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            num_train_timesteps=1000,
            skip_prk_steps=True,
            set_alpha_to_one=False,
            steps_offset=1,
            clip_sample=False,
            trained_betas=None,
        )
    )
