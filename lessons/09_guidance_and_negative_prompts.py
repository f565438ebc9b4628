# %% [markdown]
# # 09 · Guidance scale and negative prompts
#
# Two settings decide how a prompt is followed: the guidance scale, and the text of what you do not want. In this lesson
# you move them and watch the picture follow. Then you open the one line behind both, measure what it does, and see when
# it fails.
#
# **You need** lesson 08. **It takes** about two minutes of computing.
#
# **You will**
#
# 1. explore both settings with your hands;
# 2. measure what the scale does to accuracy, colours and variety;
# 3. find out at which steps guidance matters;
# 4. make white hats disappear, and count;
# 5. see when a negative prompt does nothing, and why.

# %%
import torch

import sdcourse
from sdcourse.widgets import GuidanceSweep, NegativePromptLab, PromptExplorer

runtime = sdcourse.setup()
pipe = sdcourse.load_pipeline()
judge = sdcourse.load_judge()

# %% [markdown]
# ## Explore
#
# Drag the guidance scale from 0 to 20 and back. Type "white hat" under *Negative prompt*. Throw the dice. A rough picture
# follows the slider, the finished one comes when you let go.

# %% tags=["nbval-ignore-output"]
explorer = PromptExplorer(pipe, prompt="a photo of a cat wearing a hat in a meadow", seed=4)
explorer

# %% [markdown]
# Three things to try before you read on:
#
# - scale 0, with two different prompts: what is the same?
# - scale 1 against scale 6, with several seeds: what becomes more reliable?
# - the negative prompt "white hat" at scale 1, and at scale 6.
#
# ## One prompt, five scales
#
# The same noise each time. In JupyterLab, what the judge reads stands under each picture: it is a classifier of the gallery
# that tells subject, colours, hat, style and background.

# %% tags=["nbval-ignore-output"]
prompt = "an oil painting of a collie in a top hat"
GuidanceSweep(pipe, scales=(0, 1, 2, 4, 12), judge=judge, prompt=prompt, seed=3)

# %% [markdown]
# All of it comes from one line:
#
# $$\hat\epsilon = \epsilon_\text{uncond} + s\,(\epsilon_\text{text} - \epsilon_\text{uncond})$$
#
# At 0 the prompt is not heard. At 1 it is followed as plainly as in training. Above 1, what the prompt changes is
# exaggerated.
#
# ## Is more better? Measure it
#
# Three curves over the scale. *Accuracy*: which share of what the prompts name the judge finds. *Saturation*: how far the
# largest and the smallest colour channel of a pixel are apart. *Diversity*: how far three pictures of one prompt are
# apart in the judge's features, in units of its own. **Predict:** which rise, which fall, which turn?

# %% tags=["nbval-ignore-output"]
from sdcourse.metrics import attribute_accuracy, diversity, draw_pictures, evaluation_prompts

prompts = evaluation_prompts(16)
texts = [p.text for p in prompts for _ in range(3)]  # three pictures of each
curves = {}
for scale in (1.0, 2.0, 4.0, 8.0, 16.0):
    pictures = draw_pictures(pipe, texts, guidance_scale=scale, num_inference_steps=10)
    readings = judge.read(pictures)
    high, low = pictures.amax(1), pictures.amin(1)
    curves[scale] = {
        "accuracy": attribute_accuracy(readings, [p for p in prompts for _ in range(3)]).mean,
        "saturation": (high - low).mean().item() / 2,
        "diversity": diversity(judge, pictures.unflatten(0, (16, 3))),
    }
    print(f"scale {scale:4g}: " + ", ".join(f"{name} {value:.2f}" for name, value in curves[scale].items()))

# %%
from matplotlib.figure import Figure

figure = Figure(figsize=(7.5, 2.5), layout="constrained")
for axes, name in zip(figure.subplots(1, 3), ("accuracy", "saturation", "diversity"), strict=True):
    axes.plot(list(curves), [values[name] for values in curves.values()], "o-", color="#0072B2")
    axes.set(title=name, xlabel="guidance scale", xscale="log")
    axes.set_xticks(list(curves), [f"{scale:g}" for scale in curves])
sdcourse.show_image(
    figure,
    alt="over the scale: accuracy rises and then falls, saturation rises, least from 4 to 8, diversity falls and rises again",
)

# %% [markdown]
# Accuracy rises from scale 1, is best at a few times that, and falls where the scale is far too high. Colours become
# stronger, and pictures of one prompt more alike, until they fall apart, each in its own way. For this small
# model anything from 2 to 8 does well; 7.5, the usual value of Stable Diffusion, is a compromise that people liked there.
#
# What is exaggerated is all that a text makes more likely, also what it does not name. Roses have green leaves, and
# guidance once made more than half of the roses in watercolour green, though in the gallery fewer than one in ten is. What
# made that better was not the network but the captions (ninth to eleventh round in `sdcourse/weights/pocket-sd/LOG.md`).
#
# ## When does guidance act?
#
# Nothing says that the scale must be the same at every step. We guide in the first half only, in the second half only,
# and everywhere.

# %%
from diffusers import DDIMScheduler

from sdcourse.sampling import decode_latents, encode_prompt

scheduler = DDIMScheduler.from_config(pipe.scheduler.config)


def sample(negative_prompt, prompt, scale_of_step, seeds, num_inference_steps=20):
    n = len(seeds)
    scheduler.set_timesteps(num_inference_steps)
    noise = [torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    latents = torch.stack(noise)  # (n, 4, 8, 8)
    with torch.no_grad():
        text_embeddings = encode_prompt(
            pipe.tokenizer, pipe.text_encoder, [negative_prompt] * n + [prompt] * n
        )
        for i, t in enumerate(scheduler.timesteps):
            noise_pred = pipe.unet(torch.cat([latents] * 2), t, text_embeddings).sample
            noise_pred_uncond, noise_pred_text = noise_pred.chunk(2)
            noise_pred = noise_pred_uncond + scale_of_step(i) * (noise_pred_text - noise_pred_uncond)
            latents = scheduler.step(noise_pred, t, latents).prev_sample
        return decode_latents(pipe.vae, latents)


# %%
schedules = {
    "scale 1 everywhere": lambda i: 1.0,
    "6 in the first half": lambda i: 6.0 if i < 10 else 1.0,
    "6 in the second half": lambda i: 1.0 if i < 10 else 6.0,
    "6 everywhere": lambda i: 6.0,
}
seeds = range(5)
rows = [sample("", prompt, scale_of_step, seeds) for scale_of_step in schedules.values()]
sdcourse.show_images(
    torch.cat(rows),
    titles=[name for name in schedules for _ in seeds],
    columns=5,
    size=112,
    alt="four rows of a painted dog in a top hat; the first and third row share layout and most colours, and so do the second and last",
)

# %% [markdown]
# Guided in the first half, the pictures are those that are guided everywhere; guided in the second half only, they are
# nearly those of scale 1, drawn more firmly, a dog now and then in another colour. So the first half decides most of
# what is in a picture. A loop that guides in an interval only can leave out the second prediction elsewhere, and keeps
# more variety (Kynkäänniemi et al., 2024).
#
# ## The negative prompt is a one-line change
#
# `sample` above takes it already: the *unconditional* text is a choice. Put "a white hat" in the place of the empty text,
# and guidance leads from there to the prompt, so away from white hats.

# %% tags=["nbval-ignore-output"]
lab = NegativePromptLab(
    pipe, prompt="a photo of a cat wearing a hat in a meadow", negative_prompt="a white hat", seed=4
)
lab

# %% [markdown]
# In JupyterLab you see on the right how far the prompt and the negative prompt pull away from the unconditional prediction,
# step by step, and the cosine between both: 1 where they pull the same way, 0 where they have nothing in common. Some of
# the numbers:

# %% tags=["nbval-ignore-output"]
from sdcourse.widgets.negative import noise_directions

for step in noise_directions(pipe, lab.settings)[::5]:
    print(
        f"t = {step.timestep:3}: prompt {step.prompt:4.1f}, negative {step.negative:4.1f}, cosine {step.cosine:5.2f}"
    )

# %% [markdown]
# The cosine stays near 0: towards a cat in a meadow with some hat is one direction, towards a white hat is another, and the
# two have little in common. So leading away from the second takes little from the first: the white goes, and a hat stays.
#
# ## Two pictures prove nothing. Count
#
# 60 cats with a hat, without and with the negative prompt, from the same noise.

# %%


def count(negative_prompt, scale, prompt="a cat wearing a hat", n=60):
    pictures = sample(negative_prompt, prompt, lambda i: scale, range(n), num_inference_steps=10)
    readings = judge.read(pictures * 2 - 1)
    return {
        "white hats": sum(r["hat"] != "none" and r["hat_color"] == "white" for r in readings) / n,
        "hats": sum(r["hat"] != "none" for r in readings) / n,
        "cats": sum(r["subject"] == "cat" for r in readings) / n,
    }


# %% tags=["nbval-ignore-output"]
print(f"{'negative prompt':18}{'scale':>6}  white hats   hats   cats")
for scale in (5.0, 1.0):
    for negative_prompt in ("", "a white hat"):
        shares = count(negative_prompt, scale)
        print(
            f"{negative_prompt or '(empty)':18}{scale:6g}{shares['white hats']:12.0%}{shares['hats']:7.0%}{shares['cats']:7.0%}"
        )

# %% [markdown]
# At scale 5 the white hats go, and the cats and the hats stay. (Lesson 08 names other shares, of 400 pictures with more
# steps and other noise; what is left of the white hats is next to nothing in both.) At scale 1 nothing changes at all.
# **Why?** Put 1 into the formula:
#
# $$\epsilon_\text{negative} + 1\,(\epsilon_\text{text} - \epsilon_\text{negative}) = \epsilon_\text{text}$$
#
# The negative prediction cancels. It acts through exaggeration only: above 1 guidance leads away from it. (Below 1 it is
# mixed into the picture, and at 0 it is all that is heard.)
#
# ## When it fails
#
# **Predict** each of these, at scale 5: what the prompt asks for, a "no", and words that the model does not know.

# %% tags=["nbval-ignore-output"]
cases = [
    ("a cat wearing a white hat", ""),
    ("a cat wearing a white hat", "a white hat"),
    ("a cat wearing a hat", ""),
    ("a cat wearing a hat", "no white hat"),
    ("a cat wearing a hat", "a pale sombrero"),
]
print(f"{'prompt':28}{'negative prompt':22}white hats   hats   cats")
for prompt_of_case, negative_prompt in cases:
    shares = count(negative_prompt, 5.0, prompt_of_case, n=40)
    print(
        f"{prompt_of_case:28}{negative_prompt or '(empty)':22}"
        f"{shares['white hats']:10.0%}{shares['hats']:7.0%}{shares['cats']:7.0%}"
    )

# %% [markdown]
# - If the prompt asks for it, prompt and negative prompt pull against each other, and most of the white hats stay.
# - A "no" is hardly heard: "no white hat" acts like "white hat", which here is what you wanted, and in a *prompt* is the
#   opposite of it.
# - What the model does not know, it cannot leave out reliably. A sombrero is in no caption; its letters lead somewhere, and
#   some pictures change, but a good part of the white hats stays.
#
# One more: the prompt as its own negative. **Predict**, then look at the formula.

# %%
text = "a cat wearing a hat"
same_text = sample(text, text, lambda i: 5.0, range(5))
scale_1 = sample("", text, lambda i: 1.0, range(5))
print("the pictures of scale 1:", torch.allclose(same_text, scale_1, atol=1e-2))

# %% [markdown]
# The difference is zero, nothing is left to exaggerate, and any scale draws what scale 1 draws.
#
# ## More than two predictions
#
# The formula adds differences, so it can add more than one. Each prompt pulls with a weight of its own; a negative weight
# pulls away (Liu et al., 2022).


# %%
def combine(weighted_prompts, seeds, num_inference_steps=20):
    n, texts = len(seeds), ["", *weighted_prompts]
    scheduler.set_timesteps(num_inference_steps)
    latents = torch.stack([torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(s)) for s in seeds])
    with torch.no_grad():
        text_embeddings = encode_prompt(
            pipe.tokenizer, pipe.text_encoder, [t for t in texts for _ in range(n)]
        )
        for t in scheduler.timesteps:
            uncond, *preds = pipe.unet(torch.cat([latents] * len(texts)), t, text_embeddings).sample.chunk(
                len(texts)
            )
            pull = sum(w * (pred - uncond) for w, pred in zip(weighted_prompts.values(), preds, strict=True))
            latents = scheduler.step(uncond + pull, t, latents).prev_sample
        return decode_latents(pipe.vae, latents)


recipes = {
    "cat + snow": {"a cat": 4.0, "in the snow": 4.0},
    "cat + sunset": {"a cat": 4.0, "at sunset": 4.0},
    "cat − orange": {"a cat": 6.0, "an orange cat": -3.0},
}
sdcourse.show_images(
    torch.cat([combine(recipe, range(5)) for recipe in recipes.values()]),
    titles=[name for name in recipes for _ in range(5)],
    columns=5,
    size=112,
    alt="cats in the snow, cats at sunset, and cats that are all blue",
)

# %% [markdown]
# Snow and sunset come with a cat in them. (The black lines across some pictures are a style of the gallery, in the manner
# of Picasso.) The third recipe leads away from orange, and lands not on just any other colour but on its opposite: five
# blue cats. Five pictures could be chance, and "a cat" alone leaves the colour open. How often is the cat orange or
# blue without the recipe and with it, and is it still a cat?

# %% tags=["nbval-ignore-output"]
for name, recipe in {"a cat": {"a cat": 6.0}, "cat − orange": recipes["cat − orange"]}.items():
    readings = judge.read(combine(recipe, range(40), num_inference_steps=10) * 2 - 1)
    orange = sum(reading["color"] == "orange" for reading in readings) / 40
    blue = sum(reading["color"] == "blue" for reading in readings) / 40
    cats = sum(reading["subject"] == "cat" for reading in readings) / 40
    print(f"{name:12} orange: {orange:4.0%}, blue: {blue:4.0%}, a cat: {cats:.0%}")

# %% [markdown]
# ## What you built
#
# | setting | in the formula | does |
# |---|---|---|
# | guidance scale | $s$ | exaggerates what the prompt changes |
# | scale of a step | $s_i$ | early: what is there; late: how strongly it is drawn |
# | negative prompt | $\epsilon_\text{uncond}$ of another text | what guidance starts from, and leads away from |
# | weighted prompts | more differences | several wishes, each with its own weight |
#
# **Try three things**, each one line:
#
# - `{"a cat": 8.0, "a car": 4.0}` in `recipes`: what is between a cat and a car?
# - `lambda i: 6.0 if i % 2 else 1.0` in `schedules`: does it matter which steps are guided, or only how many?
# - `explorer.set(negative_prompt="cat", prompt="a cat")`: what does a contradiction look like?
#
# **Papers**
#
# - *Classifier-Free Diffusion Guidance*, Ho and Salimans, 2022
# - *Compositional Visual Generation with Composable Diffusion Models*, Liu, Li, Du, Torralba and Tenenbaum, 2022
# - *Applying Guidance in a Limited Interval Improves Sample and Distribution Quality in Diffusion Models*, Kynkäänniemi,
#   Aittala, Karras, Laine, Aila and Lehtinen, 2024
