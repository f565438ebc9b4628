"""Checks of the exercises on the way from text to latents."""

import torch

from .engine import Exercise, close, expect, expect_close, expect_tensor
from .quiz import Choice, Quiz

# 1 · attention ------------------------------------------------------------------------------

attention = Exercise("06-attention", "attention", "write the attention of every transformer in three lines")


def _attention(query, key, value, *, root=True, scaled=True, axis=-1, softmax=True, swapped=False):
    scores = query @ key.transpose(-1, -2)
    if scaled:
        scores = scores / (query.shape[-1] ** (0.5 if root else 1))
    weights = scores.softmax(axis) if softmax else scores
    return weights @ (key if swapped else value)


@attention.case
def _(answer):
    query, key, value = torch.randn(1, 6, 4), torch.randn(1, 3, 4), torch.randn(1, 3, 4)
    got = answer(query, key, value)
    expect_tensor(got, (1, 6, 4))

    def other(**mistake):
        return lambda: _attention(query, key, value, **mistake)

    expect_close(
        got,
        torch.nn.functional.scaled_dot_product_attention(query, key, value),
        "For 6 queries and 3 keys of width 4 the result should agree with PyTorch's.",
        {
            "Yours leaves out the scale: divide the scores by the root of the width.": other(scaled=False),
            "Yours divides by the width: it should be its root.": other(root=False),
            "Yours takes the softmax over the queries: the weights of the keys should add up to 1.": (
                other(axis=-2)
            ),
            "Yours leaves out the softmax.": other(softmax=False),
            "Yours mixes the keys: the weights belong to the values.": other(swapped=True),
        },
    )


@attention.case
def _(answer):
    query, key, value = torch.randn(2, 3, 5, 8), torch.randn(2, 3, 7, 8), torch.randn(2, 3, 7, 8)
    got = answer(query, key, value)
    expect_tensor(got, (2, 3, 5, 8), "for 2 pictures with 3 heads the result")
    expect_close(
        got,
        _attention(query, key, value),
        "For one picture yours is right; for width 8, with pictures and heads as the first axes, it is not.",
    )


@attention.rejects("divide the scores")
def _(*arguments):
    return _attention(*arguments, scaled=False)


@attention.rejects("should be its root")
def _(*arguments):
    return _attention(*arguments, root=False)


@attention.rejects("should add up to 1")
def _(*arguments):
    return _attention(*arguments, axis=-2)


@attention.rejects("leaves out the softmax")
def _(*arguments):
    return _attention(*arguments, softmax=False)


@attention.rejects("belong to the values")
def _(*arguments):
    return _attention(*arguments, swapped=True)


@attention.rejects("for width 8")
def _(query, key, value):
    return (query @ key.transpose(-1, -2) / 2).softmax(-1) @ value


# 2 · cross-attention with heads -------------------------------------------------------------

cross = Exercise(
    "06-cross-attention",
    "cross_attention",
    "let every place of a picture look at the words, as the UNet does",
)


def _block(width=8, text_width=6, heads=2):
    from diffusers.models.attention_processor import Attention

    return Attention(width, cross_attention_dim=text_width, heads=heads, dim_head=width // heads).eval()


def _cross(attn, hidden_states, text, *, heads=True, out=True, root=True, mixed=False):
    """The block, with each mistake that can be made in it as an option."""
    n, places, _ = hidden_states.shape
    query = attn.to_q(hidden_states)
    key, value = attn.to_k(text), attn.to_v(text)
    h = attn.heads if heads else 1

    def split(x):
        if mixed:
            return x.view(n, h, x.shape[1], -1)
        return x.view(n, x.shape[1], h, -1).transpose(1, 2)

    query, key, value = split(query), split(key), split(value)
    scores = query @ key.transpose(-1, -2) / (query.shape[-1] ** 0.5 if root else attn.to_q.out_features**0.5)
    result = scores.softmax(-1) @ value
    result = result.reshape(n, places, -1) if mixed else result.transpose(1, 2).reshape(n, places, -1)
    return attn.to_out[0](result) if out else result


@cross.case
@torch.no_grad()
def _(answer):
    attn, hidden_states, text = _block(), torch.randn(2, 5, 8), torch.randn(2, 7, 6)
    got = answer(attn, hidden_states, text)
    expect_tensor(got, (2, 5, 8))

    def other(**mistake):
        return lambda: _cross(attn, hidden_states, text, **mistake)

    expect_close(
        got,
        attn(hidden_states, encoder_hidden_states=text),
        "With 2 heads the result should agree with the Attention block of diffusers.",
        {
            "Yours has a single head: split query, key and value into attn.heads parts.": other(heads=False),
            "Yours leaves out the last projection, attn.to_out[0].": other(out=False),
            "Yours divides by the root of the whole width: it is the width of one head.": other(root=False),
            "Yours mixes places and heads: reshape to (n, places, heads, width), then transpose.": (
                other(mixed=True)
            ),
        },
        tolerance=1e-4,
    )


@cross.case
@torch.no_grad()
def _(answer):
    attn, hidden_states, text = _block(12, 6, 3), torch.randn(1, 4, 12), torch.randn(1, 9, 6)
    got = answer(attn, hidden_states, text)
    expect_close(
        got,
        attn(hidden_states, encoder_hidden_states=text),
        "With 2 heads of width 4 yours is right, with 3 heads it is not: take attn.heads.",
        tolerance=1e-4,
    )
    changed = text.clone()
    changed[:, -1] += 5
    expect(
        not close(answer(attn, hidden_states, changed), got),
        "Another last word changes nothing in your result: keys and values come from the whole text.",
    )


@cross.rejects("has a single head")
def _(*arguments):
    return _cross(*arguments, heads=False)


@cross.rejects("the last projection")
def _(*arguments):
    return _cross(*arguments, out=False)


@cross.rejects("the width of one head")
def _(*arguments):
    return _cross(*arguments, root=False)


@cross.rejects("mixes places and heads")
def _(*arguments):
    return _cross(*arguments, mixed=True)


@cross.rejects("take attn.heads")
def _(attn, hidden_states, text):
    n, places, width = hidden_states.shape
    q, k, v = (
        layer(x).view(n, x.shape[1], 2, -1).transpose(1, 2)
        for layer, x in ((attn.to_q, hidden_states), (attn.to_k, text), (attn.to_v, text))
    )
    result = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1) @ v
    return attn.to_out[0](result.transpose(1, 2).reshape(n, places, width))


@cross.rejects("stopped with RuntimeError")
def _(attn, hidden_states, text):
    return _cross(attn, text, hidden_states)


# 3 · which word looks where -----------------------------------------------------------------

maps = Exercise("06-attention-maps", "attention_maps", "draw which word a part of a picture listens to")


@maps.case
def _(answer):
    probabilities = torch.rand(2, 3, 16, 5).softmax(-1)  # pictures, heads, places, words
    got = answer(probabilities)
    expect_tensor(got, (2, 5, 4, 4))
    mean = probabilities.mean(1)
    expect_close(
        got,
        mean.transpose(1, 2).reshape(2, 5, 4, 4),
        "For 3 heads, 16 places and 5 words there should be 5 maps of 4×4 for each picture, the mean "
        "over heads.",
        {
            "Yours only reshapes: put words before places first, with transpose.": mean.reshape(2, 5, 4, 4),
            "Yours takes the sum over heads: take the mean.": (
                probabilities.sum(1).transpose(1, 2).reshape(2, 5, 4, 4)
            ),
            "Yours takes the first head only.": probabilities[:, 0].transpose(1, 2).reshape(2, 5, 4, 4),
            "Yours has height and width swapped: places run row by row.": (
                mean.transpose(1, 2).reshape(2, 5, 4, 4).transpose(2, 3)
            ),
            "Yours takes the largest head: take the mean.": (
                probabilities.amax(1).transpose(1, 2).reshape(2, 5, 4, 4)
            ),
        },
    )


@maps.case
def _(answer):
    expect_tensor(answer(torch.rand(1, 2, 64, 77)), (1, 77, 8, 8), "for 64 places and 77 words the result")


def _maps(probabilities):
    n, _, places, words = probabilities.shape
    return probabilities.mean(1).transpose(1, 2).reshape(n, words, int(places**0.5), -1)


@maps.rejects("only reshapes")
def _(probabilities):
    n, _, places, words = probabilities.shape
    return probabilities.mean(1).reshape(n, words, int(places**0.5), -1)


@maps.rejects("sum over heads")
def _(probabilities):
    return _maps(probabilities) * probabilities.shape[1]


@maps.rejects("first head only")
def _(probabilities):
    return _maps(probabilities[:, :1])


@maps.rejects("height and width swapped")
def _(probabilities):
    return _maps(probabilities).transpose(2, 3)


@maps.rejects("should have the shape (1, 77, 8, 8)")
def _(probabilities):
    return probabilities.mean(1).transpose(1, 2).reshape(len(probabilities), -1, 4, 4)


# 4 · the loss, with words -------------------------------------------------------------------

training = Exercise(
    "06-caption-dropout", "drop_captions", "train one model that draws with a prompt and without"
)


@training.case
def _(answer):
    captions = [f"a red cat number {i}" for i in range(5000)]
    given = list(captions)
    got = answer(given, 0.1)
    expect(got is not None, "The result is None: does your function end with a return?")
    expect(given == captions, "Your function changes the list that it was given: make a new one.")
    expect(
        len(got) == 5000, f"There are 5000 captions, and {len(got)} in your result: a dropped one becomes ''."
    )
    expect(
        all(new in ("", old) for new, old in zip(got, captions, strict=True)),
        "A caption should stay as it is or become the empty text ''; yours has others, for example "
        f"{next((n for n, o in zip(got, captions, strict=True) if n not in ('', o)), '')!r}.",
    )
    share = got.count("") / 5000
    expect(share < 1, "All captions were dropped: draw for each by itself.")
    expect(share > 0, "No caption was dropped at probability 0.1: draw for each by itself, not once for all.")
    expect(
        abs(share - 0.9) > 0.05, "Nine tenths were dropped at probability 0.1: it is the share to be dropped."
    )
    expect(abs(share - 0.1) < 0.02, f"{share:.0%} of the captions were dropped at probability 0.1.")


@training.case
def _(answer):
    captions = ["x"] * 300
    expect(
        answer(captions, 0.5) != answer(captions, 0.5),
        "Two calls drop the same captions: draw anew each time.",
    )
    expect(answer(captions, 0.0) == captions, "At probability 0 no caption should be dropped.")


def _drop(captions, probability, empty=""):
    return [empty if torch.rand(1).item() < probability else caption for caption in captions]


@training.rejects("a dropped one becomes ''")
def _(captions, probability):
    return [c for c in captions if torch.rand(1).item() >= probability]


@training.rejects("yours has others")
def _(captions, probability):
    return _drop(captions, probability, None)


@training.rejects("yours has others")
def _(captions, probability):
    return _drop(captions, probability, "nothing")


@training.rejects("draw for each by itself")
def _(captions, probability):
    return [""] * len(captions)


@training.rejects("the share to be dropped")
def _(captions, probability):
    return _drop(captions, 1 - probability)


@training.rejects("make a new one")
def _(captions, probability):
    for i in range(len(captions)):
        if torch.rand(1).item() < probability:
            captions[i] = ""
    return captions


@training.rejects("draw anew each time")
def _(captions, probability):
    torch.manual_seed(0)
    return _drop(captions, probability)


# Questions of understanding -----------------------------------------------------------------

queries = Quiz(
    "06-queries",
    "In cross-attention, what asks and what answers?",
    (
        Choice(
            "The words ask, the places of the picture answer", "Then the result would have a vector per word."
        ),
        Choice(
            "The places of the picture ask, the words answer",
            "Every place gets a mixture of the words' values, weighted by how well they fit.",
            right=True,
        ),
        Choice("The picture asks itself", "That is self-attention; the UNet has both, one after the other."),
    ),
)

unseen = Quiz(
    "06-unseen-combination",
    "Training never showed a rabbit riding a horse, but other riders, and rabbits. What does the model draw?",
    (
        Choice(
            "Nothing that makes sense",
            "Words act on their own as well as together. Look at the lesson's pictures.",
        ),
        Choice(
            "Often a rabbit on a horse",
            "Cross-attention lets both words speak, so it puts together what it knows. The lesson counts.",
            right=True,
        ),
        Choice("Always the nearest picture of the training set", "It keeps no pictures, only weights."),
    ),
)

frozen_encoder = Quiz(
    "06-frozen-text-encoder",
    "The text encoder is frozen while the UNet is trained. What follows?",
    (
        Choice(
            "What it does not tell apart, the UNet cannot draw apart",
            "Two prompts with the same hidden states give the same picture, whatever the UNet learned.",
            right=True,
        ),
        Choice("It can be left out after training", "Prompts have to become hidden states every time."),
        Choice(
            "Hidden states need not be computed in training", "They do; but they can be kept, as latents can."
        ),
    ),
)
