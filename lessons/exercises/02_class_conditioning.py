# %% [markdown]
# # 02 · Exercises: drawing what you ask for
#
# Six exercises on classes and timesteps: where they enter a network, what they do to training and sampling, and how to
# see what goes wrong. Each has a function to write, hints that open when you click them, and a check. A check says
# *not attempted*, *not yet* with the likely mistake, or *correct*. Nothing breaks if you leave one out.
#
# Lesson 02 shows everything that you need; close it before you start, and open it where you get stuck. Replace
# `raise NotImplementedError()` by your answer.

# %%
import torch

import sdcourse
from sdcourse.checks import check, quiz

runtime = sdcourse.setup()

# %% [markdown]
# ## 1 · The loss, with classes
#
# The loss of lesson 01, for a network that is told what it looks at. A batch is a dictionary with `images` and
# `labels`.


# %%
def diffusion_loss(model, noise_scheduler, batch):
    """The mean squared error of the predicted noise, a number with a gradient.

    Args:
        model: `model(noisy_images, timesteps, class_labels=labels).sample` is the predicted noise.
        noise_scheduler: knows `add_noise(clean_images, noise, timesteps)`, and 1000 timesteps.
        batch: `images` (n, channels, height, width) in [-1, 1], `labels` (n,).
    """
    ### BEGIN SOLUTION
    clean_images, labels = batch["images"], batch["labels"]
    noise = torch.randn_like(clean_images)
    timesteps = torch.randint(0, 1000, (len(clean_images),))
    noisy_images = noise_scheduler.add_noise(clean_images, noise, timesteps)
    noise_pred = model(noisy_images, timesteps, class_labels=labels).sample
    return torch.nn.functional.mse_loss(noise_pred, noise)
    ### END SOLUTION


check("02-loss", diffusion_loss)

# %% [markdown]
# <details><summary>Hint 1</summary>Write the loss without classes first. What does the network get in addition?</details>
# <details><summary>Hint 2</summary>Nothing changes in the last line: the class is a hint, not a target.</details>

# %%
quiz("02-no-class-loss")

# %% [markdown]
# ## 2 · A timestep as waves
#
# A network reads the number 700 badly. So a timestep becomes cosines and sines of many frequencies, as a place in a
# text does in a transformer (Vaswani et al., 2017):
#
# $$\big(\cos(t f_0), \dots, \cos(t f_{h-1}), \sin(t f_0), \dots, \sin(t f_{h-1})\big),
# \qquad f_i = 10000^{-i/h}, \quad h = \text{dim}/2$$


# %%
def timestep_embedding(timesteps, dim):
    """Cosines, then sines, (n, dim).

    Args:
        timesteps: (n,), whole numbers.
        dim: an even number.
    """
    ### BEGIN SOLUTION
    half = dim // 2
    frequencies = 10000 ** (-torch.arange(half) / half)
    angles = timesteps[:, None] * frequencies[None, :]
    return torch.cat([angles.cos(), angles.sin()], dim=1)
    ### END SOLUTION


check("02-time-embedding", timestep_embedding)

# %% [markdown]
# <details><summary>Hint 1</summary><code>torch.arange(half)</code> are the i. Make the <code>half</code> frequencies
# first.</details>
# <details><summary>Hint 2</summary><code>timesteps[:, None] * frequencies[None, :]</code> has the shape (n,
# half).</details>
#
# ## 3 · Time and class together
#
# Both have become vectors of the same length. How does `UNet2DModel` bring them together?


# %%
def condition(time_emb, class_table, labels):
    """What every block of the network gets, (n, d).

    Args:
        time_emb: (n, d), the time embedding of each picture.
        class_table: (classes, d), one learned row for each class.
        labels: (n,).
    """
    ### BEGIN SOLUTION
    return time_emb + class_table[labels]
    ### END SOLUTION


check("02-condition", condition)

# %% [markdown]
# <details><summary>Hint</summary><code>class_table[labels]</code> takes a row for each picture. The result has the shape
# of <code>time_emb</code>.</details>

# %%
quiz("02-where-class-enters")

# %% [markdown]
# ## 4 · Drawing by class
#
# The sampling loop, with a class for each picture.


# %%
def sample(unet, scheduler, images, labels, num_inference_steps):
    """The finished pictures, clamped to [-1, 1].

    Args:
        unet: `unet(images, t, class_labels=labels).sample` is the predicted noise.
        scheduler: knows `set_timesteps`, `timesteps` and `step`.
        images: (n, channels, height, width), Gaussian noise.
        labels: (n,).
    """
    ### BEGIN SOLUTION
    scheduler.set_timesteps(num_inference_steps)
    for t in scheduler.timesteps:
        with torch.no_grad():
            noise_pred = unet(images, t, class_labels=labels).sample
        images = scheduler.step(noise_pred, t, images).prev_sample
    return images.clamp(-1, 1)
    ### END SOLUTION


sample_result = check("02-sample", sample)
sample_result

# %% [markdown]
# <details><summary>Hint 1</summary>Tell the scheduler how many steps there are, then go through
# <code>scheduler.timesteps</code>.</details>
# <details><summary>Hint 2</summary><code>scheduler.step(noise_pred, t, images).prev_sample</code> are the pictures of the
# next, lower noise level.</details>
#
# When it is correct, draw something.

# %%
if sample_result.correct:
    unet, scheduler = sdcourse.load_pixel_model("fashion")
    noise = torch.randn(10, 1, 32, 32, generator=torch.Generator().manual_seed(2))
    images = sample(unet, scheduler, noise, torch.arange(10), 25)
    sdcourse.show_images(
        images / 2 + 0.5, columns=5, size=112, alt="ten pieces of clothing, one of each class"
    )

# %% [markdown]
# ## 5 · What is the timestep for?
#
# An experiment settles it. Tell the network the same timestep in every step, while the scheduler goes down as
# always. **Predict** before you look: what will come out for 50, for 500, for 950?


# %%
def sample_with_frozen_time(unet, scheduler, images, labels, num_inference_steps, frozen_t):
    """As `sample`, but the network is told `frozen_t` in every step."""
    ### BEGIN SOLUTION
    scheduler.set_timesteps(num_inference_steps)
    for t in scheduler.timesteps:
        with torch.no_grad():
            noise_pred = unet(images, frozen_t, class_labels=labels).sample
        images = scheduler.step(noise_pred, t, images).prev_sample
    return images.clamp(-1, 1)
    ### END SOLUTION


frozen_result = check("02-frozen-time", sample_with_frozen_time)
frozen_result

# %% [markdown]
# <details><summary>Hint</summary>One word of exercise 4 changes. The scheduler still has to know where it is.</details>

# %%
if sample_result.correct and frozen_result.correct:
    rows = [
        sample_with_frozen_time(unet, scheduler, noise[:5], torch.arange(5), 25, t) for t in (50, 500, 950)
    ]
    rows.append(sample(unet, scheduler, noise[:5], torch.arange(5), 25))
    sdcourse.show_images(
        torch.cat(rows) / 2 + 0.5,
        titles=["told 50"] * 5 + ["told 500"] * 5 + ["told 950"] * 5 + ["told the truth"] * 5,
        columns=5,
        size=112,
        alt="three rows that went wrong, each in its own way, and a row of clothing",
    )

# %% [markdown]
# The timestep says how much of what the network sees is noise. Told 50, it takes nearly all of it for picture and
# hardly removes any; told 950, it takes nearly all of it for noise, to the end.
#
# ## 6 · Who is taken for whom?
#
# A judge read some pictures. Count, for every class that was asked for, how often each class was read.


# %%
def confusion_matrix(asked, read, classes):
    """Counts (classes, classes): row = asked for, column = read.

    Args:
        asked, read: (n,), whole numbers below `classes`.
    """
    ### BEGIN SOLUTION
    counts = torch.zeros(classes, classes, dtype=torch.long)
    for row, column in zip(asked.tolist(), read.tolist(), strict=True):
        counts[row, column] += 1
    return counts
    ### END SOLUTION


check("02-confusion", confusion_matrix)

# %% [markdown]
# <details><summary>Hint</summary>A loop over pairs is fine: <code>counts[row, column] += 1</code>.</details>

# %%
quiz("02-shuffled-labels")

# %% [markdown]
# **What you can do now.** You have every line of a class-conditional diffusion model, and an instrument that tells which
# classes it mixes up. Lesson 03 makes it follow the class more closely than it was trained to.
