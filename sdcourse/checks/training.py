"""What the checks of training have in common: a network that remembers what it was given."""

import torch
from diffusers import DDPMScheduler
from diffusers.models.unets.unet_2d import UNet2DOutput

from .engine import expect, expect_tensor

BETAS = torch.linspace(0.0001, 0.02, 1000)
ALPHAS_CUMPROD = torch.cumprod(1 - BETAS, 0)


def shaped(timesteps: torch.Tensor) -> torch.Tensor:
    """ᾱ of each picture, (n, 1, 1, 1)."""
    return ALPHAS_CUMPROD[timesteps].view(-1, 1, 1, 1)


class Watched(torch.nn.Module):
    """A network that remembers what it was given, and predicts half of the noisy pictures."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(0.5))
        self.seen = []

    def forward(self, sample, timestep, class_labels=None, return_dict=True):
        if not isinstance(timestep, torch.Tensor):
            timestep = torch.tensor(timestep)
        self.seen.append((sample.detach(), timestep.expand(len(sample)), class_labels))
        prediction = self.weight * sample
        return UNet2DOutput(sample=prediction) if return_dict else (prediction,)


def make_scheduler():
    return DDPMScheduler(num_train_timesteps=1000, beta_start=0.0001, beta_end=0.02)


def expect_loss(loss, model):
    """A scalar that trains the model, from a model that was called once."""
    expect(
        len(model.seen) == 1, f"The network should be called once, and was called {len(model.seen)} times."
    )
    expect_tensor(loss, ())
    expect(
        loss.requires_grad,
        "The loss carries no gradient, so nothing can be learned from it: leave out torch.no_grad().",
    )


def find_noise(clean_images, model):
    """What was added, from what the network saw, and the timesteps."""
    noisy_images, timesteps, _ = model.seen[0]
    alpha = shaped(timesteps)
    return (noisy_images - alpha.sqrt() * clean_images) / (1 - alpha).sqrt(), timesteps


def expect_noise(noise):
    """Gaussian, of mean 0 and deviation 1, another for each picture."""
    expect(
        bool((noise[0] - noise[1]).abs().max() > 1e-3),
        "All pictures got the same noise: draw it in the shape of the batch, torch.randn_like(clean_images).",
    )
    expect(
        not (noise.mean() > 0.4 and noise.std() < 0.5),
        f"The noise has mean {noise.mean():.2f} and deviation {noise.std():.2f}, as of torch.rand. It should "
        "be Gaussian: torch.randn.",
    )
    expect(
        abs(noise.mean()) < 0.1 and abs(noise.std() - 1) < 0.1 and bool(noise.abs().max() > 2.5),
        f"The noise has mean {noise.mean():.2f} and deviation {noise.std():.2f}: it should be Gaussian, of "
        "mean 0 and deviation 1, and be added by noise_scheduler.add_noise.",
    )


def expect_timesteps(timesteps):
    """Random, one for each picture, from the whole range."""
    expect(
        len(timesteps.unique()) > 1,
        "All pictures got the same timestep: draw one for each, so that a batch has easy and hard ones.",
    )
    expect(
        bool(timesteps.max() > 700) and bool(timesteps.min() < 300),
        f"The timesteps go from {timesteps.min()} to {timesteps.max()}: draw from all 1000.",
    )
