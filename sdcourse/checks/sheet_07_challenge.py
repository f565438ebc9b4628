"""The challenge after lesson 07: a picture in 64 bytes, judged by what comes out at the other end."""

from functools import cache

import torch

from .engine import Exercise, close, expect, expect_tensor

BYTES = 64
BAR = 21.5  # dB; two bits for each number of the latents, the plain way to 64 bytes, give 20.4

challenge = Exercise(
    "07-challenge",
    "make_codec",
    "send a picture of 12288 numbers in 64 bytes, through a decoder both ends have",
)


def _functions(answer, latents):
    """pack, and a copy of unpack made before anything was packed, as on another machine."""
    import cloudpickle

    got = answer(latents.clone())
    expect(got is not None, "The result is None: does your function end with a return?")
    expect(
        isinstance(got, (tuple, list)) and len(got) == 2 and all(map(callable, got)),
        f"The result should be two functions, pack and unpack, and is {got!r:.60}.",
    )
    pack, unpack = got
    return pack, cloudpickle.loads(cloudpickle.dumps(unpack))


def _parcels(pack, latents):
    got = pack(latents.clone())
    expect(got is not None, "pack gives None: does it end with a return?")
    expect(
        not isinstance(got, (bytes, bytearray)),
        "pack gives one parcel for all pictures: give a list, with one for each picture.",
    )
    expect(
        isinstance(got, (list, tuple)) and all(isinstance(p, (bytes, bytearray)) for p in got),
        f"pack should give a list of bytes, and gives a {type(got).__name__}"
        f"{f' of {type(got[0]).__name__}' if isinstance(got, (list, tuple)) and got else ''}: "
        "bytes(numbers) makes them from whole numbers from 0 to 255.",
    )
    expect(len(got) == len(latents), f"For {len(latents)} pictures pack gives {len(got)} parcels.")
    longest = max(map(len, got))
    expect(longest <= BYTES, f"The longest parcel has {longest} bytes, and {BYTES} are allowed.")
    return list(got)


def _practice(n, generator):
    """Latents that are alike from place to place, as real ones are, with a mean for each channel."""
    x = torch.randn(n, 4, 12, 12, generator=generator)
    x = torch.nn.functional.avg_pool2d(x, 5, 1) * 4 + torch.tensor([-0.4, -0.2, 0.2, 0.1]).view(4, 1, 1)
    return x + 0.2 * torch.randn(x.shape, generator=generator)


@challenge.case
def _(answer):
    generator = torch.Generator().manual_seed(0)
    known, latents = _practice(300, generator), _practice(6, generator)
    pack, unpack = _functions(answer, known)
    parcels = _parcels(pack, latents)
    try:
        got = unpack(list(parcels))
    except Exception as error:
        expect(
            False,
            f"unpack stopped with {type(error).__name__}: {error} It gets nothing but a list of parcels, and "
            "was copied to another machine before pack was called: what pack keeps, it does not have.",
        )
    expect_tensor(got, (6, 4, 8, 8), "what unpack gives")
    expect(
        not close(got[0], got[1], 1e-3),
        "All parcels give the same latents: do they hold what differs from picture to picture?",
    )
    expect(
        close(unpack([parcels[4]])[0], got[4], 1e-3),
        "Parcel 4 gives other latents alone than among others: each parcel has to stand by itself.",
    )
    expect(
        bytes(_parcels(pack, latents[4:5])[0]) == bytes(parcels[4]),
        "A picture is packed in another way alone than among others: take what you need, for example the "
        "largest number, from the latents that make_codec gets, not from those that pack gets.",
    )
    error, of_mean = (got - latents).pow(2).mean(), (latents - known.mean(0)).pow(2).mean()
    expect(
        error < of_mean,
        f"What comes back is {error / of_mean:.1f} times as far from the latents as their mean is, for which "
        "no parcel would be needed. Is the order of numbers the same in pack and in unpack?",
    )
    far = torch.linspace(4, 9, 256)[torch.randperm(256, generator=generator)].view(1, 4, 8, 8)
    low, high = (unpack(_parcels(pack, x)).mean() for x in (-far, far))
    expect(
        low < -0.5 and high > 0.5,
        f"Numbers from 4 to 9 come back with a mean of {high:.1f}, and those from -9 to -4 with {low:.1f}: "
        "what is too large wraps around. Clamp first.",
    )


@cache
def _gallery():
    """Latents to learn from; pictures for the test with their latents and scenes; VAE and judge."""
    from sdcourse.data.gallery import random_scenes, render
    from sdcourse.models import load_pipeline
    from sdcourse.models.judge import load_judge

    vae = load_pipeline("pocket-sd", device="cpu").vae

    def encode(scenes):
        images = render(scenes).float() / 127.5 - 1
        parts = [vae.encode(part).latent_dist.mean for part in images.split(32)]
        return images, torch.cat(parts) * vae.config.scaling_factor

    scenes = random_scenes(64, seed=72)
    with torch.no_grad():
        known = encode(random_scenes(400, seed=71))[1]
        return known, scenes, *encode(scenes), vae, load_judge(device="cpu")


@torch.no_grad()
def _measure(latents):
    """PSNR in dB, and the share of attributes that the judge reads right."""
    from sdcourse.data.gallery import ATTRIBUTES

    _, scenes, images, _, vae, judge = _gallery()
    decoded = [vae.decode(part / vae.config.scaling_factor).sample for part in latents.float().split(32)]
    decoded = torch.cat(decoded).clamp(-1, 1)
    error = (decoded - images).pow(2).mean((1, 2, 3))
    read = [
        reading[name] == getattr(scene, name)
        for reading, scene in zip(judge.read(decoded), scenes, strict=True)
        for name in ATTRIBUTES
    ]
    return (10 * torch.log10(4 / error)).mean().item(), sum(read) / len(read)


@challenge.case
def _(answer):
    known, _, _, latents, *_ = _gallery()
    pack, unpack = _functions(answer, known)
    parcels = _parcels(pack, latents)
    got = unpack(parcels)
    expect_tensor(got, tuple(latents.shape), "what unpack gives")
    (db, share), (best, _) = _measure(got), _measure(latents)
    said = (
        f"64 new pictures come back with {db:.1f} dB from {max(map(len, parcels))} bytes each, and the judge "
        f"reads {share:.0%} of their attributes right."
    )
    expect(
        db >= BAR,
        f"{said} The bar is {BAR:g} dB; latents that were not packed, 1024 bytes, give {best:.1f}. Which "
        "numbers matter most? Spend the bits on them.",
    )
    return f"{said} Latents that were not packed, 1024 bytes, give {best:.1f} dB."


def _plain(latents, bits=2, limit=2.0):
    """The same few bits for every number."""
    levels = 2**bits
    scaled = (latents / limit / 2 + 0.5) * levels
    return scaled.floor().clamp(0, levels - 1).to(torch.uint8).flatten(1)


def _to_parcels(numbers):  # (n, 256) of 2 bits to 64 bytes each
    four = numbers.unflatten(1, (64, 4)).int()
    return [bytes((row * torch.tensor([1, 4, 16, 64])).sum(1).tolist()) for row in four]


def _from_parcels(parcels):
    numbers = torch.tensor([list(p) for p in parcels])[:, :, None] // torch.tensor([1, 4, 16, 64]) % 4
    return ((numbers.flatten(1) + 0.5) / 4 - 0.5).view(-1, 4, 8, 8) * 4


@challenge.rejects("has 256 bytes, and 64 are allowed")
def _(latents):
    def pack(latents):
        return [bytes(row.tolist()) for row in _plain(latents, 8)]

    return pack, lambda parcels: torch.zeros(len(parcels), 4, 8, 8)


@challenge.rejects("should be two functions")
def _(latents):
    return _to_parcels(_plain(latents))


@challenge.rejects("a list of bytes, and gives a Tensor")
def _(latents):
    return _plain, lambda numbers: numbers


@challenge.rejects("one parcel for all pictures")
def _(latents):
    return lambda latents: b"".join(_to_parcels(_plain(latents))), _from_parcels


@challenge.rejects("what pack keeps, it does not have")
def _(latents):
    kept = []

    def pack(latents):
        kept.extend(latents)
        return [bytes([i]) for i in range(len(kept))]

    return pack, lambda parcels: torch.stack([kept[p[0]] for p in parcels])


@challenge.rejects("All parcels give the same latents")
def _(latents):
    mean = latents.mean(0)
    return lambda latents: [b""] * len(latents), lambda parcels: torch.stack([mean for _ in parcels])


@challenge.rejects("packed in another way alone")
def _(latents):
    return lambda latents: _to_parcels(_plain(latents, limit=latents.abs().max() / 2)), _from_parcels


@challenge.rejects("stand by itself")
def _(latents):
    def unpack(parcels):
        latents = _from_parcels(parcels)
        return latents - latents.mean(0) + 0.1

    return lambda latents: _to_parcels(_plain(latents)), unpack


@challenge.rejects("the order of numbers")
def _(latents):
    def pack(latents):
        return _to_parcels(_plain(latents.permute(0, 2, 3, 1)))

    return pack, _from_parcels


@challenge.rejects("wraps around")
def _(latents):
    def pack(latents):
        numbers = ((latents / 4 + 0.5) * 4).floor()
        return _to_parcels(numbers.remainder(4).to(torch.uint8).flatten(1))

    return pack, lambda parcels: _from_parcels(parcels) * 0.99


@challenge.rejects("What unpack gives should have the shape")
def _(latents):
    return lambda latents: _to_parcels(_plain(latents)), lambda parcels: _from_parcels(parcels).flatten(1)
