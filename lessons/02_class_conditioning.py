# %% [markdown]
# # 02 · Drawing what you ask for
#
# The model of lesson 01 draws clothing, and never tells beforehand which. In this lesson you tell it: one number goes
# in, a T-shirt or a boot comes out. The change is small. The network gets one more table, the training loop one more
# line and one more argument.
#
# **You need** lesson 01. **It takes** about four minutes of computing, most of it one training run.
#
# **You will**
#
# 1. give a network a class besides the timestep, and see where both enter;
# 2. train it, with a loop that differs from the last one in two lines, one new and one changed;
# 3. draw T-shirts, sneakers and boots on demand;
# 4. let a judge count how often the right thing comes out, class by class.

# %%
import torch

import sdcourse
from sdcourse.data import BatchLoader, load_fashion

runtime = sdcourse.setup()

# %%
dataset = load_fashion()
names = dataset["train"].features["label"].names
train_loader = BatchLoader(dataset["train"], batch_size=16, seed=runtime.seed)

for label, name in enumerate(names):
    print(label, name)

# %% [markdown]
# ## A network that knows classes
#
# `num_class_embeds=10` is the only new argument. It adds a table with one row of numbers for each class, an
# *embedding*, which is learned like every other weight.

# %%
from diffusers import UNet2DModel


def make_unet(num_class_embeds):
    return UNet2DModel(
        sample_size=32,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(16, 32, 64),
        norm_num_groups=8,
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        num_class_embeds=num_class_embeds,
    )


torch.manual_seed(runtime.seed)
model = make_unet(num_class_embeds=10)
without = make_unet(num_class_embeds=None)

added = {n: tuple(p.shape) for n, p in model.named_parameters() if n not in dict(without.named_parameters())}
print("what is new:", added)

# %% [markdown]
# One table, ten rows of 64 numbers. Check the shapes on random input before training anything: noisy pictures,
# a timestep for each, a class for each.

# %%
noisy_images = torch.randn(4, 1, 32, 32)
timesteps = torch.tensor([10, 300, 600, 900])
labels = torch.tensor([0, 0, 7, 9])

with torch.no_grad():
    noise_pred = model(noisy_images, timesteps, class_labels=labels).sample
print(tuple(noise_pred.shape), "the shape of the noisy pictures")

# %% [markdown]
# ## Where time and class enter
#
# **Predict:** the network has to know the timestep and the class at every depth. How would you bring two numbers into
# a stack of convolutions? A *hook* is a function that PyTorch calls when a part of a network has done its work. We
# hang one on every part that takes such a number, and let it print what came out.


# %%
def print_shape(name):
    def hook(module, inputs, output):
        print(f"{name:36} {tuple(output.shape)}")

    return hook


watched = {
    "time_proj": model.time_proj,
    "time_embedding": model.time_embedding,
    "class_embedding": model.class_embedding,
    "first block's time_emb_proj": model.down_blocks[0].resnets[0].time_emb_proj,
    "middle block's time_emb_proj": model.mid_block.resnets[0].time_emb_proj,
    "last block's time_emb_proj": model.up_blocks[-1].resnets[-1].time_emb_proj,
}
hooks = [module.register_forward_hook(print_shape(name)) for name, module in watched.items()]
with torch.no_grad():
    model(noisy_images, timesteps, class_labels=labels)
for hook in hooks:
    hook.remove()

# %% [markdown]
# The timestep becomes 16 sines and cosines (`time_proj`), then 64 learned numbers. The class becomes 64 numbers
# out of the table. The two are **added**, and every block turns the sum into one number for each of its channels,
# which it adds to the whole channel. So time and class reach every depth, and every place of the picture alike.

# %%
with torch.no_grad():
    emb = model.time_embedding(model.time_proj(timesteps)) + model.class_embedding(labels)  # (4, 64)
    per_channel = watched["first block's time_emb_proj"](torch.nn.functional.silu(emb))  # (4, 16)
print("one number for each channel:", tuple(per_channel.shape))

# %% [markdown]
# ## The training loop
#
# Here is the loop of lesson 01, and the same loop with classes. Look at the difference first.

# %%
import difflib

before = """
for batch in train_loader:
    clean_images = batch["images"]
    noise = torch.randn_like(clean_images)
    timesteps = torch.randint(0, 1000, (len(clean_images),))
    noisy_images = noise_scheduler.add_noise(clean_images, noise, timesteps)
    noise_pred = model(noisy_images, timesteps).sample
    loss = F.mse_loss(noise_pred, noise)
"""
after = before.replace('batch["images"]\n', 'batch["images"]\n    labels = batch["labels"]\n').replace(
    "timesteps).sample", "timesteps, class_labels=labels).sample"
)

for line in difflib.ndiff(before.splitlines(), after.splitlines()):
    if not line.startswith("?"):
        print(line)

# %% [markdown]
# Two lines: take the labels, hand them on. The loss is unchanged. Nothing punishes a wrong class; the class is a
# hint that makes the noise easier to guess, and the network learns to use every hint that helps.
#
# We train for two and a half minutes.

# %%
import time

import torch.nn.functional as F
from diffusers import DDPMScheduler
from tqdm.auto import tqdm

noise_scheduler = DDPMScheduler(num_train_timesteps=1000, beta_schedule="linear")


def batches_for(seconds):
    deadline = time.monotonic() + seconds
    with tqdm(total=seconds, unit="s") as bar:
        while True:
            for batch in train_loader:
                left = deadline - time.monotonic()
                bar.update(seconds - max(0, round(left)) - bar.n)
                if left < 0:
                    return
                yield batch


# %%
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
losses = []

for batch in batches_for(seconds=150):
    clean_images = batch["images"]
    labels = batch["labels"]
    # Sample noise to add to the images
    noise = torch.randn_like(clean_images)
    # Sample a random timestep for each image
    timesteps = torch.randint(0, 1000, (len(clean_images),))
    noisy_images = noise_scheduler.add_noise(clean_images, noise, timesteps)
    # Get the model prediction for the noise
    noise_pred = model(noisy_images, timesteps, class_labels=labels).sample
    # Compare the prediction with the actual noise
    loss = F.mse_loss(noise_pred, noise)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    losses.append(loss.item())

# %%
from matplotlib.figure import Figure

smooth = torch.tensor(losses).unfold(0, 20, 20).mean(1)
figure = Figure(figsize=(6, 2.6), layout="constrained")
axes = figure.subplots()
axes.plot(range(20, 20 * len(smooth) + 1, 20), smooth, color="#0072B2")
axes.set(
    xlabel="training step", ylabel="loss (mean of 20)", yscale="log", title="Error of the predicted noise"
)
sdcourse.show_image(figure, alt="the loss falls steeply at first, then ever more slowly")

# %% [markdown]
# A curve like any other. Does the network use the class at all? Ask it for the noise of the same pictures twice, once
# with the true class, once with a wrong one.

# %% tags=["nbval-ignore-output"]
batch = next(iter(train_loader))
noise = torch.randn_like(batch["images"])
errors = {}
for t in (100, 500, 900):
    timesteps = torch.full((len(noise),), t)
    noisy_images = noise_scheduler.add_noise(batch["images"], noise, timesteps)
    for told, labels in (("true class", batch["labels"]), ("next class", (batch["labels"] + 1) % 10)):
        with torch.no_grad():
            noise_pred = model(noisy_images, timesteps, class_labels=labels).sample
        errors[t, told] = F.mse_loss(noise_pred, noise).item()
for t in (100, 500, 900):
    ratio = errors[t, "next class"] / errors[t, "true class"]
    print(f"t = {t}: with a wrong class the error is {ratio:.2f} times as large")

# %% [markdown]
# So it does. A wrong class costs most in the middle, where much is hidden and a hint helps. At $t=900$ nearly
# all is noise, and a network that was trained for so short a time has not yet learned to make use of a hint there.
#
# ## Drawing by class
#
# The sampling loop of lesson 01, with one more argument. Each picture of the batch may have a class of its own.


# %%
def generate_from_class(model, labels, num_inference_steps=25, seed=0):
    noise_scheduler.set_timesteps(num_inference_steps)
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(len(labels), 1, 32, 32, generator=generator)
    for t in tqdm(noise_scheduler.timesteps):
        with torch.no_grad():
            noise_pred = model(images, t, class_labels=labels).sample
        images = noise_scheduler.step(noise_pred, t, images, generator=generator).prev_sample
    return images.clamp(-1, 1)  # (n, 1, 32, 32)


# %%
wanted = ["T-shirt/top", "Sneaker", "Ankle boot"]
labels = torch.tensor([names.index(name) for name in wanted]).repeat_interleave(6)

images = generate_from_class(model, labels)
sdcourse.show_images(
    images / 2 + 0.5,
    titles=[names[label] for label in labels],
    columns=6,
    size=112,
    alt="six rough blocks, six flat shapes, and six of no clear shape",
)

# %% [markdown]
# Rough, but not all alike: T-shirts are blocks, sneakers lie flat. More cannot be had in so short a time. The course
# ships weights of the same recipe, with a somewhat wider network, trained for longer. Its table has eleven rows: the
# last means "no class", and lesson 03 needs it.
#
# What you wrote stands in the library as `generate_from_class`, with checks of its arguments and any scheduler.

# %%
from sdcourse.sampling import generate_from_class as from_library

finished, finished_scheduler = sdcourse.load_pixel_model("fashion")
images = from_library(finished, finished_scheduler, labels, num_inference_steps=25)
sdcourse.show_images(
    images / 2 + 0.5,
    titles=[names[label] for label in labels],
    columns=6,
    size=112,
    alt="a row of T-shirts, a row of sneakers and a row of boots, clear",
)

# %% [markdown]
# ## Is it any good? Measure it
#
# The course ships a *judge* of clothing, a small classifier that was trained on pictures of the same kind. First ask how
# good the judge is itself, on pictures that it has never seen.

# %%
judge = sdcourse.load_judge("fashion")


def read(images):
    return torch.tensor([names.index(reading["class"]) for reading in judge.read(images)])


test = next(iter(BatchLoader(dataset["test"], batch_size=2000, flip=False)))
judge_accuracy = (read(test["images"]) == test["labels"]).float().mean()
print(f"the judge reads {judge_accuracy:.1%} of drawn clothing right")

# %% [markdown]
# Now 20 pictures of each class, from your network and from the finished one.

# %% tags=["nbval-ignore-output"]
labels = torch.arange(10).repeat_interleave(20)
read_as = {
    "your network": read(generate_from_class(model, labels)),
    "the finished weights": read(from_library(finished, finished_scheduler, labels, num_inference_steps=25)),
}
print(f"{'':22}" + "".join(f"{name[:8]:>9}" for name in names) + f"{'all':>8}")
for who, readings in read_as.items():
    right = (readings == labels).float()
    print(f"{who:22}" + "".join(f"{x:9.0%}" for x in right.view(10, 20).mean(1)) + f"{right.mean():8.1%}")

# %% [markdown]
# Where it is wrong, what does the judge see instead? A *confusion matrix* tells: a row for the class that was asked
# for, a column for what was read.

# %%
figure = Figure(figsize=(8, 3.8), layout="constrained")
for axes, (who, readings) in zip(figure.subplots(1, 2), read_as.items(), strict=True):
    confusion = torch.zeros(10, 10).index_put((labels, readings), torch.tensor(1.0), accumulate=True)
    axes.imshow(confusion, cmap="cividis", vmin=0, vmax=20)
    for asked, seen in confusion.nonzero().tolist():
        n = int(confusion[asked, seen])
        axes.text(seen, asked, n, ha="center", va="center", fontsize=7, color="white" if n < 12 else "black")
    axes.set(title=who, xlabel="read as", ylabel="asked for")
    axes.set_xticks(range(10), names, rotation=90, fontsize=7)
    axes.set_yticks(range(10), names, fontsize=7)
sdcourse.show_image(
    figure,
    alt="two confusion matrices; left fewer than half of the pictures lie on the diagonal, many in the column of pullovers, right nearly all on the diagonal",
)

# %% [markdown]
# Many mistakes lie where clothes look alike, such as shirts and pullovers; where your network is in doubt, it draws a block
# that reads as a pullover. The finished one is hardly ever in doubt.
#
# ## What you built
#
# | | unconditional | by class |
# |---|---|---|
# | network | `UNet2DModel(...)` | `UNet2DModel(..., num_class_embeds=10)` |
# | prediction | `model(noisy_images, timesteps)` | `model(noisy_images, timesteps, class_labels=labels)` |
# | loss | `F.mse_loss(noise_pred, noise)` | the same |
#
# **Try three things**, each one line:
#
# - `labels = labels[torch.randperm(len(labels))]` in the training loop: what does the network learn now?
# - `seed=1` for all classes: what do pictures of different classes from the same noise have in common?
# - half of a class: `model.class_embedding.weight.data[0] = model.class_embedding.weight.data[[0, 3]].mean(0)`, then
#   draw class 0. Is there something between a T-shirt and a dress?
#
# **Papers**
#
# - *Denoising Diffusion Probabilistic Models*, Ho, Jain and Abbeel, 2020
# - *Diffusion Models Beat GANs on Image Synthesis*, Dhariwal and Nichol, 2021
# - *Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms*, Xiao, Rasul and Vollgraf, 2017
