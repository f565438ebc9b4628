"""Train the noise predictor on cached latents, under the frozen text encoder."""

import hashlib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from diffusers.training_utils import compute_snr
from safetensors import safe_open
from safetensors.torch import save_file
from tqdm.auto import tqdm
from transformers import CLIPTextModel, CLIPTokenizer

from sdcourse.data.gallery import Scene, caption, random_scenes, render
from sdcourse.models.components import make_scheduler, make_unet

from .clip import tokenize
from .loop import start_from, train_for

BATCH_SIZE = 64
LEARNING_RATE = 1.2e-3
CAPTION_DROPOUT = 0.1
MIN_SNR_GAMMA = 5.0
SECONDS_PER_PICTURE = 1 / 400  # to render and encode one on two cores
CACHE_SHARE = 0.06  # of the budget that goes into making latents


def diffusion_loss(unet, scheduler, latents, text_embeddings):
    """The noise prediction loss (Ho et al., 2020, eq. 14), weighted by min-SNR (Hang et al., 2023).

    Args:
        latents: (n, 4, 8, 8), scaled to deviation 1.
        text_embeddings: (n, 77, d).
    """
    # Sample noise to add to the latents
    noise = torch.randn_like(latents)
    # Sample a random timestep for each picture
    steps = scheduler.config.num_train_timesteps
    timesteps = torch.randint(0, steps, (len(latents),), device=latents.device)
    noisy_latents = scheduler.add_noise(latents, noise, timesteps)
    # Get the model prediction for the noise
    noise_pred = unet(noisy_latents, timesteps, text_embeddings).sample
    # Compare the prediction with the actual noise
    loss = F.mse_loss(noise_pred.float(), noise, reduction="none").mean((1, 2, 3))
    snr = compute_snr(scheduler, timesteps)
    return (loss * snr.clamp(max=MIN_SNR_GAMMA) / snr).mean()


@torch.no_grad()
def cache_latents(vae: AutoencoderKL, n: int, path: Path, seed: int) -> tuple[list[Scene], torch.Tensor]:
    """Scenes, and mean and deviation of their latents as float16 (n, 8, 8, 8); kept in `path`.

    What is kept there already is used, whatever `n`, if this encoder made it: a run that goes on with another
    budget loses nothing.
    """
    made_by = _fingerprint(vae)
    if path.exists():
        with safe_open(path, "pt") as kept:
            if (kept.metadata() or {}).get("encoder") == made_by:
                moments = kept.get_tensor("moments")
                return random_scenes(len(moments), seed=seed), moments
    scenes, parts = random_scenes(n, seed=seed), []
    for start in tqdm(range(0, n, 256), desc="latents", unit="batch"):
        images = render(scenes[start : start + 256]).to(vae.device).float() / 127.5 - 1
        with torch.autocast(vae.device.type, torch.bfloat16):
            posterior = vae.encode(images).latent_dist
        moments = torch.cat([posterior.mean, posterior.std], 1).float() * vae.config.scaling_factor
        parts.append(moments.half().cpu())
    moments = torch.cat(parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"moments": moments}, path, metadata={"encoder": made_by})
    return scenes, moments


def _fingerprint(vae: AutoencoderKL) -> str:
    """Changes with the encoder and the scaling factor, not with the decoder."""
    digest = hashlib.sha256(str(vae.config.scaling_factor).encode())
    for weight in (*vae.encoder.parameters(), *vae.quant_conv.parameters()):
        digest.update(weight.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()


def train_unet(folder: Path, budget: float, device: str, seed: int = 0) -> UNet2DConditionModel:
    """Train for `budget` seconds and save to `folder/unet`.

    Needs `folder/vae`, `folder/tokenizer` and `folder/text_encoder`.
    """
    torch.manual_seed(seed)
    vae = AutoencoderKL.from_pretrained(folder / "vae").to(device).eval()
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    text_encoder = (
        CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32).to(device).eval()
    )
    unet = start_from(folder / "unet", UNet2DConditionModel, make_unet).to(device)
    # The fused attention's backward pass takes a third of a step on a CPU; written out, a tenth.
    unet.set_attn_processor(AttnProcessor())
    scheduler = DDPMScheduler.from_config(make_scheduler().config)
    n = int(min(300_000, max(2_000, budget * CACHE_SHARE / SECONDS_PER_PICTURE)))
    scenes, moments = cache_latents(
        vae, n, folder / "runs" / "unet" / "latents.safetensors", 6_000_000 + seed
    )

    def compute_loss(step):
        rng = np.random.default_rng([seed, step])
        chosen = rng.integers(0, len(scenes), BATCH_SIZE)
        texts = ["" if rng.random() < CAPTION_DROPOUT else caption(scenes[i], rng) for i in chosen]
        with torch.no_grad(), torch.autocast(device, torch.bfloat16):
            text_embeddings = text_encoder(tokenize(tokenizer, texts).to(device))[0]
        mean, std = moments[chosen].float().to(device).chunk(2, 1)
        latents = mean + std * torch.randn_like(mean)
        with torch.autocast(device, torch.bfloat16):
            loss = diffusion_loss(unet, scheduler, latents, text_embeddings)
        return loss, {}

    train_for(budget, unet, compute_loss, folder / "runs" / "unet", LEARNING_RATE)
    unet.save_pretrained(folder / "unet")
    return unet
