"""Checks of the exercises on guidance scale and negative prompts."""

import torch

from .engine import Exercise, expect, expect_close, expect_tensor
from .quiz import Choice, Quiz

# 1 · three directions -----------------------------------------------------------------------

cosine = Exercise(
    "09-directions", "direction_cosine", "measure whether a negative prompt pulls against the prompt"
)


@cosine.case
def _(answer):
    uncond, text, negative = torch.randn(3, 1, 4, 8, 8)

    def cos(a, b):
        return torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0)

    got = answer(uncond, text, negative)
    got = torch.as_tensor(got, dtype=torch.float32) if isinstance(got, float) else got
    expect_tensor(got, ())
    expect_close(
        got,
        cos(text - uncond, negative - uncond),
        "The result should be the cosine between what the prompt changes and what the negative prompt "
        "changes.",
        {
            "Yours compares the predictions themselves, which are nearly the same noise: take away uncond.": (
                cos(text, negative)
            ),
            "Yours is the product alone: divide by both lengths.": (
                ((text - uncond) * (negative - uncond)).sum()
            ),
            "Yours has the sign turned round.": -cos(text - uncond, negative - uncond),
            "Yours compares the prompt's change with the unconditional prediction.": cos(
                text - uncond, uncond
            ),
            "Yours compares the way from negative to prompt with the way from empty to prompt.": (
                cos(text - negative, text - uncond)
            ),
        },
        tolerance=1e-4,
    )


@cosine.case
def _(answer):
    uncond, step = torch.randn(2, 1, 4, 8, 8)
    for factor, expected in ((1.0, 1.0), (-2.0, -1.0)):
        expect_close(
            answer(uncond, uncond + step, uncond + factor * step),
            expected,
            f"Where the negative prompt changes {factor:g} times what the prompt changes, the cosine "
            f"is {expected:g}.",
            tolerance=1e-3,
        )


def _cos(a, b):
    return (a * b).sum() / (a.norm() * b.norm())


@cosine.rejects("take away uncond")
def _(uncond, text, negative):
    return _cos(text, negative)


@cosine.rejects("divide by both lengths")
def _(uncond, text, negative):
    return ((text - uncond) * (negative - uncond)).sum()


@cosine.rejects("sign turned round")
def _(uncond, text, negative):
    return _cos(uncond - text, negative - uncond)


@cosine.rejects("with the unconditional prediction")
def _(uncond, text, negative):
    return _cos(text - uncond, uncond)


@cosine.rejects("should have the shape ()")
def _(uncond, text, negative):
    return torch.nn.functional.cosine_similarity(text - uncond, negative - uncond, dim=1)


# 2 · a scale for each step ------------------------------------------------------------------

decay = Exercise(
    "09-scale-schedule",
    "scale_of_step",
    "guide hard where the layout is decided and softly where details are",
)


@decay.case
def _(answer):
    got = [float(answer(i, 5, 9.0)) for i in range(5)]
    expect(got != got[::-1] and got[0] != 1.0, f"Yours rises, {got}: the first step has the full scale.")
    expect(got[0] == 9.0, f"The first step should have the full scale, 9, and has {got[0]:g}.")
    expect(
        abs(got[-1]) > 1e-6,
        "Yours falls to 0, which does not hear the prompt: 1 is the scale without guidance.",
    )
    expect(
        abs(got[-1] - 1.0) < 1e-6,
        f"The last of 5 steps should have the scale 1, and has {got[-1]:g}: steps are counted from 0, "
        "so the last is 4.",
    )
    expect_close(
        torch.tensor(got),
        torch.tensor([9.0, 7, 5, 3, 1]),
        "Between them the scale should fall evenly: 9 7 5 3 1.",
    )


@decay.case
def _(answer):
    expect_close(float(answer(2, 11, 6.0)), 5.0, "The third of 11 steps from 6 should have the scale 5.")
    try:
        one = float(answer(0, 1, 4.0))
    except ZeroDivisionError:
        one = None
    expect(
        one == 4.0,
        "A loop of a single step should have the full scale, and yours divides by zero or has another.",
    )


def _decay(i, n, scale):
    return scale if n == 1 else scale + (1 - scale) * i / (n - 1)


@decay.rejects("Yours rises")
def _(i, n, scale):
    return _decay(n - 1 - i, n, scale)


@decay.rejects("counted from 0")
def _(i, n, scale):
    return scale + (1 - scale) * i / n


@decay.rejects("Yours falls to 0")
def _(i, n, scale):
    return scale * (1 - i / (n - 1)) if n > 1 else scale


@decay.rejects("fall evenly")
def _(i, n, scale):
    return scale ** (1 - i / (n - 1)) if n > 1 else scale


@decay.rejects("single step")
def _(i, n, scale):
    return scale + (1 - scale) * i / (n - 1)


@decay.rejects("should have the full scale, 9")
def _(i, n, scale):
    return _decay(i + 1, n + 1, scale)


# 3 · against over-saturation ----------------------------------------------------------------

rescale = Exercise("09-rescale", "rescale", "keep colours from burning out at a high guidance scale")


def _rescale(guided, text, mix, *, swapped=False, std=True, whole=False, fixed=None):
    axes = None if whole else tuple(range(1, guided.ndim))
    size = torch.std if std else torch.var
    a, b = (size(x) if whole else size(x, dim=axes, keepdim=True) for x in (text, guided))
    rescaled = guided * (b / a if swapped else a / b)
    mix = mix if fixed is None else fixed
    return mix * rescaled + (1 - mix) * guided


@rescale.case
def _(answer):
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg

    guided, text = 3 * torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    guided[1] *= 2
    got = answer(guided.clone(), text, 1.0)
    expect_tensor(got, (2, 4, 8, 8))

    def other(mix=1.0, **mistake):
        return lambda: _rescale(guided, text, mix, **mistake)

    expect_close(
        got,
        rescale_noise_cfg(guided, text, 1.0),
        "With mix 1 each picture's guided prediction should get the deviation of its prediction with text.",
        {
            "Yours divides the other way round: the guided prediction has to shrink.": other(swapped=True),
            "Yours takes the variance for the deviation.": other(std=False),
            "Yours takes one deviation for the whole batch: each picture has its own.": other(whole=True),
            "Yours leaves the guided prediction as it was.": guided,
            "Yours is the prediction with text itself.": text,
        },
        tolerance=1e-3,
    )
    expect_close(
        answer(guided.clone(), text, 0.7),
        rescale_noise_cfg(guided, text, 0.7),
        "With mix 1 yours is right, with mix 0.7 it is not: seven tenths rescaled, three tenths as it was.",
        {"Yours mixes the other way round.": other(0.3), "Yours takes no notice of mix.": other(1.0)},
        tolerance=1e-3,
    )


@rescale.rejects("has to shrink")
def _(*arguments):
    return _rescale(*arguments, swapped=True)


@rescale.rejects("variance for the deviation")
def _(*arguments):
    return _rescale(*arguments, std=False)


@rescale.rejects("each picture has its own")
def _(*arguments):
    return _rescale(*arguments, whole=True)


@rescale.rejects("takes no notice of mix")
def _(*arguments):
    return _rescale(*arguments, fixed=1.0)


@rescale.rejects("leaves the guided prediction")
def _(guided, text, mix):
    return _rescale(guided, text, 1 - mix)


@rescale.rejects("is the prediction with text itself")
def _(guided, text, mix):
    return text


# 4 · one word louder ------------------------------------------------------------------------

weighting = Exercise("09-prompt-weighting", "weigh_words", "make one word of a prompt count more, or less")


@weighting.case
def _(answer):
    text, empty = torch.randn(2, 1, 5, 4)
    weights = torch.tensor([1.0, 1.0, 2.0, 1.0, 0.5])
    got = answer(text.clone(), empty, weights)
    expect_tensor(got, (1, 5, 4))
    w = weights.view(1, 5, 1)
    expect_close(
        got,
        empty + w * (text - empty),
        "Each place should go from the empty text towards the prompt, as far as its weight says.",
        {
            "Yours multiplies the hidden states themselves: start from the empty text.": w * text,
            "Yours goes from the prompt towards the empty text.": text + w * (empty - text),
            "Yours adds the weighted prompt to the empty text: it is the difference that counts.": (
                empty + w * text
            ),
            "Yours leaves the weights out.": text,
            "Yours gives all places the mean weight.": empty + weights.mean() * (text - empty),
        },
    )


@weighting.case
def _(answer):
    text, empty = torch.randn(2, 2, 4, 4)
    weights = torch.tensor([1.0, 2.0, 1.0, 1.0])
    expect_close(
        answer(text, empty, weights),
        empty + weights.view(1, 4, 1) * (text - empty),
        "Where there are as many places as numbers in a vector, yours weighs the numbers: give the "
        "weights the shape (1, places, 1).",
    )


def _weigh(text, empty, weights):
    return empty + weights.view(1, -1, 1) * (text - empty)


@weighting.rejects("start from the empty text")
def _(text, empty, weights):
    return weights.view(1, -1, 1) * text


@weighting.rejects("from the prompt towards the empty text")
def _(text, empty, weights):
    return _weigh(empty, text, weights)


@weighting.rejects("it is the difference that counts")
def _(text, empty, weights):
    return empty + weights.view(1, -1, 1) * text


@weighting.rejects("leaves the weights out")
def _(text, empty, weights):
    return text


@weighting.rejects("the mean weight")
def _(text, empty, weights):
    return _weigh(text, empty, weights.mean().expand(len(weights)))


@weighting.rejects("yours weighs the numbers")
def _(text, empty, weights):
    if text.shape[1] == text.shape[2]:
        return empty + weights * (text - empty)
    return _weigh(text, empty, weights)


# 5 · the sweep ------------------------------------------------------------------------------

sweep = Exercise("09-sweep", "sweep", "find the best scale of any model by measuring, and not by taste")


def _pictures(guidance_scale, seeds):
    """Stand-ins for pictures: (n, 2), the scale and the seed."""
    seeds = torch.as_tensor(seeds, dtype=torch.float32).reshape(-1)
    return torch.stack([torch.full_like(seeds, float(guidance_scale)), seeds], dim=1)


def _right(pictures):
    """At scale 1 one of four seeds is right, at 3 all, at 7 half."""
    rules = {1.0: (4,), 3.0: (4, 5, 6, 9), 7.0: (5, 9)}
    return [seed in rules.get(scale, ()) for scale, seed in pictures.tolist()]


def _shares(scales=(1.0, 3.0, 7.0), seeds=(4, 5, 6, 9)):
    return {s: sum(_right(_pictures(s, seeds))) / len(seeds) for s in scales}


@sweep.case
def _(answer):
    asked = []

    def draw(guidance_scale, seeds):
        given = seeds.tolist() if isinstance(seeds, torch.Tensor) else seeds
        asked.extend(
            (guidance_scale, s) for s in (given if isinstance(given, (list, tuple, range)) else [given])
        )
        return _pictures(guidance_scale, seeds)

    scales, seeds = [1.0, 3.0, 7.0], [4, 5, 6, 9]
    got = answer(draw, _right, list(scales), list(seeds))
    expect(got is not None, "The result is None: does your function end with a return?")
    expect(
        isinstance(got, dict),
        f"The result should be a dictionary from scale to share, and is a {type(got).__name__}.",
    )
    expect(bool(asked), "Nothing was drawn: call draw(guidance_scale, seeds) for each scale.")
    drawn = {scale: [s for used, s in asked if used == scale] for scale in scales}
    expect(
        bool(drawn[3.0]) and bool(drawn[7.0]),
        f"Pictures were drawn at scale {', '.join(f'{s:g}' for s in sorted({s for s, _ in asked}))} only: "
        "draw at each of the scales.",
    )
    expect(
        all(sorted(used) == sorted(drawn[1.0]) for used in drawn.values()),
        "Each scale got other seeds. Then you cannot tell what the scale does from what luck does: use the "
        "same noise for all.",
    )
    expect(
        sorted(drawn[1.0]) == seeds,
        f"For each scale the seeds should be {seeds}, and you draw {sorted(drawn[1.0])}.",
    )
    expect(
        list(got) == scales,
        f"The keys should be the scales, {scales}, and are {list(got)}.",
    )
    shares = torch.tensor([float(v) for v in got.values()])

    def of(values):
        return torch.tensor([float(v) for v in values])

    right = _shares()
    expect_close(
        shares,
        of(right.values()),
        "With 1, 4 and 2 of 4 pictures right the shares should be 0.25, 1 and 0.5.",
        {
            "Yours counts: divide by the number of pictures.": of(v * 4 for v in right.values()),
            "Yours is the share that is wrong.": of(1 - v for v in right.values()),
            "Yours goes on counting from scale to scale: begin anew for each.": of((0.25, 1.25, 1.75)),
            "Yours is whether any picture is right: take the share.": of(v > 0 for v in right.values()),
            "Yours is whether the last picture is right: take the share of all.": of((0, 1, 1)),
            "Yours divides by the number of scales: divide by that of the pictures.": (
                of(v * 4 / 3 for v in right.values())
            ),
        },
    )


@sweep.case
def _(answer):
    got = answer(_pictures, _right, [7.0, 1.0], [5, 9, 4])
    expect(
        list(got) == [7.0, 1.0], f"For the scales 7 and 1 the keys should be these, and they are {list(got)}."
    )
    expect_close(
        torch.tensor([float(v) for v in got.values()]),
        torch.tensor([2 / 3, 1 / 3]),
        "For four seeds yours is right, and for three it is not.",
    )


def _sweep(draw, is_right, scales, seeds, divide=len, wrong=False):
    found = {}
    for scale in scales:
        answers = [bool(x) != wrong for x in is_right(draw(scale, seeds))]
        found[scale] = sum(answers) / (divide(seeds) if callable(divide) else divide)
    return found


@sweep.rejects("Each scale got other seeds")
def _(draw, is_right, scales, seeds):
    found = {}
    for i, scale in enumerate(scales):
        found[scale] = sum(is_right(draw(scale, [s + 10 * i for s in seeds]))) / len(seeds)
    return found


@sweep.rejects("draw at each of the scales")
def _(draw, is_right, scales, seeds):
    pictures = draw(7.5, seeds)
    return {scale: sum(is_right(pictures)) / len(seeds) for scale in scales}


@sweep.rejects("the seeds should be [4, 5, 6, 9]")
def _(draw, is_right, scales, seeds):
    return {scale: sum(is_right(draw(scale, range(len(seeds))))) / len(seeds) for scale in scales}


@sweep.rejects("the seeds should be [4, 5, 6, 9]")
def _(draw, is_right, scales, seeds):
    return _sweep(draw, is_right, scales, seeds[:1])


@sweep.rejects("divide by the number of pictures")
def _(draw, is_right, scales, seeds):
    return _sweep(draw, is_right, scales, seeds, divide=1)


@sweep.rejects("for three it is not")
def _(draw, is_right, scales, seeds):
    return _sweep(draw, is_right, scales, seeds, divide=4)


@sweep.rejects("share that is wrong")
def _(draw, is_right, scales, seeds):
    return _sweep(draw, is_right, scales, seeds, wrong=True)


@sweep.rejects("begin anew for each")
def _(draw, is_right, scales, seeds):
    right, found = 0, {}
    for scale in scales:
        right += sum(is_right(draw(scale, seeds)))
        found[scale] = right / len(seeds)
    return found


@sweep.rejects("should be a dictionary")
def _(draw, is_right, scales, seeds):
    return list(_sweep(draw, is_right, scales, seeds).values())


@sweep.rejects("whether any picture is right")
def _(draw, is_right, scales, seeds):
    return {scale: float(any(is_right(draw(scale, seeds)))) for scale in scales}


@sweep.rejects("divide by that of the pictures")
def _(draw, is_right, scales, seeds):
    return _sweep(draw, is_right, scales, seeds, divide=len(scales))


# Questions of understanding -----------------------------------------------------------------

why_not_no = Quiz(
    "09-no-in-a-prompt",
    '"a cat, no hat" still draws hats. Why?',
    (
        Choice(
            'Captions say what is there, so the word "hat" mostly came with hats',
            "The text encoder learned words from captions, and captions hardly ever name what is missing.",
            right=True,
        ),
        Choice("The text encoder skips short words", "It reads all 77 places."),
        Choice("The guidance scale was too small", "A larger one exaggerates the hat."),
    ),
)

high_scale = Quiz(
    "09-high-scale",
    "What does a guidance scale of 20 do?",
    (
        Choice("It takes four times as long as 5", "The number of predictions does not depend on the scale."),
        Choice(
            "Colours burn out and pictures fall apart",
            "The prediction goes far beyond what the model was trained on.",
            right=True,
        ),
        Choice("It follows the prompt four times as well", "Accuracy rises, reaches its best and falls."),
    ),
)

same_as_prompt = Quiz(
    "09-negative-is-prompt",
    "Prompt and negative prompt are the same text. What does the scale do?",
    (
        Choice(
            "Nothing: the two predictions are equal", "Their difference is zero, times anything.", right=True
        ),
        Choice("It draws the opposite", "It leads away from the text as far as towards it."),
        Choice("It draws noise", "The prediction is the plain one with the text, at every scale."),
    ),
)
