"""The sampling loop in slow motion, for explorers that look at every step."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from .settings import Settings

if TYPE_CHECKING:
    import torch


class Moment(NamedTuple):
    """One step of the loop, before it is taken."""

    timestep: int
    latents: "torch.Tensor"  # (1, 4, h, w), noisy
    noise_preds: "torch.Tensor"  # (texts, 4, h, w), one for each text
    guess: "torch.Tensor"  # (1, 4, h, w), what the latents would be without the guided noise


def walk(
    pipe,
    settings: Settings,
    texts: Sequence[str],
    guide: "Callable[[torch.Tensor], torch.Tensor]",
    check: Callable[[], None] | None = None,
) -> Iterator[Moment]:
    """DDIM, with a noise prediction for any number of texts.

    Args:
        settings: its seed and number of steps; the texts and the guidance are those given.
        guide: from the predictions (texts, 4, h, w) to the guided one (1, 4, h, w).
        check: is called before each step; what it raises stops the loop.
    """
    import torch

    from sdcourse.guidance import predict_clean_images
    from sdcourse.sampling import encode_prompt, make_scheduler, prepare_latents
    from sdcourse.sampling.schedulers import make_generators

    settings.check()
    scheduler = make_scheduler(pipe.scheduler, "ddim")
    side = pipe.unet.config.sample_size * pipe.vae_scale_factor
    with torch.no_grad():
        text_embeddings = encode_prompt(pipe.tokenizer, pipe.text_encoder, texts)
        latents = prepare_latents(
            pipe, scheduler, make_generators(settings.seed, 1), side, side, settings.num_inference_steps
        )
        for t in scheduler.timesteps:
            if check:
                check()
            latent_model_input = scheduler.scale_model_input(latents.expand(len(texts), -1, -1, -1), t)
            noise_preds = pipe.unet(latent_model_input, t, encoder_hidden_states=text_embeddings).sample
            noise_pred = guide(noise_preds)
            yield Moment(
                int(t), latents, noise_preds, predict_clean_images(scheduler, noise_pred, t, latents)
            )
            latents = scheduler.step(noise_pred, t, latents).prev_sample
