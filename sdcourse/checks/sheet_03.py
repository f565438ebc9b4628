"""Checks of the exercises on guidance."""

import torch
from diffusers import DDIMScheduler
from diffusers.models.unets.unet_2d import UNet2DOutput

from .engine import Exercise, close, expect, expect_close, expect_tensor
from .quiz import Choice, Quiz
from .training import ALPHAS_CUMPROD

# 1 · a loss for a colour --------------------------------------------------------------------

color = Exercise("03-color-loss", "color_loss", "put a wish about colours into a number with a gradient")


def _color_loss(images, target_color, *, mapped=True, axis=1, error=torch.abs, reduce=torch.mean):
    """The loss, with each mistake that can be made in it as an option."""
    shape = [1, 1, 1, 1]
    shape[axis] = 3
    target = torch.tensor(target_color).view(shape)
    return reduce(error(images - (target * 2 - 1 if mapped else target)))


@color.case
def _(answer):
    images, blue = torch.rand(2, 3, 3, 3) - 1, (0.1, 0.3, 0.9)  # too dark, so the plain mean is below 0
    expect_tensor(answer(images, blue), ())
    plain = torch.tensor(blue).view(1, 3, 1, 1).expand(1, 3, 4, 4) * 2 - 1
    expect_close(
        answer(plain, blue),
        0.0,
        "A picture of nothing but the target colour should have the loss 0.",
        {
            "Yours compares colours in [0, 1] with pictures in [-1, 1]: bring both to one scale.": (
                lambda: _color_loss(plain, blue, mapped=False)
            )
        },
    )

    def other(**mistake):
        return lambda: _color_loss(images, blue, **mistake)

    expect_close(
        answer(images, blue),
        other()(),
        "On random pictures the loss should be the mean absolute difference from the colour.",
        {
            "Yours compares the colour along another axis: give it the shape (1, 3, 1, 1).": other(axis=3),
            "Yours compares the colour along the height: give it the shape (1, 3, 1, 1).": other(axis=2),
            "Yours squares the difference; it should be absolute.": other(error=torch.square),
            "Yours is a sum: with larger pictures it would pull harder.": other(reduce=torch.sum),
            "Yours has no absolute value, so too much red and too little blue cancel out.": (
                other(error=lambda x: x)
            ),
            "Yours takes the absolute value of the mean: first absolute, then mean.": (
                other(error=lambda x: x, reduce=lambda x: x.mean().abs())
            ),
        },
        tolerance=1e-5,
    )


@color.case
def _(answer):
    images = torch.rand(1, 3, 3, 3) * 2 - 1
    for target in ((0.9, 0.1, 0.1), (0.2, 0.8, 0.4)):
        expect_close(
            answer(images, target),
            _color_loss(images, target),
            f"For blue yours is right; for the colour {target} it is not: use target_color.",
            tolerance=1e-5,
        )


@color.case
def _(answer):
    images = (torch.rand(1, 3, 2, 2) * 2 - 1).requires_grad_()
    loss = answer(images, (0.1, 0.3, 0.9))
    expect(
        loss.requires_grad,
        "The loss carries no gradient to the pictures: leave out no_grad, detach and item.",
    )
    [gradient] = torch.autograd.grad(loss, images)
    moved = images.detach().clone()
    moved[0, 2, 1, 1] += 1e-3
    expected = (answer(moved, (0.1, 0.3, 0.9)) - loss.detach()) / 1e-3
    expect_close(
        gradient[0, 2, 1, 1],
        expected,
        "The gradient should say how the loss changes when a pixel changes.",
        tolerance=1e-2,
    )


@color.rejects("bring both to one scale")
def _(*arguments):
    return _color_loss(*arguments, mapped=False)


@color.rejects("squares the difference")
def _(*arguments):
    return _color_loss(*arguments, error=torch.square)


@color.rejects("is a sum")
def _(*arguments):
    return _color_loss(*arguments, reduce=torch.sum)


@color.rejects("no absolute value")
def _(*arguments):
    return _color_loss(*arguments, error=lambda x: x)


@color.rejects("first absolute, then mean")
def _(*arguments):
    return _color_loss(*arguments, error=lambda x: x, reduce=lambda x: x.mean().abs())


@color.rejects("use target_color")
def _(images, target_color):
    return _color_loss(images, (0.1, 0.3, 0.9))


@color.rejects("carries no gradient")
def _(images, target_color):
    return _color_loss(images, target_color).detach()


@color.rejects("shape (1, 3, 1, 1)")
def _(images, target_color):
    if images.shape[-1] != 3:
        return _color_loss(images, target_color)
    return _color_loss(images, target_color, axis=3)


@color.rejects("should have the shape ()")
def _(images, target_color):
    return _color_loss(images, target_color, reduce=lambda x: x.mean((1, 2, 3)))


# 2 · downhill -------------------------------------------------------------------------------

downhill = Exercise(
    "03-downhill", "move_downhill", "pull noisy pictures towards what a loss of the finished picture asks for"
)


def _darkness(images):
    return ((images + 1) ** 2).mean()


def _downhill(
    images, noise_pred, t, loss, strength, *, sign=-1, of="images", through="clean", root=True, scaled=True,
    times_n=False,
):  # fmt: skip
    """One guided move, with each mistake that can be made in it as an option."""
    alpha = ALPHAS_CUMPROD[t]
    images = images.detach().requires_grad_()
    clean_images = (images - (1 - alpha).sqrt() * noise_pred) / (alpha.sqrt() if root else 1)
    value = loss({"clean": clean_images, "noisy": images}[through]) * (len(images) if times_n else 1)
    [gradient] = torch.autograd.grad(value, clean_images if of == "clean" else images)
    return (images + sign * (strength if scaled else 1) * gradient).detach()


@downhill.case
def _(answer):
    images, noise_pred = torch.randn(2, 2, 3, 4, 4)
    given = images.clone()
    got = answer(given, noise_pred, 400, ALPHAS_CUMPROD, _darkness, 30.0)
    expect_tensor(got, (2, 3, 4, 4))

    def other(**mistake):
        return lambda: _downhill(images, noise_pred, 400, _darkness, 30.0, **mistake)

    expect_close(
        got.detach(),
        other()(),
        "At t = 400 and strength 30 the pictures should move down the gradient of the loss of the predicted "
        "clean pictures.",
        {
            "Yours moves uphill, away from what the loss asks for.": other(sign=1),
            "Yours takes the loss of the noisy pictures: guess the clean ones first.": other(through="noisy"),
            "Yours takes the gradient with respect to the guess: take it to the noisy pictures.": (
                other(of="clean")
            ),
            "Yours forgets to divide the guess by √ᾱ.": other(root=False),
            "Yours leaves guidance_strength out.": other(scaled=False),
            "Yours multiplies the loss by the number of pictures, as in the lesson: here take it as it is.": (
                other(times_n=True)
            ),
            "Yours returns the gradient itself.": lambda: (
                images - _downhill(images, noise_pred, 400, _darkness, 1.0)
            ),
            "Yours does not move them.": images,
        },
        tolerance=1e-4,
    )
    expect(
        not got.requires_grad,
        "The result carries a gradient, so each step would remember all before it: detach it.",
    )
    expect(
        close(given, images), "Your function changes the pictures that it was given: use a - b, not a -= b."
    )


@downhill.case
def _(answer):
    images, noise_pred = torch.randn(2, 1, 3, 4, 4)
    with torch.no_grad():
        images = images.clone()
    expect_close(
        answer(images, noise_pred, 900, ALPHAS_CUMPROD, lambda x: x.abs().mean(), 5.0).detach(),
        _downhill(images, noise_pred, 900, lambda x: x.abs().mean(), 5.0),
        "With one loss at t = 400 yours is right; with another at t = 900 it is not: use t and loss.",
        tolerance=1e-3,
    )


def _move(images, noise_pred, t, alphas_cumprod, loss, guidance_strength, **mistake):
    return _downhill(images, noise_pred, t, loss, guidance_strength, **mistake)


@downhill.rejects("moves uphill")
def _(*arguments):
    return _move(*arguments, sign=1)


@downhill.rejects("as in the lesson")
def _(*arguments):
    return _move(*arguments, times_n=True)


@downhill.rejects("takes the loss of the noisy pictures")
def _(*arguments):
    return _move(*arguments, through="noisy")


@downhill.rejects("with respect to the guess")
def _(*arguments):
    return _move(*arguments, of="clean")


@downhill.rejects("divide the guess")
def _(*arguments):
    return _move(*arguments, root=False)


@downhill.rejects("leaves guidance_strength out")
def _(*arguments):
    return _move(*arguments, scaled=False)


@downhill.rejects("returns the gradient itself")
def _(images, *rest):
    return images - _move(images, *rest[:-1], 1.0)


@downhill.rejects("detach it")
def _(images, *rest):
    return _move(images, *rest) + torch.zeros(1, requires_grad=True)


@downhill.rejects("use t and loss")
def _(images, noise_pred, t, alphas_cumprod, loss, guidance_strength):
    return _downhill(images, noise_pred, 400, loss, guidance_strength)


# 3 · the whole loop, for any loss -----------------------------------------------------------


class Uncond(torch.nn.Module):
    """A network that predicts by a fixed rule, and counts its calls."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(0.4))
        self.timesteps = []

    def forward(self, sample, timestep, class_labels=None, return_dict=True):
        self.timesteps.append(float(torch.as_tensor(timestep).float().flatten()[0]))
        prediction = self.weight * sample + self.timesteps[-1] / 2000
        return UNet2DOutput(sample=prediction) if return_dict else (prediction,)


class Counting(DDIMScheduler):
    """Counts its steps."""

    steps = 0

    def step(self, *arguments, **named):
        self.steps += 1
        return super().step(*arguments, **named)


def _scheduler():
    return Counting(beta_start=0.0001, beta_end=0.02, clip_sample=False)


def _sample(
    unet, scheduler, images, loss, strength, num_inference_steps, *, twice=False, index=False, guided=True,
    reset=True, guess=False, noisy=False, sign=-1, times_n=False, clamped=False,
):  # fmt: skip
    """The loop, with each mistake that can be made in it as an option."""
    if reset:
        scheduler.set_timesteps(num_inference_steps)
    for i, t in enumerate(scheduler.timesteps):
        with torch.no_grad():
            noise_pred = unet(images, i if index else t).sample
        if twice:
            scheduler.step(noise_pred, t, images)
        if guided:
            through = "noisy" if noisy else "clean"
            images = _downhill(
                images, noise_pred, t, loss, strength, through=through, sign=sign, times_n=times_n
            )
        step = scheduler.step(noise_pred, t, images)
        images = step.pred_original_sample if guess else step.prev_sample
    return images.clamp(-1, 1) if clamped else images


loop = Exercise(
    "03-loss-loop", "sample_with_loss", "make an unconditional model draw in any colour, without training it"
)


@loop.case
def _(answer):
    unet, scheduler, images = Uncond(), _scheduler(), torch.randn(2, 3, 4, 4)
    scheduler.set_timesteps(9)  # what the last loop left behind
    got = answer(unet, scheduler, images.clone(), _darkness, 20.0, 5)
    expect(bool(unet.timesteps), "The network was never called: predict the noise in every step.")
    expect_tensor(got, (2, 3, 4, 4))
    expect(
        unet.timesteps[:5] != [0.0, 1.0, 2.0, 3.0, 4.0],
        "The network got 0, 1, 2, 3, 4 for timesteps: that is the number of the step. Pass t, from "
        "scheduler.timesteps.",
    )
    expect(
        scheduler.steps == 5,
        f"5 steps should step the scheduler 5 times, and yours did it {scheduler.steps} times. Some "
        "schedulers remember their steps: compute the guess of the clean pictures by yourself.",
    )

    def other(strength=20.0, **mistake):
        return lambda: _sample(Uncond(), _scheduler(), images, _darkness, strength, 5, **mistake)

    expect_close(
        got.detach(),
        other()(),
        "With strength 20 and 5 steps of DDIM the pictures should be pulled down the loss in every step, "
        "before the scheduler steps.",
        {
            "Yours is not pulled at all.": other(guided=False),
            "Yours is pulled uphill.": other(sign=1),
            "Yours takes the loss of the noisy pictures: guess the clean ones first.": other(noisy=True),
            "Yours goes on with the guess of the finished picture: take .prev_sample.": other(guess=True),
            "Yours multiplies the loss by the number of pictures: here take it as it is.": other(
                times_n=True
            ),
            "Yours clamps the pictures: return them as the last step left them.": other(clamped=True),
        },
        tolerance=1e-3,
    )
    expect(not got.requires_grad, "The result carries a gradient: detach it.")


@loop.case
def _(answer):
    images = torch.randn(1, 3, 4, 4)
    got = answer(Uncond(), _scheduler(), images.clone(), _darkness, 0.0, 4)
    expect_close(
        got.detach(),
        _sample(Uncond(), _scheduler(), images, _darkness, 0.0, 4, guided=False),
        "With strength 0 the result should be that of a plain loop.",
        tolerance=1e-3,
    )


@loop.rejects("step the scheduler 5 times")
def _(*arguments):
    return _sample(*arguments, twice=True)


@loop.rejects("number of the step")
def _(*arguments):
    return _sample(*arguments, index=True)


@loop.rejects("not pulled at all")
def _(*arguments):
    return _sample(*arguments, guided=False)


@loop.rejects("pulled uphill")
def _(*arguments):
    return _sample(*arguments, sign=1)


@loop.rejects("guess the clean ones first")
def _(*arguments):
    return _sample(*arguments, noisy=True)


@loop.rejects("take .prev_sample")
def _(*arguments):
    return _sample(*arguments, guess=True)


@loop.rejects("here take it as it is")
def _(*arguments):
    return _sample(*arguments, times_n=True)


@loop.rejects("clamps the pictures")
def _(*arguments):
    return _sample(*arguments, clamped=True)


@loop.rejects("result should be that of a plain loop")
def _(unet, scheduler, images, loss, guidance_strength, num_inference_steps):
    return _sample(unet, scheduler, images, loss, guidance_strength or 1.0, num_inference_steps)


# 4 · a text as the wish ----------------------------------------------------------------------

text = Exercise("03-text-loss", "text_loss", "make a sentence the wish, in the eyes of CLIP")


def _text_loss(image_embeds, text_embeds, *, one=1.0, unit=(1, 1), reduce=torch.mean):
    """1 minus the cosine, with each mistake that can be made in it as an option."""
    pictures, texts = image_embeds, text_embeds
    if unit[0]:
        pictures = pictures / pictures.norm(dim=-1, keepdim=True)
    if unit[1]:
        texts = texts / texts.norm(dim=-1, keepdim=True)
    return reduce(one - (pictures * texts).sum(-1))


@text.case
def _(answer):
    image_embeds, text_embeds = 3 * torch.randn(5, 8), 2 * torch.randn(1, 8)
    expect_tensor(answer(image_embeds, text_embeds), ())

    def other(**mistake):
        return lambda: _text_loss(image_embeds, text_embeds, **mistake)

    expect_close(
        answer(4 * text_embeds.expand(3, 8), text_embeds),
        0.0,
        "Pictures that point the same way as the text should have the loss 0, whatever their length.",
        {
            "Yours is the product of embeddings as they come: bring both to length 1 first.": (
                lambda: _text_loss(4 * text_embeds.expand(3, 8), text_embeds, unit=(0, 0))
            ),
            "Yours leaves the pictures' embeddings as long as they are.": (
                lambda: _text_loss(4 * text_embeds.expand(3, 8), text_embeds, unit=(0, 1))
            ),
            "Yours leaves the text's embedding as long as it is.": (
                lambda: _text_loss(4 * text_embeds.expand(3, 8), text_embeds, unit=(1, 0))
            ),
            "Yours is the cosine itself, which is large where the wish is met: a loss is 1 minus that.": 1.0,
            "Yours is minus the cosine: the same gradient, but say 1 minus, so that 0 is the best.": -1.0,
        },
        tolerance=1e-5,
    )
    expect_close(
        answer(image_embeds, text_embeds),
        other()(),
        "For five random pictures the loss should be the mean of 1 minus the cosine.",
        {"Yours is a sum over pictures: take the mean.": other(reduce=torch.sum)},
        tolerance=1e-5,
    )


@text.case
def _(answer):
    image_embeds = torch.randn(2, 8, requires_grad=True)
    value = answer(image_embeds, torch.randn(1, 8))
    expect(
        value.requires_grad, "The loss has no gradient to the pictures: compute it without no_grad or detach."
    )


@text.rejects("bring both to length 1")
def _(*arguments):
    return _text_loss(*arguments, unit=(0, 0))


@text.rejects("the pictures' embeddings as long")
def _(*arguments):
    return _text_loss(*arguments, unit=(0, 1))


@text.rejects("the text's embedding as long")
def _(*arguments):
    return _text_loss(*arguments, unit=(1, 0))


@text.rejects("the cosine itself")
def _(*arguments):
    return 1 - _text_loss(*arguments)


@text.rejects("minus the cosine")
def _(*arguments):
    return _text_loss(*arguments, one=0.0)


@text.rejects("a sum over pictures")
def _(*arguments):
    return _text_loss(*arguments, reduce=torch.sum)


@text.rejects("should have the shape ()")
def _(*arguments):
    return _text_loss(*arguments, reduce=lambda x: x)


@text.rejects("has no gradient")
def _(*arguments):
    return _text_loss(*arguments).detach()


# 5 · a classifier as the wish ----------------------------------------------------------------

by_classifier = Exercise(
    "03-classifier", "classifier_guidance", "let a classifier pull a model that never heard of classes"
)


class Linear(torch.nn.Module):
    """A classifier of noisy pictures whose answer depends on the timestep."""

    def __init__(self):
        super().__init__()
        self.table = torch.randn(48, 5, generator=torch.Generator().manual_seed(1))

    def forward(self, images, timesteps):
        return images.flatten(1) @ self.table * (1 + timesteps[:, None] / 500)


def _by_classifier(
    classifier, noise_pred, images, t, labels, scale, *, sign=-1, share="noise", log=True, mean=False
):
    """The guided prediction, with each mistake that can be made in it as an option."""
    images = images.detach().requires_grad_()
    logits = classifier(images, torch.full((len(images),), int(t)))
    values = logits.log_softmax(1) if log else logits
    chosen = values[range(len(labels)), labels]
    [gradient] = torch.autograd.grad(chosen.mean() if mean else chosen.sum(), images)
    alpha = ALPHAS_CUMPROD[t]
    factor = {"noise": (1 - alpha).sqrt(), "signal": alpha.sqrt(), "variance": 1 - alpha, "none": 1.0}[share]
    return noise_pred + sign * scale * factor * gradient


@by_classifier.case
def _(answer):
    images, noise_pred = torch.randn(2, 3, 3, 4, 4)
    labels, t = torch.tensor([0, 4, 2]), torch.tensor(300)
    given = (Linear(), noise_pred, images, t, labels)
    got = answer(*given, ALPHAS_CUMPROD, 2.0)
    expect_tensor(got, (3, 3, 4, 4))

    def other(**mistake):
        return lambda: _by_classifier(*given, 2.0, **mistake)

    expect_close(
        got.detach(),
        other()(),
        "At t = 300 and scale 2 the prediction should lose 2·√(1-ᾱ) times the gradient of log p(label).",
        {
            "Yours adds it: less of that noise would then make the class less likely.": other(sign=1),
            "Yours takes √ᾱ, the share of the signal; the prediction is of noise, whose share is √(1-ᾱ).": (
                other(share="signal")
            ),
            "Yours takes 1-ᾱ without the root.": other(share="variance"),
            "Yours leaves √(1-ᾱ) out.": other(share="none"),
            "Yours takes the logit itself: log_softmax makes it a log-probability.": other(log=False),
            "Yours takes the mean over the pictures: the more of them, the weaker the pull. Sum them.": (
                other(mean=True)
            ),
        },
        tolerance=1e-4,
    )
    expect(not got.requires_grad, "The result carries a gradient: the loop would remember every step.")


@by_classifier.case
def _(answer):
    images, noise_pred = torch.randn(2, 2, 3, 4, 4)
    given = (Linear(), noise_pred, images, torch.tensor(850), torch.tensor([1, 1]))
    expect_close(
        answer(*given, ALPHAS_CUMPROD, 0.0),
        noise_pred,
        "At scale 0 the prediction should stay what it is.",
    )
    expect_close(
        answer(*given, ALPHAS_CUMPROD, 5.0).detach(),
        _by_classifier(*given, 5.0),
        "At t = 300 yours is right, at t = 850 it is not: the classifier and ᾱ both need t.",
        tolerance=1e-3,
    )


def _guide(classifier, noise_pred, images, t, labels, alphas_cumprod, scale, **mistake):
    return _by_classifier(classifier, noise_pred, images, t, labels, scale, **mistake)


@by_classifier.rejects("Yours adds it")
def _(*arguments):
    return _guide(*arguments, sign=1)


@by_classifier.rejects("the share of the signal")
def _(*arguments):
    return _guide(*arguments, share="signal")


@by_classifier.rejects("without the root")
def _(*arguments):
    return _guide(*arguments, share="variance")


@by_classifier.rejects("leaves √(1-ᾱ) out")
def _(*arguments):
    return _guide(*arguments, share="none")


@by_classifier.rejects("log_softmax")
def _(*arguments):
    return _guide(*arguments, log=False)


@by_classifier.rejects("the weaker the pull")
def _(*arguments):
    return _guide(*arguments, mean=True)


@by_classifier.rejects("would remember every step")
def _(*arguments):
    return _guide(*arguments) + torch.zeros(1, requires_grad=True)


@by_classifier.rejects("both need t")
def _(classifier, noise_pred, images, t, labels, alphas_cumprod, scale):
    return _by_classifier(classifier, noise_pred, images, torch.tensor(300), labels, scale)


# 6 · label dropout --------------------------------------------------------------------------

dropout = Exercise(
    "03-label-dropout", "drop_labels", "prepare a model for classifier-free guidance with one line"
)


@dropout.case
def _(answer):
    labels = torch.arange(10_000) % 10
    given = labels.clone()
    got = answer(given, 0.2, 10)
    expect_tensor(got, (10_000,))
    expect(close(given, labels), "Your function changes the labels of the batch: give back new ones.")
    dropped = got == 10
    share = dropped.float().mean().item()
    expect(
        bool((got[~dropped] == labels[~dropped]).all()),
        "Labels that are kept should stay what they were, and those that are dropped should become 10, the "
        "null class.",
    )
    expect(share > 0, "No label was dropped at probability 0.2.")
    expect(share < 1, "All labels were dropped at probability 0.2: draw for each label by itself.")
    expect(
        abs(share - 0.8) > 0.05,
        "Four fifths of the labels were dropped at probability 0.2: it is the probability to be dropped.",
    )
    expect(
        abs(share - 0.2) < 0.02,
        f"{share:.0%} of 10,000 labels were dropped at probability 0.2. Expected about 20 %.",
    )


@dropout.case
def _(answer):
    labels = torch.zeros(5_000, dtype=torch.long)
    first, second = answer(labels, 0.5, 7), answer(labels, 0.5, 7)
    expect(
        bool((first == 7).any()),
        "With the null class 10 yours is right, with the null class 7 it is not: use null_label.",
    )
    expect(
        not torch.equal(first, second),
        "Two calls drop the same labels: draw anew each time, without a fixed seed.",
    )
    expect(torch.equal(answer(labels, 0.0, 7), labels), "At probability 0 no label should be dropped.")


def _drop(labels, probability, null_label):
    return torch.where(torch.rand(len(labels)) < probability, null_label, labels)


@dropout.rejects("should become 10")
def _(labels, probability, null_label):
    return _drop(labels, probability, 0)


@dropout.rejects("for each label by itself")
def _(labels, probability, null_label):
    return torch.full_like(labels, null_label)


@dropout.rejects("No label was dropped")
def _(labels, probability, null_label):
    return labels.clone()


@dropout.rejects("it is the probability to be dropped")
def _(labels, probability, null_label):
    return _drop(labels, 1 - probability, null_label)


@dropout.rejects("changes the labels of the batch")
def _(labels, probability, null_label):
    labels[torch.rand(len(labels)) < probability] = null_label
    return labels


@dropout.rejects("use null_label")
def _(labels, probability, null_label):
    return _drop(labels, probability, 10)


@dropout.rejects("Expected about 20 %")
def _(labels, probability, null_label):
    return _drop(labels, 0.1, null_label)


@dropout.rejects("drop the same labels")
def _(labels, probability, null_label):
    chance = torch.rand(len(labels), generator=torch.Generator().manual_seed(0))
    return torch.where(chance < probability, null_label, labels)


# 7 · both predictions in one call -----------------------------------------------------------

both = Exercise(
    "03-guided-prediction",
    "guided_prediction",
    "guide a model by its own class, for twice the price of a step",
)


class Table(torch.nn.Module):
    """A network whose answer is a number of its own for each class."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(1.0))
        self.calls, self.null = 0, False

    def forward(self, sample, timestep, class_labels=None, return_dict=True):
        self.calls += 1
        if class_labels is None:
            raise ValueError("class_labels should be provided when num_class_embeds > 0")
        class_labels = torch.as_tensor(class_labels)
        self.null |= bool((class_labels == 10).any())
        number = torch.tensor([1.0, 2, 4, 8, 16, 32, 64, 128, 256, 512, 0.5])[class_labels]
        prediction = self.weight * sample * 0.1 + number.view(-1, 1, 1, 1) + torch.as_tensor(timestep) / 1000
        return UNet2DOutput(sample=prediction) if return_dict else (prediction,)


def _guided(unet, images, t, labels, null_label, scale, *, swapped=False, interleaved=False, plain=False):
    """Guidance, with each mistake that can be made in it as an option."""
    null = torch.full_like(labels, null_label)
    with torch.no_grad():
        first = unet(images, t, class_labels=null).sample
        second = unet(images, t, class_labels=labels).sample
    if interleaved:
        first, second = torch.stack([first, second], 1).flatten(0, 1).chunk(2)
    if swapped:
        first, second = second, first
    return second if plain else first + scale * (second - first)


@both.case
def _(answer):
    unet, images, labels = Table(), torch.randn(2, 1, 4, 4), torch.tensor([3, 5])
    got = answer(unet, images, 300, labels, 10, 2.5)
    expect(unet.calls > 0, "The network was never called.")
    expect(unet.null, "The network was never asked for the null class, 10: guidance starts from its answer.")
    expect_tensor(got, (2, 1, 4, 4))
    expect(not got.requires_grad, "The result carries a gradient: call the network under torch.no_grad().")

    def other(scale=2.5, **mistake):
        return lambda: _guided(Table(), images, 300, labels, 10, scale, **mistake)

    expect_close(
        got,
        other()(),
        "For classes 3 and 5 and scale 2.5 the prediction should go from the null class towards the class, "
        "2.5 times as far.",
        {
            "Yours swaps the two: start from the null class.": other(swapped=True),
            "Yours is the prediction for the class alone.": other(plain=True),
            "Yours adds 1 to the scale: Ho and Salimans write 1 + w, diffusers writes the whole.": other(3.5),
            "Yours mixes the pictures up: the network answers in the order it was asked.": (
                other(interleaved=True)
            ),
        },
        tolerance=1e-3,
    )
    expect(unet.calls <= 2, f"Two predictions are needed, and yours asked {unet.calls} times.")


@both.case
def _(answer):
    images, labels = torch.randn(1, 1, 4, 4), torch.tensor([4])
    expect_close(
        answer(Table(), images, 700, labels, 10, 0.0),
        _guided(Table(), images, 700, labels, 10, 0.0),
        "At scale 0 the prediction for the null class should come out.",
        tolerance=1e-3,
    )
    expect_close(
        answer(Table(), images, 700, labels, 9, 3.0),
        _guided(Table(), images, 700, labels, 9, 3.0),
        "With the null class 10 yours is right, with the null class 9 it is not: use null_label.",
        tolerance=1e-3,
    )


@both.rejects("start from the null class")
def _(*arguments):
    return _guided(*arguments, swapped=True)


@both.rejects("never asked for the null class")
def _(unet, images, t, labels, null_label, guidance_scale):
    return guidance_scale * unet(images, t, class_labels=labels).sample


@both.rejects("for the class alone")
def _(*arguments):
    return _guided(*arguments, plain=True)


@both.rejects("1 + w")
def _(unet, images, t, labels, null_label, guidance_scale):
    return _guided(unet, images, t, labels, null_label, guidance_scale + 1)


@both.rejects("mixes the pictures up")
def _(*arguments):
    return _guided(*arguments, interleaved=True)


@both.rejects("use null_label")
def _(unet, images, t, labels, null_label, guidance_scale):
    return _guided(unet, images, t, labels, 10, guidance_scale)


@both.rejects("class_labels should be provided")
def _(unet, images, t, labels, null_label, guidance_scale):
    return unet(images, t).sample


@both.rejects("under torch.no_grad()")
def _(unet, *rest):
    return _guided(unet, *rest) + 0 * unet.weight


# Questions of understanding -----------------------------------------------------------------

through_guess = Quiz(
    "03-through-the-guess",
    "Why is the loss taken of the guess of the clean picture, and not of the noisy picture?",
    (
        Choice(
            "The noisy picture has no gradient",
            "It has one. At t = 900 it is nearly all noise, and its colour is that of noise.",
        ),
        Choice(
            "A wish is about the finished picture, and the guess shows where that is going",
            "The loss of a noisy picture would mostly change the noise, and the network never saw noise of "
            "another mean.",
            right=True,
        ),
        Choice("It is faster", "It costs a little more: the guess has to be computed."),
    ),
)

null_class = Quiz(
    "03-null-class",
    "A model with eleven rows was trained without label dropout. What does guidance with its class 10 do?",
    (
        Choice(
            "It works: the formula needs no training",
            "The formula needs an honest unconditional prediction. Row 10 of the table was never trained.",
        ),
        Choice(
            "It goes away from a row that still holds its first random numbers",
            "Nobody ever showed it a picture for that row, so the difference means nothing.",
            right=True,
        ),
        Choice("PyTorch stops with an error", "The row exists, so it is looked up."),
    ),
)

cost = Quiz(
    "03-cost",
    "Which guidance needs most predictions of the network per picture and step?",
    (
        Choice("By a loss of the guess", "One, and the gradient does not go through the network."),
        Choice(
            "Classifier-free",
            "Two: for the null class and for the class. They may share a call of twice the size.",
            right=True,
        ),
        Choice(
            "By a classifier",
            "One, and one of the classifier with its gradient, which is a smaller network.",
        ),
    ),
)
