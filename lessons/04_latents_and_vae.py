# %% [markdown]
# # 04 · Latents and the VAE
#
# So far diffusion worked on pixels. Stable Diffusion does not: it draws in a space of *latents*, arrays that are 48
# times smaller than the picture, and a second network translates between the two. In this lesson you measure why that
# is worth the trouble, train such a translator, and take apart one in the layout of Stable Diffusion.
#
# **You need** lessons 01 to 03. **It takes** under four minutes of computing, two and a half of
# them four training runs.
#
# **You will**
#
# 1. measure what one call of a UNet costs, in pixels and in latents;
# 2. train a small variational autoencoder, and see what its two losses do;
# 3. train one in the layout of Stable Diffusion, the first part of a model of your own;
# 4. encode, scale and decode with the VAE of pocket-sd, the small Stable Diffusion that comes with the course, and put a
#    real photograph through it;
# 5. mix two pictures in pixels and in latents;
# 6. forget the scaling factor, and see what comes out.

# %%
import torch

import sdcourse

runtime = sdcourse.setup()

# %% [markdown]
# ## What pixels cost
#
# Every place of a picture looks at every other place in a UNet's attention. A picture that is twice as wide has four
# times as many places, and sixteen times as many pairs of them.
#
# **Predict:** a picture of 128×128 has four times as many pixels as one of 64×64. How much longer does one call of the
# UNet take? We build the same small UNet for pixels and for latents, and measure.

# %%
from diffusers import UNet2DModel


def make_unet(channels):
    return UNet2DModel(
        in_channels=channels,
        out_channels=channels,
        layers_per_block=1,
        block_out_channels=(32, 64),
        norm_num_groups=8,
        attention_head_dim=16,
        down_block_types=("AttnDownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "AttnUpBlock2D"),
    ).eval()


in_pixels, in_latents = make_unet(3), make_unet(4)

# %% [markdown]
# Three numbers for each size: the time of a call, the memory that training would have to keep, and the number of
# operations in matrix products and convolutions. PyTorch counts these on the *meta* device, where tensors have a shape and
# no numbers. It counts attention only where that is written out as matrix products (`MATH`), and not in its fast form.
# What training would keep for the backward pass goes through `saved_tensors_hooks`, where we add up the bytes, each
# storage once.

# %%
import copy
import time

from torch.autograd.graph import saved_tensors_hooks
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def seconds_of(unet, x):
    with torch.no_grad():
        unet(x, 500)
        start = time.perf_counter()
        unet(x, 500)
    return time.perf_counter() - start


def megabytes_kept(unet, x):
    kept = {}

    def remember(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(remember, lambda tensor: tensor):
        unet(x, 500)
    return sum(kept.values()) / 1e6


def operations_of(unet, x):
    unet = copy.deepcopy(unet).to("meta")
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        unet(x.to("meta"), 500)
    return counter.get_total_flops()


# %% tags=["nbval-ignore-output"]
costs = {}
for size in (32, 64, 128):
    for kind, unet, shape in (
        ("pixels", in_pixels, (1, 3, size, size)),
        ("latents", in_latents, (1, 4, size // 8, size // 8)),
    ):
        x = torch.randn(shape)
        costs[size, kind] = (operations_of(unet, x), seconds_of(unet, x), megabytes_kept(unet, x))

print("picture    in        billion operations   seconds   megabytes kept")
for (size, kind), (operations, seconds, megabytes) in costs.items():
    print(f"{size:3}×{size:<3}    {kind:8}{operations / 1e9:20.2f}{seconds:10.3f}{megabytes:17.1f}")

# %%
from matplotlib.figure import Figure

figure = Figure(figsize=(6, 2.8), layout="constrained")
axes = figure.subplots()
for kind, style in (("pixels", "o-"), ("latents", "s--")):
    axes.plot((32, 64, 128), [costs[size, kind][1] for size in (32, 64, 128)], style, label=kind)
axes.set(xscale="log", yscale="log", xlabel="side of the picture", ylabel="seconds per call")
axes.set_xticks((32, 64, 128), ("32", "64", "128"))
axes.minorticks_off()
axes.legend()
sdcourse.show_image(figure, alt="seconds per call over the size: pixels rise steeply, latents stay low")

# %% tags=["nbval-ignore-output"]
counted = costs[128, "pixels"][0] / costs[64, "pixels"][0]
measured = costs[128, "pixels"][1] / costs[64, "pixels"][1]
print(f"from 64 to 128 pixels: {counted:.0f} times the operations, {measured:.0f} times the time")
print(f"128 in latents instead: {costs[128, 'pixels'][1] / costs[128, 'latents'][1]:.0f} times faster")

# %% [markdown]
# Pixels cost more than in proportion: at 128 it is the attention, whose cost grows with the fourth power of the side.
# Latents of a picture of 128×128 are 16×16. The real model draws 512×512 pictures; its latents have the 64×64 places
# that a picture of 64×64 has here. The memory (beside a constant part, the weights)
# grows only with the places: the fast attention of PyTorch computes the pairs again instead of keeping them.
#
# ## An autoencoder, and what makes it variational
#
# An *autoencoder* squeezes a picture through a narrow middle and tries to get it back. A *variational* one (Kingma and
# Welling, 2014) squeezes it into a **distribution**: a mean and a spread for each number of the latents. What is decoded
# is a draw from that distribution. Its loss has two parts:
#
# - the **reconstruction**, how far the decoded picture is from the original;
# - the **KL divergence**, how far the distributions are from mean 0 and deviation 1. For normal distributions it is
#   the line `kl = ...` below, which is 0 where the mean is 0 and the variance 1 (its logarithm, `logvar`, is what the
#   encoder gives).
#
# The first wants room to store things. The second wants everything to look like noise. We train three small ones with
# different weights of the second, 25 seconds each, on gallery pictures of 32×32.

# %%
import torch.nn.functional as F
from diffusers import AutoencoderKL
from tqdm.auto import tqdm

from sdcourse.data.gallery import random_scenes, render

pictures = render(random_scenes(6000, seed=1)).float() / 127.5 - 1  # (6000, 3, 64, 64)
small_pictures = F.avg_pool2d(pictures, 2)  # (6000, 3, 32, 32)


def make_vae(block_out_channels):
    torch.manual_seed(runtime.seed)
    return AutoencoderKL(
        latent_channels=4,
        block_out_channels=block_out_channels,
        layers_per_block=1,
        norm_num_groups=8,
        down_block_types=("DownEncoderBlock2D",) * len(block_out_channels),
        up_block_types=("UpDecoderBlock2D",) * len(block_out_channels),
        mid_block_add_attention=False,
    )


with torch.no_grad():
    latents = make_vae((16, 32, 32)).encode(small_pictures[:2]).latent_dist.sample()
print(tuple(latents.shape), "= (pictures, channels, 32 / 4, 32 / 4)")

# %%


def train_vae(vae, pictures, kl_weight, seconds):
    optimizer = torch.optim.AdamW(vae.parameters(), lr=2e-3)
    deadline = time.monotonic() + seconds
    with tqdm(total=seconds, unit="s", desc=f"KL weight {kl_weight:g}") as bar:
        while (left := deadline - time.monotonic()) > 0:
            optimizer.param_groups[0]["lr"] = 2e-3 * left / seconds
            # Look through a random window of 32×32: at the small pictures it shows all
            y, x = torch.randint(0, pictures.shape[-1] - 32 + 1, (2,))
            images = pictures[torch.randint(0, len(pictures), (16,)), :, y : y + 32, x : x + 32]
            posterior = vae.encode(images).latent_dist
            # Draw from the distribution, and decode the draw
            output = vae.decode(posterior.sample()).sample
            reconstruction = (output - images).abs().mean()
            kl = 0.5 * (posterior.mean**2 + posterior.var - 1 - posterior.logvar).mean()
            loss = reconstruction + kl_weight * kl
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            bar.update(seconds - max(0, round(left)) - bar.n)
    return vae.eval()


# %%
vaes = {
    kl_weight: train_vae(make_vae((16, 32, 32)), small_pictures, kl_weight, seconds=25)
    for kl_weight in (1e-5, 1e-2, 1.0)
}

# %% [markdown]
# **Predict:** with the largest weight, what will the distributions look like, and what the pictures?

# %%
unseen = F.avg_pool2d(render(random_scenes(6, seed=2)).float() / 127.5 - 1, 2)
rows, titles = [unseen], ["original"] * 6
for kl_weight, vae in vaes.items():
    with torch.no_grad():
        rows.append(vae.decode(vae.encode(unseen).latent_dist.mean).sample)
    titles += [f"weight {kl_weight:g}"] * 6
sdcourse.show_images(
    (torch.cat(rows) / 2 + 0.5).clamp(0, 1),
    titles=titles,
    columns=6,
    size=96,
    alt="six pictures and three reconstructions of each: blurred, more blurred, and the same brown blot for all",
)

# %% tags=["nbval-ignore-output"]
print("KL weight   error of the picture   spread of one distribution   deviation of all means")
with torch.no_grad():
    for kl_weight, vae in vaes.items():
        posterior = vae.encode(small_pictures[:256]).latent_dist
        error = (vae.decode(posterior.sample()).sample - small_pictures[:256]).abs().mean()
        print(f"{kl_weight:9g}{error:23.2f}{posterior.std.mean():29.2f}{posterior.mean.std():25.2f}")

# %% [markdown]
# With a weight of 1 the encoder all but gives up: every picture gets nearly the same distribution, mean 0 and spread 1,
# and the decoder can hardly draw more than the average. With the smallest weight the spread is small against the means,
# which is nearly an ordinary autoencoder, and the means lie far out. The weight between costs little in error and holds
# them near 1. Stable Diffusion takes a tiny weight, 0.000001, on sums where we take means: enough against wild values, and
# small enough to store a picture. It does not need latents like noise, because the diffusion model learns where they lie.
# (All are blurred, whatever the weight: 25 seconds are short.)
#
# ## A VAE in the layout of Stable Diffusion
#
# Like the real one, the next VAE divides each side by 8, with four blocks of which all but the last halve, and keeps four
# channels. (The real one also has attention in its middle.) It draws pictures of 64×64, has a tiny KL weight, and trains
# for 75 seconds. Two things let it come far in so little time:
#
# - It looks through a window of 32×32, at a random place. Convolutions do the same at every place, so what they learn
#   there serves whole pictures too, at a quarter of the cost. The VAE of Stable Diffusion was trained in this way, on
#   windows of 256×256, and serves pictures of 512×512 (Rombach et al., 2022).
# - Its world is small: six subjects that wear nothing, in the gallery's style "photograph". Lesson 06 draws the same
#   world in its latents.
#
# This one is yours to keep.

# %%
from dataclasses import replace

subjects = ("cat", "rose", "house", "boat", "rocket", "tree")
bare = dict(style="photograph", hat="none", hat_color="none", accessory="none", accessory_color="none")


def draw_photographs(n, seed):
    scenes = [s for s in random_scenes(5 * n, seed=seed) if s.subject in subjects]
    return render([replace(s, **bare, relation="none") for s in scenes[:n]]).float() / 127.5 - 1


my_vae = train_vae(make_vae((16, 32, 64, 64)), draw_photographs(6000, seed=1), kl_weight=1e-4, seconds=75)

# %% [markdown]
# The VAE of pocket-sd has the same layout, somewhat wider. It was trained for hours instead of seconds.

# %%
pipe = sdcourse.load_pipeline()
vae = pipe.vae

scenes = random_scenes(400, seed=3)
images = render(scenes).float() / 127.5 - 1  # (400, 3, 64, 64) in [-1, 1]
with torch.no_grad():
    posterior = vae.encode(images).latent_dist
    latents = posterior.sample(torch.Generator().manual_seed(0))  # (400, 4, 8, 8)
print(
    f"{images[0].numel()} numbers become {latents[0].numel()}: {images[0].numel() // latents[0].numel()} to 1"
)
print(f"spread of one distribution {posterior.std.mean():.3f}, of all latents {latents.std():.2f}")

# %% [markdown]
# ## The scaling factor
#
# Diffusion adds noise of deviation 1, and its schedule was made for data of about that size. So latents are multiplied by
# one number, the `scaling_factor`, and divided by it again before decoding. It is one over their deviation.

# %%
print(f"one over the deviation, measured here: {1 / latents.std():.2f}")
print(f"vae.config.scaling_factor:             {vae.config.scaling_factor:.2f}")

# %% [markdown]
# The same number, up to chance. In Stable Diffusion 1.5 it is the 0.18215 that stands in so much code without a word: the
# latents of its VAE have a deviation of about 5.5. Your VAE needs its own, which is written into its configuration; then
# the VAE is kept for the lessons to come.

# %% tags=["nbval-ignore-output"]
from sdcourse.models import keep_parts

photographs = draw_photographs(400, seed=3)
with torch.no_grad():
    my_latents = my_vae.encode(photographs).latent_dist.sample(torch.Generator().manual_seed(0))
my_vae.register_to_config(scaling_factor=1 / my_latents.std().item())
print(f"scaling factor of yours: {my_vae.config.scaling_factor:.2f}")
keep_parts(vae=my_vae)

# %% [markdown]
# The folder is called **my-sd**: lesson 05 adds a tokenizer and a text encoder, lesson 06 a UNet, and then
# `sdcourse.load_pipeline("my-sd")` draws with what you made. Nothing in it is overwritten: what a newer part replaces
# goes to `earlier/`. The environment variable `SDCOURSE_MY_SD` sets another place.
#
# ## What is in the channels?

# %%
shown = [1, 3, 5]
channels = latents[shown] * vae.config.scaling_factor  # (3, 4, 8, 8)
grey = (channels.reshape(12, 1, 8, 8) / 4 + 0.5).clamp(0, 1)
rows = []
for i, k in enumerate(shown):
    rows += [images[k] / 2 + 0.5, *grey[4 * i : 4 * i + 4]]
sdcourse.show_images(
    rows,
    titles=["picture", "channel 0", "channel 1", "channel 2", "channel 3"] * 3,
    columns=5,
    size=112,
    alt="three pictures, and beside each its four latent channels as grey squares of 8×8",
)

# %% [markdown]
# The latents are a small picture: what stands on the left in the picture stands on the left in all channels. They are not
# red, green and blue; what each means was never told, and the decoder alone knows.
#
# ## There and back

# %%
shown = torch.cat([images[:3], photographs[:3]])
with torch.no_grad():
    decoded, by_mine = (
        model.decode(model.encode(shown).latent_dist.mean).sample.clamp(-1, 1) for model in (vae, my_vae)
    )
sdcourse.show_images(
    torch.cat([shown, decoded, by_mine]) / 2 + 0.5,
    titles=["original"] * 6 + ["pocket-sd"] * 6 + ["yours"] * 6,
    columns=6,
    size=112,
    alt="six pictures; below them the same, a little softer; and the same as blurred shapes",
)

# %% [markdown]
# How good is that? PSNR counts the error of pixels in decibels (30 is fine to the eye, 20 is not), SSIM compares
# structures (1 is equal). And a judge, a classifier of all that the gallery draws, reads the originals and what
# pocket-sd's VAE makes of them. Which attributes does it no longer recognise?

# %% tags=["nbval-ignore-output"]
from sdcourse.data.gallery import ATTRIBUTES
from sdcourse.metrics import measure_reconstruction

for name, model in {"pocket-sd": vae, "yours": my_vae}.items():
    for what, originals in {"all of the gallery": images, "the six photographed": photographs}.items():
        quality = measure_reconstruction(model, originals)
        print(f"{name:10} {what:21} PSNR {quality.psnr:.1f} dB, SSIM {quality.ssim:.2f}")

judge = sdcourse.load_judge()
with torch.no_grad():
    through = torch.cat([vae.decode(part).sample for part in latents.split(100)]).clamp(-1, 1)


def share_read_right(images, attribute):
    readings = judge.read(images)
    right = [
        reading[attribute] == getattr(scene, attribute)
        for reading, scene in zip(readings, scenes, strict=True)
    ]
    return sum(right) / len(right)


print(f"\n{'read right':18}{'originals':>10}{'decoded':>9}")
for attribute in ATTRIBUTES:
    before, after = share_read_right(images, attribute), share_read_right(through, attribute)
    print(f"{attribute:18}{before:10.0%}{after:9.0%}")

# %% [markdown]
# Nearly all that the judge names survives; of subjects, hats, accessories and their colours two or three in a hundred are
# lost. Sharp lines go, which PSNR sees and the judge does not: 256 numbers have to hold all of the picture. No picture
# drawn in these latents can be sharper than this decoder. The six in photographs are the easier pictures, for both VAEs.
# Yours keeps their places and large shapes, and loses the details: 75 seconds are short.
#
# ## A real photograph
#
# This VAE has seen nothing but drawings of this gallery. Let us be unfair, with a photograph that comes with matplotlib
# (the computer scientist Grace Hopper, 1984, a work of the US Navy).

# %%
from matplotlib import cbook
from PIL import Image

with cbook.get_sample_data("grace_hopper.jpg") as file:
    photograph = Image.open(file).convert("RGB")
square = photograph.crop((0, 0, 512, 512)).resize((64, 64))
pixels = torch.frombuffer(bytearray(square.tobytes()), dtype=torch.uint8).view(64, 64, 3)
photo = pixels.permute(2, 0, 1)[None].float() / 127.5 - 1  # (1, 3, 64, 64)
with torch.no_grad():
    photo_decoded = vae.decode(vae.encode(photo).latent_dist.mean).sample.clamp(-1, 1)
sdcourse.show_images(
    torch.cat([photo, photo_decoded]) / 2 + 0.5,
    titles=["64×64", "through the VAE"],
    size=192,
    alt="a portrait, and the same as blurred patches of colour in which the face is lost",
)

# %% [markdown]
# Light, places and most colours stay; where the face was there are lines and patches, as drawings have them. The encoder
# spends its numbers on what it was trained for, and a real face was never that. The real VAE was trained on millions of
# photographs, and shows the same weakness where details are too small for its numbers: in faces far away, and in letters.
#
# ## Between two pictures
#
# **Predict:** half way between two pictures, in pixels, is a double exposure. And half way between their latents?

# %%
pair = latents[[1, 3]]
fractions = torch.linspace(0, 1, 6).view(-1, 1, 1, 1)
mixed_latents = (1 - fractions) * pair[:1] + fractions * pair[1:]
mixed_pixels = (1 - fractions) * images[1:2] + fractions * images[3:4]
with torch.no_grad():
    from_latents = vae.decode(mixed_latents).sample.clamp(-1, 1)
sdcourse.show_images(
    torch.cat([mixed_pixels, from_latents]) / 2 + 0.5,
    titles=[f"{f:.0%} in pixels" for f in fractions.flatten()]
    + [f"{f:.0%} in latents" for f in fractions.flatten()],
    columns=6,
    size=112,
    alt="two rows between the same two pictures; above a double exposure, below blends with bolder shapes",
)

# %% [markdown]
# Better, but not a picture of something between the two. Latents of a VAE are compressed pixels, not ideas. It takes the
# diffusion model to know which latents are pictures.
#
# ## Forgetting the scaling factor
#
# No error message tells you when it is missing. We add noise to a picture's latents, once with and once without the
# factor, and let the diffusion model take the noise out again, in the last 10 of 25 steps. (It expects a text, too, which
# is the subject of lesson 05; here it gets the empty one.)

# %%
from diffusers import DDIMScheduler

scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
scheduler.set_timesteps(25)
with torch.no_grad():
    ids = pipe.tokenizer([""], padding="max_length", max_length=77, return_tensors="pt").input_ids
    empty = pipe.text_encoder(ids)[0].expand(6, -1, -1)


def noise_and_back(factor, start=15):
    timesteps = scheduler.timesteps[start:]
    noise = torch.randn(6, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    x = scheduler.add_noise(latents[:6] * factor, noise, timesteps[:1])
    for t in timesteps:
        with torch.no_grad():
            noise_pred = pipe.unet(x, t, empty).sample
        x = scheduler.step(noise_pred, t, x).prev_sample
    with torch.no_grad():
        return vae.decode(x / factor).sample.clamp(-1, 1)


sdcourse.show_images(
    torch.cat([images[:6], noise_and_back(vae.config.scaling_factor), noise_and_back(1.0)]) / 2 + 0.5,
    titles=["original"] * 6 + ["scaled"] * 6 + ["not scaled"] * 6,
    columns=6,
    size=112,
    alt="six pictures; redrawn with changes; and redrawn without scaling, pale and full of stripes",
)

# %% [markdown]
# The scaled row differs from the original too: what the noise has hidden, the model draws anew, and the result is a clean
# picture. Without the factor the latents are twice as large as anything in training, and the noise is too small for the
# timestep that the model is told. So the model takes a part of the picture for noise, and removes it: look at the
# contrast, and at the stripes.
#
# ## What you built
#
# | | in one line |
# |---|---|
# | the loss | `reconstruction + kl_weight * kl` |
# | encode | `vae.encode(images).latent_dist.sample() * vae.config.scaling_factor` |
# | decode | `vae.decode(latents / vae.config.scaling_factor).sample` |
#
# **Try three things**:
#
# - `(output - images).square().mean()` as the reconstruction: what happens to edges?
# - `posterior.mean` for `posterior.sample()` in `train_vae`: what does that do to the spread?
# - your own photograph: `from PIL import ImageOps` and
#   `square = ImageOps.fit(sdcourse.load_image("my_photo.jpg"), (64, 64))`.
#
# **Papers**
#
# - *Auto-Encoding Variational Bayes*, Kingma and Welling, 2014
# - *High-Resolution Image Synthesis with Latent Diffusion Models*, Rombach, Blattmann, Lorenz, Esser and Ommer, 2022
