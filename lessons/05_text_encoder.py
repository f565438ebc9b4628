# %% [markdown]
# # 05 · The text encoder
#
# A diffusion model cannot read. Before the first step a *text encoder* turns the prompt into vectors, and the rest of
# Stable Diffusion sees nothing but these. What the encoder does not notice, no picture will show. In this lesson you
# follow a prompt from letters to vectors, train a small encoder together with pictures, and find out what it cannot see.
#
# **You need** lesson 02. **It takes** about two and a half
# minutes of computing, two of them a training run.
#
# **You will**
#
# 1. learn byte pairs from captions by hand, then use the tokenizer of pocket-sd;
# 2. see where a prompt is cut, and what two spellings have in common;
# 3. look into the encoder: positions, the causal mask, hidden states and the pooled vector;
# 4. train a CLIP, the way the encoder learned what words look like, and keep it for your own model;
# 5. measure what it can tell apart, and what not.

# %%
import torch

import sdcourse

runtime = sdcourse.setup()

# %% [markdown]
# ## From letters to pieces
#
# Numbers for whole words would need a list of all words. Numbers for letters would make prompts very long. *Byte-pair
# encoding* (Sennrich, Haddow and Birch, 2016) lies between: start with letters, and merge, again and again, the pair of
# neighbours that is most frequent. Frequent words become one piece, rare ones stay in several.
#
# (Bytes, because letters of any script are stored as one or more of 256 bytes; here each letter is one.) We learn from
# gallery captions. Each word becomes a tuple of letters, the last one marked with `</w>`.

# %%
from collections import Counter

import numpy as np

from sdcourse.data.gallery import caption, random_scenes

rng = np.random.default_rng(0)
captions = [caption(scene, rng) for scene in random_scenes(2000, seed=1)]
print(*captions[:4], sep="\n")

words = Counter()
for text in captions:
    for word in text.lower().replace(",", " ").split():
        words[(*word[:-1], word[-1] + "</w>")] += 1

# %%


def best_pair(words):
    counts = Counter()
    for word, count in words.items():
        for pair in zip(word, word[1:], strict=False):
            counts[pair] += count
    return max(counts, key=lambda pair: (counts[pair], pair))


def merge_pair(word, pair):
    pieces = []
    for piece in word:
        if pieces and (pieces[-1], piece) == pair:
            pieces[-1] += piece
        else:
            pieces.append(piece)
    return tuple(pieces)


# %% [markdown]
# **Predict:** which two letters are merged first, in captions such as "a photo of a cat in the snow"?

# %%
merges = []
for _ in range(150):
    pair = best_pair(words)
    merges.append(pair)
    words = Counter({merge_pair(word, pair): count for word, count in words.items()})

print("first:", merges[:6])
print("last: ", merges[-4:])

# %% [markdown]
# The order of the merges is all that a tokenizer has to remember. A new word is cut by applying them in that order.


# %%
def cut(word):
    pieces = (*word[:-1], word[-1] + "</w>")
    for pair in merges:
        pieces = merge_pair(pieces, pair)
    return pieces


for word in ("painting", "horse", "astronaut", "hippopotamus"):
    print(f"{word:14}{cut(word)}")

# %% [markdown]
# Words that captions use a lot have become one piece. "astronaut" is not frequent enough yet, and "hippopotamus" is in no
# caption at all; both are still cut into known pieces. Nothing is unknown.
#
# ## A tokenizer of CLIP's kind
#
# The same, learned by a library that is faster than our loop. It stops when every word of the captions is one piece, which
# takes less than 300 merges: the gallery has few words. (512 pieces are there from the start, the 256 bytes, each also with
# `</w>`, and 2 are the tokens for start and end.) Stable Diffusion's tokenizer has 48,894 merges, learned from
# captions of the web. Otherwise they are alike, down to the class.

# %%
from sdcourse.training.tokenizer import train_clip_tokenizer

captions = [caption(scene, rng) for scene in random_scenes(20_000, seed=2)]
my_tokenizer = train_clip_tokenizer(captions)

pipe = sdcourse.load_pipeline()
tokenizer, text_encoder = pipe.tokenizer, pipe.text_encoder
mine, theirs = my_tokenizer.get_vocab(), tokenizer.get_vocab()
print(len(mine), "pieces in yours,", len(mine.keys() & theirs.keys()), "of them also in pocket-sd's")
print("the number of 'cat':", mine["cat</w>"], "in yours,", theirs["cat</w>"], "in pocket-sd's")

# %% [markdown]
# Nearly the same pieces under other numbers: which pair is merged first depends on the captions that were drawn. An encoder
# is trained with one numbering and reads nonsense under another, so a tokenizer and its encoder stay together. Yours
# goes with the encoder that you train below. First a look at the pair of pocket-sd.

# %%
ids = tokenizer("a Collie in a top hat").input_ids
for number, piece in zip(ids, tokenizer.convert_ids_to_tokens(ids), strict=True):
    print(number, piece)

# %% [markdown]
# A start token, the pieces, an end token. "Collie" came out in lower case: CLIP's tokenizers do not know capital letters,
# and squeeze spaces. Two spellings, the same numbers:

# %%
print(tokenizer("A  CAT in the Snow").input_ids == tokenizer("a cat in the snow").input_ids)

# %% [markdown]
# ## 77 places
#
# The encoder has 77 places, always: its table of places, which you will see below, has 77 rows. Two are for start and end, so
# 75 remain. A shorter prompt is filled up with end tokens, a longer one is cut. What is cut is lost, and most programs do
# not say so.

# %%
from sdcourse.sampling import words_cut_off

long = (
    "a photo of a cat wearing a hat in the snow, "
    + ", ".join(["very detailed"] * 30)
    + ", with a red balloon"
)
padded = tokenizer(
    ["a hamster", long], padding="max_length", max_length=77, truncation=True, return_tensors="pt"
).input_ids
print(tuple(padded.shape), "= (texts, places)")
print("the end of the first:", tokenizer.convert_ids_to_tokens(padded[0])[2:8], "…")
print("lost of the second: …", words_cut_off(tokenizer, long)[-40:])

# %% [markdown]
# ## Inside the encoder
#
# Every number picks a row from a table, and every place adds a row of its own, so that the encoder knows the order. Then
# come layers of *attention*. In attention, each place computes a score for every place; softmax makes weights of the scores
# that add up to 1; and what the place gets is the mean of what stands at all places, with these weights. (Lesson 06 builds
# it by hand.)

# %%
config = text_encoder.config
token_embedding = text_encoder.embeddings.token_embedding
position_embedding = text_encoder.embeddings.position_embedding
print("one row for each piece:", tuple(token_embedding.weight.shape))
print("one row for each place:", tuple(position_embedding.weight.shape))
print(config.num_hidden_layers, "layers,", config.num_attention_heads, "heads each")

# %% [markdown]
# The attention is **causal**: a place sees itself and the places before it, never those after. A *mask* does that: it is
# added to the scores, and where it holds $-\infty$, softmax gives the weight 0.

# %%
mask = torch.full((4, 4), -torch.inf).triu(1)
print(mask)
print(torch.softmax(mask, dim=-1))  # of equal scores

# %% [markdown]
# **Predict:** change the last word of a prompt. Which vectors change?

# %%


def hidden_states(text):
    ids = tokenizer(
        [text], padding="max_length", max_length=77, truncation=True, return_tensors="pt"
    ).input_ids
    with torch.no_grad():
        return text_encoder(ids).last_hidden_state[0]  # (77, 128)


first, second = hidden_states("a cat in a red hat"), hidden_states("a cat in a red crown")
changed = (first - second).norm(dim=1) / first.norm(dim=1)
pieces = tokenizer.convert_ids_to_tokens(tokenizer("a cat in a red hat").input_ids)
for piece, share in zip(pieces, changed, strict=False):
    print(f"{piece:20}{share:6.0%}")

# %% [markdown]
# Everything before the changed word is untouched; the word itself and the end token, which sees all, are not (nor are the
# end tokens behind it, which are not printed). That is why
# the vector at the end token stands for the whole text. It is called the **pooled** output.
#
# Which of them does the UNet get? All 77 hidden states, so that a place of the picture can look at single words. The
# pooled vector goes to training (below), and in SDXL also to the UNet.

# %%
ids = tokenizer(["a cat in a red hat"], padding="max_length", max_length=77, return_tensors="pt").input_ids
with torch.no_grad():
    output = text_encoder(ids)
end = int((ids[0] == tokenizer.eos_token_id).nonzero()[0])
print("hidden states:", tuple(output.last_hidden_state.shape), "· pooled:", tuple(output.pooler_output.shape))
same = torch.equal(output.pooler_output[0], output.last_hidden_state[0, end])
print(f"pooled is the hidden state at place {end}:", same)

# %% [markdown]
# Here a vector has 128 numbers. In Stable Diffusion 1 it has 768, because its encoder is the text half of one CLIP, and in
# Stable Diffusion 2 it has 1024, from another and larger one. The UNet's cross-attention is built for one width, so an
# encoder of another width cannot be put in its place.
#
# ## How words learn what they look like
#
# The encoder was never told what a crown is. It was trained with a second network that reads pictures, on pairs of
# pictures and captions, with one task: in a batch, find out which caption belongs to which picture (Radford et al., 2021).
# Both give a vector, the pooled one times a matrix that leads into a space for both (`projection_dim`); vectors of a pair
# should point the same way, all others not. That is **CLIP**.
#
# We train a small one for two minutes.

# %%
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig

small = dict(
    hidden_size=64, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4, projection_dim=64
)
text_config = CLIPTextConfig(
    vocab_size=len(my_tokenizer),
    max_position_embeddings=77,
    bos_token_id=my_tokenizer.bos_token_id,
    eos_token_id=my_tokenizer.eos_token_id,
    pad_token_id=my_tokenizer.pad_token_id,
    **small,
)
vision_config = CLIPVisionConfig(image_size=64, patch_size=16, **small)
torch.manual_seed(runtime.seed)
clip = CLIPModel(
    CLIPConfig(text_config=text_config.to_dict(), vision_config=vision_config.to_dict(), projection_dim=64)
)
print(f"{sum(p.numel() for p in clip.parameters()) / 1e6:.2f} million weights")

# %%
import torch.nn.functional as F


def embed_images(clip, images):
    return F.normalize(clip.get_image_features(images).pooler_output, dim=-1)


def embed_texts(clip, texts, tokenizer=my_tokenizer):
    inputs = tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
    return F.normalize(clip.get_text_features(**inputs).pooler_output, dim=-1)


# %% [markdown]
# Before training: eight pictures, their eight captions, and the *cosine* of every pair, the product of two vectors of length
# 1: it is 1 where they point the same way, and 0 where they have nothing in common.

# %%
from matplotlib.figure import Figure

from sdcourse.data.gallery import full_caption, render

seen, eight = set(), []
for scene in random_scenes(400, seed=5):
    if scene.subject not in seen and len(eight) < 8:
        seen.add(scene.subject)
        eight.append(scene)
eight_images = render(eight).float() / 127.5 - 1
eight_texts = [full_caption(scene) for scene in eight]


def similarity(clip):
    with torch.no_grad():
        return embed_texts(clip, eight_texts) @ embed_images(clip, eight_images).T  # (texts, pictures)


before = similarity(clip)
sdcourse.show_images(
    eight_images / 2 + 0.5,
    titles=eight_texts,
    columns=4,
    size=128,
    alt="eight pictures of the gallery, each with its caption",
)

# %% [markdown]
# The loss is two classifications of the same table: in each row the right picture, in each column the right text. Cosines
# lie in [-1, 1], too flat for a softmax, so they are multiplied by a number that is learned too; `logit_scale` is its
# logarithm. Guessing among 64 would cost $\log 64 \approx 4.2$.

# %%
import time

from tqdm.auto import tqdm

scenes = random_scenes(8000, seed=6)
pictures = render(scenes)
optimizer = torch.optim.AdamW(clip.parameters(), lr=1e-3)
seconds, losses = 120, []
deadline = time.monotonic() + seconds

with tqdm(total=seconds, unit="s") as bar:
    while (left := deadline - time.monotonic()) > 0:
        chosen = torch.randint(0, len(scenes), (64,))
        texts = [caption(scenes[i], rng) for i in chosen]
        image_embeds = embed_images(clip, pictures[chosen].float() / 127.5 - 1)
        text_embeds = embed_texts(clip, texts)
        logits = clip.logit_scale.exp() * text_embeds @ image_embeds.T  # (64 texts, 64 pictures)
        truth = torch.arange(64)
        loss = (F.cross_entropy(logits, truth) + F.cross_entropy(logits.T, truth)) / 2
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        bar.update(seconds - max(0, round(left)) - bar.n)

# %% tags=["nbval-ignore-output"]
print(f"loss: {losses[0]:.2f} at first, {np.mean(losses[-20:]):.2f} at the end")

# %%
after = similarity(clip)
figure = Figure(figsize=(7.5, 3.4), layout="constrained")
for axes, (title, table) in zip(
    figure.subplots(1, 2), {"before training": before, "after": after}.items(), strict=True
):
    drawn = axes.imshow(table, cmap="cividis", vmin=-1, vmax=1)
    axes.set(title=title, xlabel="picture", ylabel="caption")
    axes.set_xticks(range(8), [s.subject for s in eight], rotation=90, fontsize=8)
    axes.set_yticks(range(8), [s.subject for s in eight], fontsize=8)
figure.colorbar(drawn, label="cosine")
sdcourse.show_image(
    figure, alt="two tables of 8×8: before training without order, after it with a bright diagonal"
)

# %% [markdown]
# The diagonal is what was trained: own caption, own picture.
#
# ## Is it any good? Measure it
#
# **Retrieval:** 200 new pictures, their 200 captions; for each caption, is its picture the nearest? Chance is one in 200.
# **Zero-shot:** nobody trained a classifier of subjects, but "a photo of a cat" is a text, and so is "a photo of a boat".
# The nearest text is the answer; chance is one in 22. We ask the one that you trained, and pocket-clip, which trained for
# longer.

# %% tags=["nbval-ignore-output"]
from sdcourse.data.gallery import ATTRIBUTES

finished, _ = sdcourse.load_clip()
clips = {"your CLIP": (clip, my_tokenizer), "pocket-clip": (finished, tokenizer)}
test_scenes = random_scenes(200, seed=7)
test_images = render(test_scenes).float() / 127.5 - 1
test_texts = [full_caption(scene) for scene in test_scenes]
subjects = ATTRIBUTES["subject"]
asked = [f"a photo of a {subject}" for subject in subjects]
truth = torch.tensor([subjects.index(scene.subject) for scene in test_scenes])

print(f"{'':14}retrieval   zero-shot subject")
for name, (model, its_tokenizer) in clips.items():
    with torch.no_grad():
        images = embed_images(model, test_images)
        found = (embed_texts(model, test_texts, its_tokenizer) @ images.T).argmax(1) == torch.arange(200)
        named = (images @ embed_texts(model, asked, its_tokenizer).T).argmax(1) == truth
    print(f"{name:14}{found.float().mean():9.0%}{named.float().mean():20.0%}")

# %% [markdown]
# Yours finds pictures by their captions far better than it names subjects: a full caption has colours, background and style to
# go by.
#
# ## What does it not see?
#
# "A red cat wearing a blue hat" and "a blue cat wearing a red hat" have the same words. The real CLIP is known to confuse
# such pairs: its captions seldom ask for the difference (Yuksekgonul et al., 2023). **Predict:** and ours? We draw such cats
# in four pairs of colours, each both ways round, and let CLIP choose between both texts; chance is one half. Beside it an
# easy task: the same picture, against a text in which both colours are others.

# %% tags=["nbval-ignore-output"]
from dataclasses import replace

pairs = [("red", "blue"), ("yellow", "green"), ("white", "black"), ("orange", "purple")]
pairs += [(b, a) for a, b in pairs]
wearing = [s for s in random_scenes(4000, seed=8) if s.subject == "cat" and s.hat != "none"][:20]

for name, (model, its_tokenizer) in clips.items():
    right = {"which colour has the hat": [], "another cat, another hat": []}
    for a, b in pairs:
        images = render([replace(s, color=a, hat_color=b) for s in wearing]).float() / 127.5 - 1
        swapped = [f"a {a} cat wearing a {b} hat", f"a {b} cat wearing a {a} hat"]
        different = [f"a {a} cat wearing a {b} hat", "a brown cat wearing a pink hat"]
        with torch.no_grad():
            for task, texts in zip(right, (swapped, different), strict=True):
                similarities = embed_images(model, images) @ embed_texts(model, texts, its_tokenizer).T
                right[task] += (similarities.argmax(1) == 0).tolist()
    for task, answers in right.items():
        print(f"{name:13}{task:28}{sum(answers) / len(answers):5.0%}")

# %% [markdown]
# pocket-clip sees it; yours, after two minutes, more often than chance would. Captions of the gallery say all the time
# which colour belongs to what, and pocket-clip was trained on
# *twins* besides, pairs of pictures that differ in one attribute, so that each batch holds captions that are nearly the
# same. That is the remedy which the paper proposes for the real one. An encoder notices what its training asks for,
# and nothing else. No caption here ever asked for a number. How near are these three texts to each other?

# %% tags=["nbval-ignore-output"]
with torch.no_grad():
    texts = ["a photo of a cat", "a photo of two cats", "a photo of seven cats"]
    embeds = embed_texts(finished, texts, tokenizer)
    print((embeds @ embeds.T).round(decimals=2))

# %% [markdown]
# To it, two cats and seven cats are nearly the same, and one cat is far from both: not because it can count, but because
# it has never read "cats".
#
# ## Keep it
#
# The text half of your CLIP is a text encoder. It goes into your own model, **my-sd**, with its tokenizer; lesson 04 put
# the VAE there, lesson 06 adds the UNet. Its vectors have 64 numbers, so lesson 06 builds a UNet for 64.

# %% tags=["nbval-ignore-output"]
from sdcourse.models import keep_parts

keep_parts(tokenizer=my_tokenizer, clip=clip)

# %% [markdown]
# ## What you built
#
# | | yours | pocket-sd | SD 1.5 | SD 2 |
# |---|---|---|---|---|
# | token numbers | (1, 77) | (1, 77) | (1, 77) | (1, 77) |
# | hidden states, for the UNet | (1, 77, 64) | (1, 77, 128) | (1, 77, 768) | (1, 77, 1024) |
# | pooled, for contrastive training | (1, 64) | (1, 128) | (1, 768) | (1, 1024) |
#
# **Try three things**, each one line:
#
# - `print(cut("snowman"))`: where does it break, and why there?
# - `torch.randint(0, len(scenes), (8,))` in the training loop, and 8 for 64 below it: why does CLIP need large batches?
# - `hidden_states("a red hat on a cat")` as the second text of the causal mask: from which place on do they differ?
#
# **Papers**
#
# - *Neural Machine Translation of Rare Words with Subword Units*, Sennrich, Haddow and Birch, 2016
# - *Learning Transferable Visual Models From Natural Language Supervision*, Radford, Kim, Hallacy, Ramesh, Goh, Agarwal,
#   Sastry, Askell, Mishkin, Clark, Krueger and Sutskever, 2021
# - *When and Why Vision-Language Models Behave like Bags-of-Words, and What to Do about It?*, Yuksekgonul, Bianchi,
#   Kalluri, Jurafsky and Zou, 2023
