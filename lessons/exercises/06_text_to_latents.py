# %% [markdown]
# # 06 · Exercises: from text to latents
#
# Four exercises on how words reach a picture. Each has a function to write, hints that open when you click them, and a
# check. A check says *not attempted*, *not yet* with the likely mistake, or *correct*. Nothing breaks if you leave
# one out.
#
# Lesson 06 shows everything that you need; close it before you start, and open it where you get stuck. Replace
# `raise NotImplementedError()` by your answer.

# %%
import torch

import sdcourse
from sdcourse.checks import check, quiz

runtime = sdcourse.setup()

# %% [markdown]
# ## 1 · Attention
#
# $$\text{softmax}\Big(\frac{Q K^\top}{\sqrt d}\Big)\,V$$
#
# Every query gets a mixture of the values, weighted by how well their keys fit (Vaswani et al., 2017).


# %%
def attention(query, key, value):
    """(..., queries, d) from queries (..., queries, d), keys and values (..., keys, d)."""
    ### BEGIN SOLUTION
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    return scores.softmax(dim=-1) @ value
    ### END SOLUTION


check("06-attention", attention)

# %% [markdown]
# <details><summary>Hint 1</summary><code>key.transpose(-1, -2)</code> swaps the last two axes, whatever stands before
# them.</details>
# <details><summary>Hint 2</summary>The weights of one query, over all keys, add up to 1: which axis is that?</details>

# %%
quiz("06-queries")

# %% [markdown]
# ## 2 · Cross-attention, with heads
#
# In the UNet the places of the picture ask, and the words answer. Queries are made from the picture, keys and values
# from the text, by layers that were learned. Each head works on its part of the width. You may call your `attention`.


# %%
def cross_attention(attn, hidden_states, text_embeddings):
    """What `attn(hidden_states, encoder_hidden_states=text_embeddings)` gives, by hand: only that, not the weights.

    Args:
        attn: a block with `to_q`, `to_k`, `to_v`, `to_out[0]` (layers) and `heads` (a number).
        hidden_states: (n, places, width).
        text_embeddings: (n, words, text width).
    """

    ### BEGIN SOLUTION
    def split(x):  # (n, length, width) to (n, heads, length, width / heads)
        return x.unflatten(-1, (attn.heads, -1)).transpose(1, 2)

    query = split(attn.to_q(hidden_states))
    key, value = split(attn.to_k(text_embeddings)), split(attn.to_v(text_embeddings))
    weights = (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(dim=-1)
    return attn.to_out[0]((weights @ value).transpose(1, 2).flatten(2))
    ### END SOLUTION


check("06-cross-attention", cross_attention)

# %% [markdown]
# <details><summary>Hint 1</summary>Three layers make queries, keys and values; a fourth, <code>attn.to_out[0]</code>,
# comes at the end.</details>
# <details><summary>Hint 2</summary><code>x.view(n, length, heads, -1).transpose(1, 2)</code> gives each head its part:
# (n, heads, length, width / heads).</details>
# <details><summary>Hint 3</summary>On the way back, <code>.transpose(1, 2)</code> first, then
# <code>.flatten(2)</code>.</details>
#
# ## 3 · Which word is heard where?
#
# The weights of attention are pictures: for each word, how much each place listens to it. Bring them into shape.


# %%
def attention_maps(probabilities):
    """Maps (n, words, side, side), the mean over heads.

    Args:
        probabilities: (n, heads, side · side, words); places run row by row.
    """
    ### BEGIN SOLUTION
    maps = probabilities.mean(dim=1).transpose(1, 2)  # (n, words, places)
    side = int(maps.shape[-1] ** 0.5)
    return maps.unflatten(-1, (side, side))
    ### END SOLUTION


check("06-attention-maps", attention_maps)

# %% [markdown]
# <details><summary>Hint</summary>First the mean over heads, then words before places, then places become rows and
# columns. In this order.</details>

# %%
quiz("06-unseen-combination")

# %% [markdown]
# ## 4 · Captions that are left out
#
# Guidance needs a prediction without a prompt. Training teaches it with the empty text, now and then.


# %%
def drop_captions(captions, probability):
    """A new list, in which each caption is replaced by '' with this probability."""
    ### BEGIN SOLUTION
    return ["" if torch.rand(1).item() < probability else caption for caption in captions]
    ### END SOLUTION


check("06-caption-dropout", drop_captions)

# %% [markdown]
# <details><summary>Hint</summary><code>torch.rand(1).item()</code> is a new random number between 0 and 1 each
# time.</details>

# %%
quiz("06-frozen-text-encoder")

# %% [markdown]
# **What you can do now.** You can follow a word from the prompt to the place of the picture that listens to it.
