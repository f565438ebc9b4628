"""Checks of the exercises on latents and the VAE."""

import torch
from diffusers.configuration_utils import FrozenDict
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput

from .engine import Exercise, expect, expect_close, expect_tensor
from .quiz import Choice, Quiz

# 1 · drawing from a distribution ------------------------------------------------------------

draw = Exercise("04-reparameterise", "draw", "draw from a distribution so that a gradient can pass through")


@draw.case
def _(answer):
    mean, logvar, noise = torch.randn(3, 2, 4, 3, 3)
    got = answer(mean, logvar, noise)
    expect_tensor(got, (2, 4, 3, 3))
    expect_close(
        got,
        mean + (0.5 * logvar).exp() * noise,
        "The result should be the mean plus the noise, stretched to the deviation.",
        {
            "Yours stretches by the variance: the deviation is its root, exp(logvar / 2).": (
                mean + logvar.exp() * noise
            ),
            "Yours stretches by the logarithm itself: it has to go through exp.": mean + logvar * noise,
            "Yours stretches by half of the logarithm: it has to go through exp.": mean
            + 0.5 * logvar * noise,
            "Yours takes the root of the logarithm.": mean + logvar.abs().sqrt() * noise,
            "Yours adds the noise as it is.": mean + noise,
            "Yours leaves the noise out.": mean,
            "Yours divides by the deviation: the encoder uses exp(+logvar / 2).": (
                mean + (-0.5 * logvar).exp() * noise
            ),
        },
    )


@draw.case
def _(answer):
    mean, logvar = torch.zeros(2, 1, 1, 2, 2).unbind()
    mean, logvar = mean.clone().requires_grad_(), logvar.clone().requires_grad_()
    got = answer(mean, logvar, torch.ones(1, 1, 2, 2))
    expect(
        got.requires_grad,
        "The result carries no gradient, so the encoder could not learn: leave out no_grad and detach.",
    )
    gradients = torch.autograd.grad(got.sum(), (mean, logvar), allow_unused=True)
    expect(
        all(g is not None for g in gradients),
        "No gradient reaches both mean and logvar: use the given noise, and no random draw of your own.",
    )


@draw.rejects("stretches by the variance")
def _(mean, logvar, noise):
    return mean + logvar.exp() * noise


@draw.rejects("stretches by the logarithm itself")
def _(mean, logvar, noise):
    return mean + logvar * noise


@draw.rejects("half of the logarithm")
def _(mean, logvar, noise):
    return mean + 0.5 * logvar * noise


@draw.rejects("adds the noise as it is")
def _(mean, logvar, noise):
    return mean + noise


@draw.rejects("leaves the noise out")
def _(mean, logvar, noise):
    return mean


@draw.rejects("carries no gradient")
def _(mean, logvar, noise):
    return (mean + (0.5 * logvar).exp() * noise).detach()


@draw.rejects("reaches both mean and logvar")
def _(mean, logvar, noise):
    return mean + (0.5 * logvar).exp().detach() * noise


# 2 · how far from a standard normal distribution --------------------------------------------

divergence = Exercise("04-kl", "kl_divergence", "say what the second part of a VAE's loss asks for")


@divergence.case
def _(answer):
    zero = torch.zeros(1, 2, 2, 2)
    expect_tensor(answer(zero, zero), ())
    expect_close(answer(zero, zero), 0.0, "For mean 0 and variance 1 there is no divergence: it should be 0.")


@divergence.case
def _(answer):
    mean, logvar = torch.randn(2, 3, 4, 2, 2)
    right = 0.5 * (mean**2 + logvar.exp() - 1 - logvar)
    expect_close(
        answer(mean, logvar),
        right.mean(),
        "On random numbers the mean over all should agree with Kingma and Welling (2014, appendix B).",
        {
            "Yours is a sum over all numbers: the mean is asked for.": right.sum(),
            "Yours is a sum for each picture: the mean over all numbers is asked for.": (
                right.sum((1, 2, 3)).mean()
            ),
            "Yours has the sign turned round.": -right.mean(),
            "Yours forgets the half.": 2 * right.mean(),
            "Yours does not square the mean.": 0.5 * (mean + logvar.exp() - 1 - logvar).mean(),
            "Yours takes the deviation for the variance: exp(logvar).": (
                0.5 * (mean**2 + (0.5 * logvar).exp() - 1 - logvar)
            ).mean(),
            "Yours leaves logvar out at the end, so a variance of nearly 0 costs nothing.": (
                0.5 * (mean**2 + logvar.exp() - 1)
            ).mean(),
            "Yours adds logvar: it is taken away.": (0.5 * (mean**2 + logvar.exp() - 1 + logvar)).mean(),
        },
        tolerance=1e-4,
    )


def _kl(mean, logvar):
    return 0.5 * (mean**2 + logvar.exp() - 1 - logvar)


@divergence.rejects("sum over all numbers")
def _(mean, logvar):
    return _kl(mean, logvar).sum()


@divergence.rejects("sum for each picture")
def _(mean, logvar):
    return _kl(mean, logvar).sum((1, 2, 3)).mean()


@divergence.rejects("sign turned round")
def _(mean, logvar):
    return -_kl(mean, logvar).mean()


@divergence.rejects("forgets the half")
def _(mean, logvar):
    return 2 * _kl(mean, logvar).mean()


@divergence.rejects("does not square the mean")
def _(mean, logvar):
    return 0.5 * (mean + logvar.exp() - 1 - logvar).mean()


@divergence.rejects("a variance of nearly 0 costs nothing")
def _(mean, logvar):
    return 0.5 * (mean**2 + logvar.exp() - 1).mean()


@divergence.rejects("it should be 0")
def _(mean, logvar):
    return 0.5 * (mean**2 + logvar.exp() - logvar).mean()


# 3 · the scaling factor ---------------------------------------------------------------------

scaling = Exercise("04-scaling-factor", "scaling_factor", "say where a number such as 0.18215 comes from")


@scaling.case
def _(answer):
    latents = 3 * torch.randn(8, 4, 4, 4)
    got = answer(latents)
    got = got.item() if isinstance(got, torch.Tensor) and got.numel() == 1 else got
    expect(
        isinstance(got, float),
        f"The result should be one number, and is {type(got).__name__}: all latents have one factor.",
    )
    std = latents.std().item()
    expect_close(
        got,
        1 / std,
        "Latents of deviation 3 should get the factor 1/3.",
        {
            "Yours is the deviation: the factor brings it to 1, so it is one over it.": std,
            "Yours is one over the variance: divide by the deviation.": 1 / std**2,
            "Yours is one over the largest number.": 1 / latents.abs().max().item(),
            "Yours is one over the mean size: take the deviation.": 1 / latents.abs().mean().item(),
            "Yours is Stable Diffusion's number: every VAE has its own.": 0.18215,
        },
        tolerance=2e-3,
    )


@scaling.case
def _(answer):
    latents = 3 + 2 * torch.randn(16, 4, 4, 4)
    expect_close(
        answer(latents),
        1 / latents.std(),
        "For latents around 0 yours is right, for latents around 3 it is not: the deviation is counted from "
        "the mean.",
        tolerance=2e-3,
    )


@scaling.rejects("it is one over it")
def _(latents):
    return latents.std().item()


@scaling.rejects("over the variance")
def _(latents):
    return 1 / latents.var().item()


@scaling.rejects("over the largest number")
def _(latents):
    return 1 / latents.abs().max().item()


@scaling.rejects("every VAE has its own")
def _(latents):
    return 0.18215


@scaling.rejects("counted from the mean")
def _(latents):
    return 1 / latents.square().mean().sqrt().item()


@scaling.rejects("should be one number")
def _(latents):
    return 1 / latents.std((0, 2, 3))


# 4 · pictures become latents ----------------------------------------------------------------


class Encoder:
    """A VAE whose encoder halves both sides and answers with a distribution."""

    config = FrozenDict(scaling_factor=0.25)
    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self):
        self.weight = torch.ones(1, requires_grad=True)

    def encode(self, images, return_dict=True):
        if not isinstance(images, torch.Tensor):
            raise TypeError(f"encode wants a tensor (n, 3, height, width), and got a {type(images).__name__}")
        channels = torch.nn.functional.avg_pool2d(images, 2) * self.weight
        mean = torch.cat([channels, channels[:, :1]], 1) * 4
        posterior = DiagonalGaussianDistribution(torch.cat([mean, torch.full_like(mean, -4.0)], 1))
        return AutoencoderKLOutput(latent_dist=posterior) if return_dict else (posterior,)


def _encode(vae, images, generator, *, ranged=True, scaled=True, mode=False, divided=False):
    """Latents, with each mistake that can be made on the way as an option."""
    with torch.no_grad():
        posterior = vae.encode(images * 2 - 1 if ranged else images).latent_dist
    latents = posterior.mode() if mode else posterior.sample(generator)
    factor = vae.config.scaling_factor if scaled else 1
    return latents / factor if divided else latents * factor


encode = Exercise(
    "04-encode", "encode_images", "turn pictures into the latents that a diffusion model is trained on"
)


@encode.case
def _(answer):
    images = torch.rand(2, 3, 8, 8)

    def generator():
        return torch.Generator().manual_seed(1)

    got = answer(Encoder(), images.clone(), generator())
    expect(
        not hasattr(got, "latent_dist") and not hasattr(got, "sample"),
        "The result is a distribution: draw from it with .latent_dist.sample(generator).",
    )
    expect_tensor(got, (2, 4, 4, 4))

    def other(**mistake):
        return lambda: _encode(Encoder(), images, generator(), **mistake)

    expect_close(
        got.detach(),
        other()(),
        "For pictures in [0, 1] the latents should agree with those that pocket-sd is trained on.",
        {
            "Yours are not scaled: multiply by vae.config.scaling_factor.": other(scaled=False),
            "Yours are divided by the scaling factor: encoding multiplies, decoding divides.": (
                other(divided=True)
            ),
            "Yours come from pictures in [0, 1]: the VAE expects [-1, 1].": other(ranged=False),
            "Yours are the most likely ones: draw from the distribution, with .sample(generator).": (
                other(mode=True)
            ),
            "Two things are missing: the pictures have to go to [-1, 1], and the latents to be scaled.": (
                other(ranged=False, scaled=False)
            ),
        },
    )
    expect(not got.requires_grad, "The result carries a gradient: encode under torch.no_grad().")


@encode.rejects("multiply by vae.config.scaling_factor")
def _(*arguments):
    return _encode(*arguments, scaled=False)


@encode.rejects("encoding multiplies, decoding divides")
def _(*arguments):
    return _encode(*arguments, divided=True)


@encode.rejects("the VAE expects [-1, 1]")
def _(*arguments):
    return _encode(*arguments, ranged=False)


@encode.rejects("are the most likely ones")
def _(*arguments):
    return _encode(*arguments, mode=True)


@encode.rejects("is a distribution")
def _(vae, images, generator):
    return vae.encode(images * 2 - 1)


@encode.rejects("Two things are missing")
def _(*arguments):
    return _encode(*arguments, ranged=False, scaled=False)


@encode.rejects("under torch.no_grad()")
def _(vae, images, generator):
    return vae.encode(images * 2 - 1).latent_dist.sample(generator) * vae.config.scaling_factor


# 5 · what attention costs -------------------------------------------------------------------

price = Exercise(
    "04-attention-cost",
    "attention_multiplications",
    "say by how much latents make attention cheaper, before you measure it",
)


@price.case
def _(answer):
    got = answer(64, 32)
    expect(
        isinstance(got, (int, float)) and not isinstance(got, bool),
        f"The result should be a number, and is a {type(got).__name__}.",
    )
    n = 64 * 64
    right = 2 * n * n * 32
    likely = {
        2 * 64 * 64 * 32: "Yours takes 64 places: a picture of 64×64 has 64 · 64, and each looks at each.",
        n * n * 32: "Yours counts one product: queries by keys, then weights by values.",
        2 * n * n: "Yours leaves the width of the vectors out.",
        2 * right: "Yours counts the additions, too: multiplications are asked for.",
        2 * n * 32 * 32: "Yours swaps places and width: each of 4096 places looks at 4096.",
    }
    expect(
        abs(got / right - 1) < 1e-6,
        f"For a picture of 64×64 and vectors of 32 the two products take {right:,} multiplications, and you "
        f"say {got:,}. {likely.get(round(got), '')}".strip(),
    )


@price.case
def _(answer):
    expect_close(
        answer(64, 32) / answer(8, 32),
        4096.0,
        "A picture of 64×64 should cost 4096 times as much as its latents of 8×8.",
        tolerance=1e-6,
    )
    expect_close(
        answer(8, 64) / answer(8, 32), 2.0, "Vectors twice as wide should cost twice as much.", tolerance=1e-6
    )


@price.rejects("each looks at each")
def _(side, width):
    return 2 * side * side * width


@price.rejects("counts one product")
def _(side, width):
    return side**4 * width


@price.rejects("counts the additions")
def _(side, width):
    return 4 * side**4 * width


@price.rejects("swaps places and width")
def _(side, width):
    return 2 * side**2 * width**2


@price.rejects("leaves the width")
def _(side, width):
    return 2 * side**4


@price.rejects("4096 times as much")
def _(side, width):
    return 2 * 64**4 * width


@price.rejects("twice as wide")
def _(side, width):
    return 2 * side**4 * 32


# 6 · between two latents --------------------------------------------------------------------

between = Exercise(
    "04-slerp", "slerp", "go from one picture to another through latents that still look like noise"
)


def _slerp(first, second, fraction, *, linear=False):
    if linear:
        return (1 - fraction) * first + fraction * second
    angle = torch.arccos((first * second).sum() / (first.norm() * second.norm()))
    return ((1 - fraction) * angle).sin() / angle.sin() * first + (
        fraction * angle
    ).sin() / angle.sin() * second


@between.case
def _(answer):
    first, second = torch.randn(2, 1, 4, 8, 8)
    got = answer(first, second, 0.5)
    expect_tensor(got, (1, 4, 8, 8))
    middle = (first + second) / 2
    expect_close(
        got,
        _slerp(first, second, 0.5),
        "Half way between two noises the result should be as long as they are.",
        {
            f"Yours is the mean of the two, of deviation {middle.std():.2f}: the model expects 1. (Or is "
            "your angle still its cosine?)": middle,
            "Yours is the first, wherever it should be.": first,
            "Yours is twice as long as it should be.": 2 * _slerp(first, second, 0.5),
        },
        tolerance=0.03,
    )


@between.case
def _(answer):
    first, second = torch.randn(2, 1, 4, 8, 8)
    for fraction, end in ((0.0, first), (1.0, second)):
        expect_close(
            answer(first, second, fraction),
            end,
            f"Half way yours is right; at {fraction:g} it should be the {'second' if fraction else 'first'}.",
            {"Yours runs the other way.": second if fraction == 0 else first},
            tolerance=0.03,
        )
    expect_close(
        answer(first, second, 0.25),
        _slerp(first, second, 0.25),
        "At both ends and half way yours is right; a quarter of the way it is not: the steps should be even "
        "in the angle.",
        tolerance=0.03,
    )


@between.rejects("the model expects 1")
def _(first, second, fraction):
    return _slerp(first, second, fraction, linear=True)


@between.rejects("is the first, wherever")
def _(first, second, fraction):
    return first


@between.rejects("runs the other way")
def _(first, second, fraction):
    return _slerp(second, first, fraction)


@between.rejects("even in the angle")
def _(first, second, fraction):
    line = _slerp(first, second, fraction, linear=True)
    length = (1 - fraction) * first.norm() + fraction * second.norm()
    return line / line.norm() * length


# Questions of understanding -----------------------------------------------------------------

why_kl = Quiz(
    "04-why-kl",
    "What happens to latents when the KL part of the loss is left out?",
    (
        Choice(
            "Pictures come back worse", "They come back a little better: nothing else is asked for any more."
        ),
        Choice(
            "They may lie anywhere and far apart, so a diffusion model has a harder time",
            "Nothing holds them together. A small weight is enough to keep them around 0.",
            right=True,
        ),
        Choice(
            "They become noise", "Too large a weight does that: the latents then say nothing of the picture."
        ),
    ),
)

why_factor = Quiz(
    "04-why-scaling",
    "Why are latents multiplied by the scaling factor before noise is added?",
    (
        Choice(
            "So that their deviation is 1, as the schedule of noise assumes",
            "The schedule says how much noise hides how much signal, for a signal of deviation 1.",
            right=True,
        ),
        Choice("So that they lie in [-1, 1]", "They do not: about a third of them lies beyond."),
        Choice(
            "So that the decoder understands them",
            "The decoder wants them without it: that is why we divide.",
        ),
    ),
)

what_is_lost = Quiz(
    "04-what-is-lost",
    "A VAE trained on our gallery gets a photograph. What comes back?",
    (
        Choice(
            "The photograph, a little blurred",
            "It never saw skin, leaves or letters, and has no latents for them.",
        ),
        Choice("A drawing of the same thing", "It does not know things, only patches and how they look."),
        Choice(
            "Large areas and colours are right, fine structure is replaced by what drawings have",
            "Latents keep what was worth keeping in training.",
            right=True,
        ),
    ),
)
