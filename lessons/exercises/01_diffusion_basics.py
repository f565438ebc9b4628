# %% [markdown]
# # 01 · Exercises: diffusion basics
#
# Seven exercises: everything that diffusion is, in functions of one to six lines. Each has a function to write, hints
# that open when you click them, and a check. A check says *not attempted*, *not yet* with the likely mistake, or
# *correct*. Nothing breaks if you leave one out. Between them stand questions: choose an answer with the mouse or
# the arrow keys, and read why it is right or wrong.
#
# Lesson 01 shows everything that you need; close it before you start, and open it where you get stuck. Replace
# `raise NotImplementedError()` by your answer.

# %%
import torch

import sdcourse
from sdcourse.checks import check, quiz

runtime = sdcourse.setup()

# %% [markdown]
# ## 1 · A schedule
#
# Each small step of noise has a $\beta_t$, and leaves $1-\beta_t$ of the picture's variance. After all steps up to
# $t$, the product of these is left, $\bar\alpha_t$. Everything below reads from that list.


# %%
def make_alphas_cumprod(num_train_timesteps, beta_start, beta_end):
    """The products (num_train_timesteps,) of 1 - β, for β that rise evenly from beta_start to beta_end."""
    ### BEGIN SOLUTION
    betas = torch.linspace(beta_start, beta_end, num_train_timesteps)
    return torch.cumprod(1 - betas, dim=0)
    ### END SOLUTION


check("01-schedule", make_alphas_cumprod)

# %% [markdown]
# <details><summary>Hint 1</summary><code>torch.linspace</code> gives numbers that rise evenly.</details>
# <details><summary>Hint 2</summary><code>torch.cumprod(x, dim=0)</code> multiplies each number with all before it. Of
# what?</details>
#
# ## 2 · The forward process
#
# Training needs pictures with noise on them, each at a timestep of its own. One line puts it there:
# $x_t = \sqrt{\bar\alpha_t}\,x_0 + \sqrt{1-\bar\alpha_t}\,\epsilon$.


# %%
def add_noise(clean_images, noise, timesteps, alphas_cumprod):
    """Noisy pictures, in the shape of the pictures.

    Args:
        clean_images, noise: (n, channels, height, width).
        timesteps: (n,), one for each picture.
        alphas_cumprod: (1000,).
    """
    ### BEGIN SOLUTION
    alpha = alphas_cumprod[timesteps].view(-1, 1, 1, 1)
    return alpha.sqrt() * clean_images + (1 - alpha).sqrt() * noise
    ### END SOLUTION


check("01-add-noise", add_noise)

# %% [markdown]
# <details><summary>Hint 1</summary><code>alphas_cumprod[timesteps]</code> has the shape (n,). A product with (n,
# channels, height, width) lines up the <i>last</i> axes.</details>
# <details><summary>Hint 2</summary><code>.view(-1, 1, 1, 1)</code> gives each picture its own number.</details>

# %%
quiz("01-one-jump")

# %% [markdown]
# ## 3 · The loss
#
# Now the lines that train every diffusion model of this course. Draw noise, draw a timestep for each picture, add
# the noise, ask the network for it, compare.


# %%
def diffusion_loss(model, noise_scheduler, clean_images):
    """The mean squared error of the predicted noise, a number with a gradient.

    Args:
        model: `model(noisy_images, timesteps).sample` is the predicted noise.
        noise_scheduler: knows `add_noise(clean_images, noise, timesteps)`, and 1000 timesteps.
        clean_images: (n, channels, height, width) in [-1, 1].
    """
    ### BEGIN SOLUTION
    noise = torch.randn_like(clean_images)
    timesteps = torch.randint(0, 1000, (len(clean_images),))
    noisy_images = noise_scheduler.add_noise(clean_images, noise, timesteps)
    noise_pred = model(noisy_images, timesteps).sample
    return torch.nn.functional.mse_loss(noise_pred, noise)
    ### END SOLUTION


check("01-loss", diffusion_loss)

# %% [markdown]
# <details><summary>Hint 1</summary>Noise in the shape of the pictures, random whole numbers from 0 to 999,
# noisy pictures, prediction.</details>
# <details><summary>Hint 2</summary><code>torch.randn_like</code>, <code>torch.randint</code>,
# <code>noise_scheduler.add_noise</code>.</details>
# <details><summary>Hint 3</summary><code>torch.nn.functional.mse_loss(a, b)</code> compares. Which two?</details>

# %%
quiz("01-hard-timesteps")

# %% [markdown]
# ## 4 · What will the picture be?
#
# Turn the forward process around. Whoever knows the noisy picture and the noise in it knows the clean picture. With the
# *predicted* noise this gives a guess, at any step, of how the picture will end.


# %%
def predict_clean_images(noisy_images, noise_pred, timesteps, alphas_cumprod):
    """The guess of the clean pictures, in the shape of the noisy ones.

    Args:
        noisy_images, noise_pred: (n, channels, height, width).
        timesteps: (n,).
        alphas_cumprod: (1000,).
    """
    ### BEGIN SOLUTION
    alpha = alphas_cumprod[timesteps].view(-1, 1, 1, 1)
    return (noisy_images - (1 - alpha).sqrt() * noise_pred) / alpha.sqrt()
    ### END SOLUTION


check("01-clean-images", predict_clean_images)

# %% [markdown]
# <details><summary>Hint 1</summary>Write the forward process down and solve it for the picture, on paper.</details>
# <details><summary>Hint 2</summary>First take away what was added, then divide by what was multiplied.</details>
#
# ## 5 · One step of DDPM
#
# The way back goes step by step, and each step adds a little fresh noise $z$ (Ho et al., 2020, algorithm 2):
#
# $$x_{t-1} = \frac{1}{\sqrt{1-\beta_t}}\Big(x_t - \frac{\beta_t}{\sqrt{1-\bar\alpha_t}}\,\epsilon_\theta\Big)
# + \sigma_t z, \qquad \sigma_t^2 = \frac{1-\bar\alpha_{t-1}}{1-\bar\alpha_t}\,\beta_t$$
#
# At $t=0$ nothing comes before, and no noise is added.


# %%
def ddpm_step(noise_pred, t, images, z, betas):
    """The pictures of timestep t - 1.

    Args:
        noise_pred, images, z: (n, channels, height, width).
        t: a whole number, 0 to 999.
        betas: (1000,).
    """
    ### BEGIN SOLUTION
    alphas_cumprod = torch.cumprod(1 - betas, dim=0)
    beta, alpha_bar = betas[t], alphas_cumprod[t]
    mean = (images - beta / (1 - alpha_bar).sqrt() * noise_pred) / (1 - beta).sqrt()
    if t == 0:
        return mean
    variance = (1 - alphas_cumprod[t - 1]) / (1 - alpha_bar) * beta
    return mean + variance.sqrt() * z
    ### END SOLUTION


check("01-ddpm-step", ddpm_step)

# %% [markdown]
# <details><summary>Hint 1</summary>Make the products of 1 - β first, as in exercise 1. Before the first timestep
# the product is 1; <code>alphas_cumprod[-1]</code> would be the last one.</details>
# <details><summary>Hint 2</summary>The formula gives σ squared. What belongs before z?</details>
# <details><summary>Hint 3</summary>Return the mean alone where t is 0.</details>
#
# ## 6 · One step of DDIM
#
# DDIM leaves the fresh noise out (Song et al., 2021, eq. 12). It guesses the finished picture, then puts the *predicted*
# noise back, as much of it as the next timestep has. So it can jump from $t$ to any earlier timestep at once.
#
# $$x_\text{prev} = \sqrt{\bar\alpha_\text{prev}}\;\hat x_0 + \sqrt{1-\bar\alpha_\text{prev}}\;\epsilon_\theta$$


# %%
def ddim_step(noise_pred, t, t_prev, images, alphas_cumprod):
    """The pictures of timestep t_prev.

    Args:
        noise_pred, images: (n, channels, height, width).
        t, t_prev: whole numbers, t_prev < t; t_prev = -1 stands for the finished picture, where ᾱ is 1.
        alphas_cumprod: (1000,).
    """
    ### BEGIN SOLUTION
    alpha = alphas_cumprod[t]
    alpha_prev = alphas_cumprod[t_prev] if t_prev >= 0 else torch.tensor(1.0)
    clean_images = (images - (1 - alpha).sqrt() * noise_pred) / alpha.sqrt()
    return alpha_prev.sqrt() * clean_images + (1 - alpha_prev).sqrt() * noise_pred
    ### END SOLUTION


ddim_result = check("01-ddim-step", ddim_step)
ddim_result

# %% [markdown]
# <details><summary>Hint 1</summary>The guess is exercise 4, with one number for t.</details>
# <details><summary>Hint 2</summary><code>alphas_cumprod[-1]</code> is the last entry of the list, not 1.</details>

# %% [markdown]
# When your step is correct, it draws with the course's weights: 25 jumps of 40 timesteps each. They predict the velocity,
# from which the noise follows (the third view in the lesson).

# %%
if ddim_result.correct:
    unet, noise_scheduler = sdcourse.load_pixel_model("fashion-unconditional")

    def draw(images):
        for t in range(999, 0, -40):
            alpha = noise_scheduler.alphas_cumprod[t]
            with torch.no_grad():
                velocity = unet(images, t).sample
            noise_pred = alpha.sqrt() * velocity + (1 - alpha).sqrt() * images
            t_prev = t - 40 if t >= 40 else -1
            images = ddim_step(noise_pred, t, t_prev, images, noise_scheduler.alphas_cumprod)
        return images.clamp(-1, 1) / 2 + 0.5

    sdcourse.show_images(
        draw(torch.randn(12, 1, 32, 32, generator=torch.Generator().manual_seed(5))),
        columns=6,
        size=112,
        alt="twelve pieces of clothing, drawn by your step",
    )

# %% [markdown]
# ## 7 · Uniform noise that fits
#
# DDIM draws nothing anew, so it shows at once when the first noise is wrong. `torch.rand` gave six times the same bright
# shape in the lesson. Is it because that noise is uniform, or because of its mean and deviation? Settle it: make
# uniform noise of mean 0 and deviation 1.


# %%
def fitting_uniform_noise(shape, generator):
    """Uniform noise of mean 0 and deviation 1 in the given shape; the generator decides it."""
    ### BEGIN SOLUTION
    return (torch.rand(shape, generator=generator) - 0.5) * 12**0.5
    ### END SOLUTION


uniform_result = check("01-uniform-noise-that-fits", fitting_uniform_noise)
uniform_result

# %% [markdown]
# <details><summary>Hint 1</summary>Numbers of <code>torch.rand</code> have the mean 1/2 and the variance 1/12.</details>
# <details><summary>Hint 2</summary>First move, then stretch. A factor of k makes the variance k² times as large.</details>

# %%
if ddim_result.correct and uniform_result.correct:
    shape, generator = (6, 1, 32, 32), torch.Generator()
    starts = {
        "torch.randn": torch.randn(shape, generator=generator.manual_seed(5)),
        "torch.rand": torch.rand(shape, generator=generator.manual_seed(5)),
        "yours": fitting_uniform_noise(shape, generator.manual_seed(5)),
    }
    sdcourse.show_images(
        torch.cat([draw(noise) for noise in starts.values()]),
        titles=[name for name in starts for _ in range(6)],
        columns=6,
        size=112,
        alt="six pieces of clothing from torch.randn; six times the same white coat from torch.rand; six pieces again from yours",
    )

# %% [markdown]
# Which of the two was it? Decide before you answer the last question.

# %%
quiz("01-uniform-noise")

# %% [markdown]
# **What you can do now.** You have written the forward process, the loss, and two ways back. Lesson 02 adds one word to
# the loss.
