# %% [markdown]
# # 07 · Inside the pipeline
#
# `pipe("a cat in the snow").images[0]`: one call, and a picture. In this lesson you open that call. We go through
# `StableDiffusionPipeline.__call__` in the order of its source, run every part by itself, and write down the shape of
# everything that passes by. After it, the source of `diffusers` reads like a text that you know.
#
# **You need** lessons 04 to 06. **It takes** about fifteen seconds of computing.
#
# **You will**
#
# 1. see which parts a pipeline has, what each weighs and how long each works;
# 2. run the call piece by piece: checks, encoding, timesteps, latents, loop, decoding;
# 3. draw several prompts, and several pictures for each;
# 4. watch the loop, and stop it, from a callback;
# 5. put the shapes beside those of the real Stable Diffusion 1.5.

# %%
import torch

import sdcourse

runtime = sdcourse.setup()

# %%
pipe = sdcourse.load_pipeline()
pipe.set_progress_bar_config(disable=True)

prompt = "a photo of a cat wearing a hat in the snow"
image = pipe(prompt, guidance_scale=5.0, generator=torch.Generator().manual_seed(4)).images[0]
sdcourse.show_image(image, title=f"{prompt} · scale 5 · seed 4", alt="a cat with a hat in the snow")

# %% [markdown]
# ## A box of parts
#
# A pipeline is not a network. It is a box of parts and a function that uses them in the right order.

# %%
for name, part in pipe.components.items():
    print(f"{name:18} {type(part).__name__}")

# %% [markdown]
# Three parts are `None` here, and are skipped. A **safety checker** is a network that looks at finished pictures and blackens what it
# takes for indecent; the real model ships with one, drawings of cats do not need it. The **feature extractor** prepares
# pictures for it, and the **image encoder** belongs to an extension.
#
# ## What it does, in its own words
#
# You can read the source without leaving the notebook. Its authors numbered their steps.

# %%
import inspect
import re

source = inspect.getsource(type(pipe).__call__)
for line in source.splitlines():
    if re.match(r"\s+# \d+(\.\d+)?\.? ", line):
        print(line.strip())

# %% [markdown]
# We follow these numbers (6.1 and 6.2 belong to extensions). What comes after the loop has none; we call it 8.
#
# ## 0 · The size
#
# **Predict:** you gave no size. Where does the pipeline get it from?

# %%
height = pipe.unet.config.sample_size * pipe.vae_scale_factor
print(pipe.unet.config.sample_size, "latents a side, times", pipe.vae_scale_factor, "gives", height, "pixels")

# %% [markdown]
# From the UNet, which knows the size of the latents that it was trained on, and from the VAE, which halves a picture once
# for every block but the last. (Other sizes work too, as far as the layers are concerned: they are convolutions and
# attention, which take any.) The factor is computed from the VAE's shape:

# %%
blocks = len(pipe.vae.config.block_out_channels)
print(f"{blocks} blocks halve {blocks - 1} times: 2 ** {blocks - 1} = {2 ** (blocks - 1)}")

# %% [markdown]
# ## 1 · Checking the inputs
#
# Half of a good pipeline is refusing. Sizes must fit the VAE, and texts and embeddings exclude each other. (A height
# without a width is silently ignored: some things slip through.)

# %%
for wrong in (
    dict(height=60, width=64),
    dict(prompt=7),
    dict(prompt=prompt, prompt_embeds=torch.zeros(1, 77, 128)),
):
    try:
        pipe(**{"prompt": prompt, **wrong})
    except ValueError as error:
        print(f"{type(error).__name__}: {str(error)[:100]}")

# %% [markdown]
# ## 2 · How many, and with guidance or without
#
# One text makes a batch of 1, a list a batch of its length. Guidance is switched on when the scale is above 1; at
# scale 1 the formula of lesson 03 leaves the prompt's own prediction, and the second one would be wasted.

# %%
prompts = [prompt, "a photo of a boat at sunset"]
batch_size = 1 if isinstance(prompts, str) else len(prompts)
guidance_scale = 5.0
do_classifier_free_guidance = guidance_scale > 1.0
print("batch of", batch_size, "· guidance:", do_classifier_free_guidance)

# %% [markdown]
# ## 3 · Encoding the prompt
#
# `encode_prompt` returns two things: the prompts' embeddings, and those of the negative prompts, which are the empty text
# unless you give some. Both are repeated for the number of pictures that you want of each prompt.

# %%
with torch.no_grad():
    prompt_embeds, negative_prompt_embeds = pipe.encode_prompt(
        prompts, device="cpu", num_images_per_prompt=3, do_classifier_free_guidance=True
    )
print("prompts:  ", tuple(prompt_embeds.shape), "= (2 prompts × 3 pictures, places, width)")
print("negatives:", tuple(negative_prompt_embeds.shape))
print("the first three rows are alike:", bool((prompt_embeds[0] == prompt_embeds[2]).all()))

# %% [markdown]
# Then both are put into one batch, negatives first, so that the UNet answers both at once. (Rows of a batch do not mix: two
# calls with one half each would give the same.) Everything that follows relies on that order.

# %%
text_embeddings = torch.cat([negative_prompt_embeds, prompt_embeds])
print(tuple(text_embeddings.shape), "= (6 negative + 6 prompt, places, width)")

# %% [markdown]
# ## 4 · Timesteps
#
# The scheduler chooses which of the 1000 noise levels are visited. Ours is PNDM, as in Stable Diffusion 1.5.

# %%
pipe.scheduler.set_timesteps(20)
timesteps = pipe.scheduler.timesteps
print(len(timesteps), "timesteps for 20 steps:", timesteps[:5].tolist(), "…", timesteps[-2:].tolist())

# %% [markdown]
# One more than you asked for: PNDM takes its first step twice, once to 901, and once more with what it learned there. So 901
# comes twice. A progress bar of 21 steps for 20 is not a mistake.
#
# ## 5 · Latents
#
# Noise in the shape of the latents, times `init_noise_sigma`. With a list of generators each picture gets its own seed,
# and does not depend on its neighbours in the batch.

# %%
generators = [torch.Generator().manual_seed(seed) for seed in range(6)]
latents = pipe.prepare_latents(
    batch_size=6,
    num_channels_latents=4,
    height=64,
    width=64,
    dtype=torch.float32,
    device="cpu",
    generator=generators,
)
print(tuple(latents.shape), "= (6 pictures, channels, height / 8, width / 8)")
print("init_noise_sigma:", float(pipe.scheduler.init_noise_sigma))

# %% [markdown]
# ## 6 · Extra arguments
#
# Schedulers differ: some draw fresh noise in every step and want a generator; DDIM has an `eta`, which says how much. The pipeline looks at
# the signature of `step` and passes what it knows.

# %%
extra_step_kwargs = pipe.prepare_extra_step_kwargs(generators, eta=0.0)
print("PNDM takes:", extra_step_kwargs)
print("its step knows:", [name for name in inspect.signature(pipe.scheduler.step).parameters])

# %% [markdown]
# ## 7 · The loop
#
# The latents twice, scaled as the scheduler wants them; one call of the UNet; guidance; one step. Lesson 08 is about
# nothing else. Here we write down the shapes once.

# %%
for i, t in enumerate(timesteps):
    latent_model_input = pipe.scheduler.scale_model_input(torch.cat([latents] * 2), t)
    with torch.no_grad():
        noise_pred = pipe.unet(latent_model_input, t, encoder_hidden_states=text_embeddings).sample
    noise_pred_uncond, noise_pred_text = noise_pred.chunk(2)
    guided = noise_pred_uncond + guidance_scale * (noise_pred_text - noise_pred_uncond)
    latents = pipe.scheduler.step(guided, t, latents, **extra_step_kwargs).prev_sample
    if i == 0:
        print("into the UNet: ", tuple(latent_model_input.shape))
        print("out of it:     ", tuple(noise_pred.shape))
        print("after guidance:", tuple(guided.shape))

# %% [markdown]
# ## 8 · Decoding, the safety checker, and pictures
#
# The latents are divided by the scaling factor and decoded.

# %%
with torch.no_grad():
    decoded = pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample
print(tuple(decoded.shape), f"in [{decoded.min():.1f}, {decoded.max():.1f}]")

# %% [markdown]
# The safety checker looks at the result, and says for each picture whether it blackened it. Here there is none.

# %%
checked, has_nsfw_concept = pipe.run_safety_checker(decoded, "cpu", torch.float32)
print("pictures changed:", not torch.equal(checked, decoded), "· said:", has_nsfw_concept)

# %% [markdown]
# At last the *image processor* maps [-1, 1] to what you asked for: PIL pictures, arrays, or tensors.

# %%
images = pipe.image_processor.postprocess(decoded, output_type="pil")
print(len(images), "pictures of", images[0].size)

sdcourse.show_images(
    images,
    titles=[f"{p} · {i}" for p in ("cat", "boat") for i in range(3)],
    columns=3,
    size=128,
    alt="three cats with hats in the snow, three boats at sunset",
)

# %% [markdown]
# Is that really what the pipeline does? The same settings in one call:

# %%
generators = [torch.Generator().manual_seed(seed) for seed in range(6)]
in_one_call = pipe(
    prompts,
    num_images_per_prompt=3,
    num_inference_steps=20,
    guidance_scale=guidance_scale,
    generator=generators,
    output_type="pt",
).images
piece_by_piece = pipe.image_processor.postprocess(decoded, output_type="pt")
difference = (in_one_call - piece_by_piece).abs().max()
print("largest difference below 0.00001:", bool(difference < 1e-5))

# %% [markdown]
# ## Callbacks: looking in, and stopping
#
# `callback_on_step_end` is called after every step, with the latents of that moment (and with more, if you name it in
# `callback_on_step_end_tensor_inputs`). It returns the same
# dictionary; what it changes there is changed in the loop.

# %%
seen = []


def watch(pipe, i, t, callback_kwargs):
    seen.append(callback_kwargs["latents"].clone())
    if i == 11:
        pipe._interrupt = True  # skips the steps that are left
    return callback_kwargs


stopped = pipe(
    prompt,
    guidance_scale=5.0,
    num_inference_steps=20,
    generator=torch.Generator().manual_seed(4),
    callback_on_step_end=watch,
).images[0]
print(len(seen), "steps were taken")

# %%
with torch.no_grad():
    looks = [
        pipe.vae.decode(seen[i] / pipe.vae.config.scaling_factor).sample / 2 + 0.5 for i in (0, 3, 6, 9, 11)
    ]
sdcourse.show_images(
    [look.clamp(0, 1) for look in looks],
    titles=[f"after {i + 1} steps" for i in (0, 3, 6, 9, 11)],
    columns=5,
    size=128,
    alt="noise in which a cat begins to show; the last picture is still noisy",
)

# %% [markdown]
# Stopped after twelve steps, the picture is not a smaller cat but a noisy one (noise in latents decodes to patches of
# colour): the noise levels that are left were not
# visited. A stop button needs something better, for example the scheduler's guess of the finished picture (lesson 08).
#
# ## What each part costs
#
# **Predict:** which part takes the most time? And what changes in that when you ask for 50 steps?

# %%
import time


def seconds_of(function, repeat=5):
    with torch.no_grad():
        function()  # the first call is slower
        start = time.perf_counter()
        for _ in range(repeat):
            function()
    return (time.perf_counter() - start) / repeat


ids = pipe.tokenizer(["", prompt], padding="max_length", max_length=77, return_tensors="pt").input_ids
two, embeddings = torch.randn(2, 4, 8, 8), torch.cat([negative_prompt_embeds[:1], prompt_embeds[:1]])
calls = {
    "text encoder": (pipe.text_encoder, lambda: pipe.text_encoder(ids), 1),
    "UNet": (pipe.unet, lambda: pipe.unet(two, 500, embeddings), len(timesteps)),
    "VAE decoder": (pipe.vae.decoder, lambda: pipe.vae.decode(two[:1]), 1),
}

# %% tags=["nbval-ignore-output"]
times = {name: seconds_of(call) * n for name, (_, call, n) in calls.items()}
print(f"{'':14}{'million weights':>16}{'calls':>7}{'share of time':>15}")
for name, (part, _, n) in calls.items():
    weights = sum(p.numel() for p in part.parameters()) / 1e6
    print(f"{name:14}{weights:16.2f}{n:7}{times[name] / sum(times.values()):15.0%}")

# %%
from matplotlib.figure import Figure

figure = Figure(figsize=(6, 1.9), layout="constrained")
axes = figure.subplots()
axes.barh(list(times), [1000 * t for t in times.values()], color="#0072B2")
axes.invert_yaxis()
axes.set(xlabel="milliseconds for one picture of 20 steps")
sdcourse.show_image(figure, alt="three bars: the UNet takes nearly all of the time")

# %% [markdown]
# The UNet takes nearly everything, and its share grows with the steps. That is why people count steps, and why latents
# were worth a lesson: the other two parts work once for each picture.
#
# ## The same shapes, the real size
#
# Nothing in this notebook was particular to a small model. Here are Stable Diffusion 1.5's networks, built from the real
# configuration on the *meta* device, which keeps shapes and no numbers: no download, no memory.

# %%
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

with torch.device("meta"):
    real_unet = UNet2DConditionModel(
        sample_size=64,
        block_out_channels=(320, 640, 1280, 1280),
        layers_per_block=2,
        cross_attention_dim=768,
        attention_head_dim=8,
    )
    real_vae = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
    )
    real_text_encoder = CLIPTextModel(
        CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)
    )

# %%
ours = (pipe.text_encoder, pipe.unet, pipe.vae)
real = (real_text_encoder, real_unet, real_vae)
for name, a, b in zip(("text encoder", "UNet", "VAE"), ours, real, strict=True):
    counts = [sum(p.numel() for p in x.parameters()) / 1e6 for x in (a, b)]
    print(f"{name:13} {counts[0]:5.1f} million weights here, {counts[1]:4.0f} million in SD 1.5")

# %% [markdown]
# And the shapes? Let the real networks compute, without numbers.

# %%
with torch.device("meta"), torch.no_grad():
    real_embeddings = real_text_encoder(torch.zeros(2, 77, dtype=torch.long))[0]
    real_noise_pred = real_unet(torch.zeros(2, 4, 64, 64), torch.tensor(1), real_embeddings).sample
    real_picture = real_vae.decode(torch.zeros(1, 4, 64, 64)).sample

shapes = {
    "text embeddings, both": (embeddings, real_embeddings),
    "noise prediction, both": (two, real_noise_pred),
    "latents": (two[:1], real_noise_pred[:1]),
    "picture": (decoded[:1], real_picture),
}
print(f"{'':24}{'here':20}in SD 1.5")
for name, (a, b) in shapes.items():
    print(f"{name:24}{str(tuple(a.shape)):20}{tuple(b.shape)}")

# %% [markdown]
# ## What you built
#
# | step of the call | what comes out, here | in SD 1.5 |
# |---|---|---|
# | size from UNet and VAE | 64×64 | 512×512 |
# | tokens | (1, 77) | (1, 77) |
# | embeddings of one prompt | (1, 77, 128) | (1, 77, 768) |
# | latents | (1, 4, 8, 8) | (1, 4, 64, 64) |
# | into the UNet, with guidance | (2, 4, 8, 8) | (2, 4, 64, 64) |
# | picture | (1, 3, 64, 64) | (1, 3, 512, 512) |
#
# **Try three things**, each one line:
#
# - `guidance_scale=1.0` in the first call, with `%timeit`: how much time does the second prediction cost?
# - `height=128, width=64` in the first call: what happens to a cat in a picture that is twice as high?
# - `callback_kwargs["latents"] = callback_kwargs["latents"].flip(3)` in `watch`, at `i == 5`: when is left and right
#   decided?
#
# **Papers**
#
# - *High-Resolution Image Synthesis with Latent Diffusion Models*, Rombach, Blattmann, Lorenz, Esser and Ommer, 2022
# - *Pseudo Numerical Methods for Diffusion Models on Manifolds*, Liu, Ren, Lin and Zhao, 2022
