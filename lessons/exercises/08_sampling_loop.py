# %% [markdown]
# # 08 · Exercises: the sampling loop
#
# Five exercises, from one line to the whole loop of Stable Diffusion. Each has a function to write, hints that
# open when you click them, and a check. A check says *not attempted*, *not yet* with the likely mistake, or
# *correct*. Nothing breaks if you leave one out. Between them stand questions: choose an answer with the mouse or
# the arrow keys, and read why it is right or wrong.
#
# Lesson 08 shows everything that you need; close it before you start, and open it where you get stuck. Replace
# `raise NotImplementedError()` by your answer.

# %%
import torch

import sdcourse
from sdcourse.checks import check, quiz

runtime = sdcourse.setup()
pipe = sdcourse.load_pipeline()

# %% [markdown]
# ## 1 · Guidance in one line
#
# The UNet predicts the noise twice, without the prompt and with it. Guidance goes from the first prediction
# towards the second, `guidance_scale` times as far. Everything that makes prompts work well hangs on this line.


# %%
def classifier_free_guidance(noise_pred_uncond, noise_pred_text, guidance_scale):
    """The guided noise prediction.

    Args:
        noise_pred_uncond, noise_pred_text: tensors of the same shape.
        guidance_scale: 0 gives the unconditional prediction, 1 the one with text.
    """
    ### BEGIN SOLUTION
    return noise_pred_uncond + guidance_scale * (noise_pred_text - noise_pred_uncond)
    ### END SOLUTION


check("08-guidance", classifier_free_guidance)

# %% [markdown]
# <details><summary>Hint 1</summary>What has to come out at scale 0? Start from that.</details>
# <details><summary>Hint 2</summary>What has to be added to the unconditional prediction to get the one with text?
# Add it <code>guidance_scale</code> times.</details>

# %%
quiz("08-two-predictions")

# %% [markdown]
# ## 2 · A batch of prompts
#
# The loop wants one tensor with all texts: the negative prompts first, then the prompts. Each text takes all 77
# places, longer ones are cut. Encoding needs no gradient.


# %%
def encode_prompts(tokenizer, text_encoder, prompts, negative_prompts):
    """Hidden states (2n, 77, d): the n negative prompts first, then the n prompts.

    Args:
        prompts, negative_prompts: lists of n texts.
    """
    ### BEGIN SOLUTION
    inputs = tokenizer(
        negative_prompts + prompts, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
    )
    with torch.no_grad():
        return text_encoder(inputs.input_ids)[0]
    ### END SOLUTION


encode_result = check("08-encode", encode_prompts)
encode_result

# %% [markdown]
# <details><summary>Hint 1</summary>Lists are joined by <code>+</code>. Which one stands first?</details>
# <details><summary>Hint 2</summary>The tokenizer takes <code>padding="max_length"</code>,
# <code>max_length=77</code>, <code>truncation=True</code> and <code>return_tensors="pt"</code>.</details>
# <details><summary>Hint 3</summary><code>text_encoder(inputs.input_ids)[0]</code> are the hidden states; compute them
# under <code>torch.no_grad()</code>.</details>
#
# ## 3 · Latents become pictures
#
# Training multiplied the latents by `vae.config.scaling_factor`. The decoder wants them as they were before, and
# answers with values around [-1, 1]. Pictures go from 0 to 1. Decoding needs no gradient either.


# %%
def decode_latents(vae, latents):
    """Pictures (n, 3, 8h, 8w) in [0, 1] from latents (n, 4, h, w)."""
    ### BEGIN SOLUTION
    with torch.no_grad():
        images = vae.decode(latents / vae.config.scaling_factor).sample
    return (images / 2 + 0.5).clamp(0, 1)
    ### END SOLUTION


decode_result = check("08-decode", decode_latents)
decode_result

# %% [markdown]
# <details><summary>Hint 1</summary>If training multiplied, decoding has to divide.</details>
# <details><summary>Hint 2</summary><code>vae.decode(...).sample</code> is the picture. From [-1, 1] to [0, 1]: halve,
# add one half, then <code>clamp</code>. All of it under <code>torch.no_grad()</code>.</details>
#
# ## 4 · The loop, from a blank cell
#
# Now all of it, and without a gradient. Your loop has to work with DDIM and with Euler, which counts noise in other
# units. So two lines are needed that DDIM alone would not ask for (lesson 08, step 3). You may call your
# `classifier_free_guidance` if exercise 1 is done.


# %%
def sample(unet, scheduler, text_embeddings, latents, guidance_scale, num_inference_steps):
    """The latents after the last step.

    Args:
        text_embeddings: (2n, 77, d), unconditional first.
        latents: (n, 4, h, w), Gaussian noise of deviation 1.
    """
    ### BEGIN SOLUTION
    scheduler.set_timesteps(num_inference_steps)
    latents = latents * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        latent_model_input = scheduler.scale_model_input(torch.cat([latents] * 2), t)
        with torch.no_grad():
            noise_pred = unet(latent_model_input, t, encoder_hidden_states=text_embeddings).sample
        noise_pred_uncond, noise_pred_text = noise_pred.chunk(2)
        noise_pred = noise_pred_uncond + guidance_scale * (noise_pred_text - noise_pred_uncond)
        latents = scheduler.step(noise_pred, t, latents).prev_sample
    return latents
    ### END SOLUTION


loop_result = check("08-loop", sample)
loop_result

# %% [markdown]
# <details><summary>Hint 1: the order of things</summary>Tell the scheduler how many steps there are. Scale the noise.
# For each timestep: predict the noise for both halves, guide, step.</details>
# <details><summary>Hint 2: both halves in one call</summary><code>torch.cat([latents] * 2)</code> goes in, and
# <code>.chunk(2)</code> takes the prediction apart.</details>
# <details><summary>Hint 3: every scheduler</summary>Before the loop, <code>latents * scheduler.init_noise_sigma</code>.
# Before each prediction, <code>scheduler.scale_model_input(..., t)</code>. The UNet is called under
# <code>torch.no_grad()</code>.</details>
# <details><summary>Hint 4: nearly done</summary>The last line of the loop is
# <code>latents = scheduler.step(noise_pred, t, latents).prev_sample</code>.</details>

# %%
quiz("08-init-noise")

# %% [markdown]
# When your exercises 2, 3 and 4 are correct, they draw a picture with the real networks.

# %%
if encode_result.correct and decode_result.correct and loop_result.correct:
    from diffusers import EulerDiscreteScheduler

    text_embeddings = encode_prompts(
        pipe.tokenizer, pipe.text_encoder, ["an oil painting of a collie in a top hat"], [""]
    )
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    latents = sample(pipe.unet, scheduler, text_embeddings, noise, 5.0, 25)
    sdcourse.show_image(
        decode_latents(pipe.vae, latents),
        title="your loop · Euler · scale 5 · 25 steps · seed 3",
        alt="a soft painting of a red dog in a red hat, in a forest",
    )

# %% [markdown]
# ## 5 · No white hats
#
# Someone wants pictures with as few white hats as possible; other hats may stay. You may not touch the prompts. Only
# the unconditional half of the texts is yours: at scales above 1, guidance leads away from it.


# %%
def texts_without_white_hats(prompts):
    """The 2n texts that go to the tokenizer for n prompts: n unconditional ones, then the prompts."""
    ### BEGIN SOLUTION
    return ["a white hat"] * len(prompts) + prompts
    ### END SOLUTION


hats_result = check("08-no-white-hats", texts_without_white_hats)
hats_result

# %% [markdown]
# <details><summary>Hint 1</summary>The first half says what you do <i>not</i> want. Name the thing itself: the text encoder
# hardly hears a "no".</details>
# <details><summary>Hint 2</summary>One text for each prompt, then the prompts: a list of 2n texts.</details>
#
# Does it work? Count. The judge reads 32 pictures without your change, and 32 with it, from the same noise. This
# takes some ten seconds.

# %% tags=["nbval-ignore-output"]
if hats_result.correct:
    from sdcourse.metrics import draw_pictures

    prompts = ["a cat wearing a hat"] * 32
    negative_prompt = texts_without_white_hats(prompts)[0]
    judge = sdcourse.load_judge()
    for text in ("", negative_prompt):
        readings = judge.read(draw_pictures(pipe, prompts, negative_prompt=text))
        white = sum(r["hat"] != "none" and r["hat_color"] == "white" for r in readings)
        hats = sum(r["hat"] != "none" for r in readings)
        print(f"negative prompt {text!r}: {white} white hats among {hats} hats in 32 pictures")

# %%
quiz("08-negative-at-scale-1")

# %% [markdown]
# **What you can do now.** You have written every line between a prompt and a picture. The first four functions drive
# Stable Diffusion 1.5 as they are: only the sizes of the tensors change.
