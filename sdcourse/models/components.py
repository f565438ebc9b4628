"""The shapes of the pocket models: real `diffusers` and `transformers` classes, only smaller."""

from diffusers import AutoencoderKL, DDPMScheduler, PNDMScheduler, UNet2DConditionModel, UNet2DModel
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


def make_unet(text_width: int = TEXT_WIDTH) -> UNet2DConditionModel:
    """Predicts the noise in (n, 4, 8, 8) latents under (n, 77, text_width) hidden states of the text."""
    return UNet2DConditionModel(
        sample_size=LATENT_SIZE,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        layers_per_block=1,
        block_out_channels=(96, 192),
        norm_num_groups=8,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=text_width,
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


SMALL_SIZE = 32  # clothing of 28×28, padded; gallery pictures for lesson 03


def make_pixel_unet(channels: int = 1, num_class_embeds: int | None = None) -> UNet2DModel:
    """Predicts the noise in (n, channels, 32, 32) pictures, for a class where there are some.

    Args:
        num_class_embeds: number of classes, with one more for "no class".
    """
    return UNet2DModel(
        sample_size=SMALL_SIZE,
        in_channels=channels,
        out_channels=channels,
        layers_per_block=1,
        block_out_channels=(24, 48, 96),
        norm_num_groups=8,
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        attention_head_dim=24,
        num_class_embeds=num_class_embeds,
    )


def make_pixel_scheduler(prediction_type: str = "epsilon") -> DDPMScheduler:
    """The linear schedule of Ho et al., 2020.

    Not the cosine one: there the last noise level is a thousand times the first, and what the network errs at
    is blown up by as much in every scheduler that does not clip.

    Args:
        prediction_type: "epsilon" for the noise, or "v_prediction" for the velocity (Salimans and Ho, 2022).
    """
    return DDPMScheduler(
        num_train_timesteps=1000,
        beta_schedule="linear",
        clip_sample=True,
        prediction_type=prediction_type,
    )
