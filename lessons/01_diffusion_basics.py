# %% [markdown]
# # 01 · Diffusion basics
#
# A diffusion model draws by removing noise, a little at a time. To learn that, it is shown pictures with noise
# on them and asked one question: which noise was added? In this lesson you add the noise, train a network to
# answer, and turn its answers into new pictures, step by step.
#
# **You need** a little PyTorch: tensors, a training loop. **It takes** about three minutes of computing, half of it
# one training run.
#
# **You will**
#
# 1. add noise in one line, and see why it can jump to any amount at once;
# 2. compare three schedules of noise;
# 3. train a small network to predict noise;
# 4. write a step of DDPM by hand, find it equal to the one of `diffusers`, and draw;
# 5. make a mistake on purpose that no error message tells you about.

# %%
import torch

import sdcourse

runtime = sdcourse.setup()

# %% [markdown]
# ## The pictures
#
# `load_fashion` gives 60,000 small pictures of clothing. In the `pocket` profile a program draws them, which takes
# a few seconds; in the `full` profile they are Fashion-MNIST. Both have the same form.

# %%
from sdcourse.data import BatchLoader, load_fashion

dataset = load_fashion()
names = dataset["train"].features["label"].names
print(dataset["train"].num_rows, "pictures to train,", len(names), "classes:", ", ".join(names))

# %%
shown = [dataset["train"][i] for i in range(12)]
sdcourse.show_images(
    [row["image"] for row in shown],
    titles=[names[row["label"]] for row in shown],
    columns=6,
    size=112,
    alt="twelve drawings of clothing, bright on black",
)

# %% [markdown]
# A network wants batches, padded to 32×32 (which halves evenly) and mapped to [-1, 1]. Most courses do that picture by
# picture: a *transform* decodes, pads and maps one picture, and a `DataLoader` calls it for each.

# %%
import numpy as np
import torch.nn.functional as F
from torch.utils.data import DataLoader


def transform(rows):
    images = [torch.tensor(np.asarray(image)) / 127.5 - 1 for image in rows["image"]]  # (28, 28) each
    return {"images": [F.pad(image, [2] * 4, value=-1)[None] for image in images], "labels": rows["label"]}


picture_loader = DataLoader(dataset["train"].with_transform(transform), batch_size=16, shuffle=True)
print({name: tuple(values.shape) for name, values in next(iter(picture_loader)).items()})

# %% [markdown]
# The course's `BatchLoader` decodes all pictures once, which takes some seconds, and does the rest for a whole batch at
# a time. The batches are the same, but for a mirror image now and then: clothing looks the same mirrored, so there is
# twice as much of it.

# %%
train_loader = BatchLoader(dataset["train"], batch_size=16, seed=runtime.seed)

batch = next(iter(train_loader))
clean_images = batch["images"][:8]  # (8, 1, 32, 32) in [-1, 1]
print({name: tuple(values.shape) for name, values in batch.items()})

# %% tags=["nbval-ignore-output"]
import time
from itertools import islice

seconds = []
for loader in (picture_loader, train_loader):
    start = time.perf_counter()
    list(islice(loader, 400))
    seconds.append(time.perf_counter() - start)
print(f"400 batches: {seconds[0]:.2f} s picture by picture, {seconds[1]:.3f} s by batch")

# %% [markdown]
# Padding and mapping a whole batch is one operation instead of sixteen, and nothing is decoded twice. A network as small
# as ours would otherwise wait for its pictures.

# %% [markdown]
# ## Adding noise
#
# One small step of noise shrinks the picture a little and adds a little Gaussian noise:
#
# $$x_t = \sqrt{1-\beta_t}\,x_{t-1} + \sqrt{\beta_t}\,\epsilon$$
#
# Shrinking keeps the size of the numbers where it was. A thousand such steps leave nothing of the picture. We take
# $\beta$ from 0.0001 to 0.02 (Ho et al., 2020).

# %%
betas = torch.linspace(0.0001, 0.02, 1000)

generator = torch.Generator().manual_seed(0)
image = clean_images[:1]
walk = []
for t, beta in enumerate(betas):
    if t in (0, 100, 200, 400, 600, 999):
        walk.append(image)
    noise = torch.randn(image.shape, generator=generator)
    image = (1 - beta).sqrt() * image + beta.sqrt() * noise

# %%
sdcourse.show_images(
    [x.clamp(-1, 1) / 2 + 0.5 for x in walk],
    titles=[f"after {t} steps" for t in (0, 100, 200, 400, 600, 999)],
    columns=6,
    size=112,
    alt="a piece of clothing disappears in noise",
)

# %% [markdown]
# Nobody wants to walk a thousand steps for each training picture. Gaussian noise plus Gaussian noise is Gaussian
# noise again, and the variances of independent noises add up. After two steps the picture has the factor
# $\sqrt{(1-\beta_1)(1-\beta_2)}$ and the noise the variance $1-(1-\beta_1)(1-\beta_2)$; and so on. So all steps up to $t$ can
# be put together into one:
#
# $$x_t = \sqrt{\bar\alpha_t}\,x_0 + \sqrt{1-\bar\alpha_t}\,\epsilon, \qquad \bar\alpha_t = \prod_{s\le t}(1-\beta_s)$$
#
# That is the whole forward process, in one line of code.

# %%
alphas_cumprod = torch.cumprod(1 - betas, dim=0)  # (1000,)


def add_noise(clean_images, noise, timesteps):
    alpha = alphas_cumprod[timesteps].view(-1, 1, 1, 1)
    return alpha.sqrt() * clean_images + (1 - alpha).sqrt() * noise


# %% [markdown]
# Timesteps count from 0, so the picture at timestep $t$ has gone through $t+1$ steps.
#
# **Predict, then run.** If the jump is right, a walk of 400 steps and a jump to timestep 399 have the same mean and the
# same spread. We let 2,000 copies of one pixel of value 0.8 walk, and 2,000 jump. Which mean do you expect?

# %%
walkers = torch.full((2000, 1, 1, 1), 0.8)
for beta in betas[:400]:
    walkers = (1 - beta).sqrt() * walkers + beta.sqrt() * torch.randn(walkers.shape, generator=generator)
start = torch.full((2000, 1, 1, 1), 0.8)
jumpers = add_noise(start, torch.randn(start.shape, generator=generator), torch.full((2000,), 399))

print(f"walked: mean {walkers.mean():.2f}, deviation {walkers.std():.2f}")
print(f"jumped: mean {jumpers.mean():.2f}, deviation {jumpers.std():.2f}")
alpha = alphas_cumprod[399]
print(f"formula:     {alpha.sqrt() * 0.8:.2f},           {(1 - alpha).sqrt():.2f}")

# %% [markdown]
# The same, up to chance. `diffusers` has the same line in its schedulers, under the same name:

# %%
from diffusers import DDPMScheduler

noise_scheduler = DDPMScheduler(num_train_timesteps=1000, beta_schedule="linear")

noise = torch.randn(clean_images.shape, generator=generator)
timesteps = torch.tensor([0, 100, 200, 300, 400, 600, 800, 999])
ours = add_noise(clean_images, noise, timesteps)
theirs = noise_scheduler.add_noise(clean_images, noise, timesteps)
print("equal to diffusers:", torch.allclose(ours, theirs, atol=1e-5))

# %% [markdown]
# ## Schedules
#
# A *schedule* says how fast the picture goes. Three are common: linear, scaled linear (Stable Diffusion), and cosine
# (Nichol and Dhariwal, 2021). What counts is how much signal is left, $\sqrt{\bar\alpha_t}$, against how much noise,
# $\sqrt{1-\bar\alpha_t}$.

# %%
from matplotlib.figure import Figure

schedules = {
    "linear": DDPMScheduler(beta_schedule="linear"),
    "scaled linear": DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
    "cosine": DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
}
figure = Figure(figsize=(7.5, 2.8), layout="constrained")
for axes, (name, scheduler) in zip(figure.subplots(1, 3, sharey=True), schedules.items(), strict=True):
    axes.plot(scheduler.alphas_cumprod.sqrt(), color="#0072B2", label="signal")
    axes.plot((1 - scheduler.alphas_cumprod).sqrt(), color="#D55E00", linestyle="--", label="noise")
    axes.set(title=name, xlabel="timestep t")
axes.legend()
sdcourse.show_image(figure, alt="signal falls and noise rises over 1000 timesteps, for three schedules")

# %%
for name, scheduler in schedules.items():
    print(f"{name:14} signal left at the last step: {scheduler.alphas_cumprod[-1].sqrt():.4f}")

# %% [markdown]
# Stable Diffusion's schedule leaves seven hundredths of the signal at the end, a known flaw: sampling starts from
# pure noise, which the network has never quite seen (Lin et al., 2024). With the linear one half a hundredth is left.
#
# ## One prediction, three views
#
# The network could be asked for the noise $\epsilon$, for the clean picture $x_0$, or for a mix of both, the velocity
# $v = \sqrt{\bar\alpha}\,\epsilon - \sqrt{1-\bar\alpha}\,x_0$. Knowing the noisy picture, each gives the others. The noise from
# the velocity, for example, is $\epsilon = \sqrt{\bar\alpha}\,v + \sqrt{1-\bar\alpha}\,x_t$.

# %%
alpha = alphas_cumprod[timesteps].view(-1, 1, 1, 1)
noisy_images = ours

v = alpha.sqrt() * noise - (1 - alpha).sqrt() * clean_images
from_noise = (noisy_images - (1 - alpha).sqrt() * noise) / alpha.sqrt()
from_v = alpha.sqrt() * noisy_images - (1 - alpha).sqrt() * v
print("x0 from the noise:   ", torch.allclose(from_noise, clean_images, atol=1e-2))
print("x0 from the velocity:", torch.allclose(from_v, clean_images, atol=1e-4))

noise_from_v = alpha.sqrt() * v + (1 - alpha).sqrt() * noisy_images
print("noise from the velocity:", torch.allclose(noise_from_v, noise, atol=1e-4))

# %% [markdown]
# We ask for the noise, as DDPM and Stable Diffusion 1 do. Stable Diffusion 2 for 768×768 asks for $v$.
#
# ## A network that predicts noise
#
# `UNet2DModel` takes noisy pictures and their timesteps and answers in the shape of the pictures. Check the shapes
# on random input before training anything.

# %%
from diffusers import UNet2DModel

model = UNet2DModel(
    sample_size=32,
    in_channels=1,
    out_channels=1,
    layers_per_block=1,
    block_out_channels=(16, 32, 64),
    norm_num_groups=8,
    down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
    up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
)

with torch.no_grad():
    noise_pred = model(torch.randn(2, 1, 32, 32), torch.tensor([10, 900])).sample
print(tuple(noise_pred.shape), f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f} million weights")

# %% [markdown]
# ## The training loop
#
# Four lines carry the method; their comments return in every lesson. Batches are small, 16 pictures: on two cores, many
# small steps learn more in the same time than few large ones. We train for 90 seconds.

# %%
from tqdm.auto import tqdm

optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
losses = []
deadline = time.monotonic() + 90

with tqdm(total=90, unit="s") as bar:
    while time.monotonic() < deadline:
        for batch in train_loader:
            clean_images = batch["images"]
            # Sample noise to add to the images
            noise = torch.randn_like(clean_images)
            # Sample a random timestep for each image
            timesteps = torch.randint(0, 1000, (len(clean_images),))
            noisy_images = noise_scheduler.add_noise(clean_images, noise, timesteps)
            # Get the model prediction for the noise
            noise_pred = model(noisy_images, timesteps).sample
            # Compare the prediction with the actual noise
            loss = F.mse_loss(noise_pred, noise)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
            bar.n = 90 - max(0, round(deadline - time.monotonic()))
            bar.refresh()
            if time.monotonic() > deadline:
                break

# %%
figure = Figure(figsize=(6, 2.6), layout="constrained")
axes = figure.subplots()
axes.plot(losses, color="#0072B2")
axes.set(
    xlabel="training step", ylabel="loss", ylim=(0, 1), title="Mean squared error of the predicted noise"
)
sdcourse.show_image(figure, alt="the loss falls steeply from 1, then slowly")

# %% [markdown]
# The loss starts near 1, which is the error of answering zero, and falls fast at first. Which timesteps are learned by
# then, and which are hard? The mean over all of them hides it.

# %% tags=["nbval-ignore-output"]
for t in (5, 50, 200, 500, 900):
    noise = torch.randn_like(clean_images)
    timesteps = torch.full((len(clean_images),), t)
    with torch.no_grad():
        noise_pred = model(noise_scheduler.add_noise(clean_images, noise, timesteps), timesteps).sample
    print(f"t = {t:3}: loss {F.mse_loss(noise_pred, noise):.3f}")

# %% [markdown]
# Much noise is the easy part: there the noisy picture itself is nearly the answer. With little noise the network has to
# find the last specks of it, and no answer is sure.
#
# ## Sampling
#
# Training only asked for the noise. To draw, we start from pure noise and go down from step to step. The step of
# DDPM takes out a part of the predicted noise, which moves the picture towards the guess of the clean one, then adds a
# little fresh noise (Ho et al., 2020, algorithm 2):
#
# $$x_{t-1} = \frac{1}{\sqrt{\alpha_t}}\Big(x_t - \frac{\beta_t}{\sqrt{1-\bar\alpha_t}}\,\epsilon_\theta(x_t, t)\Big) + \sigma_t z$$
#
# Here $\alpha_t = 1-\beta_t$ belongs to one step and $\bar\alpha_t$ to all up to $t$; $\epsilon_\theta$ is the network's
# answer, $z$ fresh Gaussian noise, and $\sigma_t^2 = \frac{1-\bar\alpha_{t-1}}{1-\bar\alpha_t}\,\beta_t$.


# %%
def ddpm_step(noise_pred, t, images, z):
    beta, alpha_bar = betas[t], alphas_cumprod[t]
    alpha_bar_prev = alphas_cumprod[t - 1] if t > 0 else torch.tensor(1.0)
    mean = (images - beta / (1 - alpha_bar).sqrt() * noise_pred) / (1 - beta).sqrt()
    sigma = ((1 - alpha_bar_prev) / (1 - alpha_bar) * beta).sqrt()
    return mean + sigma * z if t > 0 else mean


# %% [markdown]
# **By hand, then the library.** The scheduler's `step` does the same. It can also clip the guess to [-1, 1], which
# our formula does not; so we compare without clipping.

# %%
unclipped = DDPMScheduler(num_train_timesteps=1000, beta_schedule="linear", clip_sample=False)
images, noise_pred = torch.randn(2, 4, 1, 32, 32)
z = torch.randn(images.shape, generator=torch.Generator().manual_seed(1))

for t in (999, 500, 1, 0):
    ours = ddpm_step(noise_pred, t, images, z)
    generator = torch.Generator().manual_seed(1)
    theirs = unclipped.step(noise_pred, t, images, generator=generator).prev_sample
    print(f"t = {t:3}: equal to diffusers:", torch.allclose(ours, theirs, rtol=1e-3, atol=1e-3))

# %% [markdown]
# A thousand steps with the network that you trained would take minutes. Fewer steps do nearly as well, if each covers
# a stretch of timesteps; schedulers know how (lesson 10 is about them). We take 50.


# %%
def sample(model, scheduler, images, num_inference_steps=50, seed=0):
    scheduler.set_timesteps(num_inference_steps)
    generator = torch.Generator().manual_seed(seed)
    for t in tqdm(scheduler.timesteps):
        with torch.no_grad():
            prediction = model(images, t).sample
        images = scheduler.step(prediction, t, images, generator=generator).prev_sample
    return images.clamp(-1, 1) / 2 + 0.5  # (n, 1, 32, 32) in [0, 1]


noise = torch.randn(12, 1, 32, 32, generator=torch.Generator().manual_seed(7))
sdcourse.show_images(
    sample(model, noise_scheduler, noise),
    columns=6,
    size=112,
    alt="twelve pale blots, some in the shape of clothing",
)

# %% [markdown]
# Blots, some of them in the shape of clothing: your network saw some ten thousand pictures, each once. The course ships a
# wider one that was trained for longer. There is one more difference: it was asked for the velocity $v$, the third of the views above. At
# the highest noise level the picture is 0.006 of what the network sees. To get $x_0$ from a prediction of the noise, all
# errors are divided by that number; from $v$ they stay as they are. Its scheduler knows (`prediction_type`), so the loop
# stays the same.

# %%
finished, finished_scheduler = sdcourse.load_pixel_model("fashion-unconditional")
print(f"{sum(p.numel() for p in finished.parameters()) / 1e6:.1f} million weights")
print("it predicts:", finished_scheduler.config.prediction_type)

sdcourse.show_images(
    sample(finished, finished_scheduler, noise),
    columns=6,
    size=112,
    alt="twelve pieces of clothing, among them shirts, shoes and bags",
)

# %% [markdown]
# ## What the network sees on the way
#
# From each prediction follows a guess of the finished picture, $x_0$. Early in the loop the guess is a blur, the mean of
# everything that could still come out.

# %%
images, guesses = noise[:1], []
finished_scheduler.set_timesteps(50)
generator = torch.Generator().manual_seed(0)
for i, t in enumerate(finished_scheduler.timesteps):
    with torch.no_grad():
        prediction = finished(images, t).sample
    step = finished_scheduler.step(prediction, t, images, generator=generator)
    if i in (0, 10, 20, 30, 40, 49):
        guesses.append((f"t = {int(t)}", step.pred_original_sample.clamp(-1, 1) / 2 + 0.5))
    images = step.prev_sample

# %%
sdcourse.show_images(
    [guess for _, guess in guesses],
    titles=[title for title, _ in guesses],
    columns=6,
    size=112,
    alt="a grey blur turns into one piece of clothing",
)

# %% [markdown]
# ## A mistake that no error message tells you about
#
# **Predict, then run.** `torch.rand` for `torch.randn`: uniform noise in [0, 1] in place of Gaussian noise, a slip of
# one letter. What will come out?

# %% tags=["nbval-ignore-output"]
uniform = torch.rand(noise.shape, generator=torch.Generator().manual_seed(7))
print(f"Gaussian: mean {noise.mean():.2f}, deviation {noise.std():.2f}")
print(f"uniform:  mean {uniform.mean():.2f}, deviation {uniform.std():.2f}")
sdcourse.show_images(
    sample(finished, finished_scheduler, uniform)[:6],
    columns=6,
    size=112,
    alt="six pieces of clothing, five of them almost as before",
)

# %% [markdown]
# Nearly nothing happened, which is the treacherous part. DDPM adds fresh Gaussian noise in every step, and after some
# of them the wrong start is forgotten. Many samplers add none. DDIM (lesson 10) is one: all its chance lies in the start.

# %%
from diffusers import DDIMScheduler

ddim = DDIMScheduler.from_config(finished_scheduler.config)


def sample_without_fresh_noise(model, images, num_inference_steps=50):
    ddim.set_timesteps(num_inference_steps)
    for t in tqdm(ddim.timesteps):
        with torch.no_grad():
            prediction = model(images, t).sample
        images = ddim.step(prediction, t, images).prev_sample
    return images.clamp(-1, 1) / 2 + 0.5


rows = [sample_without_fresh_noise(finished, start[:6]) for start in (noise, uniform)]
sdcourse.show_images(
    torch.cat(rows),
    titles=["from Gaussian noise"] * 6 + ["from uniform noise"] * 6,
    columns=6,
    size=112,
    alt="six different pieces of clothing; below, six times the same bright shape",
)

# %% [markdown]
# The network was trained on noise of mean 0 and deviation 1, and the formulas hold for no other. Noise of mean 0.5 looks to
# it like a large bright picture under a little noise, six times the same. No line of code complained.
#
# ## Is it any good? Measure it
#
# Pictures of clothing ought to be spread as the real ones are. The *Fréchet distance* compares the features of two
# sets of pictures, here those of a small classifier; 0 means that they are spread alike. The floor tells what chance
# alone gives: as many other pictures of the data against the same reference.

# %% tags=["nbval-ignore-output"]
from sdcourse.metrics import frechet_distance

judge = sdcourse.load_judge("fashion")
test_loader = BatchLoader(dataset["test"], batch_size=2000, flip=False)
batches = iter(test_loader)
references, others = next(batches)["images"], next(batches)["images"][:200]

many = torch.randn(200, 1, 32, 32, generator=torch.Generator().manual_seed(11))
rows = {
    "clothing of the data (floor)": others,
    "your network": sample(model, noise_scheduler, many, 25) * 2 - 1,
    "the finished weights": sample(finished, finished_scheduler, many, 25) * 2 - 1,
}
for name, images in rows.items():
    print(f"{name:28} Fréchet distance {frechet_distance(judge, images, references):7.1f}")

# %% [markdown]
# ## What you built
#
# | | in one line |
# |---|---|
# | forward process | `alpha.sqrt() * clean_images + (1 - alpha).sqrt() * noise` |
# | training | `F.mse_loss(model(noisy_images, timesteps).sample, noise)` |
# | sampling | `scheduler.step(noise_pred, t, images).prev_sample`, from noise, for each timestep |
#
# **Try three things**, each one line:
#
# - `beta_schedule="squaredcos_cap_v2"` in the scheduler: train again and compare the loss curves. Can you compare them?
# - `num_inference_steps=10` in `sample`: what goes first, shapes or details?
# - `.pred_original_sample` for `.prev_sample` in `sample`: what comes out when each guess is believed at once?
#
# **Papers**
#
# - *Deep Unsupervised Learning using Nonequilibrium Thermodynamics*, Sohl-Dickstein, Weiss, Maheswaranathan and
#   Ganguli, 2015
# - *Denoising Diffusion Probabilistic Models*, Ho, Jain and Abbeel, 2020
# - *Improved Denoising Diffusion Probabilistic Models*, Nichol and Dhariwal, 2021
# - *Common Diffusion Noise Schedules and Sample Steps are Flawed*, Lin, Liu, Li and Yang, 2024
