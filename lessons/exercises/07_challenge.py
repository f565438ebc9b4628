# %% [markdown]
# # Challenge of part two: a picture in 64 bytes
#
# A picture of 64×64 pixels has 12288 numbers, its latents have 256. How little is enough? Imagine a very slow line,
# with the same VAE at both ends. You may send 64 bytes for each picture.
#
# **The number.** 64 new gallery pictures are encoded, packed, unpacked, and decoded. The bar is a mean PSNR of **21.5 dB**
# against the pictures themselves. Two bits for each of the 256 numbers, the plain way to 64 bytes, give about 20.4;
# latents that were not packed at all give about 25.6. The judge also says how much of the pictures it still reads right.
#
# **What is allowed.** All that you can compute from the 400 latents that your function gets, in any way. `unpack` is copied
# before `pack` is called, and gets nothing but the parcels. Each parcel stands by itself.
#
# **Time.** The check takes less than half a minute. Nothing has to be trained.

# %%
import torch

import sdcourse
from sdcourse.checks import check

runtime = sdcourse.setup()

# %% [markdown]
# ## Your codec


# %% tags=["nbval-ignore-output"]
def make_codec(latents):
    """Two functions, pack and unpack.

    `pack(latents)` makes a list of n `bytes`, each of 64 or fewer, of latents (n, 4, 8, 8). `unpack(parcels)` makes
    latents (n, 4, 8, 8) of such a list again, as near to the first ones as you can.

    Args:
        latents: (400, 4, 8, 8), of other gallery pictures, to learn from.
    """
    ### BEGIN SOLUTION
    flat = latents.flatten(1)
    mean = flat.mean(0)
    _, spread, directions = torch.linalg.svd(flat - mean, full_matrices=False)
    deviation = spread / len(flat) ** 0.5
    bits = torch.zeros(len(deviation), dtype=torch.long)
    for _ in range(8 * 64):  # a bit halves the error: spend each where the error is largest now
        bits[(deviation / 2.0**bits).argmax()] += 1
    used = bits > 0
    bits, directions, deviation = bits[used], directions[used], deviation[used]
    limit = (1.1 + 0.5 * bits).clamp(max=3.5) * deviation  # with few levels, far ones are not worth it
    levels = 2**bits

    def pack(latents):
        along = (latents.flatten(1) - mean) @ directions.T
        numbers = ((along / limit / 2 + 0.5) * levels).floor().clamp(min=0)
        parcels = []
        for row in torch.minimum(numbers, levels - 1).long().tolist():
            whole = 0
            for number, n in zip(row, bits.tolist(), strict=True):
                whole = whole << n | number
            parcels.append(whole.to_bytes(64, "big"))
        return parcels

    def unpack(parcels):
        rows = []
        for parcel in parcels:
            whole, row = int.from_bytes(parcel, "big"), []
            for n in reversed(bits.tolist()):
                row.append(whole % 2**n)
                whole >>= n
            rows.append(row[::-1])
        along = ((torch.tensor(rows) + 0.5) / levels - 0.5) * 2 * limit
        return (along @ directions + mean).view(-1, 4, 8, 8)

    return pack, unpack
    ### END SOLUTION


codec_result = check("07-challenge", make_codec)
codec_result

# %% [markdown]
# <details><summary>Hint 1: a first codec</summary>Clamp each number to [-2, 2], cut that range into four levels, and put
# four numbers into a byte. That is 64 bytes. In <code>unpack</code>, take the middle of each level.</details>
# <details><summary>Hint 2: where to spend bits</summary>Not all numbers vary alike. Where the deviation is small, a level
# more brings little. Measure deviations on the latents that you get.</details>
# <details><summary>Hint 3: better numbers</summary>Neighbours in the latents say much of the same twice. Turn them into
# numbers that do not: <code>torch.linalg.svd</code> of the flat latents, less their mean, gives the directions in which they
# vary, the largest first.</details>
# <details><summary>Hint 4: nearly done</summary>Give out 512 bits one by one, each to the direction where
# <code>deviation / 2.0**bits</code> is largest now. Whole numbers of any length in Python, with <code>&lt;&lt;</code> and
# <code>to_bytes(64, "big")</code>, hold bits that do not fill bytes evenly.</details>
#
# When the bar is reached, look at what comes out at the other end, beside a file format that does not know the gallery.

# %%
if codec_result.correct:
    import io

    from sdcourse.data import gallery
    from sdcourse.images import to_pil

    vae = sdcourse.load_pipeline("pocket-sd").vae
    scale = vae.config.scaling_factor
    pictures = gallery.render(gallery.random_scenes(306, seed=9)).float() / 127.5 - 1
    with torch.no_grad():
        latents = torch.cat([vae.encode(x).latent_dist.mean for x in pictures.split(34)]) * scale
        pack, unpack = make_codec(latents[6:])
        parcels = pack(latents[:6])
        received = vae.decode(unpack(parcels) / scale).sample.clamp(-1, 1)
    sizes = []
    for picture in pictures[:6] / 2 + 0.5:
        to_pil(picture)[0].save(file := io.BytesIO(), "JPEG", quality=30)
        sizes.append(file.tell())
    sdcourse.show_images(
        torch.cat([pictures[:6], received]) / 2 + 0.5,
        titles=[f"JPEG: {n} bytes" for n in sizes] + [f"yours: {len(p)} bytes" for p in parcels],
        columns=6,
        size=112,
        alt="six gallery pictures, and below the same ones from 64 bytes, softer",
    )

# %% [markdown]
# **What you can do now.** You know what latents are good for, and you can tell how much of them is needed.
