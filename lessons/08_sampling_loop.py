# %% [markdown]
# # 08 · The sampling loop by hand
#
# A prompt goes in, a picture comes out. Between the two stand four small parts, a schedule of noise and one loop of
# about ten lines.
# In this lesson you write that loop yourself, and at the end your picture is the same as the one that
# `StableDiffusionPipeline` draws, number for number.
#
# **You need** lessons 02 to 07, or a rough idea of what a noise prediction is. **It takes** under two minutes
# of computing on a laptop without a GPU.
#
# **You will**
#
# 1. turn a prompt into numbers, and numbers into a picture;
# 2. write the loop: predict the noise twice, guide, step;
# 3. look inside it: the picture at every stage, and how strongly the prompt pulls at each step;
# 4. break it on purpose, in three ways, and see what each mistake looks like.

# %%
import sdcourse

runtime = sdcourse.setup()

# %% [markdown]
# ## The parts
#
# `load_pipeline` gives a `StableDiffusionPipeline`. We use it as a box of parts only: its own loop stays unused
# until the end.

# %%
pipe = sdcourse.load_pipeline()
tokenizer, text_encoder = pipe.tokenizer, pipe.text_encoder
unet, vae = pipe.unet, pipe.vae

for name in ("text_encoder", "unet", "vae"):
    weights = sum(p.numel() for p in getattr(pipe, name).parameters())
    print(f"{name:13} {weights / 1e6:5.2f} million weights")

# %% [markdown]
# - The **tokenizer** cuts a text into numbered pieces.
# - The **text encoder** turns those numbers into vectors that the UNet can read.
# - The **UNet** looks at a noisy picture and predicts the noise in it.
# - The **VAE** translates between pictures and *latents*, the small arrays in which all of this happens.
#
# In the real Stable Diffusion 1.5 the same three networks have 123, 860 and 84 million weights. The code below
# is the same for both.
#
# ## Step 1: the prompt becomes numbers
#
# The tokenizer always returns 77 numbers: a start token, the words, and end tokens up to the full length.

# %%
prompt = "an oil painting of a collie in a top hat"

tokens = tokenizer(prompt, padding="max_length", max_length=77, truncation=True, return_tensors="pt")
print(tokens.input_ids.shape)  # (1, 77)
print(tokenizer.convert_ids_to_tokens(tokens.input_ids[0, :13]))

# %% [markdown]
# The text encoder gives one vector for each of the 77 places. The networks here answer with objects that hold one or
# more tensors: `[0]` takes the first, and names such as `.sample` take one by name.
#
# The loop will need a second text, the *unconditional* one, which is empty; step 4 shows what for. We encode both,
# the empty one first. That order is a convention of `diffusers`, and everything below relies on it.

# %%
import torch


def encode_prompt(prompts):
    tokens = tokenizer(prompts, padding="max_length", max_length=77, truncation=True, return_tensors="pt")
    with torch.no_grad():
        return text_encoder(tokens.input_ids)[0]


text_embeddings = encode_prompt(["", prompt])
print(tuple(text_embeddings.shape), "= (texts: unconditional first, then the prompt; places; vector)")

# %% [markdown]
# ## Step 2: start from noise
#
# The loop starts from pure Gaussian noise in the shape of the latents. The seed decides the noise, and with it
# the layout of the picture: with the same prompt and settings, the same seed always gives the same picture.

# %%
seed = 7
size = unet.config.sample_size  # 8 for pictures of 64×64: the VAE divides each side by 8

latents = torch.randn(1, unet.config.in_channels, size, size, generator=torch.Generator().manual_seed(seed))
print(tuple(latents.shape), "= (pictures, channels, height / 8, width / 8)")

# %% [markdown]
# How does noise look when it is decoded? The VAE's decoder wants latents at their original scale, so they are
# divided by `scaling_factor` first. The decoder answers in [-1, 1], and pictures are shown in [0, 1].


# %%
def decode_latents(latents):
    with torch.no_grad():
        images = vae.decode(latents / vae.config.scaling_factor).sample  # (n, 3, 64, 64) in [-1, 1]
    return (images / 2 + 0.5).clamp(0, 1)


sdcourse.show_image(
    decode_latents(latents), title=f"decoded noise, seed {seed}", alt="blotches of colour without any shape"
)

# %% [markdown]
# ## Step 3: the scheduler decides which noise levels to visit
#
# Training knew 1000 noise levels. Sampling visits only a few of them, from the noisiest down. The scheduler
# chooses them, and knows how to get from one to the next. We take DDIM (Song et al., 2021), whose step is the
# simplest.

# %%
from diffusers import DDIMScheduler

scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
scheduler.set_timesteps(25)

print(scheduler.timesteps.tolist())
print("the noise is scaled by", float(scheduler.init_noise_sigma))

# %% [markdown]
# `init_noise_sigma` is 1 for DDIM. Other schedulers count noise in other units: Euler's latents are the clean ones plus
# noise of a deviation that begins at about 11.7 here. So a loop that works with both multiplies the first noise by
# `init_noise_sigma`, and calls `scale_model_input` before each prediction, which divides the latents down to the size
# that the UNet was trained on. For DDIM both change nothing.
#
# ## Step 4: predict the noise, twice
#
# **Predict:** the UNet gets the same latents twice, once with the empty text and once with the prompt. At the
# first step there is nothing but noise. How different will the two answers be?

# %%
t = scheduler.timesteps[0]

with torch.no_grad():
    # the same latents twice, so that both texts are answered in one call: (2, 4, 8, 8)
    latent_model_input = torch.cat([latents] * 2)
    noise_pred = unet(latent_model_input, t, encoder_hidden_states=text_embeddings).sample

noise_pred_uncond, noise_pred_text = noise_pred.chunk(2)  # (1, 4, 8, 8) each
difference = (noise_pred_text - noise_pred_uncond).norm() / noise_pred_uncond.norm()
print(f"the two predictions differ by {difference:.0%} of their length")

# %% [markdown]
# A small difference, and yet it is all that the prompt has to say at this step. So we exaggerate it:
#
# $$\hat\epsilon = \epsilon_\text{uncond} + s\,(\epsilon_\text{text} - \epsilon_\text{uncond})$$
#
# This is **classifier-free guidance** (Ho and Salimans, 2022), and $s$ is the guidance scale: 0 ignores the
# prompt, 1 follows it plainly, more than 1 exaggerates.


# %%
def classifier_free_guidance(noise_pred_uncond, noise_pred_text, guidance_scale):
    return noise_pred_uncond + guidance_scale * (noise_pred_text - noise_pred_uncond)


# %% [markdown]
# ## Step 5: one step down
#
# `scheduler.step` takes the predicted noise out, which gives a guess of the finished latents, and adds a little less
# noise back (lesson 01):
#
# $$\hat x_0 = \frac{x_t - \sqrt{1-\bar\alpha_t}\,\hat\epsilon}{\sqrt{\bar\alpha_t}}, \qquad
# x_{t-1} = \sqrt{\bar\alpha_{t-1}}\,\hat x_0 + \sqrt{1-\bar\alpha_{t-1}}\,\hat\epsilon$$
#
# What it returns has both: `.prev_sample`, the latents of the next, lower noise level, and `.pred_original_sample`, the
# guess.

# %%
noise_pred = classifier_free_guidance(noise_pred_uncond, noise_pred_text, guidance_scale=5.0)
next_latents = scheduler.step(noise_pred, t, latents).prev_sample
print(tuple(next_latents.shape), "the shape stays, the noise is a little less")

# %% [markdown]
# ## The loop
#
# Everything is there. The loop repeats steps 4 and 5 for each timestep. It also keeps what it sees on the way,
# for later.

# %%
from tqdm.auto import tqdm


def sample(text_embeddings, latents, scheduler, guidance_scale=5.0, num_inference_steps=25):
    scheduler.set_timesteps(num_inference_steps)
    latents = latents * scheduler.init_noise_sigma
    history = []
    for t in tqdm(scheduler.timesteps):
        # Get the model prediction for the noise, without and with the prompt
        latent_model_input = scheduler.scale_model_input(torch.cat([latents] * 2), t)
        with torch.no_grad():
            noise_pred = unet(latent_model_input, t, encoder_hidden_states=text_embeddings).sample
        noise_pred_uncond, noise_pred_text = noise_pred.chunk(2)
        # Exaggerate what the prompt changes
        noise_pred = classifier_free_guidance(noise_pred_uncond, noise_pred_text, guidance_scale)
        # Take one step down
        step = scheduler.step(noise_pred, t, latents)
        direction = (noise_pred_text - noise_pred_uncond).norm().item()
        history.append(
            {"t": int(t), "latents": latents, "guess": step.pred_original_sample, "direction": direction}
        )
        latents = step.prev_sample
    return latents, history


# %%
final_latents, history = sample(text_embeddings, latents, scheduler)
sdcourse.show_image(
    decode_latents(final_latents),
    title=f"{prompt} · scale 5 · 25 steps · seed {seed}",
    alt="an orange and white dog in a tall brown top hat on a meadow, in brush strokes",
)

# %% [markdown]
# That is Stable Diffusion.
#
# ## By hand, from the course's library, from diffusers
#
# What you wrote stands in the course's library as `text_to_image`, with batches, checks of its arguments and a
# progress bar. And `StableDiffusionPipeline` has its own. Three programs, one picture?

# %%
import numpy as np

settings = dict(guidance_scale=5.0, num_inference_steps=25)

[from_library] = sdcourse.text_to_image(pipe, prompt, seed=seed, scheduler="ddim", progress=False, **settings)

pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
pipe.set_progress_bar_config(disable=True)
generator = torch.Generator().manual_seed(seed)
from_diffusers = pipe(prompt, generator=generator, output_type="pt", **settings).images

from_hand = decode_latents(final_latents)
print("largest difference to diffusers below 0.00001:", bool((from_hand - from_diffusers).abs().max() < 1e-5))
in_bytes = torch.from_numpy(np.array(from_library)).permute(2, 0, 1)  # (3, 64, 64), 0 to 255
difference = (from_hand[0] * 255).round() - in_bytes
print("largest difference to the library's picture at most 1 of 255:", bool(difference.abs().max() <= 1))
sdcourse.show_images(
    [from_hand, from_library, from_diffusers],
    titles=["your loop", "sdcourse.text_to_image", "StableDiffusionPipeline"],
    alt="three times the same painting",
)

# %% [markdown]
# ## What the loop sees
#
# We kept the noisy latents of each step, and the scheduler's guess of the finished ones. The upper row shows the noisy latents decoded, the lower row the guess at the same step.

# %%
shown = [round(share * (len(history) - 1)) for share in (0, 0.125, 0.3, 0.5, 0.75, 1)]
noisy = [decode_latents(history[i]["latents"]) for i in shown]
guesses = [decode_latents(history[i]["guess"]) for i in shown]
sdcourse.show_images(
    noisy + guesses,
    titles=[f"step {i}, t = {history[i]['t']}" for i in shown] + [f"guess at step {i}" for i in shown],
    columns=6,
    size=128,
    alt="noise turns into a painting; the guess is a blurred orange figure first, its hat red for a while, and turns into the dog",
)

# %% [markdown]
# Read the lower row from left to right. A figure with something tall on its head is there from the first guess on, and
# blurred, because much could still come out. Colours change until about step 12, and what follows adds edges.
#
# **Predict:** at which steps does the prompt pull hardest? The length of
# $\epsilon_\text{text} - \epsilon_\text{uncond}$ tells.

# %%
from matplotlib.figure import Figure

figure = Figure(figsize=(6, 2.6), layout="constrained")
axes = figure.subplots()
axes.plot([h["t"] for h in history], [h["direction"] for h in history], "o-", color="#0072B2")
axes.invert_xaxis()
axes.set(
    xlabel="timestep t (noisy → clean)", ylabel="length of the direction", title="How hard the prompt pulls"
)
sdcourse.show_image(
    figure,
    alt="the length of the guidance direction over the timesteps: a small peak near 800, a higher one near 650, the highest shortly before the end",
)

# %%
pull = [h["direction"] for h in history]
hardest = history[pull.index(max(pull))]["t"]
print("the prompt pulls hardest in the", "first" if hardest > 500 else "second", "half of the timesteps")

# %% [markdown]
# At the noisiest steps both predictions are almost the noise itself, and the text changes little of them: a small push
# at a moment when the whole layout is still open. A small peak lies near $t=800$, a higher one near $t=650$, where the
# guesses above change their colours. Then the curve falls, rises to its highest point, and falls once more at the very
# end. The late pushes are long, and move only details.
#
# ## Three mistakes, on purpose
#
# **Mistake 1: scale 0.** The formula then leaves only the unconditional prediction. What will the picture show?
#
# **Mistake 2: no scaling factor.** Decode the latents without dividing by `scaling_factor`.
#
# **Mistake 3: the wrong noise.** Start from uniform noise between 0 and 1 instead of Gaussian noise
# (`torch.rand` for `torch.randn`, a slip of one letter).

# %%
scale_0, _ = sample(text_embeddings, latents, scheduler, guidance_scale=0.0)
uniform = torch.rand(latents.shape, generator=torch.Generator().manual_seed(seed))
from_uniform, _ = sample(text_embeddings, uniform, scheduler)

sdcourse.show_images(
    [
        decode_latents(scale_0),
        decode_latents(final_latents * vae.config.scaling_factor),  # undoes the division inside
        decode_latents(from_uniform),
    ],
    titles=["scale 0", "no scaling factor", "uniform noise"],
    alt="somebody in purple with a white cap, painted; the dog with pale colours; a dog in a black hat at night",
)

# %% [markdown]
# 1. Scale 0 draws *something* from the world of the training pictures: the prompt was never heard.
# 2. Without the scaling factor the decoder gets latents at the wrong scale, and contrast and colours are wrong.
#    The loop itself was fine.
# 3. Uniform noise has the wrong mean and the wrong spread. The UNet was never trained on it, and the mistake is
#    not noticed by any error message.
#
# ## A negative prompt is a one-line change
#
# The empty text is a choice. Put another text in its place, and at scales above 1 guidance leads *away* from it.

# %%
plain = "a photo of a cat wearing a hat in a meadow"
latents = torch.randn(latents.shape, generator=torch.Generator().manual_seed(5))
without, _ = sample(encode_prompt(["", plain]), latents, scheduler)
with_negative, _ = sample(encode_prompt(["a white hat", plain]), latents, scheduler)
sdcourse.show_images(
    [decode_latents(without), decode_latents(with_negative)],
    titles=[f"{plain} · seed 5", "the same, negative prompt: a white hat"],
    alt="an orange cat in a tall white hat; the same cat in a red one",
)

# %% [markdown]
# The white hat goes, the cat stays. But two pictures prove nothing, and we chose the seed. So count. Over 400 pictures of
# a cat wearing a hat, white hats went from 27 % to 1 % with the negative prompt, and hats stayed, 99.5 % both times (the
# model card is `sdcourse/weights/pocket-sd/README.md`). The last exercise of this lesson counts for itself.
#
# ## Does it help? Measure it
#
# One picture proves little. The course ships a *judge*: a small classifier that reads a picture's attributes.
# We draw 60 prompts at three scales and count how often everything that the prompt names is there. (The largest is 5,
# about where this small model is best; lesson 09 looks for that place.) This takes some ten seconds.

# %% tags=["nbval-ignore-output"]
from sdcourse.metrics import measure_accuracy

judge = sdcourse.load_judge()
print("scale   attributes right   all right at once")
for guidance_scale in (0.0, 1.0, 5.0):
    accuracy = measure_accuracy(pipe, judge, n=60, guidance_scale=guidance_scale, num_inference_steps=15)
    print(f"{guidance_scale:5}   {accuracy.mean:16.0%}   {accuracy.all_right:17.0%}")
print("at scale 5:", ", ".join(f"{name} {share:.0%}" for name, share in accuracy.per_attribute.items()))

# %% [markdown]
# At scale 0 only chance is right. Guidance helps: the prompt is followed more at scale 5 than at scale 1. Most of
# what is still wrong is what somebody wears: hats, scarves and balloons are the smallest things in these pictures.
#
# ## What you built
#
# | | shape here | shape in SD 1.5 |
# |---|---|---|
# | tokens | (1, 77) | (1, 77) |
# | text embeddings, unconditional and prompt | (2, 77, 128) | (2, 77, 768) |
# | latents | (1, 4, 8, 8) | (1, 4, 64, 64) |
# | noise prediction, both | (2, 4, 8, 8) | (2, 4, 64, 64) |
# | picture | (1, 3, 64, 64) | (1, 3, 512, 512) |
#
# **Try three things**, each one line:
#
# - `from diffusers import EulerDiscreteScheduler; scheduler = EulerDiscreteScheduler.from_config(scheduler.config)`
#   before the loop. The picture stays nearly the same, which is the point: your loop works unchanged. Then take
#   `init_noise_sigma` out of it, or `scale_model_input`.
# - `guidance_scale=15.0` where the loop is called: what happens to the colours, and what else changes?
# - `num_inference_steps=4` there: what stays the same as with 25 steps, and what does not?
#
# (With other settings your picture is no longer that of the other two programs: the comparison says so.)
#
# **Papers**
#
# - *Denoising Diffusion Probabilistic Models*, Ho, Jain and Abbeel, 2020
# - *Denoising Diffusion Implicit Models*, Song, Meng and Ermon, 2021
# - *Classifier-Free Diffusion Guidance*, Ho and Salimans, 2022
# - *High-Resolution Image Synthesis with Latent Diffusion Models*, Rombach, Blattmann, Lorenz, Esser and Ommer,
#   2022
