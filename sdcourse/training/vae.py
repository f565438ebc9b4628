"""Train the autoencoder on gallery pictures."""

from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from transformers import CLIPModel

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
PATCH = 8
# How much a pixel counts: background, mount, subject, accessory, hat. Without this a green bird
# vanishes in a green forest, and a hat of forty pixels is not worth its latents.
LAYER_WEIGHTS = torch.tensor([1.0, 1.5, 3.0, 5.0, 5.0])


def vae_loss(
    vae: AutoencoderKL, images: torch.Tensor, masks: torch.Tensor, eye: "Eye"
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
    loss, figures = reconstruction_loss(output, images, masks, eye)
    return loss + KL_WEIGHT * kl, {**figures, "kl": kl.item()}


def reconstruction_loss(output, images, masks, eye) -> tuple[torch.Tensor, dict[str, float]]:
    """Differences of pixels, weighted by layer, of slopes, and of what other networks see.

    Blur is cheap under the squared error alone; under the slopes (horizontal and vertical) it is not.
    """
    weights = LAYER_WEIGHTS.to(images.device)[masks.long()][:, None]
    error = output - images
    square = error.square().mean()
    absolute = (weights * error.abs()).mean() / weights.mean()
    weighted_square = (weights * error.square()).mean() / weights.mean()
    edges = sum(F.l1_loss(output.diff(dim=d), images.diff(dim=d)) for d in (2, 3))
    loss = absolute + SQUARE_WEIGHT * weighted_square + EDGE_WEIGHT * edges
    loss = loss + PERCEPTUAL_WEIGHT * eye.difference(output, images)
    # Pictures span [-1, 1], hence the 4: PSNR is stated for a span of 1.
    return loss, {"psnr": -10 * torch.log10(square.detach() / 4).item()}


class Eye:
    """A perceptual loss (Johnson, Alahi and Fei-Fei, 2016): how different pictures look to other networks.

    CLIP's vision half tells a crown from a cap where pixels hardly differ. Of the judge only the first two
    stages are asked: the later ones, from which it reads attributes, measure the result.
    """

    def __init__(self, folder: Path, device: str):
        self.judge = Judge.load(folder / "judge").to(device).requires_grad_(False)
        clip = CLIPModel.from_pretrained(folder / "clip", dtype=torch.float32)
        clip.set_attn_implementation("eager")  # half the time of a step on a CPU, see the UNet's recipe
        self.clip = clip.vision_model.to(device).eval().requires_grad_(False)

    def see(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Features of the judge's first stages and of all of CLIP's layers."""
        return [
            *self.judge.early_features(images),
            *self.clip(images, output_hidden_states=True).hidden_states,
        ]

    def difference(self, output: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """Mean difference of features, as a share of their size, summed over layers."""
        # CLIP looks at patches of 8×8; moved at random, no pixel is always at the edge of one.
        shift = torch.randint(0, PATCH, (2,)).tolist()
        output, images = (torch.roll(x, shift, (2, 3)) for x in (output, images))
        with torch.autocast(images.device.type, torch.bfloat16):
            with torch.no_grad():
                expected = self.see(images)
            got = self.see(output)
        return sum((a - b).abs().mean() / b.abs().mean() for a, b in zip(got, expected, strict=True)).float()


def train_vae(folder: Path, budget: float, device: str, seed: int = 0) -> AutoencoderKL:
    """Train for `budget` seconds and save to `folder/vae`, with the measured scaling factor.

    Needs `folder/judge` and `folder/clip`.
    """
    torch.manual_seed(seed)
    eye = Eye(folder, device)
    vae = start_from(folder / "vae", AutoencoderKL, make_vae).to(device, memory_format=torch.channels_last)
    n = BATCH_SIZE // count_processes()

    def compute_loss(step):
        _, images = gallery_batch(step, n, seed=1_000_000 + seed, split="worn")
        masks = mask_batch(step, n, seed=1_000_000 + seed, split="worn").to(device)
        return vae_loss(vae, images.to(device, memory_format=torch.channels_last), masks, eye)

    train_for(budget, vae, compute_loss, folder / "runs" / "vae", LEARNING_RATE)
    measure_scaling_factor(vae)
    vae.save_pretrained(folder / "vae")
    return vae


def train_decoder(folder: Path, budget: float, device: str, seed: int = 0) -> AutoencoderKL:
    """Go on with the decoder alone: the latents stay as they are, so a UNet trained on them stays right.

    Needs `folder/vae`, `folder/judge` and `folder/clip`, and puts the better one in its place.
    """
    torch.manual_seed(seed + 1)
    eye = Eye(folder, device)
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
        return reconstruction_loss(output, images, masks, eye)

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
