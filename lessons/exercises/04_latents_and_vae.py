# %% [markdown]
# # 04 · Exercises: latents and the VAE
#
# Six exercises on what stands between pictures and latents. Each has a function to write, hints that open when you
# click them, and a check. A check says *not attempted*, *not yet* with the likely mistake, or *correct*. Nothing
# breaks if you leave one out.
#
# Lesson 04 and the texts below show everything that you need; close it before you start, and open it where you get stuck. Replace
# `raise NotImplementedError()` by your answer.

# %%
import torch

import sdcourse
from sdcourse.checks import check, quiz

runtime = sdcourse.setup()

# %% [markdown]
# ## 1 · Draw from a distribution
#
# The encoder answers with a mean and the logarithm of a variance, for every number of the latents. A random draw has no
# gradient; but a fixed noise, stretched and moved, has one (Kingma and Welling, 2014). That is the whole trick.


# %%
def draw(mean, logvar, noise):
    """Numbers of this mean and variance exp(logvar), with a gradient to both.

    Args:
        mean, logvar, noise: tensors of the same shape; the noise is Gaussian, of deviation 1.
    """
    ### BEGIN SOLUTION
    return mean + torch.exp(0.5 * logvar) * noise
    ### END SOLUTION


check("04-reparameterise", draw)

# %% [markdown]
# <details><summary>Hint 1</summary>The noise has deviation 1. By what must it be multiplied?</details>
# <details><summary>Hint 2</summary>The deviation is the root of the variance: <code>exp(logvar / 2)</code>.</details>
#
# ## 2 · Stay near the standard distribution
#
# The second part of the loss asks every distribution to be near mean 0 and variance 1:
#
# $$\tfrac12\big(\mu^2 + \sigma^2 - 1 - \log\sigma^2\big)$$


# %%
def kl_divergence(mean, logvar):
    """The mean of the divergence over all numbers, a tensor of shape () with a gradient."""
    ### BEGIN SOLUTION
    return 0.5 * (mean**2 + logvar.exp() - 1 - logvar).mean()
    ### END SOLUTION


check("04-kl", kl_divergence)

# %% [markdown]
# <details><summary>Hint</summary>σ² is <code>logvar.exp()</code>, and its logarithm is <code>logvar</code>.</details>

# %%
quiz("04-why-kl")

# %% [markdown]
# ## 3 · The scaling factor
#
# Where does a number such as 0.18215 come from?


# %%
def scaling_factor(latents):
    """The number that brings latents (n, 4, h, w) to deviation 1."""
    ### BEGIN SOLUTION
    return 1 / latents.std().item()
    ### END SOLUTION


check("04-scaling-factor", scaling_factor)

# %% [markdown]
# <details><summary>Hint</summary>Numbers of deviation 4, divided by 4, have deviation 1. One number for all
# latents.</details>

# %%
quiz("04-why-scaling")

# %% [markdown]
# ## 4 · Pictures become latents
#
# Diffusion training starts here: from pictures in [0, 1] to latents of deviation 1.


# %%
def encode_images(vae, images, generator):
    """Latents (n, 4, height / 8, width / 8), drawn and scaled, without a gradient.

    Args:
        vae: `vae.encode(images).latent_dist.sample(generator)` draws; it expects pictures in [-1, 1].
        images: (n, 3, height, width) in [0, 1].
        generator: for the draw.
    """
    ### BEGIN SOLUTION
    with torch.no_grad():
        latents = vae.encode(images * 2 - 1).latent_dist.sample(generator)
    return latents * vae.config.scaling_factor
    ### END SOLUTION


check("04-encode", encode_images)

# %% [markdown]
# <details><summary>Hint 1</summary>[0, 1] becomes [-1, 1] by <code>images * 2 - 1</code>.</details>
# <details><summary>Hint 2</summary>Encoding multiplies by <code>vae.config.scaling_factor</code>; decoding
# divides.</details>
#
# ## 5 · What attention costs
#
# Self-attention lets every place of a picture look at every place. Count the multiplications (not the additions) of its two products,
# queries by keys, and weights by values, before you measure anything.


# %%
def attention_multiplications(side, width):
    """How many multiplications for side × side places with vectors of this width, a number."""
    ### BEGIN SOLUTION
    places = side * side
    return 2 * places * places * width
    ### END SOLUTION


cost_result = check("04-attention-cost", attention_multiplications)
cost_result

# %% [markdown]
# <details><summary>Hint 1</summary>A picture of 64×64 has 4096 places.</details>
# <details><summary>Hint 2</summary>(places, width) by (width, places) takes places · places · width of
# them.</details>
#
# Does the clock agree?

# %% tags=["nbval-ignore-output"]
if cost_result.correct:
    import time

    seconds = {}
    for side in (8, 16, 32, 64):
        x = torch.randn(1, 1, side * side, 32)
        torch.nn.functional.scaled_dot_product_attention(x, x, x)  # the first call is slower
        start = time.perf_counter()
        for _ in range(3):
            torch.nn.functional.scaled_dot_product_attention(x, x, x)
        seconds[side] = (time.perf_counter() - start) / 3
        count = attention_multiplications(side, 32) / attention_multiplications(8, 32)
        print(
            f"{side:2}×{side:<2}  counted {count:6.0f} times, measured {seconds[side] / seconds[8]:6.0f} times"
        )

# %% [markdown]
# Small sizes cost more than the count says, because calling a function takes time too. From 32 to 64, where the count is 16
# times as large, it is about right.
#
# ## 6 · Between two latents
#
# Half way between two noises lies their mean, but its deviation is 0.7, and the model expects 1. Go along the arc
# instead: with $\theta$ the angle between both, seen as one long vector each,
#
# $$\frac{\sin((1-f)\,\theta)}{\sin\theta}\,a + \frac{\sin(f\,\theta)}{\sin\theta}\,b$$


# %%
def slerp(first, second, fraction):
    """Between two tensors of one shape, first (fraction 0) and second (fraction 1), along the arc."""
    ### BEGIN SOLUTION
    angle = torch.arccos((first * second).sum() / (first.norm() * second.norm()))
    a, b = torch.sin((1 - fraction) * angle), torch.sin(fraction * angle)
    return (a * first + b * second) / torch.sin(angle)
    ### END SOLUTION


slerp_result = check("04-slerp", slerp)
slerp_result

# %% [markdown]
# <details><summary>Hint</summary>The cosine of the angle is the sum of <code>first * second</code>, divided by both
# lengths; <code>.norm()</code> is a length, and <code>torch.acos</code> makes an angle of its cosine.</details>

# %%
if slerp_result.correct:
    pipe = sdcourse.load_pipeline()
    noise = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    latents = torch.cat([slerp(*noise, f / 5) for f in range(6)])
    pipe.set_progress_bar_config(disable=True)
    prompt = "a photo of a cat in a meadow"
    images = pipe([prompt] * 6, latents=latents, guidance_scale=5.0, num_inference_steps=20).images
    sdcourse.show_images(
        images,
        titles=[f"{f / 5:.0%}" for f in range(6)],
        columns=6,
        size=112,
        alt="a cat that changes step by step",
    )

# %%
quiz("04-what-is-lost")

# %% [markdown]
# **What you can do now.** You can take any VAE apart: its loss, its latents, its scale. Lesson 06 trains a diffusion
# model on them.
