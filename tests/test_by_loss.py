"""Guidance by a loss: where it leads, what it costs, and that it steps once."""

import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel

import sdcourse
from sdcourse.data.gallery import random_scenes, render
from sdcourse.guidance import classifier_guidance, color_loss, predict_clean_images, text_loss
from sdcourse.models.components import make_pixel_scheduler
from sdcourse.sampling import generate_from_class, generate_with_loss

SCHEDULER, VELOCITY = make_pixel_scheduler(), make_pixel_scheduler("v_prediction")


@pytest.fixture(scope="module")
def unet():
    torch.manual_seed(0)
    return UNet2DModel(
        sample_size=16, in_channels=3, out_channels=3, layers_per_block=1, block_out_channels=(8, 16),
        norm_num_groups=4, down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2,
    ).eval()  # fmt: skip


def draw(unet, strength, **options):
    return generate_with_loss(
        unet, SCHEDULER, color_loss, strength, num_inference_steps=8, seed=3, progress=False, **options
    )


def test_without_strength_it_is_the_plain_loop(unet):
    plain = generate_from_class(unet, SCHEDULER, num_inference_steps=8, seed=3, num_images=2, progress=False)
    assert torch.allclose(draw(unet, 0, num_images=2), plain, atol=1e-5)


@pytest.mark.parametrize("through_unet", [False, True])
def test_more_strength_gives_a_smaller_loss(unet, through_unet):
    losses = [color_loss(draw(unet, s, through_unet=through_unet)).item() for s in (0, 20, 100)]
    assert losses[0] > losses[1] > losses[2]


def test_a_picture_is_pulled_alike_however_many_are_beside_it(unet):
    assert torch.allclose(draw(unet, 30, num_images=3)[0], draw(unet, 30)[0], atol=1e-4)


def test_the_gradient_through_the_unet_is_another_one(unet):
    assert not torch.allclose(draw(unet, 30), draw(unet, 30, through_unet=True), atol=1e-3)
    assert not any(p.grad is not None for p in unet.parameters())


def test_the_scheduler_is_stepped_once_in_each_step(unet, monkeypatch):
    steps, step = [], DDPMScheduler.step
    monkeypatch.setattr(DDPMScheduler, "step", lambda *a, **k: (steps.append(1), step(*a, **k))[1])
    draw(unet, 30)
    assert len(steps) == 8


def test_clean_images_come_back_when_the_noise_is_known():
    clean, noise = torch.rand(4, 3, 8, 8), torch.randn(4, 3, 8, 8)
    for t in (torch.tensor(400), torch.tensor([0, 10, 500, 900])):
        noisy = SCHEDULER.add_noise(clean, noise, t.expand(4))
        assert torch.allclose(predict_clean_images(SCHEDULER, noise, t, noisy), clean, atol=1e-3)
        velocity = VELOCITY.get_velocity(clean, noise, t)
        assert torch.allclose(predict_clean_images(VELOCITY, velocity, t, noisy), clean, atol=1e-3)


def test_classifier_guidance_goes_uphill_in_proportion_to_the_noise():
    noise_pred, gradient = torch.randn(2, 2, 1, 4, 4)
    assert torch.equal(classifier_guidance(noise_pred, gradient, torch.tensor(0.36), 0), noise_pred)
    moved = classifier_guidance(noise_pred, gradient, torch.tensor(0.36), 3.0)
    assert torch.allclose(noise_pred - moved, 2.4 * gradient, atol=1e-6)


def test_the_text_loss_is_one_minus_the_cosine_and_has_a_gradient():
    clip, tokenizer = sdcourse.load_clip()
    images = (render(random_scenes(2, seed=1)).float() / 127.5 - 1).requires_grad_()
    loss = text_loss(clip, tokenizer, "a cat in the snow")(images)
    both = clip(pixel_values=images, **tokenizer(["a cat in the snow"], return_tensors="pt"))
    assert loss.item() == pytest.approx(1 - (both.image_embeds @ both.text_embeds.T).mean().item(), abs=1e-4)
    loss.backward()
    assert images.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "arguments, words",
    [(dict(strength=-1), "0 or more"), (dict(strength=1, scheduler="euler"), "take ddim or ddpm")],
)
def test_bad_input_gets_one_sentence(unet, arguments, words):
    with pytest.raises(ValueError, match=words):
        draw(unet, **arguments)
