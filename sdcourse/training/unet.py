"""Train the noise predictor on cached latents, under the frozen text encoder."""

from functools import partial
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

from sdcourse.data.gallery import Scene, random_scenes, render, render_masks
from sdcourse.models.components import make_scheduler, make_unet
from sdcourse.models.my_sd import digest_of

from .batches import cumulative_odds
from .captions import say, visibility
from .clip import tokenize
from .loop import count_processes, first_alone, start_from, train_for

BATCH_SIZE = 64
LEARNING_RATE = 1.2e-3
CAPTION_DROPOUT = 0.1
MIN_SNR_GAMMA = 5.0
SECONDS_PER_PICTURE = 1 / 400  # to render and encode one on two cores
CACHE_SHARE = 0.05  # of the budget that goes into making latents
MIN_PICTURES, MAX_PICTURES = 2_000, 300_000
# How much a latent counts, by the topmost layer among its 8×8 pixels: background, mount, subject, accessory,
# hat. A hat is one latent of 64, so in a plain mean it hardly moves the network. The best prediction is the
# same whatever the weights, because it is the best for each latent by itself.
LAYER_WEIGHTS = torch.tensor([1.0, 1.0, 1.5, 3.0, 3.0])


def diffusion_loss(unet, scheduler, latents, text_embeddings, weights=1.0):
    """The noise prediction loss (Ho et al., 2020, eq. 14), weighted by min-SNR (Hang et al., 2023).

    Args:
        latents: (n, 4, 8, 8), scaled to deviation 1.
        text_embeddings: (n, 77, d).
        weights: (n, 1, 8, 8), how much each latent counts; 1 for all alike.
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
    loss = (weights * F.mse_loss(noise_pred.float(), noise, reduction="none")).mean((1, 2, 3))
    snr = compute_snr(scheduler, timesteps)
    return (loss * snr.clamp(max=MIN_SNR_GAMMA) / snr).mean()


@torch.no_grad()
def cache_latents(
    vae: AutoencoderKL, n: int, path: Path, seed: int
) -> tuple[list[Scene], torch.Tensor, torch.Tensor]:
    """Scenes; mean and deviation of their latents, float16 (n, 8, 8, 8); their weights (n, 1, 8, 8).

    All but the scenes is kept in `path`. What is there already is used, whatever `n`, if this encoder made
    it: a run that goes on with another budget loses nothing.
    """
    made_by = _fingerprint(vae)
    if path.exists():
        with safe_open(path, "pt") as kept:
            if (kept.metadata() or {}).get("encoder") == made_by:
                moments, weights = kept.get_tensor("moments"), kept.get_tensor("weights")
                return random_scenes(len(moments), seed=seed), moments, weights
    scenes, parts, weights = random_scenes(n, seed=seed), [], []
    for start in tqdm(range(0, n, 256), desc="latents", unit="batch"):
        images = render(scenes[start : start + 256]).to(vae.device).float() / 127.5 - 1
        with torch.autocast(vae.device.type, torch.bfloat16):
            posterior = vae.encode(images).latent_dist
        moments = torch.cat([posterior.mean, posterior.std], 1).float() * vae.config.scaling_factor
        parts.append(moments.half().cpu())
        weights.append(cell_weights(render_masks(scenes[start : start + 256])).half())
    moments, weights = torch.cat(parts), torch.cat(weights)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"moments": moments, "weights": weights}, path, metadata={"encoder": made_by})
    return scenes, moments, weights


def cell_weights(masks: torch.Tensor) -> torch.Tensor:
    """How much each latent counts, (n, 1, 8, 8), from the layer of each pixel, (n, 64, 64)."""
    return F.max_pool2d(LAYER_WEIGHTS[masks.long()][:, None], 8)


def _fingerprint(vae: AutoencoderKL) -> str:
    """Changes with the encoder and the scaling factor, not with the decoder."""
    parameters = (*vae.encoder.parameters(), *vae.quant_conv.parameters())
    weights = (parameter.detach().float().cpu().numpy() for parameter in parameters)
    return digest_of(weights, vae.config.scaling_factor)


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
    make = partial(make_unet, text_encoder.config.hidden_size)
    unet = start_from(folder / "unet", UNet2DConditionModel, make).to(device)
    # The fused attention's backward pass takes a third of a step on a CPU; written out, a tenth.
    unet.set_attn_processor(AttnProcessor())
    scheduler = DDPMScheduler.from_config(make_scheduler().config)
    pictures = int(min(MAX_PICTURES, max(MIN_PICTURES, budget * CACHE_SHARE / SECONDS_PER_PICTURE)))
    path = folder / "runs" / "unet" / "latents.safetensors"
    with first_alone():  # the others find the file
        scenes, moments, weights = cache_latents(vae, pictures, path, 6_000_000 + seed)
    odds, n = cumulative_odds(scenes, visibility(scenes)), BATCH_SIZE // count_processes()

    def compute_loss(step):
        rng = np.random.default_rng([seed, step])
        chosen = np.searchsorted(odds, rng.random(n))
        texts = ["" if rng.random() < CAPTION_DROPOUT else say(scenes[i], rng) for i in chosen]
        with torch.no_grad(), torch.autocast(device, torch.bfloat16):
            text_embeddings = text_encoder(tokenize(tokenizer, texts).to(device))[0]
        mean, std = moments[chosen].float().to(device).chunk(2, 1)
        latents = mean + std * torch.randn_like(mean)
        with torch.autocast(device, torch.bfloat16):
            loss = diffusion_loss(unet, scheduler, latents, text_embeddings, weights[chosen].to(device))
        return loss, {}

    train_for(budget, unet, compute_loss, folder / "runs" / "unet", LEARNING_RATE)
    unet.save_pretrained(folder / "unet")
    return unet
