"""Checks of the exercises on the pipeline and its parts."""

import inspect
import numbers
from types import SimpleNamespace

import torch
from diffusers.configuration_utils import FrozenDict

from .engine import Exercise, close, expect, expect_close, expect_tensor
from .quiz import Choice, Quiz

# 1 · the size -------------------------------------------------------------------------------

size = Exercise("07-size", "picture_size", "tell from two config files what size a pipeline draws")


def _configs(side, blocks):
    return FrozenDict(sample_size=side), FrozenDict(block_out_channels=(32, 64, 96, 128, 128)[:blocks])


def _two_numbers(got):
    expect(got is not None, "The result is None: does your function end with a return?")
    expect(
        isinstance(got, (tuple, list, torch.Size)) and len(got) == 2,
        f"The result should be two numbers, height and width, and is {got!r}.",
    )
    expect(
        all(isinstance(n, numbers.Real) and n == int(n) for n in got),
        f"Height and width should be whole numbers, and are {got!r}.",
    )
    return tuple(int(n) for n in got)


@size.case
def _(answer):
    got = _two_numbers(answer(*_configs(8, 4)))
    message = f"A UNet for latents of 8×8 and a VAE of 4 blocks draw 64×64, and you say {got[0]}×{got[1]}."
    expect(got != (8, 8), f"{message} That is the size of the latents: pictures are larger.")
    expect(got != (128, 128), f"{message} The VAE halves once for every block but the last.")
    expect(
        got not in ((32, 32), (24, 24)),
        f"{message} Halving three times makes a side 8 times smaller: the factor is a power of 2.",
    )
    expect(got != (512, 512), f"{message} 512 is the size of Stable Diffusion 1.5: take it from the configs.")
    expect(got == (64, 64), message)
    got = _two_numbers(answer(*_configs(96, 3)))
    message = f"Latents of 96×96 and a VAE of 3 blocks make 384×384, and you say {got[0]}×{got[1]}."
    expect(got != (768, 768), f"{message} Yours takes 8 for the factor: count vae_config.block_out_channels.")
    expect(got != (64, 64), f"{message} Yours is always 64: take it from the configs.")
    expect(got == (384, 384), message)


@size.case
def _(answer):
    for asked, expected in (
        (dict(height=128, width=64), (128, 64)),
        (dict(height=128), (128, 64)),
        (dict(width=256), (64, 256)),
    ):
        given = ", ".join(f"{name}={value}" for name, value in asked.items())
        got = _two_numbers(answer(*_configs(8, 4), **asked))
        message = f"With {given} the size should be {expected}, and is {got}."
        expect(got != (64, 64), f"{message} A size that is given goes before the configs' own.")
        expect(got != expected[::-1], f"{message} Height comes first, then width.")
        expect(got != tuple(8 * n for n in expected), f"{message} A size that is given is in pixels already.")
        expect(got == expected, message)


@size.case
def _(answer):
    for asked in (dict(height=60, width=64), dict(height=64, width=68)):
        try:
            got = answer(*_configs(8, 4), **asked)
        except ValueError:
            continue
        except Exception as error:
            expect(
                False,
                f"{asked['height']}×{asked['width']} should raise a ValueError, and raises "
                f"{type(error).__name__}.",
            )
        expect(
            False,
            f"{asked['height']}×{asked['width']} cannot be halved three times: raise a ValueError. "
            f"Yours gives {got!r}.",
        )


def _size(unet_config, vae_config, height=None, width=None, *, factor=None, side=None, check=True):
    factor = factor or 2 ** (len(vae_config.block_out_channels) - 1)
    side = side or unet_config.sample_size * factor
    height, width = height or side, width or side
    if check and (height % factor or width % factor):
        raise ValueError("does not fit")
    return height, width


@size.rejects("size of the latents")
def _(unet_config, vae_config, height=None, width=None):
    return height or unet_config.sample_size, width or unet_config.sample_size


@size.rejects("every block but the last")
def _(unet_config, vae_config, height=None, width=None):
    return _size(unet_config, vae_config, height, width, factor=2 ** len(vae_config.block_out_channels))


@size.rejects("the factor is a power of 2")
def _(unet_config, vae_config, height=None, width=None):
    return _size(unet_config, vae_config, height, width, factor=len(vae_config.block_out_channels))


@size.rejects("512 is the size of Stable Diffusion 1.5")
def _(unet_config, vae_config, height=None, width=None):
    return _size(unet_config, vae_config, height, width, side=512)


@size.rejects("takes 8 for the factor")
def _(unet_config, vae_config, height=None, width=None):
    return _size(unet_config, vae_config, height, width, factor=8)


@size.rejects("goes before the configs' own")
def _(unet_config, vae_config, height=None, width=None):
    return _size(unet_config, vae_config)


@size.rejects("goes before the configs' own")
def _(unet_config, vae_config, height=None, width=None):
    both = height and width  # as the library does: one without the other is ignored
    return _size(unet_config, vae_config, *((height, width) if both else ()))


@size.rejects("Height comes first")
def _(unet_config, vae_config, height=None, width=None):
    return _size(unet_config, vae_config, height, width)[::-1]


@size.rejects("in pixels already")
def _(unet_config, vae_config, height=None, width=None):
    side = unet_config.sample_size
    factor = 2 ** (len(vae_config.block_out_channels) - 1)
    return (height or side) * factor, (width or side) * factor


@size.rejects("cannot be halved three times")
def _(unet_config, vae_config, height=None, width=None):
    return _size(unet_config, vae_config, height, width, check=False)


@size.rejects("64×68 cannot be halved")
def _(unet_config, vae_config, height=None, width=None):
    if height and height % 8:
        raise ValueError(height)
    return _size(unet_config, vae_config, height, width, check=False)


@size.rejects("and raises AssertionError")
def _(unet_config, vae_config, height=None, width=None):
    height, width = _size(unet_config, vae_config, height, width, check=False)
    assert height % 2 ** (len(vae_config.block_out_channels) - 1) == 0
    return height, width


# 2 · several pictures of each prompt --------------------------------------------------------

batch = Exercise(
    "07-batch", "text_batch", "draw several pictures of each of several prompts in one batch, unmixed"
)


@batch.case
def _(answer):
    negative, prompts = torch.randn(2, 2, 5, 4)
    got = answer(negative.clone(), prompts.clone(), 3)
    if isinstance(got, torch.Tensor):
        shape = tuple(got.shape)
        expect(
            shape != (4, 5, 4),
            f"The shape is {shape}, as for one picture of each prompt: 3 of each need 3 rows of each text.",
        )
        expect(
            shape != (6, 5, 4),
            f"The shape is {shape}: that is one half. Negative prompts and prompts are both needed.",
        )
        expect(
            shape != (8, 5, 4),
            f"The shape is {shape}: the negative texts have to be repeated as often as the prompts.",
        )
        expect(
            shape not in ((4, 15, 4), (4, 5, 12), (6, 10, 4)),
            f"The shape is {shape}: pictures lie along the first dimension, so repeat and join along it.",
        )
    expect_tensor(got, (12, 5, 4))

    def rows(order):  # of the four texts: negative 1 and 2, prompt 1 and 2
        return torch.cat([negative, prompts])[list(order)]

    def in_rows(*texts):
        return rows(text for text in texts for _ in range(3))

    expect_close(
        got,
        in_rows(0, 1, 2, 3),
        "For 2 prompts with 3 pictures each the rows should be n1 n1 n1 n2 n2 n2, then p1 p1 p1 p2 p2 p2.",
        {
            "Yours go 1 2 1 2 1 2: pictures of one prompt stand side by side, repeat_interleave.": (
                rows((0, 1) * 3 + (2, 3) * 3)
            ),
            "Yours have the prompts first: chunk(2) would swap the predictions.": in_rows(2, 3, 0, 1),
            "Yours join first and then repeat the whole, so that no half is unconditional.": (
                rows((0, 1, 2, 3) * 3)
            ),
            "Yours alternate between negative and prompt: chunk(2) takes the first half.": in_rows(
                0, 2, 1, 3
            ),
            "Yours alternate row by row: chunk(2) takes the first half.": rows((0, 2) * 3 + (1, 3) * 3),
            "Yours repeat the first negative text for all: each prompt has its own.": in_rows(0, 0, 2, 3),
            "Yours repeat only the negative texts side by side, and the prompts in turn.": (
                torch.cat([in_rows(0, 1), rows((2, 3) * 3)])
            ),
        },
    )


@batch.case
def _(answer):
    negative, prompts = torch.randn(2, 3, 5, 4)
    got = answer(negative, prompts, 1)
    expect_tensor(got, (6, 5, 4), "for 3 prompts with one picture each the result")
    expect_close(got, torch.cat([negative, prompts]), "For one picture of each nothing has to be repeated.")
    got = answer(negative, prompts, 2)
    expect_tensor(got, (12, 5, 4), "for 3 prompts with 2 pictures each the result")


def _repeated(x, n):
    return x.repeat_interleave(n, 0)


@batch.rejects("as for one picture of each prompt")
def _(negative_embeds, prompt_embeds, num_images_per_prompt):
    return torch.cat([negative_embeds, prompt_embeds])


@batch.rejects("that is one half")
def _(negative_embeds, prompt_embeds, num_images_per_prompt):
    return _repeated(prompt_embeds, num_images_per_prompt)


@batch.rejects("have to be repeated as often")
def _(negative_embeds, prompt_embeds, num_images_per_prompt):
    return torch.cat([negative_embeds, _repeated(prompt_embeds, num_images_per_prompt)])


@batch.rejects("along the first dimension")
def _(negative_embeds, prompt_embeds, num_images_per_prompt):
    return torch.cat([negative_embeds, prompt_embeds]).repeat(1, num_images_per_prompt, 1)


@batch.rejects("along the first dimension")
def _(negative_embeds, prompt_embeds, num_images_per_prompt):
    texts = [_repeated(x, num_images_per_prompt) for x in (negative_embeds, prompt_embeds)]
    return torch.cat(texts, dim=1)


@batch.rejects("Yours go 1 2 1 2 1 2")
def _(negative_embeds, prompt_embeds, num_images_per_prompt):
    return torch.cat([x.repeat(num_images_per_prompt, 1, 1) for x in (negative_embeds, prompt_embeds)])


@batch.rejects("have the prompts first")
def _(negative_embeds, prompt_embeds, num_images_per_prompt):
    return _repeated(torch.cat([prompt_embeds, negative_embeds]), num_images_per_prompt)


@batch.rejects("join first and then repeat the whole")
def _(negative_embeds, prompt_embeds, num_images_per_prompt):
    return torch.cat([negative_embeds, prompt_embeds]).repeat(num_images_per_prompt, 1, 1)


@batch.rejects("alternate between negative and prompt")
def _(negative_embeds, prompt_embeds, num_images_per_prompt):
    return _repeated(torch.stack([negative_embeds, prompt_embeds], 1).flatten(0, 1), num_images_per_prompt)


@batch.rejects("alternate row by row")
def _(negative_embeds, prompt_embeds, num_images_per_prompt):
    texts = [_repeated(x, num_images_per_prompt) for x in (negative_embeds, prompt_embeds)]
    return torch.stack(texts, 1).flatten(0, 1)


@batch.rejects("first negative text for all")
def _(negative_embeds, prompt_embeds, num_images_per_prompt):
    negative = negative_embeds[:1].expand_as(negative_embeds)
    return _repeated(torch.cat([negative, prompt_embeds]), num_images_per_prompt)


@batch.rejects("For 3 prompts with one picture each")
def _(negative_embeds, prompt_embeds, num_images_per_prompt):
    return _repeated(torch.cat([negative_embeds, prompt_embeds]), 3)


# 3 · latents, a seed for each ---------------------------------------------------------------

latents = Exercise(
    "07-latents", "prepare_latents", "draw any picture of a batch again, alone, from nothing but its seed"
)


def _noise(seeds, shape):
    return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(s)) for s in seeds])


@latents.case
def _(answer):
    scheduler, seeds, shape = SimpleNamespace(init_noise_sigma=torch.tensor(14.6)), [3, 40, 3], (4, 4, 4)
    got = answer(scheduler, list(seeds), shape)
    expect(
        not (isinstance(got, (list, tuple)) and all(isinstance(x, torch.Tensor) for x in got)),
        "The result is a list of tensors: put them into one, with torch.stack.",
    )
    expect(
        not (isinstance(got, torch.Tensor) and tuple(got.shape) == (12, 4, 4)),
        "The result has the shape (12, 4, 4), pictures and channels in one axis: torch.stack makes an axis "
        "for the pictures, torch.cat does not.",
    )
    expect_tensor(got, (3, 4, 4, 4))
    uniform = [torch.rand(shape, generator=torch.Generator().manual_seed(s)) for s in seeds]
    expect(
        got.min() < 0 or not close(got / 14.6, torch.stack(uniform)),
        "Yours draws with torch.rand, numbers from 0 to 1: the noise is Gaussian, torch.randn.",
    )
    expect(
        not close(got[0], got[1]),
        "Seeds 3 and 40 give the same latents: each picture has a seed of its own.",
    )
    expect(
        close(got[0], got[2]),
        "Seed 3 stands there twice and gives two different latents. Make a new generator for each picture, "
        "so that none depends on its neighbours.",
    )
    noise = _noise(seeds, shape)
    expect_close(
        got,
        14.6 * noise,
        "Each picture should be Gaussian noise from its own seed, times scheduler.init_noise_sigma.",
        {
            "Yours has deviation 1: the scheduler's first noise level is missing.": noise,
            "Yours divides by init_noise_sigma: noise has to become larger, multiply.": noise / 14.6,
            "Yours adds init_noise_sigma: multiply.": noise + 14.6,
            "Yours multiplies by its root: multiply by it as it is.": noise * 14.6**0.5,
        },
    )


@latents.case
def _(answer):
    scheduler = SimpleNamespace(init_noise_sigma=1.0)
    got = answer(scheduler, [7, 8], (4, 2, 6))
    expect_tensor(got, (2, 4, 2, 6), "for 2 seeds and the shape (4, 2, 6) the result")
    expect_close(
        got,
        _noise([7, 8], (4, 2, 6)),
        "At init_noise_sigma 14.6 yours is right; at 1 it is not.",
    )
    torch.manual_seed(11)
    expected = torch.rand(1)
    torch.manual_seed(11)
    answer(scheduler, [7, 8], (4, 2, 6))
    expect(
        close(torch.rand(1), expected),
        "Yours changes the random numbers of everything else, as torch.manual_seed does: give torch.randn "
        "a generator, torch.Generator().manual_seed(seed).",
    )


@latents.rejects("with torch.stack")
def _(scheduler, seeds, shape):
    return list(_noise(seeds, shape) * scheduler.init_noise_sigma)


@latents.rejects("torch.cat does not")
def _(scheduler, seeds, shape):
    return torch.cat(list(_noise(seeds, shape))) * scheduler.init_noise_sigma


@latents.rejects("the noise is Gaussian")
def _(scheduler, seeds, shape):
    noise = [torch.rand(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(noise) * scheduler.init_noise_sigma


@latents.rejects("each picture has a seed of its own")
def _(scheduler, seeds, shape):
    return _noise(seeds[:1], shape).repeat(len(seeds), 1, 1, 1) * scheduler.init_noise_sigma


@latents.rejects("none depends on its neighbours")
def _(scheduler, seeds, shape):
    generator = torch.Generator().manual_seed(seeds[0])
    return torch.randn(len(seeds), *shape, generator=generator) * scheduler.init_noise_sigma


@latents.rejects("none depends on its neighbours")
def _(scheduler, seeds, shape):
    return torch.randn(len(seeds), *shape) * scheduler.init_noise_sigma


@latents.rejects("none depends on its neighbours")
def _(scheduler, seeds, shape):
    return _noise(range(len(seeds)), shape) * scheduler.init_noise_sigma


@latents.rejects("first noise level is missing")
def _(scheduler, seeds, shape):
    return _noise(seeds, shape)


@latents.rejects("noise has to become larger")
def _(scheduler, seeds, shape):
    return _noise(seeds, shape) / scheduler.init_noise_sigma


@latents.rejects("adds init_noise_sigma")
def _(scheduler, seeds, shape):
    return _noise(seeds, shape) + scheduler.init_noise_sigma


@latents.rejects("at 1 it is not")
def _(scheduler, seeds, shape):
    return _noise(seeds, shape) * 14.6


@latents.rejects("as torch.manual_seed does")
def _(scheduler, seeds, shape):
    noise = []
    for seed in seeds:
        torch.manual_seed(seed)
        noise.append(torch.randn(shape))
    return torch.stack(noise) * scheduler.init_noise_sigma


# 4 · what a step knows ----------------------------------------------------------------------

extra = Exercise(
    "07-extra-arguments", "extra_step_kwargs", "write a loop that takes schedulers nobody has written yet"
)


class _OnlyEta:
    """A scheduler that nobody has seen, whose step knows eta and no generator."""

    def __init__(self, generator=None, eta=1.0):
        self.eta = eta

    def step(self, model_output, timestep, sample, eta=0.0, return_dict=True):
        return (sample,)


def _schedulers():
    from diffusers import DDIMScheduler, EulerDiscreteScheduler, PNDMScheduler

    return PNDMScheduler(), DDIMScheduler(), EulerDiscreteScheduler()


def _extra(scheduler, generator, eta, *, known=None):
    known = inspect.signature(scheduler.step).parameters if known is None else known
    return {name: value for name, value in (("generator", generator), ("eta", eta)) if name in known}


@extra.case
def _(answer):
    generator = torch.Generator().manual_seed(0)
    knows = {0: "neither eta nor generator", 1: "eta and generator", 2: "generator, and no eta"}
    for i, scheduler in enumerate((*_schedulers(), _OnlyEta())):
        got = answer(scheduler, generator, 0.3)
        name = "A scheduler you do not know" if i == 3 else type(scheduler).__name__
        expect(got is not None, "The result is None: does your function end with a return?")
        expect(isinstance(got, dict), f"The result should be a dictionary, ready for **, and is {got!r:.60}.")
        expected = _extra(scheduler, generator, 0.3)
        what = knows.get(i, "eta, and no generator")
        message = f"{name} has a step that takes {what}, and yours gives {sorted(got) or 'nothing'}."
        unknown = sorted(set(got) - {"eta", "generator"})
        expect(
            not unknown, f"{message} step() would not know {', '.join(unknown)}: take eta and generator only."
        )
        if i == 0 and got:
            expect(False, f"{message} Ask inspect.signature(scheduler.step).parameters what it takes.")
        if i == 1 and not got:
            expect(
                False,
                f"{message} step is a method, so look at its signature, not at attributes of the scheduler.",
            )
        if i == 3:
            message += " Decide by the signature of step, not by the scheduler's name or other methods."
        expect(set(got) == set(expected), message)
        expect(
            all(got[key] is expected[key] for key in expected),
            f"For {name} the values are not the ones that were given: eta is 0.3, the generator that one.",
        )


@extra.case
def _(answer):
    generator = [torch.Generator(), torch.Generator()]
    got = answer(_schedulers()[1], generator, 0.0)
    expect(
        got.get("eta", 0.0) == 0.0 and got.get("generator") is generator,
        f"With a list of generators and eta 0 the result should hold just these, and is {got!r:.80}.",
    )
    expect(
        not answer(_schedulers()[0], generator, 0.0),
        "What you gave a scheduler before stays in the dictionary: make a new one in each call.",
    )


@extra.rejects("Ask inspect.signature")
def _(scheduler, generator, eta):
    return {"eta": eta, "generator": generator}


@extra.rejects("not at attributes")
def _(scheduler, generator, eta):
    return {k: v for k, v in (("eta", eta), ("generator", generator)) if hasattr(scheduler, k)}


@extra.rejects("not at attributes")
def _(scheduler, generator, eta):
    return {}


@extra.rejects("Decide by the signature of step")
def _(scheduler, generator, eta):
    known = {"DDIMScheduler": ("generator", "eta"), "EulerDiscreteScheduler": ("generator",)}
    return _extra(scheduler, generator, eta, known=known.get(type(scheduler).__name__, ()))


@extra.rejects("takes generator, and no eta")
def _(scheduler, generator, eta):
    both = "generator" in inspect.signature(scheduler.step).parameters
    return {"eta": eta, "generator": generator} if both else {}


@extra.rejects("step() would not know")
def _(scheduler, generator, eta):
    return dict(inspect.signature(scheduler.step).parameters)


@extra.rejects("not the ones that were given")
def _(scheduler, generator, eta):
    return _extra(scheduler, eta, generator)


@extra.rejects("should be a dictionary")
def _(scheduler, generator, eta):
    return list(_extra(scheduler, generator, eta))


@extra.rejects("make a new one in each call")
def _(scheduler, generator, eta, kept={}):  # noqa: B006 - the mistake
    if isinstance(generator, list):
        kept |= _extra(scheduler, generator, eta)
        return kept
    return _extra(scheduler, generator, eta)


# 5 · to bytes -------------------------------------------------------------------------------

pictures = Exercise(
    "07-to-bytes", "to_bytes", "hand the answer of a network to any program that shows pictures"
)

_LEVELS = torch.tensor([0.3, 12.7, 80.4, 127.6, 200.3, 254.7])  # of 255; rounding and cutting differ


def _decoded():
    """(2, 3, 4, 6): all levels in [-1, 1], and some numbers beyond."""
    levels = _LEVELS[torch.randint(0, 6, (2, 3, 4, 6))]
    x = levels / 255 * 2 - 1
    x[0, :, 0, 0], x[1, :, 3, 5] = 1.3, -1.3
    return x


def _to_bytes(x, *, clamp=True, full=255.0, halve=True, shift=0.5):
    x = x / 2 + shift if halve else x
    x = x.clamp(0, 1) if clamp else x
    return (x * full).round()


@pictures.case
def _(answer):
    x = _decoded()
    given = x.clone()
    got = answer(given)
    expect(got is not None, "The result is None: does your function end with a return?")
    expect(
        isinstance(got, torch.Tensor) or hasattr(got, "__array__"),
        f"The result should be a tensor or an array, and is a {type(got).__name__}.",
    )
    expect(
        str(got.dtype).endswith("uint8"),
        f"The result has the type {got.dtype}, and should be uint8: a byte for each number.",
    )
    got = torch.as_tensor(got)
    expect(
        tuple(got.shape) != (2, 3, 4, 6),
        "The result has the shape (2, 3, 4, 6): programs want the colours last, (2, 4, 6, 3), so permute.",
    )
    expect(
        tuple(got.shape) != (2, 6, 4, 3),
        "The result has the shape (2, 6, 4, 3): width and height are swapped, they stay in their order.",
    )
    expect_tensor(got, (2, 4, 6, 3))
    inside = (x.abs() <= 1).permute(0, 2, 3, 1)

    def last(y):
        return y.permute(0, 2, 3, 1)[inside]

    half = x / 2 + 0.5
    expect_close(
        got[inside],
        last(_to_bytes(x)),
        "-1 should become 0, and 1 should become 255, with all between in proportion, rounded.",
        {
            "Yours cuts the fraction off, which makes pictures a little darker: round first.": (
                last((half * 255).floor())
            ),
            "Yours has mixed up pixels and colours: move axes with permute(0, 2, 3, 1), not with reshape.": (
                _to_bytes(x).reshape(2, 4, 6, 3)[inside]
            ),
            "Yours multiplies by 256: the largest byte is 255.": last((half * 256).clamp(max=255).floor()),
            "Yours cuts off all below zero: halve and add one half first.": last(
                _to_bytes(x.clamp(0, 1), halve=False)
            ),
            "Yours is 0 or 1: multiply by 255 before making bytes of it.": last(half.clamp(0, 1).round()),
            "Yours is 0 or 1: multiply by 255 before you make bytes of it.": last(half.clamp(0, 1).floor()),
            "Yours is stretched to the darkest and brightest number: the picture's own range stays.": last(
                ((x - x.min()) / (x.max() - x.min()) * 255).round()
            ),
            "Yours adds one before halving, and not one half: (x + 1) / 2, or x / 2 + 0.5.": last(
                _to_bytes(x, shift=1.0)
            ),
        },
        tolerance=0,
    )
    bright, dark = got[0, 0, 0, 0].item(), got[1, 3, 5, 0].item()
    expect(
        bright == 255 and dark == 0,
        f"1.3 became {bright}, and -1.3 became {dark}: numbers beyond [-1, 1] wrap around, so that bright "
        "spots turn black. Clamp before making bytes.",
    )
    expect(close(given, x), "Your function changes the tensor that it was given: make a new one.")


@pictures.case
def _(answer):
    got = torch.as_tensor(answer(torch.full((1, 3, 2, 2), 0.2)))
    expect_tensor(got, (1, 2, 2, 3), "for one picture of 2×2 the result")
    expect_close(
        got,
        torch.full((1, 2, 2, 3), 153),
        "A picture of nothing but 0.2 should become 153 everywhere.",
        {"Yours is stretched to the picture's own darkest and brightest number.": torch.zeros(1, 2, 2, 3)},
        tolerance=0,
    )


def _last(x):
    return x.permute(0, 2, 3, 1)


@pictures.rejects("should be uint8")
def _(images):
    return _last(_to_bytes(images))


@pictures.rejects("should be uint8")
def _(images):
    return _last((images / 2 + 0.5).clamp(0, 1))


@pictures.rejects("colours last")
def _(images):
    return _to_bytes(images).to(torch.uint8)


@pictures.rejects("width and height are swapped")
def _(images):
    return _to_bytes(images).to(torch.uint8).permute(0, 3, 2, 1)


@pictures.rejects("round first")
def _(images):
    return _last((images / 2 + 0.5).clamp(0, 1) * 255).to(torch.uint8)


@pictures.rejects("not with reshape")
def _(images):
    n, c, h, w = images.shape
    return _to_bytes(images).to(torch.uint8).reshape(n, h, w, c)


@pictures.rejects("the largest byte is 255")
def _(images):
    return _last(((images / 2 + 0.5).clamp(0, 1) * 256).clamp(max=255)).to(torch.uint8)


@pictures.rejects("halve and add one half first")
def _(images):
    return _last(_to_bytes(images.clamp(0, 1), halve=False)).to(torch.uint8)


@pictures.rejects("multiply by 255 before")
def _(images):
    return _last((images / 2 + 0.5).clamp(0, 1)).to(torch.uint8)


@pictures.rejects("stretched to the darkest")
def _(images):
    x = (images - images.min()) / (images.max() - images.min())
    return _last((x * 255).round()).to(torch.uint8)


@pictures.rejects("wrap around")
def _(images):
    return _last(_to_bytes(images, clamp=False)).to(torch.int64).remainder(256).to(torch.uint8)


@pictures.rejects("changes the tensor that it was given")
def _(images):
    images.div_(2).add_(0.5).clamp_(0, 1)
    return _last((images * 255).round()).to(torch.uint8)


@pictures.rejects("not one half")
def _(images):
    return _last(_to_bytes(images, shift=1.0)).to(torch.uint8)


# 6 · what the parts weigh -------------------------------------------------------------------

weigh = Exercise("07-weigh", "bytes_of_parts", "tell beforehand whether a model fits into memory")


class _Network(torch.nn.Module):
    """Weights on two levels, one of them frozen, and numbers that are no weights."""

    def __init__(self, width):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(3, width), torch.nn.Linear(width, 2, bias=False))
        self.scale = torch.nn.Parameter(torch.ones(5), requires_grad=False)
        self.register_buffer("positions", torch.arange(7))


def _parts():
    return {
        "vae": _Network(10).half(),
        "text_encoder": _Network(20),
        "tokenizer": {"a": 0, "cat": 1},
        "scheduler": SimpleNamespace(betas=torch.linspace(0, 1, 1000)),
        "safety_checker": None,
    }


def _bytes(components, per_weight, keep=lambda p: True):
    return {
        name: sum(p.numel() for p in part.parameters() if keep(p)) * per_weight
        for name, part in components.items()
        if isinstance(part, torch.nn.Module)
    }


@weigh.case
def _(answer):
    parts = _parts()
    before = parts["text_encoder"].scale.dtype
    got = answer(dict(parts), torch.float32)
    expect(got is not None, "The result is None: does your function end with a return?")
    expect(
        isinstance(got, dict), f"The result should be a dictionary from names to bytes, and is {got!r:.60}."
    )
    others = sorted(set(got) - {"vae", "text_encoder"})
    expect(
        not others,
        f"{', '.join(others)} should not be in the result: only networks have weights, and they are of the "
        "class torch.nn.Module.",
    )
    expect(len(got) == 2, f"The networks are vae and text_encoder, and you name {sorted(got) or 'none'}.")
    right = _bytes(parts, 4)

    def as_numbers(parts_in_bytes):
        return torch.tensor([float(parts_in_bytes[name]) for name in ("vae", "text_encoder")])

    def of_state(part):
        return sum(x.numel() for x in part.state_dict().values()) * 4

    networks = {name: parts[name] for name in right}
    expect_close(
        as_numbers(got),
        as_numbers(right),
        "In float32, vae (65 weights) should take 260 bytes, and text_encoder (125 weights) 500.",
        {
            "Yours is the number of weights: each takes 4 bytes in float32.": as_numbers(_bytes(parts, 1)),
            "Yours counts bits: a byte has 8 of them.": as_numbers(_bytes(parts, 32)),
            "Yours leaves out the frozen weights, which need memory as well.": as_numbers(
                _bytes(parts, 4, lambda p: p.requires_grad)
            ),
            "Yours counts tensors and not their numbers: numel().": as_numbers(
                {name: 4 * len(list(part.parameters())) for name, part in networks.items()}
            ),
            "Yours counts the first side of each tensor: numel() counts all numbers.": as_numbers(
                {name: 4 * sum(map(len, part.parameters())) for name, part in networks.items()}
            ),
            "Yours counts what state_dict() holds, and there are positions in it that are no weights.": (
                as_numbers({name: of_state(part) for name, part in networks.items()})
            ),
            "Yours takes the type that the weights have now: dtype says which they would have.": as_numbers(
                {
                    name: sum(p.numel() * p.element_size() for p in part.parameters())
                    for name, part in networks.items()
                }
            ),
            "Yours is the same for both parts: begin anew for each.": as_numbers(
                dict.fromkeys(right, sum(right.values()))
            ),
            "Yours goes on adding from part to part: begin at 0 for each.": as_numbers(
                {"vae": right["vae"], "text_encoder": sum(right.values())}
            ),
        },
        tolerance=0.5,
    )
    for dtype, size_of in ((torch.float16, 2), (torch.float64, 8), (torch.int8, 1)):
        expect_close(
            as_numbers(answer(dict(parts), dtype)),
            as_numbers(_bytes(parts, size_of)),
            f"For {dtype} each weight takes {size_of} byte{'s' * (size_of > 1)}: dtype.itemsize says so.",
            tolerance=0.5,
        )
    expect(
        parts["text_encoder"].scale.dtype == before,
        "Your function changes the networks, as .to(dtype) does: only count.",
    )


@weigh.rejects("should not be in the result")
def _(components, dtype):
    found = _bytes(components, dtype.itemsize)
    return {name: found.get(name, 0) for name in components}


@weigh.rejects("no attribute 'parameters'")
def _(components, dtype):
    return {n: sum(p.numel() for p in part.parameters()) * 4 for n, part in components.items()}


@weigh.rejects("Yours is the number of weights")
def _(components, dtype):
    return _bytes(components, 1)


@weigh.rejects("Yours counts bits")
def _(components, dtype):
    return _bytes(components, torch.finfo(dtype).bits)


@weigh.rejects("leaves out the frozen weights")
def _(components, dtype):
    return _bytes(components, dtype.itemsize, lambda p: p.requires_grad)


@weigh.rejects("counts tensors and not their numbers")
def _(components, dtype):
    networks = {n: p for n, p in components.items() if isinstance(p, torch.nn.Module)}
    return {name: len(list(part.parameters())) * dtype.itemsize for name, part in networks.items()}


@weigh.rejects("counts the first side")
def _(components, dtype):
    networks = {n: p for n, p in components.items() if isinstance(p, torch.nn.Module)}
    return {name: sum(map(len, part.parameters())) * dtype.itemsize for name, part in networks.items()}


@weigh.rejects("no weights")
def _(components, dtype):
    networks = {n: p for n, p in components.items() if isinstance(p, torch.nn.Module)}
    return {n: sum(x.numel() for x in p.state_dict().values()) * dtype.itemsize for n, p in networks.items()}


@weigh.rejects("dtype says which they would have")
def _(components, dtype):
    networks = {n: p for n, p in components.items() if isinstance(p, torch.nn.Module)}
    return {n: sum(p.numel() * p.element_size() for p in m.parameters()) for n, m in networks.items()}


@weigh.rejects("For torch.float16 each weight takes 2 bytes")
def _(components, dtype):
    return _bytes(components, 4)


@weigh.rejects("begin at 0 for each")
def _(components, dtype):
    total, found = 0, {}
    for name, amount in _bytes(components, dtype.itemsize).items():
        total += amount
        found[name] = total
    return found


@weigh.rejects("only count")
def _(components, dtype):
    if not dtype.is_floating_point:
        return _bytes(components, dtype.itemsize)
    networks = {n: p.to(dtype) for n, p in components.items() if isinstance(p, torch.nn.Module)}
    return {n: sum(p.numel() * p.element_size() for p in m.parameters()) for n, m in networks.items()}


# Questions of understanding -----------------------------------------------------------------

other_size = Quiz(
    "07-other-size",
    "You ask for 128×64 from a pipeline that was trained on 64×64. Which weights have to change?",
    (
        Choice(
            "None",
            "Convolutions and attention take any size; only the latents become 16×8. The picture may suffer, "
            "because the UNet never saw such a shape.",
            right=True,
        ),
        Choice(
            "Those of the UNet",
            "Its layers do not ask how large the latents are, so its weights stay the same.",
        ),
        Choice(
            "Those of the VAE", "It makes 8×8 pixels of each place of the latents, however many there are."
        ),
    ),
)

two_calls = Quiz(
    "07-one-or-two-calls",
    "Instead of one call with both halves, the UNet could be called twice, with one half each. What changes?",
    (
        Choice(
            "The picture",
            "The rows of a batch do not know of each other, so both ways give the same predictions.",
        ),
        Choice(
            "Memory and time, not the picture",
            "One call needs more memory and is often a little faster. Rows of a batch do not mix.",
            right=True,
        ),
        Choice(
            "The negative prompt stops working", "The formula does not ask where the predictions came from."
        ),
    ),
)

stopped = Quiz(
    "07-stopped",
    "A callback stops the loop after 12 of 20 steps. What does the picture look like?",
    (
        Choice("Finished, but smaller", "The latents have their size from the first step on."),
        Choice(
            "Finished, but with fewer details",
            "That would be a loop of 12 steps. Here the noise levels that were left were never visited.",
        ),
        Choice(
            "It still has noise on it",
            "The latents are at the noise level of step 12. Only a loop planned for 12 steps ends without.",
            right=True,
        ),
    ),
)

more_steps = Quiz(
    "07-more-steps",
    "You ask for 50 steps instead of 25. What becomes of the time?",
    (
        Choice(
            "Every part takes twice as long", "Text encoder and VAE stand outside of the loop and work once."
        ),
        Choice(
            "Nearly twice as much, all of it in the UNet",
            "The loop calls the UNet in each step; the other parts work once, and take little.",
            right=True,
        ),
        Choice("It stays nearly the same: steps are small", "Each step is one whole call of the UNet."),
    ),
)
