# %% [markdown]
# # 06 · From text to latents
#
# Everything is there: latents to draw in (lesson 04), vectors for words (lesson 05), a network that removes noise (lesson
# 01). What is missing is the way from a word to a place of the picture. It is called cross-attention. In this lesson you
# build it by hand, train a small Stable Diffusion with it, and then watch which word the finished one listens to, and
# where.
#
# **You need** lessons 02, 04 and 05. **It takes** about four minutes of computing, three of them a training run.
#
# **You will**
#
# 1. write cross-attention, and find it equal to the block of `diffusers`;
# 2. train a text-conditional latent diffusion model from nothing, and measure it as it learns;
# 3. draw with the finished model, and look at attention maps, word by word and step by step;
# 4. ask the finished model for what it has never seen.

# %%
import torch

import sdcourse

runtime = sdcourse.setup()

# %%
pipe = sdcourse.load_pipeline()


def encode_texts(texts, tokenizer, text_encoder):
    ids = tokenizer(
        texts, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
    ).input_ids
    with torch.no_grad():
        return text_encoder(ids)[0]  # (n, 77, width)


# %% [markdown]
# ## Cross-attention by hand
#
# A class was one vector, added to every place alike (lesson 02). A prompt is many vectors, and different places need
# different words: the upper middle needs "hat", the edges need "snow". So every place **asks**, and every word
# **answers**:
#
# $$\text{softmax}\Big(\frac{Q K^\top}{\sqrt d}\Big)\,V$$
#
# - the queries $Q$ are made from the places of the picture,
# - the keys $K$ and the values $V$ from the words.
#
# A query and a key that fit give a large weight; what the place gets is the mixture of the values with these weights
# (Vaswani et al., 2017). "Words" are here the 77 tokens of lesson 05. Here is such a block from the UNet, `attn2`; beside
# it stands `attn1`, the same among the places themselves, *self-attention*. The block has four heads: the vectors are cut
# into four parts, and each part attends by itself. $d$ is the length of such a part of a query. At the end one more
# layer, `to_out`, mixes the heads.

# %%
attn = pipe.unet.down_blocks[0].attentions[0].transformer_blocks[0].attn2
print(
    "queries from",
    attn.to_q.in_features,
    "numbers of a place · keys from",
    attn.to_k.in_features,
    "of a word",
)
print("heads:", attn.heads)

# %%


def cross_attention(attn, hidden_states, text_embeddings):
    def split(x):  # (n, length, width) to (n, heads, length, width / heads)
        return x.unflatten(-1, (attn.heads, -1)).transpose(1, 2)

    query = split(attn.to_q(hidden_states))
    key, value = split(attn.to_k(text_embeddings)), split(attn.to_v(text_embeddings))
    weights = (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(
        dim=-1
    )  # (n, heads, places, words)
    return attn.to_out[0]((weights @ value).transpose(1, 2).flatten(2)), weights


# %% [markdown]
# Check it with random places against the block itself.

# %%
text_embeddings = encode_texts(["a cat wearing a hat in the snow"], pipe.tokenizer, pipe.text_encoder)
places = torch.randn(1, 64, attn.to_q.in_features, generator=torch.Generator().manual_seed(0))
with torch.no_grad():
    ours, weights = cross_attention(attn, places, text_embeddings)
    theirs = attn(places, encoder_hidden_states=text_embeddings)
print(tuple(weights.shape), "= (pictures, heads, 8 × 8 places, 77 words)")
print("equal to diffusers:", torch.allclose(ours, theirs, atol=1e-5))

# %% [markdown]
# ## A small Stable Diffusion, from nothing
#
# Now train one. It draws in the latents of the VAE that you trained in lesson 04, under the text encoder of lesson 05. What
# you have not trained is taken from pocket-sd.

# %% tags=["nbval-ignore-output"]
from sdcourse.models import keep_parts, load_my_parts

parts = load_my_parts()
vae, text_encoder = parts["vae"], parts["text_encoder"]

# %% [markdown]
# (With a VAE that learned for a minute, pictures stay blurred however good the UNet is, and the judge reads less in them
# than is printed below: with the VAE of lesson 04 and the text encoder of lesson 05 all backgrounds, and one subject in
# eight. To compare, set `parts = {name: getattr(pipe, name) for name in parts}` here.)
#
# To see something within three minutes the world has to be small: six subjects, photographs only, no hats.
#
# VAE and text encoder stay frozen, as in Stable Diffusion: only the UNet learns. If the VAE learned along, it could make
# the loss small by making latents that are easy to predict and say nothing; a frozen one gives the UNet a fixed target. It
# is cheap, too: each picture and each caption has to be encoded only once, before training starts.

# %%
from dataclasses import replace

import numpy as np
from tqdm.auto import tqdm

from sdcourse.data.gallery import caption, random_scenes, render

subjects = ("cat", "rose", "house", "boat", "rocket", "tree")
bare = dict(style="photograph", hat="none", hat_color="none", accessory="none", accessory_color="none")
scenes = [
    replace(scene, **bare, relation="none")
    for scene in random_scenes(16_000, seed=1)
    if scene.subject in subjects
][:4000]
rng = np.random.default_rng(0)
captions = [caption(scene, rng) for scene in scenes]

latents, text_embeddings = [], []
for i in tqdm(range(0, len(scenes), 100), desc="latents and captions"):
    with torch.no_grad():
        posterior = vae.encode(render(scenes[i : i + 100]).float() / 127.5 - 1).latent_dist
    latents.append(posterior.sample() * vae.config.scaling_factor)
    text_embeddings.append(encode_texts(captions[i : i + 100], parts["tokenizer"], text_encoder))
latents, text_embeddings = torch.cat(latents), torch.cat(text_embeddings)
no_text = encode_texts([""], parts["tokenizer"], text_encoder)  # (1, 77, width)
print(tuple(latents.shape), f"deviation {latents.std():.2f} ·", tuple(text_embeddings.shape))

# %% [markdown]
# The network is the class of Stable Diffusion's own, `UNet2DConditionModel`, only narrower.

# %%
from diffusers import DDPMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor

torch.manual_seed(runtime.seed)
unet = UNet2DConditionModel(
    sample_size=8,
    in_channels=4,
    out_channels=4,
    layers_per_block=1,
    block_out_channels=(64, 128),
    norm_num_groups=8,
    down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    cross_attention_dim=text_encoder.config.hidden_size,
    attention_head_dim=4,
)
unet.set_attn_processor(AttnProcessor())  # the plain formula, which trains faster on a CPU
noise_scheduler = DDPMScheduler.from_config(pipe.scheduler.config)
print(f"{sum(p.numel() for p in unet.parameters()) / 1e6:.1f} million weights")

# %% [markdown]
# The training loop is that of lesson 02, with captions in place of labels. One caption in ten is left out, for guidance.
# Every 45 seconds we stop and let the judge read 48 pictures.

# %%
import time

import torch.nn.functional as F

optimizer = torch.optim.AdamW(unet.parameters(), lr=1.5e-3)


def train(seconds):
    deadline = time.monotonic() + seconds
    with tqdm(total=seconds, unit="s") as bar:
        while (left := deadline - time.monotonic()) > 0:
            chosen = torch.randint(0, len(scenes), (64,))
            dropped = torch.rand(64, 1, 1) < 0.1
            condition = torch.where(dropped, no_text, text_embeddings[chosen])
            # Sample noise to add to the latents
            noise = torch.randn(64, 4, 8, 8)
            # Sample a random timestep for each image
            timesteps = torch.randint(0, 1000, (64,))
            noisy_latents = noise_scheduler.add_noise(latents[chosen], noise, timesteps)
            # Get the model prediction for the noise
            noise_pred = unet(noisy_latents, timesteps, condition).sample
            # Compare the prediction with the actual noise
            loss = F.mse_loss(noise_pred, noise)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            bar.update(seconds - max(0, round(left)) - bar.n)


# %% [markdown]
# What you train fits into the pipeline: the same call draws with it.

# %%
from diffusers import StableDiffusionPipeline

mine = StableDiffusionPipeline(**{**pipe.components, **parts, "unet": unet}, requires_safety_checker=False)
judge = sdcourse.load_judge()
asked = [(subject, place) for subject in subjects for place in ("in the snow", "at sunset")] * 4
prompts = [f"a photo of a {subject} {place}" for subject, place in asked]


def measure(pipe):
    pictures = sdcourse.text_to_image(
        pipe, prompts, guidance_scale=3.0, num_inference_steps=12, scheduler="dpm++", progress=False
    )
    pixels = torch.stack([torch.from_numpy(np.array(p)) for p in pictures]).permute(0, 3, 1, 2)
    readings = judge.read(pixels.float() / 127.5 - 1)
    places = {"in the snow": "snow", "at sunset": "sunset"}
    right = {
        "subject": [r["subject"] == subject for r, (subject, _) in zip(readings, asked, strict=True)],
        "background": [
            r["background"] == places[place] for r, (_, place) in zip(readings, asked, strict=True)
        ],
    }
    return {name: sum(answers) / len(answers) for name, answers in right.items()}, pictures


# %% tags=["nbval-ignore-output"]
history, looks = {}, []
for part in range(4):
    train(45)
    history[45 * (part + 1)], pictures = measure(mine)
    looks.append(pictures[0])
for seconds, accuracy in history.items():
    print(f"after {seconds:3} s: subject {accuracy['subject']:.0%}, background {accuracy['background']:.0%}")

# %%
from matplotlib.figure import Figure

figure = Figure(figsize=(6, 2.6), layout="constrained")
axes = figure.subplots()
for name, style in (("subject", "o-"), ("background", "s--")):
    axes.plot(list(history), [accuracy[name] for accuracy in history.values()], style, label=name)
axes.set(xlabel="seconds of training", ylabel="read right by the judge", ylim=(0, 1.05))
axes.legend()
sdcourse.show_image(figure, alt="two rising curves; the background is learned before the subject")

# %%
sdcourse.show_images(
    [*looks, *pictures[1:12]],
    titles=[f"{prompts[0][13:]}, {45 * (i + 1)} s" for i in range(4)] + [p[13:] for p in prompts[1:12]],
    columns=5,
    size=112,
    alt="four pictures of one prompt: the snow comes, the cat not yet; then what the other prompts give after three minutes",
)

# %% [markdown]
# Backgrounds come first: they fill the picture, and any place tells them. Then the subjects take shape; three minutes are
# enough for half of them or more, and hardly for a cat. Here is the
# finished model, on the same prompts. It has the same parts, a wider UNet, hours of training, and knows the whole
# gallery.

# %% tags=["nbval-ignore-output"]
accuracy, pictures = measure(pipe)
print(f"pocket-sd: subject {accuracy['subject']:.0%}, background {accuracy['background']:.0%}")

# %%
sdcourse.show_images(
    pictures[:12], titles=[p[13:] for p in prompts[:12]], columns=6, size=112, alt="twelve soft pictures"
)

# %% [markdown]
# ## Keep it, and go on over lunch
#
# Your UNet joins its VAE and its text encoder. From now on `sdcourse.load_pipeline("my-sd")` drives every later lesson with
# your own model.

# %% tags=["nbval-ignore-output"]
keep_parts(**parts, unet=unet)

sdcourse.show_images(
    sdcourse.text_to_image(
        sdcourse.load_pipeline("my-sd"),
        "a photo of a boat at sunset",
        guidance_scale=3.0,
        num_images_per_prompt=4,
        progress=False,
    ),
    columns=4,
    size=112,
    alt="blurred pictures for the prompt of a boat at sunset: bright shapes over something like a hull",
)

# %% [markdown]
# It knows six subjects. In a terminal, `sdcourse train my-sd --budget 60m` goes on with all parts that are yours, on the
# whole gallery; it can be stopped and started again at any time. `sdcourse evaluate my-sd` then says how far it has
# come, beside pocket-sd.
#
# ## Which word is heard where?
#
# Back to the finished model. The weights of cross-attention are pictures: for each word, how much each place listens to it. `record_attention` keeps
# them while the UNet works, the mean over heads and layers.

# %%
from sdcourse.attention import record_attention

prompt = "a photo of a cat wearing a red hat in the snow"
with record_attention(pipe.unet) as maps:
    [image] = sdcourse.text_to_image(
        pipe, prompt, guidance_scale=5.0, num_inference_steps=20, scheduler="ddim", seed=3
    )
print(len(maps), "calls of the UNet, each", tuple(maps[0].shape), "= (unconditional and prompt, words, 8, 8)")

# %%
pieces = pipe.tokenizer.convert_ids_to_tokens(pipe.tokenizer(prompt).input_ids)
mean_map = torch.stack([m[1] for m in maps[:10]]).mean(0)  # (77, 8, 8), over the first half of the steps
words = ["cat</w>", "red</w>", "hat</w>", "snow</w>"]


def as_picture(one_map):
    low, high = one_map.min(), one_map.max()
    return ((one_map - low) / (high - low))[None].repeat(3, 1, 1)


sdcourse.show_images(
    [image, *(as_picture(mean_map[pieces.index(word)]) for word in words)],
    titles=["the picture", *(word.removesuffix("</w>") for word in words)],
    columns=5,
    size=128,
    alt="a cat in a red hat in the snow, and four maps of 8×8: where the words cat, red, hat and snow are listened to",
)

# %% [markdown]
# Bright is where a place listens more than others do. Each map is stretched from black to white by itself, so compare
# places, not maps. (They are means over the first ten steps, in which the layout is made.) "red" is heard at the hat and
# at the body as well: a place can listen to a word that is not meant for it. And over the steps? The word "hat", from noise to picture:

# %%
hat = pieces.index("hat</w>")
steps = (0, 4, 8, 12, 19)
sdcourse.show_images(
    [as_picture(maps[i][1, hat]) for i in steps],
    titles=[f"hat, step {i}" for i in steps],
    columns=5,
    size=128,
    alt="five maps of the word hat, bright near the top of the figure from the first step on",
)

# %% [markdown]
# In this drawing the brightest place is nearly the same from the first step on, before there is a hat to be seen.
#
# Do not read too much into single maps: heads differ, words share their say with the end token, which has seen all of
# them, and 8×8 places are coarse.
#
# ## What it has never seen
#
# Some combinations never enter the training of pocket-sd, for example rabbits that ride. And some words are not in any
# caption. **Predict** both.

# %%
new = [
    "a photo of a rabbit riding a horse",  # a new combination
    "a photo of a cat riding a horse",  # one that it was trained on
    "a photo of a giraffe in the snow",  # a new word
]
drawn = {
    prompt: sdcourse.text_to_image(
        pipe, prompt, guidance_scale=5.0, num_images_per_prompt=20, scheduler="ddim", progress=False
    )
    for prompt in new
}
sdcourse.show_images(
    [picture for pictures in drawn.values() for picture in pictures[:5]],
    titles=[prompt[11:] for prompt in new for _ in range(5)],
    columns=5,
    size=112,
    alt="five soft figures riding on dark legs, five cats riding on dark legs, and five figures with crowns in the snow, most of them girls",
)

# %% [markdown]
# The drawings are soft. What does the judge see in 20 of each?

# %% tags=["nbval-ignore-output"]
from collections import Counter

for prompt, pictures in drawn.items():
    pixels = torch.stack([torch.from_numpy(np.array(p)) for p in pictures]).permute(0, 3, 1, 2)
    readings = judge.read(pixels.float() / 127.5 - 1)
    print(prompt)
    for attribute in ("subject", "relation", "background"):
        counts = Counter(reading[attribute] for reading in readings).most_common(2)
        print(f"    {attribute:12}", ", ".join(f"{value} {n}" for value, n in counts))

# %% [markdown]
# A rabbit that rides is new, and still comes in 14 of 20, where a cat that rides comes in 18; three are read as cats. The
# model knows riding from other riders and rabbits from standing ones, and cross-attention lets both words speak. A giraffe
# is not a new combination but a new word. The snow is understood; the word falls into pieces that no caption has together,
# and what the encoder makes of them is chance:

# %%
print(pipe.tokenizer.tokenize("giraffe"))

# %% [markdown]
# ## What you built
#
# | | class-conditional (02) | text-conditional (here) |
# |---|---|---|
# | network | `UNet2DModel(num_class_embeds=10)` | `UNet2DConditionModel(cross_attention_dim=128)` |
# | condition | one vector, added everywhere | 77 vectors, each place takes its mixture |
# | call | `model(images, t, class_labels=labels)` | `unet(latents, t, text_embeddings)` |
# | loss | `F.mse_loss(noise_pred, noise)` | the same |
#
# **Try three things**, each one line:
#
# - `text_embeddings[:, 1:] = 0` before training: what can the UNet still know?
# - `captions = [scene.subject for scene in scenes]`, and `prompts = [subject for subject, _ in asked]`: does it learn
#   subjects faster? And what is lost?
# - `prompt = "a photo of a cat riding a horse"` and `words = ["cat</w>", "horse</w>"]`: where do the two maps lie?
#
# **Papers**
#
# - *Attention Is All You Need*, Vaswani, Shazeer, Parmar, Uszkoreit, Jones, Gomez, Kaiser and Polosukhin, 2017
# - *High-Resolution Image Synthesis with Latent Diffusion Models*, Rombach, Blattmann, Lorenz, Esser and Ommer, 2022
# - *Prompt-to-Prompt Image Editing with Cross Attention Control*, Hertz, Mokady, Tenenbaum, Aberman, Pritch and
#   Cohen-Or, 2022
