"""Sampling by class, against diffusers and in its corners."""

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel

from sdcourse.models.components import make_pixel_scheduler, make_pixel_unet
from sdcourse.sampling import SCHEDULERS, generate_from_class


def tiny(**options):
    torch.manual_seed(0)
    return UNet2DModel(
        sample_size=16, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=(8, 16),
        norm_num_groups=4, down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2,
        **options,
    ).eval()  # fmt: skip


@pytest.fixture(scope="module")
def by_class():
    return tiny(num_class_embeds=4)


@pytest.fixture(scope="module")
def unconditional():
    return tiny()


SCHEDULER = make_pixel_scheduler()


def draw(unet, labels=None, scheduler=None, steps=4, **options):
    return generate_from_class(
        unet, SCHEDULER, labels, num_inference_steps=steps, scheduler=scheduler, progress=False, **options
    )


def test_unconditional_pictures_equal_those_of_the_pipeline(unconditional):
    from diffusers import DDIMPipeline

    ddim = DDIMScheduler.from_config(SCHEDULER.config)
    pipe = DDIMPipeline(unet=unconditional, scheduler=ddim)
    pipe.set_progress_bar_config(disable=True)
    generators = [torch.Generator().manual_seed(s) for s in (5, 6)]
    theirs = pipe(batch_size=2, generator=generators, num_inference_steps=4, output_type="np").images
    ours = draw(unconditional, scheduler="ddim", seed=5, num_images=2)
    assert (ours.permute(0, 2, 3, 1) / 2 + 0.5 - torch.from_numpy(theirs)).abs().max() < 1e-5


def test_the_loop_is_the_one_that_the_lesson_writes(by_class):
    labels = torch.tensor([2])
    scheduler = DDPMScheduler.from_config(SCHEDULER.config)
    scheduler.set_timesteps(4)
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(1, 16, 16, generator=generator)[None]
    for t in scheduler.timesteps:
        with torch.no_grad():
            uncond = by_class(images, t, class_labels=torch.tensor([3])).sample
            cond = by_class(images, t, class_labels=labels).sample
        noise_pred = uncond + 2.5 * (cond - uncond)
        images = scheduler.step(noise_pred, t, images, generator=generator).prev_sample
    ours = draw(by_class, labels, scheduler="ddpm", seed=3, guidance_scale=2.5)
    assert (ours - images.clamp(-1, 1)).abs().max() < 1e-5


def test_scale_0_ignores_the_label_and_1_needs_no_unconditional_half(by_class):
    same = dict(seed=1, scheduler="ddim")
    nothing = draw(by_class, [3], **same)
    assert torch.allclose(draw(by_class, [0], guidance_scale=0.0, **same), nothing, atol=1e-5)
    assert not torch.allclose(draw(by_class, [0], **same), nothing, atol=1e-3)
    calls = []
    hook = by_class.register_forward_hook(lambda module, inputs, output: calls.append(len(inputs[0])))
    draw(by_class, [0, 1], **same)
    draw(by_class, [0, 1], guidance_scale=2.0, **same)
    hook.remove()
    assert calls == [2] * 4 + [4] * 4


def test_a_picture_does_not_depend_on_its_batch_and_every_scheduler_draws(by_class):
    for scheduler in SCHEDULERS:
        both = draw(by_class, [0, 2], scheduler=scheduler, seed=7, guidance_scale=2.0)
        alone = draw(by_class, [2], scheduler=scheduler, seed=8, guidance_scale=2.0)
        assert both.shape == (2, 1, 16, 16) and both.isfinite().all()
        assert torch.allclose(both[1], alone[0], atol=1e-4), scheduler


def test_the_callback_sees_every_step(by_class):
    seen = []
    draw(by_class, [1], callback_on_step_end=lambda i, images, noise_pred: seen.append((i, images.shape)))
    assert seen == [(i, (1, 1, 16, 16)) for i in range(4)]


@pytest.mark.parametrize(
    "model, arguments, words",
    [
        ("by_class", dict(labels=[4]), "0 to 3"),
        ("by_class", dict(), "give labels"),
        ("by_class", dict(labels=[]), "No picture"),
        ("by_class", dict(labels=[1], steps=0), "1 to 1000"),
        ("by_class", dict(labels=[1], seed=[1, 2]), "2 seeds for 1 pictures"),
        ("by_class", dict(labels=[1], scheduler="eular"), "euler"),
        ("unconditional", dict(labels=[1]), "knows no classes"),
        ("unconditional", dict(guidance_scale=3.0), "nothing to be guided by"),
        ("unconditional", dict(num_images=0), "No picture"),
    ],
)
def test_bad_input_gets_one_sentence(request, model, arguments, words):
    with pytest.raises(ValueError, match=words) as raised:
        draw(request.getfixturevalue(model), **arguments)
    assert "\n" not in str(raised.value)


def test_the_course_s_own_shapes_fit(by_class):
    images = draw(make_pixel_unet(num_class_embeds=11).eval(), [0, 9], steps=2, guidance_scale=2.0)
    assert images.shape == (2, 1, 32, 32)
    assert draw(make_pixel_unet(channels=3).eval(), num_images=1, steps=1).shape == (1, 3, 32, 32)
