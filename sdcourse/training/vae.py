"""Train the autoencoder on gallery pictures."""

from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from sdcourse.models.components import make_vae

from .batches import gallery_batch
from .loop import train_for

BATCH_SIZE = 16
LEARNING_RATE = 1.5e-3
KL_WEIGHT = 1e-4
EDGE_WEIGHT = 0.5
SQUARE_WEIGHT = 2.0


def vae_loss(vae: AutoencoderKL, images: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
    """Reconstruction (absolute, squared, edges) and the KL divergence per latent number.

    Edges: absolute difference of the pictures' horizontal and vertical slopes. Blur is cheap under
    the squared error alone; it is not under this.
    """
    with torch.autocast(images.device.type, torch.bfloat16):
        posterior = vae.encode(images).latent_dist
        output = vae.decode(posterior.sample()).sample
    output, mean, logvar = output.float(), posterior.mean.float(), posterior.logvar.float()
    absolute = F.l1_loss(output, images)
    square = F.mse_loss(output, images)
    edges = sum(F.l1_loss(output.diff(dim=d), images.diff(dim=d)) for d in (2, 3))
    kl = 0.5 * (mean**2 + logvar.exp() - 1 - logvar).mean()
    loss = absolute + SQUARE_WEIGHT * square + EDGE_WEIGHT * edges + KL_WEIGHT * kl
    # Pictures span [-1, 1], hence the 4: PSNR is stated for a span of 1.
    return loss, {"psnr": -10 * torch.log10(square.detach() / 4).item(), "kl": kl.item()}


def train_vae(folder: Path, budget: float, device: str, seed: int = 0) -> AutoencoderKL:
    """Train for `budget` seconds and save to `folder/vae`, with the measured scaling factor."""
    torch.manual_seed(seed)
    vae = make_vae().to(device, memory_format=torch.channels_last)

    def compute_loss(step):
        _, images = gallery_batch(step, BATCH_SIZE, seed=1_000_000 + seed)
        return vae_loss(vae, images.to(device, memory_format=torch.channels_last))

    train_for(budget, vae, compute_loss, folder / "runs" / "vae", LEARNING_RATE)
    measure_scaling_factor(vae)
    vae.save_pretrained(folder / "vae")
    return vae


@torch.no_grad()
def measure_scaling_factor(vae: AutoencoderKL, n: int = 1024) -> float:
    """One over the standard deviation of sampled latents, written into the configuration.

    Diffusion assumes latents of deviation 1 (Rombach et al., 2022, section G).
    """
    latents = []
    for step in range(n // 64):
        _, images = gallery_batch(step, 64, seed=2_000_000)
        latents.append(vae.encode(images.to(vae.device)).latent_dist.sample())
    factor = 1 / torch.cat(latents).std().item()
    vae.register_to_config(scaling_factor=round(factor, 5))
    return factor
