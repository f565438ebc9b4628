# %% [markdown]
# # 09 · Exercises: guidance scale and negative prompts
#
# Five exercises on the one line that decides how a prompt is followed, and how it can be bent. Each has a function to
# write, hints that open when you click them, and a check. A check says *not attempted*, *not yet* with the likely
# mistake, or *correct*. Nothing breaks if you leave one out.
#
# Lesson 09 shows everything that you need; close it before you start, and open it where you get stuck. Replace
# `raise NotImplementedError()` by your answer.

# %%
import torch

import sdcourse
from sdcourse.checks import check, quiz

runtime = sdcourse.setup()

# %% [markdown]
# ## 1 · Does the negative prompt pull against the prompt?
#
# Prompt and negative prompt both change the unconditional prediction, each in its own direction. The cosine between
# the two directions is 1 where they want the same, 0 where they do not meddle, -1 where they want the opposite.


# %%
def direction_cosine(noise_pred_uncond, noise_pred_text, noise_pred_negative):
    """The cosine between what the prompt changes and what the negative prompt changes, a number.

    Args:
        noise_pred_uncond, noise_pred_text, noise_pred_negative: (1, 4, h, w).
    """
    ### BEGIN SOLUTION
    a = (noise_pred_text - noise_pred_uncond).flatten()
    b = (noise_pred_negative - noise_pred_uncond).flatten()
    return torch.dot(a, b) / (a.norm() * b.norm())
    ### END SOLUTION


check("09-directions", direction_cosine)

# %% [markdown]
# <details><summary>Hint 1</summary>A direction is a difference: what the text changes of the unconditional
# prediction.</details>
# <details><summary>Hint 2</summary><code>.flatten()</code> makes one long vector of a tensor.</details>

# %%
quiz("09-no-in-a-prompt")

# %% [markdown]
# ## 2 · A scale for each step
#
# Nothing says that the scale must be the same in all steps. Let it fall evenly, from the full scale in the first step to
# 1 in the last.


# %%
def scale_of_step(i, num_inference_steps, guidance_scale):
    """The scale of step i, counted from 0."""
    ### BEGIN SOLUTION
    if num_inference_steps == 1:
        return guidance_scale
    return guidance_scale + (1 - guidance_scale) * i / (num_inference_steps - 1)
    ### END SOLUTION


check("09-scale-schedule", scale_of_step)

# %% [markdown]
# <details><summary>Hint 1</summary>The last step has the number num_inference_steps - 1.</details>
# <details><summary>Hint 2</summary>A loop of one step has no last step to fall to.</details>

# %%
quiz("09-high-scale")

# %% [markdown]
# ## 3 · Against burnt colours
#
# A high scale makes predictions larger than any that the model was trained with, and colours burn out. Bring each
# picture's guided prediction back: multiply it by one number, so that its standard deviation is that of the prediction with
# text, and mix that with what it was (Lin et al., 2024, section 3.4).


# %%
def rescale(noise_pred_guided, noise_pred_text, mix):
    """The guided predictions (n, 4, h, w), rescaled.

    Args:
        mix: 0 leaves them as they are, 1 gives them the standard deviation of the prediction with text.
    """
    ### BEGIN SOLUTION
    std_text = noise_pred_text.std(dim=(1, 2, 3), keepdim=True)
    std_guided = noise_pred_guided.std(dim=(1, 2, 3), keepdim=True)
    return mix * noise_pred_guided * std_text / std_guided + (1 - mix) * noise_pred_guided
    ### END SOLUTION


check("09-rescale", rescale)

# %% [markdown]
# <details><summary>Hint</summary><code>x.std(dim=(1, 2, 3), keepdim=True)</code> is the standard deviation of each picture,
# (n, 1, 1, 1).</details>
#
# ## 4 · One word louder
#
# Programs for artists let you write `(hat:1.5)`. Here is what that does: the place of a word goes further from the empty
# text than it would.


# %%
def weigh_words(text_embeddings, empty_embeddings, weights):
    """Hidden states (n, places, d), each place weights[place] times as far from the empty text.

    Args:
        text_embeddings, empty_embeddings: (n, places, d).
        weights: (places,); 1 leaves a place as it is.
    """
    ### BEGIN SOLUTION
    return empty_embeddings + weights.view(1, -1, 1) * (text_embeddings - empty_embeddings)
    ### END SOLUTION


check("09-prompt-weighting", weigh_words)

# %% [markdown]
# <details><summary>Hint</summary>The formula is that of guidance, with a scale for each place. Give the weights the
# shape (1, places, 1).</details>

# %%
quiz("09-negative-is-prompt")

# %% [markdown]
# ## 5 · The sweep
#
# Which scale is best? Looking at six pictures, everybody finds what they like. So count: draw the same seeds at each
# scale, and let a judge that does not know the scale say which pictures are right.


# %%
def sweep(draw, is_right, scales, seeds):
    """A dictionary from each scale to the share of pictures that are right, 0 to 1.

    Args:
        draw: `draw(guidance_scale, seeds)` are pictures, one for each seed.
        is_right: `is_right(pictures)` is a list with True or False for each picture.
        scales: numbers.
        seeds: whole numbers; every scale gets all of them.
    """
    ### BEGIN SOLUTION
    return {scale: sum(is_right(draw(scale, seeds))) / len(seeds) for scale in scales}
    ### END SOLUTION


sweep_result = check("09-sweep", sweep)
sweep_result

# %% [markdown]
# <details><summary>Hint 1</summary>For one scale: draw all seeds, ask which are right, divide by how many there
# are.</details>
# <details><summary>Hint 2</summary><code>sum([True, False, True])</code> is 2.</details>
#
# **Predict** the curve for "a black cat wearing a hat": where is it highest? This takes about half a minute.

# %% tags=["nbval-ignore-output"]
if sweep_result.correct:
    from sdcourse.metrics import draw_pictures

    pipe, judge = sdcourse.load_pipeline(), sdcourse.load_judge()
    prompt = "a black cat wearing a hat"

    def draw(guidance_scale, seeds):
        return draw_pictures(pipe, [prompt] * len(seeds), guidance_scale, 12, seed=seeds[0])

    def is_right(pictures):
        readings = judge.read(pictures)
        return [r["subject"] == "cat" and r["color"] == "black" and r["hat"] != "none" for r in readings]

    for scale, share in sweep(draw, is_right, [0.0, 1.0, 2.0, 5.0, 10.0, 20.0], range(24)).items():
        print(f"scale {scale:4g}  {share:4.0%} right  " + "█" * round(30 * share))

# %% [markdown]
# **What you can do now.** You have written some of the tricks behind most settings that programs for artists offer, and you
# can measure what they do.
