# %% [markdown]
# # 00 · Start here
#
# In this course you train every part of Stable Diffusion yourself, on the computer in front of you, and then
# drive the real one with the same code. This notebook checks that all is in place and draws a first picture.
#
# Run the cells from the top with **Shift + Enter**. Nothing is downloaded, and no GPU is needed.

# %%
import sdcourse

runtime = sdcourse.setup()

# %% [markdown]
# The line above says how the course runs here. The *profile* `pocket` means: small models that ship with the
# course. The profile `full` means: the real Stable Diffusion from a hub, on a GPU. The notebooks are the same.
#
# ## A first picture
#
# Loading takes a few seconds, drawing about one.

# %%
pipe = sdcourse.load_pipeline()

prompt = "a photograph of an astronaut riding a horse"
image = sdcourse.text_to_image(pipe, prompt, guidance_scale=5.0, seed=57)[0]
sdcourse.show_image(
    image,
    title=f"{prompt} · scale 5 · seed 57",
    alt="an astronaut in an orange suit on a black horse on a plain grey ground, all a little blurred",
)

# %% [markdown]
# The picture is 64 pixels wide and shown enlarged. A network that was trained on nothing but our own drawings
# made it, from noise and a sentence. What the sentence leaves open (colours, the place) is drawn at random.
# The picture is soft, because one of its parts keeps no fine lines (lesson 04 is about
# that one). Training took about twelve hours on two CPU cores. How good the result is, you measure below.

# %%
prompt = "a photograph of a puppy"
images = sdcourse.text_to_image(
    pipe, prompt, guidance_scale=5.0, seed=[1, 2, 3, 4, 5, 6], num_images_per_prompt=6
)
sdcourse.show_images(
    images,
    titles=[f"seed {seed}" for seed in range(1, 7)],
    columns=6,
    size=128,
    alt=f"six pictures for the prompt: {prompt}",
)

# %% [markdown]
# Same prompt, six seeds: the seed chooses the noise that drawing starts from, and with it what the prompt leaves open,
# here above all the place.
#
# ## Say what you want
#
# A prompt can name a subject, its colour, what it wears, where it is and how it is painted.

# %%
prompts = [
    "an oil painting of a collie in a top hat",
    "an acrylic palette knife painting of a flower",
    "a squirrel in Picasso style",
    "a bird is sitting on a tree branch",
    "a cat wearing a white hat in the snow",
    "pixel art of a red rocket at night",
]
images = sdcourse.text_to_image(pipe, prompts, guidance_scale=5.0, seed=0)
sdcourse.show_images(images, titles=prompts, columns=3, alt="six pictures, one for each prompt below them")

# %% [markdown]
# This small model knows a small world. These are its words:

# %%
from sdcourse.data.gallery import ATTRIBUTES

for attribute in ("subject", "color", "hat", "accessory", "background", "style"):
    print(f"{attribute:11}", ", ".join(value for value in ATTRIBUTES[attribute] if value != "none"))

# %% [markdown]
# **Predict, then run.** What will it draw for a word that it has never seen?

# %%
prompts = ["a penguin", "a zebra in the snow", "quantum mechanics"]
images = sdcourse.text_to_image(pipe, prompts, guidance_scale=5.0, seed=3)
sdcourse.show_images(
    images, titles=prompts, alt="an orange squirrel, a dark heap in the snow, a small figure in a white hat"
)

# %% [markdown]
# It draws something from its own world. The real Stable Diffusion does the same, only its world is larger.
#
# ## Is it any good?
#
# Most courses leave it at looking. This one also counts. A *judge*, a small classifier trained on drawings whose
# content is known exactly, reads the pictures; the table says how often it finds what the prompt asked for.

# %% tags=["nbval-ignore-output"]
from sdcourse.metrics import measure_accuracy

judge = sdcourse.load_judge()
print(measure_accuracy(pipe, judge, n=60, guidance_scale=5.0, num_inference_steps=15))

# %% [markdown]
# Each line is the share of pictures in which that attribute is as the prompt said. In brackets: where the true
# share lies with 95 % confidence, and how many of the 60 prompts named the attribute. *All right* is the share of
# pictures where everything that was named is there at once.
#
# ## Your computer
#
# The doctor looks at versions, memory, disk and weights. Each line that is not `ok` says what to do. In a terminal,
# `sdcourse doctor` prints the same.

# %% tags=["nbval-ignore-output"]
from sdcourse.cli.doctor import findings

for state, what, advice in findings():
    print(f"{state:8} {what} {advice}")

# %% [markdown]
# ## Where to go from here
#
# | lesson | you build |
# |---|---|
# | [01](01_diffusion_basics.ipynb), [02](02_class_conditioning.ipynb), [03](03_guidance.ipynb) | diffusion, class conditioning and guidance on small pictures |
# | [04](04_latents_and_vae.ipynb), [05](05_text_encoder.ipynb), [06](06_text_to_latents.ipynb) | a VAE, a text encoder and a UNet: a small Stable Diffusion of your own |
# | [07](07_inside_the_pipeline.ipynb), [08](08_sampling_loop.ipynb) | the pipeline taken apart, and its sampling loop by hand |
# | [09](09_guidance_and_negative_prompts.ipynb), [10](10_schedulers.ipynb) | guidance scale, negative prompts, schedulers |
#
# More are planned; the README lists them.
#
# Open [01 · Diffusion basics](01_diffusion_basics.ipynb) next. In a hurry to see the whole?
# [08 · The sampling loop by hand](08_sampling_loop.ipynb) stands alone.
#
# **Try three things**, each one line:
#
# - change `"a photograph"` to `"a pencil sketch"` in the first prompt;
# - pass `negative_prompt="a white hat"` with the prompt `"a cat wearing a hat"`;
# - set `guidance_scale=1.0` and see how the pictures get looser.
