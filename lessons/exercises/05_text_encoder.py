# %% [markdown]
# # 05 · Exercises: the text encoder
#
# Six exercises, from letters to a space that pictures and texts share. Each has a function to write, hints that open
# when you click them, and a check. A check says *not attempted*, *not yet* with the likely mistake, or *correct*.
# Nothing breaks if you leave one out.
#
# Lesson 05 shows everything that you need; close it before you start, and open it where you get stuck. Replace
# `raise NotImplementedError()` by your answer.

# %%
import torch

import sdcourse
from sdcourse.checks import check, quiz

runtime = sdcourse.setup()

# %% [markdown]
# ## 1 · The most frequent pair
#
# Byte-pair encoding (Sennrich et al., 2016) starts from letters and merges, again and again, the pair of neighbours
# that stands most often in the text. A word is a tuple of pieces; the last one carries `</w>`.


# %%
def best_pair(words):
    """The most frequent pair of neighbouring pieces, a tuple of two texts.

    Args:
        words: from words, tuples of pieces, to how often they stand in the text.
    """
    ### BEGIN SOLUTION
    counts = {}
    for word, count in words.items():
        for pair in zip(word, word[1:], strict=False):
            counts[pair] = counts.get(pair, 0) + count
    return max(counts, key=counts.get)
    ### END SOLUTION


pair_result = check("05-best-pair", best_pair)
pair_result

# %% [markdown]
# <details><summary>Hint 1</summary><code>zip(word, word[1:])</code> gives the pairs of a word.</details>
# <details><summary>Hint 2</summary>A word that stands five times counts five times.</details>
#
# ## 2 · Merge it


# %%
def merge_pair(word, pair):
    """The word with every such pair merged into one piece, from the left; a tuple."""
    ### BEGIN SOLUTION
    pieces, i = [], 0
    while i < len(word):
        if tuple(word[i : i + 2]) == pair:
            pieces.append(pair[0] + pair[1])
            i += 2
        else:
            pieces.append(word[i])
            i += 1
    return tuple(pieces)
    ### END SOLUTION


merge_result = check("05-merge", merge_pair)
merge_result

# %% [markdown]
# <details><summary>Hint 1</summary>Go through the word with an index. Where the pair stands, take both and go on by
# two.</details>
# <details><summary>Hint 2</summary><code>word[i : i + 2]</code> at the end of the word has one piece, which is no pair;
# that is fine.</details>
#
# Both together are a tokenizer's training.

# %%
if pair_result.correct and merge_result.correct:
    text = "a cat a cat a red cat a hat a red hat the cat in the hat"
    words = {}
    for word in text.split():
        pieces = (*word[:-1], word[-1] + "</w>")
        words[pieces] = words.get(pieces, 0) + 1
    for _ in range(5):
        pair = best_pair(words)
        words = {merge_pair(word, pair): count for word, count in words.items()}
        print("merged", pair, "→", sorted(words))

# %% [markdown]
# ## 3 · 77 places
#
# A text encoder wants rows of one length: a start token, the pieces, an end token, and more end tokens up to the
# length. What is too long is cut, so that start and end stay.


# %%
def layout(ids, length, start, end):
    """A row of this length, a list.

    Args:
        ids: numbers of the pieces, a list of any length.
        start, end: numbers of the two tokens.
    """
    ### BEGIN SOLUTION
    row = [start, *ids[: length - 2], end]
    return row + [end] * (length - len(row))
    ### END SOLUTION


check("05-layout", layout)

# %% [markdown]
# <details><summary>Hint</summary><code>ids[: length - 2]</code> keeps as many pieces as fit between start and
# end.</details>

# %%
quiz("05-cut-off")

# %%
quiz("05-two-spellings")

# %% [markdown]
# ## 4 · Only looking back
#
# CLIP's text encoder reads from left to right: a place sees itself and those before. A mask does that. It is added to
# the scores before the softmax.


# %%
def causal_mask(n):
    """A tensor (n, n): 0 where row may look at column, -inf where not."""
    ### BEGIN SOLUTION
    return torch.full((n, n), -torch.inf).triu(1)
    ### END SOLUTION


check("05-causal-mask", causal_mask)

# %% [markdown]
# <details><summary>Hint</summary><code>x.triu(1)</code> keeps what lies above the diagonal and makes the rest 0. Fill with
# -inf first: 0 times infinity is not a number.</details>
#
# ## 5 · The contrastive loss
#
# A batch has n pictures with their n texts. Every text should lie nearer to its own picture than to the others, and every
# picture nearer to its own text. Two classifications, one loss (Radford et al., 2021, figure 3).


# %%
def contrastive_loss(text_embeds, image_embeds, scale):
    """The mean of both cross-entropies, a number with a gradient.

    Args:
        text_embeds, image_embeds: (n, d), not normalised; row i belongs to row i.
        scale: what cosines are multiplied with, as it is (the lesson's `logit_scale` is its logarithm).
    """
    ### BEGIN SOLUTION
    text_embeds = torch.nn.functional.normalize(text_embeds, dim=-1)
    image_embeds = torch.nn.functional.normalize(image_embeds, dim=-1)
    logits = scale * text_embeds @ image_embeds.T
    truth = torch.arange(len(logits))
    cross_entropy = torch.nn.functional.cross_entropy
    return (cross_entropy(logits, truth) + cross_entropy(logits.T, truth)) / 2
    ### END SOLUTION


check("05-contrastive-loss", contrastive_loss)

# %% [markdown]
# <details><summary>Hint 1</summary>Bring both to length 1; then <code>text_embeds @ image_embeds.T</code> are all
# cosines, (n, n).</details>
# <details><summary>Hint 2</summary>The right column of row i is i: <code>torch.arange(n)</code>.</details>
# <details><summary>Hint 3</summary>The second classification is the same, on the transposed matrix.</details>
#
# ## 6 · A classifier made of words
#
# Write a text for each class, and give every picture the text that lies nearest.


# %%
def zero_shot(image_embeds, text_embeds):
    """For each picture the number of the text with the largest cosine, a tensor (n,).

    Args:
        image_embeds: (n, d), not normalised.
        text_embeds: (classes, d), not normalised.
    """
    ### BEGIN SOLUTION
    image_embeds = torch.nn.functional.normalize(image_embeds, dim=-1)
    text_embeds = torch.nn.functional.normalize(text_embeds, dim=-1)
    return (image_embeds @ text_embeds.T).argmax(dim=1)
    ### END SOLUTION


check("05-zero-shot", zero_shot)

# %% [markdown]
# <details><summary>Hint</summary>The cosines are those of exercise 5; <code>.argmax(dim=1)</code> finds the largest of
# each row.</details>

# %%
quiz("05-hidden-or-pooled")

# %% [markdown]
# ## An experiment: can CLIP be fooled?
#
# Sheet 03 made a text the wish: 1 minus the cosine is a loss, and its gradient pulls a model that draws. Here nothing draws.
# The gradient moves the *pixels* themselves.
#
# **Predict:** take four drawings of puppies and move their pixels downhill on this loss, towards "a photo of a cat", sixty
# times. Will there be cats? What will CLIP say, and what the judge, a network that had nothing to do with it?

# %% tags=["nbval-ignore-output"]
from sdcourse.data import gallery

clip, tokenizer = sdcourse.load_clip()
judge = sdcourse.load_judge()
inputs = tokenizer("a photo of a cat", return_tensors="pt")
text_embeds = clip.get_text_features(**inputs).pooler_output.detach()
scenes = gallery.random_scenes(900, seed=5)
scenes = [s for s in scenes if s.subject == "puppy" and s.style == "photograph"][:4]


def cosines(images):
    return torch.cosine_similarity(clip.get_image_features(images).pooler_output, text_embeds)


images = before = gallery.render(scenes).float() / 127.5 - 1
for _ in range(60):
    images.requires_grad_()
    [gradient] = torch.autograd.grad((1 - cosines(images)).mean(), images)
    images = (images - 0.02 * gradient.sign()).clamp(-1, 1).detach()

# %% tags=["nbval-ignore-output"]
with torch.no_grad():
    for name, x in (("before", before), ("after", images)):
        read = [reading["subject"] for reading in judge.read(x)]
        print(f"{name:6}  cosines {[round(c, 2) for c in cosines(x).tolist()]}  the judge reads {read}")
sdcourse.show_images(
    torch.cat([before.detach(), images]) / 2 + 0.5,
    columns=4,
    size=128,
    alt="four drawings of puppies, and below the same ones with strong coloured grain over them, and no cat",
)

# %%
quiz("05-fooled")

# %% [markdown]
# This is the price of guidance by a second model, besides its gradient in every step: the gradient finds whatever raises
# that model's answer, and this need not be what the words say. Classifier-free guidance asks no second model.
#
# **What you can do now.** You know every step from letters to the hidden states that a UNet reads, and how they were
# trained.
