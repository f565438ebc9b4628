# %% [markdown]
# # 10 · Exercises: schedulers
#
# Six exercises on how to get from noise to a picture in few steps. Each has a function to write, hints that open when
# you click them, and a check. A check says *not attempted*, *not yet* with the likely mistake, or *correct*. Nothing
# breaks if you leave one out.
#
# Lesson 10 shows everything that you need; close it before you start, and open it where you get stuck. Replace
# `raise NotImplementedError()` by your answer.

# %%
import torch

import sdcourse
from sdcourse.checks import check, quiz

runtime = sdcourse.setup()

# %% [markdown]
# ## 1 · Noise in other units
#
# DDPM and DDIM keep the size of a noisy picture at 1: the clean picture in it shrinks as the noise grows. Euler leaves the picture at full size and
# lets only the noise grow, up to $\sigma$, the noise for one unit of picture.


# %%
def make_sigmas(alphas_cumprod):
    """σ of every timestep, (1000,)."""
    ### BEGIN SOLUTION
    return ((1 - alphas_cumprod) / alphas_cumprod).sqrt()
    ### END SOLUTION


check("10-sigmas", make_sigmas)

# %% [markdown]
# <details><summary>Hint</summary>The forward process has √ᾱ times the picture and √(1 - ᾱ) times the noise. Divide by what
# stands before the picture.</details>
#
# ## 2 · Euler by hand
#
# In these units the noise prediction is the slope: one unit of $\sigma$ less takes one unit of predicted noise away.


# %%
def euler_step(noise_pred, sigma, sigma_next, images):
    """The pictures at the noise level sigma_next.

    Args:
        noise_pred, images: (n, channels, height, width), the pictures at the noise level sigma.
        sigma, sigma_next: numbers, sigma_next < sigma.
    """
    ### BEGIN SOLUTION
    return images + (sigma_next - sigma) * noise_pred
    ### END SOLUTION


check("10-euler-step", euler_step)

# %% [markdown]
# <details><summary>Hint</summary>How much noise goes on the way from sigma to sigma_next? At sigma_next = 0, all of
# it.</details>

# %%
quiz("10-ancestral")

# %% [markdown]
# ## 3 · Which timesteps?
#
# A loop of n steps visits n of the 1000 timesteps. It should start at the noisiest, 999, because sampling starts from
# pure noise, and go down evenly: 1000 / n apart, rounded, minus 1 (Lin et al., 2024, "trailing").


# %%
def make_timesteps(num_inference_steps):
    """The timesteps, a list of whole numbers from 999 down."""
    ### BEGIN SOLUTION
    n = num_inference_steps
    return [round(1000 - i * 1000 / n) - 1 for i in range(n)]
    ### END SOLUTION


check("10-timesteps", make_timesteps)

# %% [markdown]
# <details><summary>Hint</summary>1000, 1000 - 1000 / n, 1000 - 2000 / n, ...; round each, then take 1 away.</details>
#
# ## 4 · Better places for few steps
#
# Even timesteps are not the best choice. Karras et al. (2022, eq. 5) take levels that are even in the seventh root of
# $\sigma$: large strides where there is much noise, small ones where details are made.


# %%
def karras_sigmas(n, sigma_min, sigma_max):
    """n levels from sigma_max down to sigma_min, (n,)."""
    ### BEGIN SOLUTION
    roots = torch.linspace(sigma_max ** (1 / 7), sigma_min ** (1 / 7), n)
    return roots**7
    ### END SOLUTION


check("10-karras", karras_sigmas)

# %% [markdown]
# <details><summary>Hint</summary><code>torch.linspace</code> between the two roots, then back.</details>

# %%
quiz("10-same-network")

# %% [markdown]
# ## 5 · A budget
#
# You have a minute for a batch of pictures, and a network that needs some time for each call and picture. How many steps?


# %%
def steps_within(seconds, pictures, seconds_per_call, guidance):
    """The largest whole number of steps that fits, 0 if none does.

    Args:
        seconds: for everything.
        pictures: how many; each needs calls of its own.
        seconds_per_call: of the network, for one picture.
        guidance: True or False; with it, each step asks the network twice.
    """
    ### BEGIN SOLUTION
    calls_per_step = pictures * (2 if guidance else 1)
    return int(seconds / (calls_per_step * seconds_per_call) + 1e-9)
    ### END SOLUTION


check("10-budget", steps_within)

# %% [markdown]
# <details><summary>Hint</summary>How long does one step of everything take? How often does that fit? <code>int</code>
# cuts what is left over.</details>
#
# ## 6 · How many are enough?
#
# Somebody measured how good the pictures are for several numbers of steps. More steps cost more, and from some point on
# they bring nothing. Find that point: the fewest steps whose quality is at most `loss` below the best.


# %%
def enough_steps(curve, loss):
    """The fewest steps whose quality is at most `loss` below the best of the curve.

    Args:
        curve: from numbers of steps to qualities, a dictionary in any order.
        loss: how much quality you would give away.
    """
    ### BEGIN SOLUTION
    best = max(curve.values())
    return min(steps for steps, quality in curve.items() if quality >= best - loss)
    ### END SOLUTION


enough_result = check("10-enough-steps", enough_steps)
enough_result

# %% [markdown]
# <details><summary>Hint 1</summary>Which quality is the best of all? By how much may another one be smaller?</details>
# <details><summary>Hint 2</summary><code>min(steps for steps, quality in curve.items() if ...)</code></details>
#
# Measure a curve of your own. Two dozen prompts at five numbers of steps take about half a minute; the judge counts
# pictures in which everything is as the prompt says.

# %% tags=["nbval-ignore-output"]
if enough_result.correct:
    from sdcourse.metrics import measure_accuracy

    pipe, judge = sdcourse.load_pipeline(), sdcourse.load_judge()
    curve = {
        steps: measure_accuracy(pipe, judge, n=24, num_inference_steps=steps).all_right
        for steps in (2, 4, 6, 8, 16)
    }
    for steps, quality in curve.items():
        print(f"{steps:2} steps  {quality:4.0%} right  " + "█" * round(30 * quality))
    print("within 5 % of the best:", enough_steps(curve, 0.05), "steps")

# %%
quiz("10-what-limits")

# %% [markdown]
# **What you can do now.** You can read what a scheduler does from its settings, and choose one for the time that you
# have.
