"""Checks of the exercises on schedulers."""

import math

import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler

from .engine import Exercise, expect, expect_close, expect_tensor
from .quiz import Choice, Quiz
from .training import ALPHAS_CUMPROD

# 1 · noise in other units -------------------------------------------------------------------

sigmas = Exercise("10-sigmas", "make_sigmas", "translate noise levels between schedulers")


@sigmas.case
def _(answer):
    got = answer(ALPHAS_CUMPROD)
    expect_tensor(got, (1000,))
    a = ALPHAS_CUMPROD
    expect_close(
        got[[0, 200, 500]],
        ((1 - a) / a).sqrt()[[0, 200, 500]],
        "σ is the noise for one unit of picture, √(1 - ᾱ) / √ᾱ: 0.01, 0.71 and 3.45 at t = 0, 200 and 500.",
        {
            "Yours is the factor of the noise alone: divide by that of the picture.": (
                (1 - a).sqrt()[[0, 200, 500]]
            ),
            "Yours leaves out the root.": ((1 - a) / a)[[0, 200, 500]],
            "Yours is picture over noise: turn it round.": (a / (1 - a)).sqrt()[[0, 200, 500]],
            "Yours divides by ᾱ: divide by its root.": ((1 - a).sqrt() / a)[[0, 200, 500]],
        },
        tolerance=1e-2,
    )


@sigmas.rejects("factor of the noise alone")
def _(alphas_cumprod):
    return (1 - alphas_cumprod).sqrt()


@sigmas.rejects("leaves out the root")
def _(alphas_cumprod):
    return (1 - alphas_cumprod) / alphas_cumprod


@sigmas.rejects("turn it round")
def _(alphas_cumprod):
    return (alphas_cumprod / (1 - alphas_cumprod)).sqrt()


@sigmas.rejects("divide by its root")
def _(alphas_cumprod):
    return (1 - alphas_cumprod).sqrt() / alphas_cumprod


# 2 · Euler by hand --------------------------------------------------------------------------

euler = Exercise(
    "10-euler-step",
    "euler_step",
    "take one step of the Euler scheduler by hand, equal to the one of diffusers",
)


def _euler(noise_pred, sigma, sigma_next, images, *, sign=1, by="difference"):
    step = {
        "difference": sigma_next - sigma,
        "next": -sigma_next,
        "all": -sigma,
        "ratio": sigma_next / sigma,
    }[by]
    return images + sign * step * noise_pred


@euler.case
def _(answer):
    scheduler = EulerDiscreteScheduler(beta_start=0.0001, beta_end=0.02)
    scheduler.set_timesteps(10)
    images, noise_pred = torch.randn(2, 2, 3, 4, 4)
    t, sigma, sigma_next = scheduler.timesteps[4], scheduler.sigmas[4], scheduler.sigmas[5]
    scheduler.scale_model_input(images, t)
    expected = scheduler.step(noise_pred, t, images).prev_sample
    given = images.clone()
    got = answer(noise_pred, sigma, sigma_next, given)
    expect_tensor(got, (2, 3, 4, 4))

    def other(**mistake):
        return lambda: _euler(noise_pred, sigma, sigma_next, images, **mistake)

    clean_images = images - sigma * noise_pred
    expect_close(
        got,
        expected,
        f"From σ = {sigma:.2f} to {sigma_next:.2f} the step should agree with EulerDiscreteScheduler.step.",
        {
            "Yours goes up: σ falls, so the difference is negative.": other(sign=-1),
            "Yours goes all the way to the guess of the finished picture: stop at sigma_next.": other(
                by="all"
            ),
            "Yours takes away σ of the next level: it is the difference of the two levels that goes.": (
                other(by="next")
            ),
            "Yours steps by the ratio of the levels: take their difference.": other(by="ratio"),
            "Yours shrinks the guess too: in these units the picture keeps its size.": (
                sigma_next / sigma * clean_images + sigma_next * noise_pred
            ),
        },
        tolerance=1e-3,
    )
    expect(bool((given == images).all()), "Your function changes the pictures it was given: use a + b.")


@euler.case
def _(answer):
    images, noise_pred = torch.randn(2, 1, 3, 4, 4)
    expect_close(
        answer(noise_pred, torch.tensor(2.0), torch.tensor(0.0), images),
        images - 2 * noise_pred,
        "The last step goes to σ = 0, where nothing but the guess of the finished picture is left.",
        tolerance=1e-4,
    )


@euler.rejects("Yours goes up")
def _(*arguments):
    return _euler(*arguments, sign=-1)


@euler.rejects("stop at sigma_next")
def _(*arguments):
    return _euler(*arguments, by="all")


@euler.rejects("difference of the two levels")
def _(*arguments):
    return _euler(*arguments, by="next")


@euler.rejects("ratio of the levels")
def _(*arguments):
    return _euler(*arguments, by="ratio")


@euler.rejects("keeps its size")
def _(noise_pred, sigma, sigma_next, images):
    return sigma_next / sigma * (images - sigma * noise_pred) + sigma_next * noise_pred


# 3 · which timesteps to visit ---------------------------------------------------------------

spacing = Exercise("10-timesteps", "make_timesteps", "choose the timesteps that a loop of few steps visits")


@spacing.case
def _(answer):
    got = answer(10)
    expect(got is not None, "The result is None: does your function end with a return?")
    got = [int(t) for t in got]
    scheduler = DDIMScheduler(timestep_spacing="trailing")
    scheduler.set_timesteps(10)
    expected = scheduler.timesteps.tolist()
    expect(len(got) == 10, f"10 steps visit 10 timesteps, and yours has {len(got)}.")
    expect(got != expected[::-1], "Yours goes up: sampling starts at the noisiest timestep.")
    expect(
        got != [t - 99 for t in expected],
        "Yours starts at 900 and so never sees the noisiest timestep, though sampling starts from "
        "pure noise: start at 999.",
    )
    expect(
        got != [t + 1 for t in expected], "Yours starts at 1000: 1000 timesteps are counted from 0 to 999."
    )
    expect(got == expected, f"10 steps should visit {expected}, and yours visits {got}.")


@spacing.case
def _(answer):
    for n in (1, 4, 7):
        scheduler = DDIMScheduler(timestep_spacing="trailing")
        scheduler.set_timesteps(n)
        got, expected = [int(t) for t in answer(n)], scheduler.timesteps.tolist()
        expect(
            got == expected,
            f"With 10 steps yours is right; {n} should visit {expected}, and yours visits {got}: go "
            "down from 1000 in steps of 1000 / n, round, and take 1 away.",
        )


def _trailing(n):
    return [round(1000 - i * 1000 / n) - 1 for i in range(n)]


@spacing.rejects("start at 999")
def _(n):
    return [t - 99 for t in _trailing(n)]


@spacing.rejects("Yours goes up")
def _(n):
    return _trailing(n)[::-1]


@spacing.rejects("counted from 0 to 999")
def _(n):
    return [t + 1 for t in _trailing(n)]


@spacing.rejects("visit 10 timesteps")
def _(n):
    return range(999, -1, -n)


@spacing.rejects("10 steps should visit")
def _(n):
    return torch.linspace(999, 0, n).round().int()


@spacing.rejects("in steps of 1000 / n")
def _(n):
    return list(range(999, -1, -(1000 // n)))[:n]


# 4 · better places for few steps ------------------------------------------------------------

karras = Exercise("10-karras", "karras_sigmas", "put few steps where they matter most")


def _karras(n, low, high, *, rho=7.0, up=False, linear=False, root=True):
    places = torch.linspace(0, 1, n)
    if up:
        low, high = high, low
    if linear:
        return high + places * (low - high)
    return (high ** (1 / rho) + places * (low ** (1 / rho) - high ** (1 / rho))) ** (rho if root else 1)


@karras.case
def _(answer):
    got = answer(6, 0.03, 14.6)
    expect_tensor(got, (6,))

    def other(**mistake):
        return lambda: _karras(6, 0.03, 14.6, **mistake)

    expect_close(
        got,
        other()(),
        "6 levels from 14.6 down to 0.03 should be even in their seventh root (Karras et al., 2022, eq. 5).",
        {
            "Yours goes up: sampling starts at the largest σ.": other(up=True),
            "Yours is even in σ itself.": other(linear=True),
            "Yours forgets to go back from the roots: raise them to the power of 7.": other(root=False),
            "Yours is even in the logarithm.": torch.logspace(math.log10(14.6), math.log10(0.03), 6),
            "Yours takes another root: ρ is 7.": other(rho=2.0),
        },
        tolerance=1e-2,
    )


@karras.case
def _(answer):
    expect_close(
        answer(3, 0.1, 80.0),
        _karras(3, 0.1, 80.0),
        "From 14.6 to 0.03 yours is right; from 80 to 0.1 in 3 levels it is not: use all arguments.",
        tolerance=1e-2,
    )


@karras.rejects("Yours goes up")
def _(*arguments):
    return _karras(*arguments, up=True)


@karras.rejects("even in σ itself")
def _(*arguments):
    return _karras(*arguments, linear=True)


@karras.rejects("raise them to the power of 7")
def _(*arguments):
    return _karras(*arguments, root=False)


@karras.rejects("even in the logarithm")
def _(n, low, high):
    return torch.logspace(math.log10(high), math.log10(low), n)


@karras.rejects("use all arguments")
def _(n, low, high):
    return _karras(n, 0.03, 14.6)


@karras.rejects("ρ is 7")
def _(*arguments):
    return _karras(*arguments, rho=2.0)


# 5 · a budget -------------------------------------------------------------------------------

budget = Exercise("10-budget", "steps_within", "plan how many steps a batch of pictures may take")


@budget.case
def _(answer):
    got = answer(60.0, 10, 0.05, True)
    expect(isinstance(got, int), f"The result should be a whole number of steps, and is {got!r}.")
    expect(
        got != 120,
        "You forgot that guidance asks the network twice in each step: 60 s are enough for 60 steps.",
    )
    expect(got != 600, "You planned one picture: there are 10, and each takes its own time.")
    expect(
        got == 60,
        f"In 60 s, 10 pictures with guidance at 0.05 s a call can have 60 steps each, and you say {got}.",
    )
    got = answer(60.0, 10, 0.05, False)
    expect(got == 120, f"Without guidance the network is asked once: 120 steps, and you say {got}.")


@budget.case
def _(answer):
    got = answer(10.0, 3, 0.07, True)
    expect(
        got == 23,
        f"10 s, 3 pictures, 0.07 s a call: 23.8 steps, of which only 23 can be finished, and you say {got}.",
    )
    got = answer(1.0, 100, 0.05, True)
    expect(got == 0, f"1 s is not enough for one step of 100 pictures: the answer is 0, and you say {got}.")


@budget.rejects("asks the network twice")
def _(seconds, pictures, seconds_per_call, guidance):
    return int(seconds / pictures / seconds_per_call)


@budget.rejects("planned one picture")
def _(seconds, pictures, seconds_per_call, guidance):
    return int(seconds / seconds_per_call / (2 if guidance else 1))


@budget.rejects("whole number of steps")
def _(seconds, pictures, seconds_per_call, guidance):
    return seconds / pictures / seconds_per_call / (2 if guidance else 1)


@budget.rejects("only 23 can be finished")
def _(seconds, pictures, seconds_per_call, guidance):
    return math.ceil(seconds / pictures / seconds_per_call / (2 if guidance else 1) - 1e-6)


@budget.rejects("the answer is 0")
def _(seconds, pictures, seconds_per_call, guidance):
    return max(1, int(seconds / pictures / seconds_per_call / (2 if guidance else 1) + 1e-6))


@budget.rejects("the network is asked once")
def _(seconds, pictures, seconds_per_call, guidance):
    return int(seconds / pictures / seconds_per_call / 2 + 1e-6)


# 6 · steps against quality ------------------------------------------------------------------

enough = Exercise("10-enough-steps", "enough_steps", "choose the number of steps by a measured curve")


@enough.case
def _(answer):
    curve = {25: 0.90, 2: 0.21, 15: 0.92, 4: 0.78, 8: 0.91, 6: 0.89}
    got = answer(dict(curve), 0.02)
    expect(got is not None, "The result is None: does your function end with a return?")
    expect(
        got not in curve.values() or got in curve,
        f"{got} is a quality: the result should be a number of steps.",
    )
    message = f"With at most 0.02 less than the best, 0.92 at 15 steps, 8 steps are enough; you say {got}."
    expect(got != 15, f"{message} Yours is the best: fewer steps come close to it.")
    expect(
        got != 25,
        f"{message} Yours is the first in the dictionary, or the largest: look for the fewest steps.",
    )
    expect(got != 6, f"{message} 0.89 is 0.03 less than the best. Yours compares with the most steps.")
    expect(got != 2, f"{message} Yours leaves the quality out.")
    expect(got == 8, message)


@enough.case
def _(answer):
    for curve, loss, expected, why in (
        ({4: 0.5, 8: 0.75, 16: 0.75}, 0.0, 8, "Where two are equally good, fewer steps are cheaper."),
        ({4: 0.5, 8: 0.75, 16: 1.0}, 0.25, 8, "A quality that is exactly as much below the best is allowed."),
        ({1: 0.30, 2: 0.38, 4: 0.40}, 0.03, 2, "The loss is a difference, not a part of the best."),
        ({9: 0.1}, 0.5, 9, "A curve of one point has one answer."),
        ({8: 0.95, 4: 0.60, 2: 0.94}, 0.02, 2, "Curves need not rise: ask each point by itself."),
    ):
        try:
            got = answer(dict(curve), loss)
        except ValueError:  # min() of nothing
            expect(
                False,
                f"For {curve} and a loss of {loss:g} yours finds no point: the best itself counts, too.",
            )
        expect(
            got == expected,
            f"For {curve} and a loss of {loss:g} the answer is {expected}, and yours is {got}. {why}",
        )


def _enough(curve, loss, best=None):
    best = max(curve.values()) if best is None else best
    return min(steps for steps, quality in curve.items() if quality >= best - loss - 1e-9)


@enough.rejects("Yours is the best")
def _(curve, loss):
    return max(curve, key=curve.get)


@enough.rejects("the first in the dictionary")
def _(curve, loss):
    best = max(curve.values())
    return next(steps for steps, quality in curve.items() if quality >= best - loss - 1e-9)


@enough.rejects("is a quality")
def _(curve, loss):
    return curve[_enough(curve, loss)]


@enough.rejects("compares with the most steps")
def _(curve, loss):
    return _enough(curve, loss, best=curve[max(curve)])


@enough.rejects("leaves the quality out")
def _(curve, loss):
    return min(curve)


@enough.rejects("the best itself counts")
def _(curve, loss):
    return min(steps for steps, quality in curve.items() if quality > max(curve.values()) - loss)


@enough.rejects("exactly as much below the best is allowed")
def _(curve, loss):
    best = max(curve.values())
    return min(steps for steps, quality in curve.items() if quality > best - loss or quality == best)


@enough.rejects("not a part of the best")
def _(curve, loss):
    return _enough(curve, loss * max(curve.values()) * 1.1)


@enough.rejects("Curves need not rise")
def _(curve, loss):
    best, found = max(curve.values()), max(curve)
    for steps in sorted(curve, reverse=True):
        if curve[steps] < best - loss - 1e-9:
            break
        found = steps
    return found


# Questions of understanding -----------------------------------------------------------------

ancestral = Quiz(
    "10-ancestral",
    "With Euler ancestral, more steps go on changing the picture; with Euler it settles. Why?",
    (
        Choice(
            "Ancestral schedulers add fresh noise in each step",
            "More steps, more draws, another picture.",
            right=True,
        ),
        Choice("Ancestral schedulers are less exact", "Their steps are as exact. They follow another path."),
        Choice("The UNet has learned only some timesteps", "It has learned all of them."),
    ),
)

same_network = Quiz(
    "10-same-network",
    "You exchange the scheduler of a trained model. What has to be trained again?",
    (
        Choice("The UNet", "It predicts noise at a timestep. Which timesteps are visited, it does not ask."),
        Choice(
            "Nothing, if the noise levels it was trained with stay",
            "That is why it is a part of its own.",
            right=True,
        ),
        Choice("The VAE", "The VAE never sees noise."),
    ),
)

limit = Quiz(
    "10-what-limits",
    "From 8 steps on, more steps hardly raise the share that the judge finds right. What would raise it?",
    (
        Choice(
            "More steps", "The path is followed well enough already. A finer path ends at the same place."
        ),
        Choice(
            "A better network",
            "Where the path leads is what the network has learned; the scheduler only follows it.",
            right=True,
        ),
        Choice(
            "A better scheduler", "It reaches the same place with fewer calls. The place is not its choice."
        ),
    ),
)
