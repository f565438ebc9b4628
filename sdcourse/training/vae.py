"""Train the autoencoder on gallery pictures."""

from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from sdcourse.models.components import make_vae
from sdcourse.models.judge import Judge

from .batches import gallery_batch, mask_batch
from .loop import count_processes, start_from, train_for

BATCH_SIZE = 16
LEARNING_RATE = 1.5e-3
KL_WEIGHT = 1e-4
EDGE_WEIGHT = 0.5
SQUARE_WEIGHT = 2.0
PERCEPTUAL_WEIGHT = 0.1
# How much a pixel counts: background, mount, subject, accessory, hat. Without this a green bird
# vanishes in a green forest, and a hat of forty pixels is not worth its latents.
LAYER_WEIGHTS = torch.tensor([1.0, 1.5, 3.0, 5.0, 5.0])


def vae_loss(
    vae: AutoencoderKL, images: torch.Tensor, masks: torch.Tensor, judge: Judge
) -> tuple[torch.Tensor, dict[str, float]]:
    """Reconstruction and the KL divergence per latent number (Kingma and Welling, 2014).

    Args:
        images: (n, 3, 64, 64) in [-1, 1].
        masks: (n, 64, 64), the layer that each pixel shows.
    """
    with torch.autocast(images.device.type, torch.bfloat16):
        posterior = vae.encode(images).latent_dist
        output = vae.decode(posterior.sample()).sample.float()
    mean, logvar = posterior.mean.float(), posterior.logvar.float()
    kl = 0.5 * (mean**2 + logvar.exp() - 1 - logvar).mean()
    loss, figures = reconstruction_loss(output, images, masks, judge)
    return loss + KL_WEIGHT * kl, {**figures, "kl": kl.item()}


def reconstruction_loss(output, images, masks, judge) -> tuple[torch.Tensor, dict[str, float]]:
    """Differences of pixels, weighted by layer, of slopes, and of what the judge sees in its first stages.

    Blur is cheap under the squared error alone; under the slopes (horizontal and vertical) it is not. The
    judge's features are a perceptual loss (Johnson, Alahi and Fei-Fei, 2016); its later stages, from which it
    reads attributes, stay out of it, because they measure the result.
    """
    weights = LAYER_WEIGHTS.to(images.device)[masks.long()][:, None]
    error = output - images
    square = error.square().mean()
    absolute = (weights * error.abs()).mean() / weights.mean()
    weighted_square = (weights * error.square()).mean() / weights.mean()
    edges = sum(F.l1_loss(output.diff(dim=d), images.diff(dim=d)) for d in (2, 3))
    loss = absolute + SQUARE_WEIGHT * weighted_square + EDGE_WEIGHT * edges
    loss = loss + PERCEPTUAL_WEIGHT * perceptual_loss(judge, output, images)
    # Pictures span [-1, 1], hence the 4: PSNR is stated for a span of 1.
    return loss, {"psnr": -10 * torch.log10(square.detach() / 4).item()}


def perceptual_loss(judge: Judge, output: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Mean difference of the judge's early features, as a share of their size."""
    with torch.autocast(images.device.type, torch.bfloat16):
        got = judge.early_features(output)
        with torch.no_grad():
            expected = judge.early_features(images)
    return sum((a - b).abs().mean() / b.abs().mean() for a, b in zip(got, expected, strict=True)).float()


def _load_eye(folder: Path, device: str) -> Judge:
    return Judge.load(folder / "judge").to(device).requires_grad_(False)


def train_vae(folder: Path, budget: float, device: str, seed: int = 0) -> AutoencoderKL:
    """Train for `budget` seconds and save to `folder/vae`, with the measured scaling factor.

    Needs `folder/judge`.
    """
    torch.manual_seed(seed)
    judge = _load_eye(folder, device)
    vae = start_from(folder / "vae", AutoencoderKL, make_vae).to(device, memory_format=torch.channels_last)
    n = BATCH_SIZE // count_processes()

    def compute_loss(step):
        _, images = gallery_batch(step, n, seed=1_000_000 + seed, split="worn")
        masks = mask_batch(step, n, seed=1_000_000 + seed, split="worn").to(device)
        return vae_loss(vae, images.to(device, memory_format=torch.channels_last), masks, judge)

    train_for(budget, vae, compute_loss, folder / "runs" / "vae", LEARNING_RATE)
    measure_scaling_factor(vae)
    vae.save_pretrained(folder / "vae")
    return vae


def train_decoder(folder: Path, budget: float, device: str, seed: int = 0) -> AutoencoderKL:
    """Go on with the decoder alone: the latents stay as they are, so a UNet trained on them stays right.

    Needs `folder/vae` and `folder/judge`, and puts the better one in its place.
    """
    torch.manual_seed(seed + 1)
    judge = _load_eye(folder, device)
    vae = AutoencoderKL.from_pretrained(folder / "vae").to(device, memory_format=torch.channels_last)
    vae.encoder.requires_grad_(False)
    vae.quant_conv.requires_grad_(False)
    n = BATCH_SIZE // count_processes()

    def compute_loss(step):
        _, images = gallery_batch(step, n, seed=8_000_000 + seed, split="worn")
        masks = mask_batch(step, n, seed=8_000_000 + seed, split="worn").to(device)
        images = images.to(device, memory_format=torch.channels_last)
        with torch.autocast(device, torch.bfloat16):
            with torch.no_grad():
                latents = vae.encode(images).latent_dist.sample()
            output = vae.decode(latents).sample.float()
        return reconstruction_loss(output, images, masks, judge)

    train_for(budget, vae, compute_loss, folder / "runs" / "decoder", LEARNING_RATE / 2)
    vae.save_pretrained(folder / "vae")
    return vae


@torch.no_grad()
def measure_scaling_factor(vae: AutoencoderKL, n: int = 1024) -> float:
    """One over the standard deviation of sampled latents, written into the configuration.

    Diffusion assumes latents of deviation 1 (Rombach et al., 2022, section G).
    """
    latents, generator = [], torch.Generator(vae.device).manual_seed(0)
    for step in range(n // 64):
        _, images = gallery_batch(step, 64, seed=2_000_000)
        latents.append(vae.encode(images.to(vae.device)).latent_dist.sample(generator))
    factor = 1 / torch.cat(latents).std().item()
    vae.register_to_config(scaling_factor=round(factor, 5))
    return factor
