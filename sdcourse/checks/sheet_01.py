"""Checks of the exercises on diffusion basics."""

import torch
from diffusers import DDIMScheduler

from .engine import Exercise, close, expect, expect_close, expect_tensor
from .quiz import Choice, Quiz
from .training import (
    ALPHAS_CUMPROD,
    BETAS,
    Watched,
    expect_loss,
    expect_noise,
    expect_timesteps,
    find_noise,
    make_scheduler,
    shaped,
)

# 1 · a schedule -----------------------------------------------------------------------------

schedule = Exercise(
    "01-schedule", "make_alphas_cumprod", "make a schedule of noise, and read from it how much signal is left"
)


@schedule.case
def _(answer):
    got = answer(1000, 0.0001, 0.02)
    expect_tensor(got, (1000,))
    betas = torch.linspace(0.0001, 0.02, 1000)
    expect_close(
        got,
        torch.cumprod(1 - betas, 0),
        "ᾱ should fall from 0.9999 to 0.00004 over 1000 steps from 0.0001 to 0.02.",
        {
            "Yours are the β themselves.": betas,
            "Yours are 1 - β of each step: ᾱ is the product of all of them up to t.": 1 - betas,
            "Yours multiply the β: it is the 1 - β that are multiplied.": torch.cumprod(betas, 0),
            "Yours add up 1 - β: ᾱ is a product.": torch.cumsum(1 - betas, 0),
            "Yours take away the sum of the β: ᾱ is a product.": 1 - torch.cumsum(betas, 0),
            "Yours are √ᾱ, the factor of the picture: leave the root to add_noise.": (
                torch.cumprod(1 - betas, 0).sqrt()
            ),
            "Yours are one step late: the first is already 1 - β of the first step.": (
                torch.cat([torch.ones(1), torch.cumprod(1 - betas, 0)[:-1]])
            ),
        },
        tolerance=1e-5,
    )


@schedule.case
def _(answer):
    expect_close(
        answer(10, 0.1, 0.5),
        torch.cumprod(1 - torch.linspace(0.1, 0.5, 10), 0),
        "With 1000 steps yours is right; with 10 steps from 0.1 to 0.5 it is not: use all three arguments.",
    )


@schedule.rejects("the β themselves")
def _(num_train_timesteps, beta_start, beta_end):
    return torch.linspace(beta_start, beta_end, num_train_timesteps)


@schedule.rejects("product of all of them")
def _(num_train_timesteps, beta_start, beta_end):
    return 1 - torch.linspace(beta_start, beta_end, num_train_timesteps)


@schedule.rejects("it is the 1 - β that are multiplied")
def _(num_train_timesteps, beta_start, beta_end):
    return torch.cumprod(torch.linspace(beta_start, beta_end, num_train_timesteps), 0)


@schedule.rejects("take away the sum")
def _(num_train_timesteps, beta_start, beta_end):
    return 1 - torch.cumsum(torch.linspace(beta_start, beta_end, num_train_timesteps), 0)


@schedule.rejects("leave the root to add_noise")
def _(num_train_timesteps, beta_start, beta_end):
    return torch.cumprod(1 - torch.linspace(beta_start, beta_end, num_train_timesteps), 0).sqrt()


@schedule.rejects("use all three arguments")
def _(num_train_timesteps, beta_start, beta_end):
    return torch.cumprod(1 - torch.linspace(0.0001, 0.02, num_train_timesteps), 0)


@schedule.rejects("shape (1000,)")
def _(num_train_timesteps, beta_start, beta_end):
    return torch.prod(1 - torch.linspace(beta_start, beta_end, num_train_timesteps))


# 2 · the forward process --------------------------------------------------------------------

forward = Exercise("01-add-noise", "add_noise", "put any amount of noise on a picture in one jump")


@forward.case
def _(answer):
    images, noise = torch.rand(1, 1, 4, 4) * 2 - 1, torch.randn(1, 1, 4, 4)
    timesteps = torch.tensor([300])
    got = answer(images.clone(), noise, timesteps, ALPHAS_CUMPROD)
    expect_tensor(got, (1, 1, 4, 4))
    alpha = shaped(timesteps)
    expect_close(
        got,
        alpha.sqrt() * images + (1 - alpha).sqrt() * noise,
        "At t = 300 the noisy picture should be √ᾱ times the picture plus √(1 - ᾱ) times the noise.",
        {
            "Yours leave out both square roots.": alpha * images + (1 - alpha) * noise,
            "Yours leave out the root of the noise's factor.": alpha.sqrt() * images + (1 - alpha) * noise,
            "Yours leave out the root of the picture's factor.": alpha * images + (1 - alpha).sqrt() * noise,
            "Yours take 1 - √ᾱ for the noise: the root is of 1 - ᾱ as a whole.": (
                alpha.sqrt() * images + (1 - alpha.sqrt()) * noise
            ),
            "Yours swap picture and noise.": alpha.sqrt() * noise + (1 - alpha).sqrt() * images,
            "Yours leave the picture at full strength: it has to shrink as the noise grows.": (
                images + (1 - alpha).sqrt() * noise
            ),
            "Yours are one timestep early: ᾱ of t is alphas_cumprod[t].": (
                shaped(timesteps - 1).sqrt() * images + (1 - shaped(timesteps - 1)).sqrt() * noise
            ),
        },
    )


@forward.case
def _(answer):
    images, noise = torch.rand(4, 3, 4, 4) * 2 - 1, torch.randn(4, 3, 4, 4)
    timesteps = torch.tensor([0, 300, 600, 999])
    got = answer(images.clone(), noise, timesteps, ALPHAS_CUMPROD)
    expect_tensor(got, (4, 3, 4, 4), "for four pictures the result")
    alpha = shaped(timesteps)
    columns = ALPHAS_CUMPROD[timesteps]
    expect_close(
        got,
        alpha.sqrt() * images + (1 - alpha).sqrt() * noise,
        "For one picture yours is right; for four with a timestep each it is not.",
        {
            "Your factors go along the columns of each picture, because products line up the last axes: give "
            "ᾱ the shape (4, 1, 1, 1).": _noisy(images, noise, columns),
            "Your factors go along the rows of each picture: give ᾱ the shape (4, 1, 1, 1).": (
                _noisy(images, noise, columns[:, None])
            ),
            "Yours give all of them the noise level of the first.": (
                alpha[:1].sqrt() * images + (1 - alpha[:1]).sqrt() * noise
            ),
        },
    )
    given = images.clone()
    answer(given, noise, timesteps, ALPHAS_CUMPROD)
    expect(
        close(given, images), "Your function changes the pictures that it was given: use a * b, not a *= b."
    )


def _noisy(images, noise, alpha):
    return alpha.sqrt() * images + (1 - alpha).sqrt() * noise


@forward.rejects("both square roots")
def _(clean_images, noise, timesteps, alphas_cumprod):
    alpha = alphas_cumprod[timesteps].view(-1, 1, 1, 1)
    return alpha * clean_images + (1 - alpha) * noise


@forward.rejects("root is of 1 - ᾱ as a whole")
def _(clean_images, noise, timesteps, alphas_cumprod):
    alpha = alphas_cumprod[timesteps].view(-1, 1, 1, 1)
    return alpha.sqrt() * clean_images + (1 - alpha.sqrt()) * noise


@forward.rejects("swap picture and noise")
def _(clean_images, noise, timesteps, alphas_cumprod):
    return _noisy(noise, clean_images, alphas_cumprod[timesteps].view(-1, 1, 1, 1))


@forward.rejects("at full strength")
def _(clean_images, noise, timesteps, alphas_cumprod):
    return clean_images + (1 - alphas_cumprod[timesteps].view(-1, 1, 1, 1)).sqrt() * noise


@forward.rejects("one timestep early")
def _(clean_images, noise, timesteps, alphas_cumprod):
    return _noisy(clean_images, noise, alphas_cumprod[timesteps - 1].view(-1, 1, 1, 1))


@forward.rejects("along the columns of each picture")
def _(clean_images, noise, timesteps, alphas_cumprod):
    return _noisy(clean_images, noise, alphas_cumprod[timesteps])


@forward.rejects("noise level of the first")
def _(clean_images, noise, timesteps, alphas_cumprod):
    return _noisy(clean_images, noise, alphas_cumprod[timesteps[0]])


@forward.rejects("along the rows of each picture")
def _(clean_images, noise, timesteps, alphas_cumprod):
    return _noisy(clean_images, noise, alphas_cumprod[timesteps].view(-1, 1))


@forward.rejects("use a * b, not a *= b")
def _(clean_images, noise, timesteps, alphas_cumprod):
    alpha = alphas_cumprod[timesteps].view(-1, 1, 1, 1)
    clean_images *= alpha.sqrt()
    return clean_images + (1 - alpha).sqrt() * noise


# 3 · the loss -------------------------------------------------------------------------------

training = Exercise(
    "01-loss", "diffusion_loss", "compute the loss that all diffusion models of this course are trained with"
)


@training.case
def _(answer):
    model, clean_images = Watched(), torch.rand(64, 1, 8, 8) * 2 - 1
    loss = answer(model, make_scheduler(), clean_images)
    expect(loss is not None, "The result is None: does your function end with a return?")
    expect(bool(model.seen), "The network was never called.")
    expect(
        not close(model.seen[0][0], clean_images),
        "The network was given the clean pictures: add the noise first.",
    )
    expect_loss(loss, model)
    noise, timesteps = find_noise(clean_images, model)
    expect_timesteps(timesteps)
    expect_noise(noise)
    noisy_images = model.seen[0][0]
    noise_pred = 0.5 * noisy_images
    expect_close(
        loss.detach(),
        ((noise_pred - noise) ** 2).mean(),
        "The loss should be the mean squared difference of the prediction and the noise that was added.",
        {
            "Yours compares the prediction with the clean pictures: the network predicts noise.": (
                ((noise_pred - clean_images) ** 2).mean()
            ),
            "Yours compares it with the noisy pictures.": ((noise_pred - noisy_images) ** 2).mean(),
            "Yours is a sum: take the mean, or the learning rate would depend on the batch.": (
                ((noise_pred - noise) ** 2).sum()
            ),
            "Yours takes the absolute difference; it should be squared.": (noise_pred - noise).abs().mean(),
            "Yours forgot to square: positive and negative differences cancel out.": (
                noise_pred - noise
            ).mean(),
        },
        tolerance=1e-3,
    )


@training.case
def _(answer):
    clean_images, seen = torch.rand(32, 1, 8, 8) * 2 - 1, []
    for _ in range(2):
        model = Watched()
        answer(model, make_scheduler(), clean_images)
        seen.append(model.seen[0])
    expect(
        not close(seen[0][0], seen[1][0]),
        "Two calls gave the network the same noise and timesteps: draw both anew each time, "
        "without a fixed seed.",
    )


def _loss(
    model, noise_scheduler, clean_images, *, noise=torch.randn_like, target="noise", same=False, most=1000,
    error=lambda a, b: ((a - b) ** 2).mean(),
):  # fmt: skip
    """The loss, with each mistake that can be made in it as an option."""
    noise = noise(clean_images)
    timesteps = torch.randint(0, most, (1 if same else len(clean_images),)).expand(len(clean_images))
    noisy_images = noise_scheduler.add_noise(clean_images, noise, timesteps)
    noise_pred = model(noisy_images, timesteps).sample
    return error(noise_pred, {"noise": noise, "clean": clean_images, "noisy": noisy_images}[target])


@training.rejects("as of torch.rand")
def _(*arguments):
    return _loss(*arguments, noise=torch.rand_like)


@training.rejects("All pictures got the same noise")
def _(*arguments):
    return _loss(*arguments, noise=lambda images: torch.randn_like(images[:1]).expand_as(images))


@training.rejects("All pictures got the same timestep")
def _(*arguments):
    return _loss(*arguments, same=True)


@training.rejects("draw from all 1000")
def _(*arguments):
    return _loss(*arguments, most=50)


@training.rejects("with the clean pictures")
def _(*arguments):
    return _loss(*arguments, target="clean")


@training.rejects("with the noisy pictures")
def _(*arguments):
    return _loss(*arguments, target="noisy")


@training.rejects("is a sum")
def _(*arguments):
    return _loss(*arguments, error=lambda a, b: ((a - b) ** 2).sum())


@training.rejects("takes the absolute difference")
def _(*arguments):
    return _loss(*arguments, error=lambda a, b: (a - b).abs().mean())


@training.rejects("given the clean pictures")
def _(model, noise_scheduler, clean_images):
    timesteps = torch.randint(0, 1000, (len(clean_images),))
    return ((model(clean_images, timesteps).sample - torch.randn_like(clean_images)) ** 2).mean()


@training.rejects("leave out torch.no_grad()")
def _(*arguments):
    with torch.no_grad():
        return _loss(*arguments)


@training.rejects("draw both anew")
def _(*arguments):
    torch.manual_seed(0)
    return _loss(*arguments)


@training.rejects("of mean 0 and deviation 1")
def _(*arguments):
    return _loss(*arguments, noise=lambda images: 0.5 * torch.randn_like(images))


# 4 · the guess of the finished picture ------------------------------------------------------

clean = Exercise(
    "01-clean-images",
    "predict_clean_images",
    "see at any step what the network takes the finished picture to be",
)


@clean.case
def _(answer):
    images, noise = torch.rand(3, 1, 4, 4) * 2 - 1, torch.randn(3, 1, 4, 4)
    timesteps = torch.tensor([100, 500, 800])
    alpha = shaped(timesteps)
    noisy_images = _noisy(images, noise, alpha)
    got = answer(noisy_images.clone(), noise, timesteps, ALPHAS_CUMPROD)
    expect_tensor(got, (3, 1, 4, 4))
    expect_close(
        got,
        images,
        "With the very noise that was added, the picture itself should come back.",
        {
            "Yours take the noise away and forget to divide by √ᾱ.": noisy_images
            - (1 - alpha).sqrt() * noise,
            "Yours divide by ᾱ: it should be √ᾱ.": (noisy_images - (1 - alpha).sqrt() * noise) / alpha,
            "Yours take the whole noise away: it was added with the factor √(1 - ᾱ).": (
                (noisy_images - noise) / alpha.sqrt()
            ),
            "Yours leave out the root of 1 - ᾱ.": (noisy_images - (1 - alpha) * noise) / alpha.sqrt(),
            "Yours divide only the noisy picture: first take away the noise, then divide all of it.": (
                noisy_images / alpha.sqrt() - (1 - alpha).sqrt() * noise
            ),
            "Yours multiply by √ᾱ: dividing undoes the multiplication.": (
                (noisy_images - (1 - alpha).sqrt() * noise) * alpha.sqrt()
            ),
            "Yours add the noise once more.": (noisy_images + (1 - alpha).sqrt() * noise) / alpha.sqrt(),
        },
        tolerance=1e-3,
    )


def _guess(noisy_images, noise_pred, timesteps, alphas_cumprod, formula):
    return formula(noisy_images, noise_pred, alphas_cumprod[timesteps].view(-1, 1, 1, 1))


@clean.rejects("forget to divide")
def _(*arguments):
    return _guess(*arguments, lambda x, e, a: x - (1 - a).sqrt() * e)


@clean.rejects("it should be √ᾱ")
def _(*arguments):
    return _guess(*arguments, lambda x, e, a: (x - (1 - a).sqrt() * e) / a)


@clean.rejects("take the whole noise away")
def _(*arguments):
    return _guess(*arguments, lambda x, e, a: (x - e) / a.sqrt())


@clean.rejects("leave out the root of 1 - ᾱ")
def _(*arguments):
    return _guess(*arguments, lambda x, e, a: (x - (1 - a) * e) / a.sqrt())


@clean.rejects("divide only the noisy picture")
def _(*arguments):
    return _guess(*arguments, lambda x, e, a: x / a.sqrt() - (1 - a).sqrt() * e)


@clean.rejects("multiply by √ᾱ")
def _(*arguments):
    return _guess(*arguments, lambda x, e, a: (x - (1 - a).sqrt() * e) * a.sqrt())


@clean.rejects("add the noise once more")
def _(*arguments):
    return _guess(*arguments, lambda x, e, a: (x + (1 - a).sqrt() * e) / a.sqrt())


# 5 · one step of DDPM -----------------------------------------------------------------------

ddpm = Exercise("01-ddpm-step", "ddpm_step", "take one step of DDPM by hand, equal to the one of diffusers")


def _ddpm(
    noise_pred, t, images, z, betas, *, variance="posterior", sign=-1, root=True, shrink=True, last=True
):
    """Algorithm 2 of Ho et al., 2020, with each mistake that can be made in it as an option."""
    alphas_cumprod = torch.cumprod(1 - betas, 0)
    beta, alpha_bar = betas[t], alphas_cumprod[t]
    alpha_bar_prev = alphas_cumprod[t - 1] if t > 0 else torch.tensor(1.0)
    spread = (1 - alpha_bar).sqrt() if root else 1 - alpha_bar
    mean = images + sign * beta / spread * noise_pred
    mean = mean / (1 - beta).sqrt() if shrink else mean
    sigma = {
        "posterior": ((1 - alpha_bar_prev) / (1 - alpha_bar) * beta).sqrt(),
        "squared": (1 - alpha_bar_prev) / (1 - alpha_bar) * beta,
        "beta": beta.sqrt(),
        "none": torch.tensor(0.0),
    }[variance]
    if t == 0:
        return mean if last else mean + beta.sqrt() * z
    return mean + sigma * z


@ddpm.case
def _(answer):
    images, noise_pred, z = torch.randn(3, 2, 1, 4, 4)
    got = answer(noise_pred, 300, images.clone(), z, BETAS)
    expect_tensor(got, (2, 1, 4, 4))

    def other(**mistake):
        return lambda: _ddpm(noise_pred, 300, images, z, BETAS, **mistake)

    expect_close(
        got,
        other()(),
        "At t = 300 the step should agree with DDPMScheduler.step (without clipping).",
        {
            "Yours leave out the fresh noise z.": other(variance="none"),
            "Yours use σ² where σ belongs: take the root of the variance.": other(variance="squared"),
            "Yours take √β for σ, the paper's other choice: use the variance of the posterior, "
            "(1 - ᾱ of t - 1) / (1 - ᾱ of t) · β.": other(variance="beta"),
            "Yours add the predicted noise instead of taking it away.": other(sign=1),
            "Yours divide by 1 - ᾱ: it should be √(1 - ᾱ).": other(root=False),
            "Yours forget to divide by √α = √(1 - β): the picture has to grow back.": other(shrink=False),
        },
        tolerance=1e-5,
    )


@ddpm.case
def _(answer):
    images, noise_pred, z = torch.randn(3, 2, 1, 4, 4)
    try:
        got = answer(noise_pred, 0, images.clone(), z, BETAS)
    except IndexError as error:
        expect(False, f"At t = 0 yours stops: {error}. There is no timestep before 0; ᾱ is 1 there.")
    expect_close(
        got,
        _ddpm(noise_pred, 0, images, z, BETAS),
        "At t = 300 yours is right, at t = 0 it is not: the last step adds no noise.",
        tolerance=1e-5,
    )


@ddpm.rejects("leave out the fresh noise")
def _(*arguments):
    return _ddpm(*arguments, variance="none")


@ddpm.rejects("take the root of the variance")
def _(*arguments):
    return _ddpm(*arguments, variance="squared")


@ddpm.rejects("the paper's other choice")
def _(*arguments):
    return _ddpm(*arguments, variance="beta")


@ddpm.rejects("add the predicted noise")
def _(*arguments):
    return _ddpm(*arguments, sign=1)


@ddpm.rejects("divide by 1 - ᾱ")
def _(*arguments):
    return _ddpm(*arguments, root=False)


@ddpm.rejects("has to grow back")
def _(*arguments):
    return _ddpm(*arguments, shrink=False)


@ddpm.rejects("the last step adds no noise")
def _(*arguments):
    return _ddpm(*arguments, last=False)


# 6 · one step of DDIM -----------------------------------------------------------------------

ddim = Exercise(
    "01-ddim-step", "ddim_step", "jump over many timesteps at once with DDIM, without any randomness"
)


def _ddim(noise_pred, t, t_prev, images, alphas_cumprod, *, root=True, swap=False, direction=True, start=1.0):
    """Eq. 12 of Song et al., 2021, with σ = 0, and with each mistake that can be made in it as an option."""
    if swap:
        t, t_prev = t_prev, t
    alpha = alphas_cumprod[t]
    alpha_prev = alphas_cumprod[t_prev] if t_prev >= 0 else torch.tensor(start)
    clean_images = (images - (1 - alpha).sqrt() * noise_pred) / alpha.sqrt()
    noise_left = (1 - alpha_prev).sqrt() if root else 1 - alpha_prev
    return alpha_prev.sqrt() * clean_images + (noise_left * noise_pred if direction else 0)


@ddim.case
def _(answer):
    images, noise_pred = torch.randn(2, 2, 1, 4, 4)
    got = answer(noise_pred, 500, 460, images.clone(), ALPHAS_CUMPROD)
    expect_tensor(got, (2, 1, 4, 4))
    alpha, alpha_prev = ALPHAS_CUMPROD[500], ALPHAS_CUMPROD[460]
    clean_images = (images - (1 - alpha).sqrt() * noise_pred) / alpha.sqrt()

    def other(**mistake):
        return lambda: _ddim(noise_pred, 500, 460, images, ALPHAS_CUMPROD, **mistake)

    scheduler = DDIMScheduler(
        beta_start=0.0001, beta_end=0.02, clip_sample=False, timestep_spacing="trailing"
    )
    scheduler.set_timesteps(25)  # 40 timesteps apart
    expect_close(
        got,
        scheduler.step(noise_pred, 500, images).prev_sample,
        "From t = 500 to t = 460 the step should agree with DDIMScheduler.step.",
        {
            "Yours swap the two timesteps.": other(swap=True),
            "Yours return the guess of the finished picture: go on to the noise level of 460.": clean_images,
            "Yours add no noise back: at t = 460 there is still some, in the predicted direction.": (
                other(direction=False)
            ),
            "Yours leave out the root of the noise that stays, √(1 - ᾱ of 460).": other(root=False),
            "Yours add fresh noise of the level of 500: it should be that of 460.": (
                alpha_prev.sqrt() * clean_images + (1 - alpha).sqrt() * noise_pred
            ),
            "Yours shrink the guess by √ᾱ of 500: it should be that of 460.": (
                alpha.sqrt() * clean_images + (1 - alpha_prev).sqrt() * noise_pred
            ),
        },
        tolerance=1e-4,
    )
    expect(
        close(answer(noise_pred, 500, 460, images.clone(), ALPHAS_CUMPROD), got),
        "Two calls give two results: this step has no randomness.",
    )


@ddim.case
def _(answer):
    images, noise_pred = torch.randn(2, 2, 1, 4, 4)
    got = answer(noise_pred, 40, -1, images.clone(), ALPHAS_CUMPROD)
    expect_tensor(got, (2, 1, 4, 4))
    expect_close(
        got,
        _ddim(noise_pred, 40, -1, images, ALPHAS_CUMPROD),
        "In the last step, where t_prev is -1, the guess of the finished picture should come out, because ᾱ "
        "is 1 there.",
        {
            "Yours read alphas_cumprod[-1], which is the last entry, that of t = 999.": (
                lambda: _ddim(noise_pred, 40, 999, images, ALPHAS_CUMPROD)
            )
        },
        tolerance=1e-4,
    )


@ddim.rejects("swap the two timesteps")
def _(*arguments):
    return _ddim(*arguments, swap=True)


@ddim.rejects("add no noise back")
def _(*arguments):
    return _ddim(*arguments, direction=False)


@ddim.rejects("leave out the root")
def _(*arguments):
    return _ddim(*arguments, root=False)


@ddim.rejects("go on to the noise level of 460")
def _(noise_pred, t, t_prev, images, alphas_cumprod):
    return (images - (1 - alphas_cumprod[t]).sqrt() * noise_pred) / alphas_cumprod[t].sqrt()


@ddim.rejects("the last entry, that of t = 999")
def _(noise_pred, t, t_prev, images, alphas_cumprod):
    return _ddim(noise_pred, t, t_prev % 1000, images, alphas_cumprod)


@ddim.rejects("of the level of 500")
def _(noise_pred, t, t_prev, images, alphas_cumprod):
    alpha, alpha_prev = alphas_cumprod[t], alphas_cumprod[t_prev]
    clean_images = (images - (1 - alpha).sqrt() * noise_pred) / alpha.sqrt()
    return alpha_prev.sqrt() * clean_images + (1 - alpha).sqrt() * noise_pred


# 7 · uniform noise --------------------------------------------------------------------------

uniform = Exercise(
    "01-uniform-noise-that-fits",
    "fitting_uniform_noise",
    "say which two numbers a sampler expects of its noise, and give them to any distribution",
)


@uniform.case
def _(answer):
    got = answer((64, 1, 32, 32), torch.Generator().manual_seed(0))
    expect_tensor(got, (64, 1, 32, 32))
    mean, deviation = got.mean().item(), got.std().item()
    expect(
        abs(mean - 0.5) > 0.02 or abs(deviation - 0.289) > 0.02,
        "This is torch.rand as it comes, mean 0.5 and deviation 0.29: move it, then stretch it.",
    )
    expect(
        abs(mean) < 0.02,
        f"The mean is {mean:.2f}, it should be 0: take away one half before you stretch.",
    )
    for wrong, words in {
        12**-0.5: "you moved it only. Its variance is 1/12",
        2 * 12**-0.5: "a range of -1 to 1 is not a deviation of 1. The variance of torch.rand is 1/12",
        12**0.5: "you multiplied by 12, the inverse of the variance. The deviation is its root",
        12**-1.0: "you divided by √12: that makes small numbers smaller. Multiply",
    }.items():
        expect(
            abs(deviation / wrong - 1) > 0.03, f"The deviation is {deviation:.2f}, it should be 1: {words}."
        )
    expect(abs(deviation - 1) < 0.02, f"The deviation is {deviation:.2f}, it should be 1.")
    expect(
        got.abs().max().item() < 1.8,
        "Mean and deviation are right, but single numbers are larger than 1.74: this noise is not uniform. "
        "Start from torch.rand.",
    )


@uniform.case
def _(answer):
    first, again, other = (answer((2, 1, 4, 4), torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    expect(
        close(first, again) and not close(first, other),
        "The same generator should give the same noise, another one another: give it to torch.rand.",
    )
    means = torch.stack(
        [answer((1, 1, 4, 4), torch.Generator().manual_seed(seed)).mean() for seed in range(20)]
    )
    expect(
        means.abs().max() > 1e-4,
        "Each draw has a mean of exactly 0: you measured this draw. Use the mean and the deviation of the "
        "distribution, 1/2 and √(1/12); a small picture's noise would be bent otherwise.",
    )


@uniform.rejects("torch.rand as it comes")
def _(shape, generator):
    return torch.rand(shape, generator=generator)


@uniform.rejects("you moved it only")
def _(shape, generator):
    return torch.rand(shape, generator=generator) - 0.5


@uniform.rejects("a range of -1 to 1 is not")
def _(shape, generator):
    return torch.rand(shape, generator=generator) * 2 - 1


@uniform.rejects("you multiplied by 12")
def _(shape, generator):
    return (torch.rand(shape, generator=generator) - 0.5) * 12


@uniform.rejects("makes small numbers smaller")
def _(shape, generator):
    return (torch.rand(shape, generator=generator) - 0.5) / 12**0.5


@uniform.rejects("take away one half before you stretch")
def _(shape, generator):
    return torch.rand(shape, generator=generator) * 12**0.5 - 0.5


@uniform.rejects("this noise is not uniform")
def _(shape, generator):
    return torch.randn(shape, generator=generator)


@uniform.rejects("you measured this draw")
def _(shape, generator):
    noise = torch.rand(shape, generator=generator)
    return (noise - noise.mean()) / noise.std()


@uniform.rejects("give it to torch.rand")
def _(shape, generator):
    return (torch.rand(shape) - 0.5) * 12**0.5


# Questions of understanding -----------------------------------------------------------------

one_jump = Quiz(
    "01-one-jump",
    "Why can training jump to any timestep at once, without walking there?",
    (
        Choice(
            "The steps in between are so small that they can be left out",
            "A thousand of them leave nothing of the picture. They are not left out, they are put together.",
        ),
        Choice(
            "Gaussian noise added to Gaussian noise is Gaussian noise",
            "So all steps up to t make one: a factor for the picture, and one for the noise.",
            right=True,
        ),
        Choice(
            "The network has learned the way there",
            "Adding noise needs no network at all. The way back does.",
        ),
    ),
)

hard_timesteps = Quiz(
    "01-hard-timesteps",
    "At t = 990 the loss is tiny, at t = 50 it is large. Is the network better at t = 990?",
    (
        Choice(
            "Yes, training goes from the noisy end to the clean one",
            "Training draws timesteps at random, all alike often.",
        ),
        Choice(
            "No: there the noisy picture is nearly all noise, so copying it is a good answer",
            "How hard the question is differs with t. Losses of different timesteps cannot be compared.",
            right=True,
        ),
        Choice(
            "Yes, the pictures have fewer details there",
            "The network is asked for the noise. Where there is little of it, it is hard to see.",
        ),
    ),
)

uniform_noise = Quiz(
    "01-uniform-noise",
    "Somebody trains with torch.rand and samples from torch.rand. What goes wrong?",
    (
        Choice(
            "Nothing: training and sampling agree",
            "They agree in the last step only. In between, schedulers take it for Gaussian noise.",
        ),
        Choice(
            "The steps assume noise of mean 0 and deviation 1, so the brightness drifts",
            "Uniform noise has mean 0.5 and deviation 0.29; sums of it are not uniform either.",
            right=True,
        ),
        Choice(
            "PyTorch stops with an error",
            "It cannot know what the numbers mean. Such mistakes show in pictures only.",
        ),
    ),
)
