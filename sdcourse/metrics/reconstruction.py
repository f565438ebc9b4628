"""What the VAE keeps of a picture."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Reconstruction:
    psnr: float  # decibels, mean over pictures
    ssim: float  # structural similarity, 1 for the same picture (Wang et al., 2004)


@torch.no_grad()
def measure_reconstruction(vae, images: torch.Tensor) -> Reconstruction:
    """Encode pictures to the mean of their latents, decode, compare.

    Args:
        images: (n, 3, height, width) in [-1, 1].
    """
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

    output = torch.cat(
        [
            vae.decode(vae.encode(part.to(vae.device, vae.dtype)).latent_dist.mode()).sample.float().cpu()
            for part in images.split(64)
        ]
    )
    # SSIM compares brightness too, so zero has to mean black.
    output, images = (output / 2 + 0.5).clamp(0, 1), images / 2 + 0.5
    psnr = [peak_signal_noise_ratio(a, b, data_range=1.0) for a, b in zip(output, images, strict=True)]
    ssim = structural_similarity_index_measure(output, images, data_range=1.0)
    return Reconstruction(torch.stack(psnr).mean().item(), ssim.item())
