"""Checks of the exercises on the text encoder."""

import math
from collections import Counter

import torch
import torch.nn.functional as F

from .engine import Exercise, expect, expect_close, expect_tensor
from .quiz import Choice, Quiz

# 1 and 2 · byte pairs by hand ---------------------------------------------------------------

WORDS = {("c", "a", "t</w>"): 5, ("c", "a", "r</w>"): 2, ("h", "a", "t</w>"): 4, ("a", "t</w>"): 1}

pairs = Exercise("05-best-pair", "best_pair", "find the pair that byte-pair encoding merges next")


def _pairs(words, *, weighted=True, once=False, apart=False):
    counts = Counter()
    for word, count in words.items():
        found = list(zip(word, word[2:] if apart else word[1:], strict=False))
        for pair in set(found) if once else found:
            counts[pair] += count if weighted else 1
    return counts


@pairs.case
def _(answer):
    got = answer(dict(WORDS))
    expect(got is not None, "The result is None: does your function end with a return?")
    got = tuple(got) if isinstance(got, list) else got
    expect(
        isinstance(got, tuple) and len(got) == 2 and all(isinstance(x, str) for x in got),
        f"The result should be a pair of pieces, such as ('c', 'a'), and is {got!r}.",
    )
    expect(
        got != ("c", "a"),
        "You say ('c', 'a'), which stands in 7 words of the text. ('a', 't</w>') stands in 10.",
    )
    expect(
        got != ("t</w>", "a"),
        "You say ('t</w>', 'a'): the pair runs from left to right.",
    )
    expect(
        got == ("a", "t</w>"),
        f"In cat (5 times), car (2), hat (4) and at (1), ('a', 't</w>') is the most frequent, and you "
        f"say {got}.",
    )


@pairs.case
def _(answer):
    words = {("a", "b"): 1, ("a", "b", "c"): 1, ("a", "b", "d"): 1, ("x", "y"): 9}
    expect(
        tuple(answer(dict(words))) == ("x", "y"),
        "A word that stands 9 times in the text counts 9 times: use the numbers behind the words.",
    )
    words = {("a", "b", "a", "b", "a", "b"): 2, ("x", "y"): 4}
    expect(
        tuple(answer(dict(words))) == ("a", "b"),
        "In ababab, which stands twice, ('a', 'b') counts 6 times, three in each: count every place.",
    )
    words = {("ab", "c"): 3, ("a", "b"): 1}
    expect(
        tuple(answer(dict(words))) == ("ab", "c"),
        "Pieces may be longer than a letter: take them as they are, do not join and split them.",
    )


@pairs.rejects("use the numbers behind the words")
def _(words):
    return max(_pairs(words, weighted=False).items(), key=lambda item: item[1])[0]


@pairs.rejects("count every place")
def _(words):
    return max(_pairs(words, once=True).items(), key=lambda item: item[1])[0]


@pairs.rejects("should be a pair of pieces")
def _(words):
    return max(_pairs(words).values())


@pairs.rejects("runs from left to right")
def _(words):
    return max(_pairs(words).items(), key=lambda item: item[1])[0][::-1]


@pairs.rejects("is the most frequent")
def _(words):
    return min(_pairs(words).items(), key=lambda item: item[1])[0]


@pairs.rejects("do not join and split them")
def _(words):
    if any(len(piece) == 2 for word in words for piece in word):
        return max(_pairs({tuple("".join(w)): n for w, n in words.items()}).items(), key=lambda i: i[1])[0]
    return max(_pairs(words).items(), key=lambda item: item[1])[0]


merge = Exercise("05-merge", "merge_pair", "build the vocabulary of a tokenizer, merge by merge")


def _merge(word, pair, *, everywhere=True, drop=False):
    pieces, i = [], 0
    while i < len(word):
        if tuple(word[i : i + 2]) == tuple(pair):
            pieces.append(pair[0] if drop else pair[0] + pair[1])
            i += 2
            if not everywhere:
                return (*pieces, *word[i:])
        else:
            pieces.append(word[i])
            i += 1
    return tuple(pieces)


@merge.case
def _(answer):
    got = answer(("c", "a", "t</w>"), ("a", "t</w>"))
    expect(got is not None, "The result is None: does your function end with a return?")
    expect(
        not isinstance(got, str),
        f"The result is one text, {got!r}: return a tuple of pieces, ('c', 'at</w>').",
    )
    got = tuple(got)
    expect(
        got != ("c", "a", "t</w>"),
        "Your word is unchanged: c, a, t should become c, at when a and t are merged.",
    )
    expect(got == ("c", "at</w>"), f"c, a, t with the pair (a, t) should become c, at, and yours is {got}.")


@merge.case
def _(answer):
    for word, pair, why in [
        (("a", "b", "c", "a", "b"), ("a", "b"), "The pair stands twice in it: merge it everywhere."),
        (("a", "a", "a"), ("a", "a"), "Merge from the left, and go on behind what was merged."),
        (("x", "y"), ("a", "b"), "A word without the pair stays as it is."),
        (("b", "a"), ("a", "b"), "The pair has an order: a, then b."),
        (("ab", "c", "abc"), ("ab", "c"), "Compare pieces, not letters."),
    ]:
        got, expected = tuple(answer(word, pair)), _merge(word, pair)
        expect(got == expected, f"{word} with {pair} should become {expected}, and yours is {got}. {why}")


@merge.rejects("merge it everywhere")
def _(word, pair):
    return _merge(word, pair, everywhere=False)


@merge.rejects("should become c, at")
def _(word, pair):
    return _merge(word, pair, drop=True)


@merge.rejects("is one text")
def _(word, pair):
    return " ".join(word).replace(" ".join(pair), "".join(pair))


@merge.rejects("Your word is unchanged")
def _(word, pair):
    return word


@merge.rejects("The pair has an order")
def _(word, pair):
    return _merge(word, pair) if tuple(word) != pair[::-1] else (word[0] + word[1],)


@merge.rejects("go on behind what was merged")
def _(word, pair):
    if word == ("a", "a", "a"):
        return ("aa", "aa")
    return _merge(word, pair)


# 3 · the layout of 77 places ----------------------------------------------------------------

START, END = 900, 901

layout = Exercise("05-layout", "layout", "say what becomes of a text that is too short or too long")


def _layout(ids, length, *, cut="end", pad=END, start=True, end=True):
    room = length - 2
    kept = list(ids[:room]) if cut == "end" else list(ids[-room:]) if cut == "start" else list(ids)
    row = ([START] if start else []) + kept + ([END] if end else [])
    return row + [pad] * (length - len(row))


@layout.case
def _(answer):
    got = answer([5, 6, 7], 8, START, END)
    expect(got is not None, "The result is None: does your function end with a return?")
    got = got.tolist() if isinstance(got, torch.Tensor) else list(got)
    expect(len(got) == 8, f"The result should have 8 places, and has {len(got)}: fill up with the end token.")
    expect(got[0] == START, "The first place should hold the start token.")
    expect(
        got[4:] != [0] * 4 and got[5:] != [0] * 3,
        "You fill up with 0, which is a piece of the vocabulary: CLIP fills up with its end token.",
    )
    expect(
        got == _layout([5, 6, 7], 8),
        f"5, 6, 7 in 8 places should be start, 5, 6, 7, end, end, end, end, and yours is {got}.",
    )


@layout.case
def _(answer):
    ids = list(range(10, 30))
    got = list(answer(list(ids), 8, START, END))
    expect(len(got) == 8, f"20 pieces in 8 places: the result has {len(got)}, so nothing was cut to fit.")
    expect(
        got[-1] == END,
        "20 pieces in 8 places: the end token was cut off with the rest. Only 6 pieces fit between "
        "start and end.",
    )
    expect(
        got == _layout(ids, 8),
        f"20 pieces in 8 places should keep the first 6 between start and end, and yours is {got}.",
    )
    expect(
        list(answer([], 4, START, END)) == [START, END, END, END], "An empty text is start, then end tokens."
    )
    given = [1, 2]
    answer(given, 8, START, END)
    expect(given == [1, 2], "Your function changes the list that it was given: make a new one.")


@layout.rejects("fill up with the end token")
def _(ids, length, start, end):
    return [start, *ids[: length - 2], end]


@layout.rejects("You fill up with 0")
def _(ids, length, start, end):
    return _layout(ids, length, pad=0)


@layout.rejects("hold the start token")
def _(ids, length, start, end):
    return _layout(ids, length, start=False)


@layout.rejects("keep the first 6")
def _(ids, length, start, end):
    return _layout(ids, length, cut="start")


@layout.rejects("the end token was cut off")
def _(ids, length, start, end):
    return _layout(ids, length, cut="none")[:length]


@layout.rejects("nothing was cut to fit")
def _(ids, length, start, end):
    return _layout(ids, length, cut="none")


# 4 · only looking back ----------------------------------------------------------------------

causal = Exercise(
    "05-causal-mask", "causal_mask", "explain why the first words of a prompt do not know the last ones"
)


@causal.case
def _(answer):
    got = answer(4)
    expect(got is not None, "The result is None: does your function end with a return?")
    expect(
        isinstance(got, torch.Tensor) and tuple(got.shape) == (4, 4), "The mask should be a tensor of (4, 4)."
    )
    expect(
        not got.isnan().any(),
        "Your mask holds NaN: 0 times infinity is not a number. Fill with -inf first, then cut the triangle.",
    )
    weights = torch.softmax(got.float(), dim=-1)
    expect(
        bool(weights.isfinite().all()),
        "After softmax some weights are not numbers: a row of nothing but -inf has none left. Each "
        "place may see itself.",
    )
    expect(
        not torch.equal(got.float(), torch.tril(torch.ones(4, 4))),
        "Yours holds ones and zeros. It is added to the scores before softmax, so what is hidden "
        "needs -inf, and what is seen 0.",
    )
    even = torch.tril(torch.ones(4, 4)) / torch.arange(1, 5)[:, None]
    expect(
        not torch.allclose(weights, even.flip(0, 1)),
        "Yours looks forward: a place should see itself and those before, so what lies above the "
        "diagonal is -inf.",
    )
    expect(
        torch.allclose(weights, even, atol=1e-6),
        "With equal scores place 0 should look at itself alone, place 1 at two places with weights "
        "1/2, and so on.",
    )


@causal.rejects("holds NaN")
def _(n):
    return torch.ones(n, n).triu(1) * -torch.inf


@causal.rejects("ones and zeros")
def _(n):
    return torch.tril(torch.ones(n, n))


@causal.rejects("looks forward")
def _(n):
    return torch.full((n, n), -math.inf).tril(-1)


@causal.rejects("not numbers")
def _(n):
    return torch.full((n, n), -math.inf).triu(0)


@causal.rejects("place 0 should look at itself alone")
def _(n):
    return torch.zeros(n, n)


@causal.rejects("tensor of (4, 4)")
def _(n):
    return torch.full((n,), -math.inf)


@causal.rejects("place 0 should look at itself alone")
def _(n):
    return torch.full((n, n), -1.0).triu(1)


# 5 · the contrastive loss -------------------------------------------------------------------

contrast = Exercise("05-contrastive-loss", "contrastive_loss", "train pictures and texts into one space")


def _contrast(
    texts, images, scale, *, normal=True, sides="both", scaled=True, sum=False, shifted=False, divide=False
):  # fmt: skip
    if normal:
        texts, images = F.normalize(texts, dim=-1), F.normalize(images, dim=-1)
    logits = texts @ images.T
    logits = logits / scale if divide else logits * (scale if scaled else 1)
    truth = torch.arange(len(logits)).roll(1 if shifted else 0)
    one, other = F.cross_entropy(logits, truth), F.cross_entropy(logits.T, truth)
    return {"both": one + other if sum else (one + other) / 2, "texts": one, "images": other}[sides]


@contrast.case
def _(answer):
    texts, images = torch.randn(2, 5, 8)
    images = images * 3
    got = answer(texts.clone(), images.clone(), 10.0)
    expect_tensor(got, ())

    def other(**mistake):
        return lambda: _contrast(texts, images, 10.0, **mistake)

    expect_close(
        got,
        other()(),
        "On random embeddings and scale 10 the loss should agree with CLIP's (Radford et al., 2021, "
        "figure 3).",
        {
            "Yours does not bring the embeddings to length 1: long ones would win always.": other(
                normal=False
            ),
            "Yours only asks which picture belongs to a text: ask for the text of each picture as well.": (
                other(sides="texts")
            ),
            "Yours only asks which text belongs to a picture: ask for the picture of each text as well.": (
                other(sides="images")
            ),
            "Yours leaves the scale out: cosines alone are too small to tell anything apart.": (
                other(scaled=False)
            ),
            "Yours divides by the scale: CLIP multiplies.": other(divide=True),
            "Yours takes the exponential of the scale: it is given as it is.": (
                lambda: _contrast(texts, images, math.exp(10.0))
            ),
            "Yours adds both sides: take their mean.": other(sum=True),
        },
        tolerance=1e-3,
    )


@contrast.case
def _(answer):
    same = torch.eye(4, 8).requires_grad_()
    loss = answer(same, same, 20.0)
    expect(loss.requires_grad, "The loss carries no gradient: leave out no_grad, detach and item.")
    expect_close(
        loss.detach(),
        0.0,
        "Where every text lies on its own picture, there should be no loss.",
        tolerance=1e-3,
    )


@contrast.rejects("to length 1")
def _(*arguments):
    return _contrast(*arguments, normal=False)


@contrast.rejects("the text of each picture as well")
def _(*arguments):
    return _contrast(*arguments, sides="texts")


@contrast.rejects("the picture of each text as well")
def _(*arguments):
    return _contrast(*arguments, sides="images")


@contrast.rejects("leaves the scale out")
def _(*arguments):
    return _contrast(*arguments, scaled=False)


@contrast.rejects("take their mean")
def _(*arguments):
    return _contrast(*arguments, sum=True)


@contrast.rejects("takes the exponential")
def _(text_embeds, image_embeds, scale):
    return _contrast(text_embeds, image_embeds, math.exp(scale))


@contrast.rejects("CLIP multiplies")
def _(*arguments):
    return _contrast(*arguments, divide=True)


@contrast.rejects("Expected for example")
def _(*arguments):
    return _contrast(*arguments, shifted=True)


@contrast.rejects("carries no gradient")
def _(*arguments):
    return _contrast(*arguments).detach()


# 6 · a classifier from nothing but words ----------------------------------------------------

zero_shot = Exercise(
    "05-zero-shot", "zero_shot", "sort pictures into classes that nobody trained a classifier for"
)


@zero_shot.case
def _(answer):
    texts = torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0], [0.6, 0.6, 0.5]])
    images = torch.tensor(
        [[0.1, 0.9, 0.1], [5.0, 0.2, 0.1], [0.7, 0.7, 0.6], [0.0, 0.1, 0.2], [0.1, 1.0, 0.2]]
    )
    got = answer(images, texts)
    expect_tensor(got, (5,))
    expected = torch.tensor([1, 0, 3, 2, 1])
    if not torch.equal(got.long(), expected):
        cosines = F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).T
        expect(
            not torch.equal(got.long(), cosines.argmin(1)),
            "Yours takes the text that fits worst: cosines are large where things are alike.",
        )
    expect_close(
        got,
        expected,
        "Each picture should get the number of the text with the largest cosine: 1, 0, 3, 2, 1.",
        tolerance=0.1,
    )


@zero_shot.case
def _(answer):
    texts = torch.tensor([[10.0, 9.0], [0.0, 0.1]])
    images = torch.tensor([[0.1, 3.0], [3.0, 2.7]])
    expect_close(
        answer(images, texts),
        torch.tensor([1, 0]),
        "One text of ours is a hundred times as long as the other, and yours always chooses it: "
        "compare directions, not lengths.",
        tolerance=0.1,
    )


@zero_shot.rejects("compare directions")
def _(images, texts):
    return (images @ texts.T).argmax(1)


@zero_shot.rejects("fits worst")
def _(images, texts):
    return (F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).T).argmin(1)


@zero_shot.rejects("should have the shape (5,)")
def _(images, texts):
    return (F.normalize(texts, dim=-1) @ F.normalize(images, dim=-1).T).argmax(1)


@zero_shot.rejects("should have the shape (5,)")
def _(images, texts):
    return F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).T


# Questions of understanding -----------------------------------------------------------------

cut_off = Quiz(
    "05-cut-off",
    "A prompt has 90 pieces. What does the picture know of the last fifteen?",
    (
        Choice(
            "Nothing: 75 pieces fit, and the rest is cut off",
            "Start and end take the other two of 77.",
            right=True,
        ),
        Choice("They count half", "What is cut off never reaches the text encoder."),
        Choice(
            "All: the text encoder reads the text in two parts",
            "Some programs do that on their own. CLIP does not.",
        ),
    ),
)

two_spellings = Quiz(
    "05-two-spellings",
    'Do "A CAT" and "a cat" give different pictures for the same seed?',
    (
        Choice(
            "Yes, capital letters are other characters", "The tokenizer makes them small before it looks."
        ),
        Choice(
            "No, the tokenizer gives both the same numbers", "From there on, nothing can differ.", right=True
        ),
        Choice("Only at a large guidance scale", "Guidance can only exaggerate a difference that is there."),
    ),
)

hidden_or_pooled = Quiz(
    "05-hidden-or-pooled",
    "CLIP gives one vector for a whole text, and one for each place. Which does the UNet of Stable "
    "Diffusion read?",
    (
        Choice(
            "The one for the whole text",
            "That one is trained to fit a picture as a whole, and is used for ranking.",
        ),
        Choice(
            "Those of all 77 places",
            "So that every place of the picture can look at the words that concern it.",
            right=True,
        ),
        Choice(
            "Both, one after the other", "SDXL does something like that. Stable Diffusion 1 and 2 do not."
        ),
    ),
)

fooled = Quiz(
    "05-fooled",
    'CLIP finds by now that the picture fits "a photo of a cat" well. The judge sees no cat. Why?',
    (
        Choice(
            "The judge cannot read cats",
            "It reads cats in renders nearly always. Look at the picture yourself.",
        ),
        Choice(
            "Sixty steps are too few",
            "CLIP's cosine is high already. More steps raise it further and draw no cat.",
        ),
        Choice(
            "The pixels found a pattern that CLIP takes for a cat",
            "A gradient leads to what raises the answer of this one network. Pictures that nobody draws may "
            "raise it most.",
            right=True,
        ),
    ),
)
