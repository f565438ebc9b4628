# %% [markdown]
# # 07 · Exercises: inside the pipeline
#
# Six exercises on what stands around the loop: sizes, batches, seeds, arguments, bytes and memory. Each has a function
# to write, hints that open when you click them, and a check. A check says *not attempted*, *not yet* with the likely
# mistake, or *correct*. Nothing breaks if you leave one out. Between them stand questions: choose an answer with the
# mouse or the arrow keys, and read why it is right or wrong.
#
# Lesson 07 shows everything that you need; close it before you start, and open it where you get stuck. Replace
# `raise NotImplementedError()` by your answer.

# %%
import torch

import sdcourse
from sdcourse.checks import check, quiz

runtime = sdcourse.setup()

# %% [markdown]
# ## 1 · Which size?
#
# A call without a size still draws some size. It comes from two config files: the UNet knows how large the latents were
# in training, and the VAE halves a picture once for every block but the last. A size that is given goes before that,
# height and width each by itself (the library ignores a height without a width; yours is better). A size that cannot be halved that often is refused before anything is computed, which
# saves somebody a long wait for an error.


# %%
def picture_size(unet_config, vae_config, height=None, width=None):
    """Height and width in pixels, two whole numbers.

    Args:
        unet_config: `sample_size` is a side of the latents.
        vae_config: `block_out_channels` has one entry for each block.
        height, width: in pixels; None for the one of the configs.

    Raises:
        ValueError: if height or width is not a multiple of what the VAE reduces a side by.
    """
    ### BEGIN SOLUTION
    factor = 2 ** (len(vae_config.block_out_channels) - 1)
    height = height or unet_config.sample_size * factor
    width = width or unet_config.sample_size * factor
    if height % factor or width % factor:
        raise ValueError(f"{height}×{width}: both must be multiples of {factor}.")
    return height, width
    ### END SOLUTION


size_result = check("07-size", picture_size)
size_result

# %% [markdown]
# <details><summary>Hint 1</summary>With 4 blocks a side is halved 3 times. By what is it divided in all?</details>
# <details><summary>Hint 2</summary><code>2 ** (len(vae_config.block_out_channels) - 1)</code> is the factor; a side of
# the latents times the factor is a side of the picture.</details>
# <details><summary>Hint 3</summary><code>height % factor</code> is 0 where the height fits. If one of the two is not 0,
# <code>raise ValueError(...)</code>.</details>

# %%
quiz("07-other-size")

# %% [markdown]
# ## 2 · Several pictures of each prompt
#
# Two prompts, three pictures of each: the UNet then needs six rows of text, and six more without the prompt. The order
# matters twice. The first half is unconditional, because the loop takes the prediction apart in the middle. And pictures
# of one prompt stand side by side, or the titles below your pictures will be wrong.


# %%
def text_batch(negative_embeds, prompt_embeds, num_images_per_prompt):
    """Rows for the UNet, (2 · n · num_images_per_prompt, places, width): unconditional first.

    Args:
        negative_embeds, prompt_embeds: (n, places, width), one row for each prompt.
    """
    ### BEGIN SOLUTION
    negative_embeds = negative_embeds.repeat_interleave(num_images_per_prompt, dim=0)
    prompt_embeds = prompt_embeds.repeat_interleave(num_images_per_prompt, dim=0)
    return torch.cat([negative_embeds, prompt_embeds])
    ### END SOLUTION


batch_result = check("07-batch", text_batch)
batch_result

# %% [markdown]
# <details><summary>Hint 1</summary>Try both on <code>torch.tensor([1, 2])</code>: <code>.repeat(3)</code> and
# <code>.repeat_interleave(3)</code>.</details>
# <details><summary>Hint 2</summary><code>x.repeat_interleave(k, dim=0)</code> repeats each row k times, side by
# side.</details>
# <details><summary>Hint 3</summary>Repeat both, then <code>torch.cat</code>, negatives first.</details>

# %%
quiz("07-one-or-two-calls")

# %% [markdown]
# ## 3 · A seed for each picture
#
# You drew a batch, and the fifth picture is the one. Can you draw it again, alone? Only if its noise came from a
# generator of its own. Then the noise is brought to the size that the scheduler starts from.


# %%
def prepare_latents(scheduler, seeds, shape):
    """Noise to start from, (n, *shape): picture i depends on seeds[i] alone.

    Args:
        scheduler: `init_noise_sigma` is the deviation that it starts from.
        seeds: n whole numbers.
        shape: of one picture's latents, (channels, height, width).
    """
    ### BEGIN SOLUTION
    noise = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(noise) * scheduler.init_noise_sigma
    ### END SOLUTION


latents_result = check("07-latents", prepare_latents)
latents_result

# %% [markdown]
# <details><summary>Hint 1</summary><code>torch.Generator().manual_seed(seed)</code> makes a generator. How many do you
# need?</details>
# <details><summary>Hint 2</summary><code>torch.randn(shape, generator=...)</code> for each seed, then
# <code>torch.stack</code>.</details>
# <details><summary>Hint 3</summary>At the end, times <code>scheduler.init_noise_sigma</code>.</details>
#
# ## 4 · What does this scheduler want?
#
# Some schedulers draw fresh noise in each step and want the generator, some have an `eta`, some know neither. The
# pipeline has to work with all of them, and with those that are written next year. So it asks the function itself.


# %%
def extra_step_kwargs(scheduler, generator, eta):
    """A dictionary with those of `generator` and `eta` that `scheduler.step` takes, for `step(..., **kwargs)`."""
    ### BEGIN SOLUTION
    import inspect

    known = inspect.signature(scheduler.step).parameters
    return {name: value for name, value in {"generator": generator, "eta": eta}.items() if name in known}
    ### END SOLUTION


extra_result = check("07-extra-arguments", extra_step_kwargs)
extra_result

# %% [markdown]
# <details><summary>Hint 1</summary><code>import inspect</code>; then
# <code>inspect.signature(scheduler.step).parameters</code> holds the names of what <code>step</code> takes.</details>
# <details><summary>Hint 2</summary>Start with an empty dictionary. <code>if "eta" in parameters:</code>, and the same for
# the generator.</details>
#
# ## 5 · From numbers to bytes
#
# The decoder answers with numbers around [-1, 1], colours first. A file wants bytes, colours last. The last step is
# short, and one of the most frequent sources of odd pictures: a byte that gets 256 becomes 0, and a highlight turns into
# a black spot.


# %%
def to_bytes(images):
    """Bytes (n, height, width, 3), uint8, a tensor or an array.

    Args:
        images: (n, 3, height, width); -1 is dark, 1 is bright, what lies beyond is cut off.
    """
    ### BEGIN SOLUTION
    images = (images / 2 + 0.5).clamp(0, 1)
    return (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
    ### END SOLUTION


bytes_result = check("07-to-bytes", to_bytes)
bytes_result

# %% [markdown]
# <details><summary>Hint 1</summary>In this order: to [0, 1], cut off what lies beyond, to 255, round, to bytes, colours
# last.</details>
# <details><summary>Hint 2</summary><code>.to(torch.uint8)</code> cuts fractions off, so <code>.round()</code> comes
# before it.</details>
# <details><summary>Hint 3</summary><code>.permute(0, 2, 3, 1)</code> puts the axes into the order pictures, height,
# width, colours.</details>
#
# When 1, 2, 3 and 5 are correct, they do all of the pipeline's work but the loop. Put around the library's loop, they
# should give the pipeline's pictures.

# %%
if size_result.correct and batch_result.correct and latents_result.correct and bytes_result.correct:
    pipe = sdcourse.load_pipeline()
    pipe.set_progress_bar_config(disable=True)
    prompts, seeds, scale = ["a photo of a robot", "a watercolor of a rose"], [1, 2, 3, 4], 5.0
    height, width = picture_size(pipe.unet.config, pipe.vae.config)
    with torch.no_grad():
        prompt_embeds, negative_embeds = pipe.encode_prompt(prompts, "cpu", 1, True)
        text_embeddings = text_batch(negative_embeds, prompt_embeds, 2)
        pipe.scheduler.set_timesteps(20)
        factor = pipe.vae_scale_factor
        shape = (pipe.unet.config.in_channels, height // factor, width // factor)
        latents = prepare_latents(pipe.scheduler, seeds, shape)
        for t in pipe.scheduler.timesteps:
            both = pipe.scheduler.scale_model_input(torch.cat([latents] * 2), t)
            uncond, text = pipe.unet(both, t, encoder_hidden_states=text_embeddings).sample.chunk(2)
            latents = pipe.scheduler.step(uncond + scale * (text - uncond), t, latents).prev_sample
        pictures = to_bytes(pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample)

    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    library = pipe(
        prompts, num_images_per_prompt=2, num_inference_steps=20, guidance_scale=scale,
        generator=generators, output_type="pt",
    ).images  # fmt: skip
    yours = torch.as_tensor(pictures).permute(0, 3, 1, 2) / 255
    difference = 255 * (yours - library).abs().max().item()  # rounding alone makes half of one
    print("largest difference at most 1 of 255:", difference <= 1)
    sdcourse.show_images(
        yours,
        titles=["a photo of a robot", "the same prompt", "a watercolor of a rose", "the same prompt"],
        columns=4,
        size=128,
        alt="two robots and two roses in watercolor",
    )

# %%
quiz("07-stopped")

# %% [markdown]
# ## 6 · Does it fit?
#
# Before you load a model of billions of weights, count. A weight takes 4 bytes in float32, 2 in float16, and
# `dtype.itemsize` says so for each type. A pipeline's box also holds things without weights: a tokenizer, a scheduler,
# and `None` where a part was left out.


# %%
def bytes_of_parts(components, dtype):
    """A dictionary from the name of each network to the bytes that its weights take in this type.

    Args:
        components: from names to parts, as `pipe.components`; networks are of the class `torch.nn.Module`.
        dtype: for example torch.float16, whatever type the weights have now.
    """
    ### BEGIN SOLUTION
    return {
        name: sum(p.numel() for p in part.parameters()) * dtype.itemsize
        for name, part in components.items()
        if isinstance(part, torch.nn.Module)
    }
    ### END SOLUTION


weigh_result = check("07-weigh", bytes_of_parts)
weigh_result

# %% [markdown]
# <details><summary>Hint 1</summary><code>isinstance(part, torch.nn.Module)</code> tells networks from the rest.</details>
# <details><summary>Hint 2</summary><code>p.numel()</code> is how many numbers a tensor holds;
# <code>part.parameters()</code> gives all weights of a network.</details>

# %%
if weigh_result.correct:
    pipe = sdcourse.load_pipeline()
    for dtype in (torch.float32, torch.float16):
        parts = bytes_of_parts(pipe.components, dtype)
        print(dtype, {name: f"{amount / 1e6:.1f} MB" for name, amount in parts.items()})

# %%
quiz("07-more-steps")

# %% [markdown]
# **What you can do now.** You can write a pipeline around any loop: sizes, batches, seeds, arguments and pictures. The
# same functions fit Stable Diffusion 1.5. Lesson 08 fills in the middle.
