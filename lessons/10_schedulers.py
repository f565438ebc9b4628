# %% [markdown]
# # 10 · Schedulers
#
# The network predicts noise, and that is all it does. Which noise levels are visited, and how to get from one to the next,
# is the work of the *scheduler*. It has no weights, so it can be changed at any time: some need far fewer steps than others
# for the same picture.
#
# **You need** lessons 01 and 08. **It takes** about two minutes of computing.
#
# **You will**
#
# 1. write DDIM and Euler by hand, and find them equal to the library's;
# 2. see what `scale_model_input` and `init_noise_sigma` translate;
# 3. draw with six schedulers from the same noise;
# 4. measure quality against steps, and time;
# 5. find out when a seed is a picture, and when it is not.

# %%
import torch

import sdcourse

runtime = sdcourse.setup()
pipe = sdcourse.load_pipeline()
judge = sdcourse.load_judge()

# %% [markdown]
# ## What a scheduler knows
#
# Three things: the noise levels of training, which of them to visit, and the step between two of them.

# %%
from diffusers import DDIMScheduler

ddim = DDIMScheduler.from_config(pipe.scheduler.config)
ddim.set_timesteps(5)
print("trained with", len(ddim.alphas_cumprod), "noise levels; of these it visits", ddim.timesteps.tolist())

# %%
from sdcourse.sampling import decode_latents, encode_prompt

prompt = "a photograph of an astronaut riding a horse"
with torch.no_grad():
    text_embeddings = encode_prompt(pipe.tokenizer, pipe.text_encoder, ["", prompt])  # (2, 77, 128)


def predict(latents, t, guidance_scale=5.0):
    with torch.no_grad():
        noise_pred = pipe.unet(torch.cat([latents] * 2), t, text_embeddings).sample
    noise_pred_uncond, noise_pred_text = noise_pred.chunk(2)
    return noise_pred_uncond + guidance_scale * (noise_pred_text - noise_pred_uncond)


noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(9))

# %% [markdown]
# (It starts at 801, not at 999: this spacing leaves the noisiest levels out, as Stable Diffusion 1 does.)
#
# ## DDIM by hand
#
# Take the predicted noise out completely, which gives a guess of the clean latents. Then put noise back, the same that
# was predicted, but only as much as the next level has (Song, Meng and Ermon, 2021, eq. 12 without randomness):
#
# $$\hat x_0 = \frac{x_t - \sqrt{1-\bar\alpha_t}\,\epsilon}{\sqrt{\bar\alpha_t}}, \qquad
# x_s = \sqrt{\bar\alpha_s}\,\hat x_0 + \sqrt{1-\bar\alpha_s}\,\epsilon$$


# %%
def ddim_step(noise_pred, alpha, next_alpha, latents):
    clean_latents = (latents - (1 - alpha).sqrt() * noise_pred) / alpha.sqrt()
    return next_alpha.sqrt() * clean_latents + (1 - next_alpha).sqrt() * noise_pred


num_inference_steps = 20
ddim.set_timesteps(num_inference_steps)
alphas = ddim.alphas_cumprod[ddim.timesteps]
next_alphas = torch.cat(
    [alphas[1:], ddim.final_alpha_cumprod.view(1)]
)  # after the last step: (nearly) no noise

by_ddim = noise
for t, alpha, next_alpha in zip(ddim.timesteps, alphas, next_alphas, strict=True):
    by_ddim = ddim_step(predict(by_ddim, t), alpha, next_alpha, by_ddim)

theirs = noise
for t in ddim.timesteps:
    theirs = ddim.step(predict(theirs, t), t, theirs).prev_sample
print("equal to diffusers:", torch.allclose(by_ddim, theirs, atol=1e-4))

# %% [markdown]
# ## Euler by hand
#
# There is another way to say the same. Divide everything by $\sqrt{\bar\alpha_t}$. Then the latents are the clean ones plus
# noise of standard deviation $\sigma$, with
#
# $$\sigma = \sqrt{\frac{1-\bar\alpha_t}{\bar\alpha_t}}$$
#
# In these units DDIM's two formulas become $\hat x_0 = x - \sigma\epsilon$ and $x_\text{next} = \hat x_0 + \sigma_\text{next}\epsilon$,
# together
#
# $$x_\text{next} = x + (\sigma_\text{next} - \sigma)\,\epsilon$$
#
# Seen over $\sigma$, the latents go along a curve whose slope is the predicted noise, and this is Euler's way along a
# curve: a straight piece, then the next slope (Karras et al., 2022).


# %%
def euler_step(noise_pred, sigma, next_sigma, latents):
    return latents + (next_sigma - sigma) * noise_pred


from diffusers import EulerDiscreteScheduler

euler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
euler.set_timesteps(num_inference_steps)
print(f"σ: {euler.sigmas[0]:.1f} at first, {euler.sigmas[-2]:.2f} before the last step, then 0")
print(f"init_noise_sigma: {euler.init_noise_sigma:.1f}, and {ddim.init_noise_sigma:.1f} for DDIM")

# %% [markdown]
# The first noise has to be as large as the noisiest latents: it is multiplied by `init_noise_sigma`, which is
# $\sqrt{\sigma^2+1}$ here, and 1 for schedulers that do not rescale. And the network was not trained on latents of that
# size. `scale_model_input` divides by $\sqrt{\sigma^2+1} = 1/\sqrt{\bar\alpha_t}$ before each prediction, which undoes
# the division above; for DDIM it does nothing.

# %%
by_euler = noise * euler.init_noise_sigma
for t, sigma, next_sigma in zip(euler.timesteps, euler.sigmas, euler.sigmas[1:], strict=False):
    noise_pred = predict(by_euler / (sigma**2 + 1).sqrt(), t)
    by_euler = euler_step(noise_pred, sigma, next_sigma, by_euler)

theirs = noise * euler.init_noise_sigma
for t in euler.timesteps:
    theirs = euler.step(predict(euler.scale_model_input(theirs, t), t), t, theirs).prev_sample
print("equal to diffusers:", torch.allclose(by_euler, theirs, atol=1e-3))

# %%
with torch.no_grad():
    drawn = decode_latents(pipe.vae, torch.cat([by_ddim, by_euler]))
sdcourse.show_images(
    drawn,
    titles=["DDIM by hand", "Euler by hand"],
    size=128,
    alt="the same astronaut on a horse twice, with hardly a difference",
)

# %% [markdown]
# The same step in different units. The pictures are only nearly alike because Euler's last step goes down to no noise at
# all, DDIM's to the lowest level of training, σ = 0.03.
#
# ## Six schedulers, the same noise
#
# - **DDPM** adds fresh noise in every step, as training did. It wants many steps.
# - **DDIM** adds none, and goes straight.
# - **PNDM**, called PLMS in the first Stable Diffusion scripts, remembers its last three predictions, and goes on along the curve that they make with the new one.
# - **Euler** is DDIM in other units; **Euler ancestral** goes a little too far down and adds fresh noise.
# - **DPM++** remembers one prediction, and sees from the two how the curve bends.
#
# **Predict:** which of them give nearly the same picture, and which another one?

# %%
names = ["ddpm", "ddim", "pndm", "euler", "euler-a", "dpm++"]
pictures = [
    sdcourse.text_to_image(
        pipe, prompt, guidance_scale=5.0, num_inference_steps=steps, seed=9, scheduler=name, progress=False
    )[0]
    for steps in (5, 25)
    for name in names
]
sdcourse.show_images(
    pictures,
    titles=[f"{name}, {steps} steps" for steps in (5, 25) for name in names],
    columns=6,
    size=112,
    alt="an astronaut on a horse: with 5 steps that of PNDM is blurred and glaring; with 25 the four without fresh noise are alike, on a beach, and those of DDPM and Euler ancestral are on a meadow",
)

# %% [markdown]
# With 25 steps, the four without fresh noise agree: they follow the same curve, some more exactly than others. The two that
# add noise end somewhere else, and both at the same place: Euler ancestral is DDPM in Euler's units, as Euler is DDIM.
# With 5 steps PNDM breaks down: the curve through its last predictions leads too far where steps are wide.
#
# ## Is it any good? Measure it
#
# For each scheduler and number of steps, 40 pictures of 40 prompts. Two numbers: what share the judge finds all right, and
# the Fréchet distance (lesson 01) from drawings, with its floor, that of 40 other drawings. The floor is one draw as well: values a few
# per cent above or below it are chance. About a minute.

# %% tags=["nbval-ignore-output"]
from sdcourse.data.gallery import random_scenes, render
from sdcourse.metrics import attribute_accuracy, draw_pictures, evaluation_prompts, frechet_distance

prompts = evaluation_prompts(40)
references, others = (render(random_scenes(n, seed=n)).float() / 127.5 - 1 for n in (500, 40))
floor = frechet_distance(judge, others, references)
steps_tried = (4, 8, 20)
accuracy, distance = {}, {}
for name in names:
    for steps in steps_tried:
        drawn = draw_pictures(pipe, [p.text for p in prompts], 5.0, steps, scheduler=name)
        accuracy[name, steps] = attribute_accuracy(judge.read(drawn), prompts).all_right
        distance[name, steps] = frechet_distance(judge, drawn, references)
head = "".join(f"{steps:>3} steps" for steps in steps_tried)
print(f"{'':10}all right:{head}    Fréchet distance:{head}")
for name in names:
    shares = "".join(f"{accuracy[name, steps]:9.0%}" for steps in steps_tried)
    distances = "".join(f"{distance[name, steps]:9.0f}" for steps in steps_tried)
    print(f"{name:20}{shares}    {'':17}{distances}")
print(f"{'floor':50}{floor:>27.0f}")

# %%
from matplotlib.figure import Figure

figure = Figure(figsize=(8, 3), layout="constrained")
for axes, (title, values) in zip(
    figure.subplots(1, 2), {"all right": accuracy, "Fréchet distance": distance}.items(), strict=True
):
    for name, style in zip(names, ("o-", "s--", "^-", "v--", "D:", "P-"), strict=True):
        axes.plot(steps_tried, [values[name, steps] for steps in steps_tried], style, label=name)
    axes.set(title=title, xlabel="steps", xscale="log")
    axes.set_xticks(steps_tried, [str(steps) for steps in steps_tried])
    axes.minorticks_off()
axes.legend(ncols=2)
sdcourse.show_image(
    figure,
    alt="over the steps, a curve for each scheduler: PNDM far off at 4 and 8; DDPM and Euler ancestral behind the rest at 8, level at 20",
)

# %% [markdown]
# With 4 steps all but PNDM are right in about seven of ten pictures, and by the distance about as near as other
# drawings. By 8 steps DDIM, Euler and DPM++ are where they stay, and by 20 those that add noise are there too, as far
# as 40 pictures can tell. (DDPM and Euler ancestral have the same numbers because they draw the same pictures.) PNDM
# is still a little behind at 20. So a scheduler does not draw better pictures than another; it draws them sooner.
#
# ## What does a step cost?
#
# **Predict:** DPM++ does more arithmetic in a step than DDIM. Is it slower?

# %% tags=["nbval-ignore-output"]
import time

seconds = {}
for name in names:
    took = []
    for seed in range(4):
        start = time.perf_counter()
        sdcourse.text_to_image(
            pipe, prompt, num_inference_steps=20, seed=seed, scheduler=name, progress=False
        )
        took.append(time.perf_counter() - start)
    seconds[name] = min(took)  # what else the machine does can only add
for name in names:
    print(f"{name:9} {seconds[name] / seconds['ddim']:.2f} times the time of ddim")

# %% [markdown]
# A step costs what the UNet costs; the scheduler's arithmetic on 256 numbers is next to nothing. (Differences like those
# above are mostly other work on the machine: run it again, and the order changes. Only PNDM really does more: 21
# predictions.) Time is the number of predictions.
#
# ## The same picture twice
#
# DDIM has a number `eta`, the share of fresh noise in a step. **Predict:** with which `eta` do you get the same picture,
# when only the noise *inside* the loop comes from another generator?

# %%


def sample_ddim(seed_of_steps, eta, num_inference_steps=20):
    ddim.set_timesteps(num_inference_steps)
    generator = torch.Generator().manual_seed(seed_of_steps)
    latents = noise
    for t in ddim.timesteps:
        latents = ddim.step(predict(latents, t), t, latents, eta=eta, generator=generator).prev_sample
    with torch.no_grad():
        return decode_latents(pipe.vae, latents)


rows, titles = [], []
for eta in (0.0, 0.5, 1.0):
    for seed in (1, 2, 3):
        rows.append(sample_ddim(seed, eta))
        titles.append(f"eta {eta}, generator {seed}")
for eta in (0, 1, 2):
    same = torch.equal(rows[3 * eta], rows[3 * eta + 1])
    print(f"eta {eta / 2}: the same picture from two generators: {same}")

# %%
sdcourse.show_images(
    torch.cat(rows),
    titles=titles,
    columns=3,
    size=128,
    alt="three equal pictures, on a beach; then six astronauts on horses on a meadow, one of them in coarse pixels and one in white",
)

# %% [markdown]
# With `eta` 0 no fresh noise is added, with 1 about as much as by DDPM. Without fresh noise, the first noise alone
# decides, and a seed is a picture. With it, the same seed gives the same picture only with the same program, the same
# number of steps and the same generator.
#
# ## What you built
#
# | | fresh noise | remembers | good here from |
# |---|---|---|---|
# | DDIM, Euler | no | nothing | 4 to 8 steps |
# | DPM++ | no | one prediction | 4 to 8 steps |
# | DDPM, Euler ancestral | yes | nothing | 8 to 20 steps |
# | PNDM | no | three predictions | 20 steps or more |
#
# For Stable Diffusion 1.5, 20 to 50 steps are usual.
#
# **Try three things**, each one line:
#
# - `num_inference_steps = 2` before the loops by hand: which of the two survives it?
# - `use_karras_sigmas=True` in `EulerDiscreteScheduler.from_config(...)`: other levels, the same number of steps.
# - `euler.sigmas = euler.sigmas * 1.1` after `set_timesteps`: what does too much noise at every level do?
#
# **Papers**
#
# - *Denoising Diffusion Implicit Models*, Song, Meng and Ermon, 2021
# - *Pseudo Numerical Methods for Diffusion Models on Manifolds*, Liu, Ren, Lin and Zhao, 2022
# - *Elucidating the Design Space of Diffusion-Based Generative Models*, Karras, Aittala, Aila and Laine, 2022
# - *DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models*, Lu, Zhou, Bao, Chen, Li and Zhu, 2022
