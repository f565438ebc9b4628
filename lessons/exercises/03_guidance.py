# %% [markdown]
# # 03 · Exercises: guidance
#
# Seven exercises on two ways to make a diffusion model do what you want: pull it by a loss, without training anything, or
# let it exaggerate what a class changes. Each has a function to write, hints that open when you click them, and a
# check. A check says *not attempted*, *not yet* with the likely mistake, or *correct*. Nothing breaks if you leave
# one out.
#
# Lesson 03 shows everything that you need; close it before you start, and open it where you get stuck. Replace
# `raise NotImplementedError()` by your answer.

# %%
import torch

import sdcourse
from sdcourse.checks import check, quiz

runtime = sdcourse.setup()

# %% [markdown]
# ## 1 · A wish as a loss
#
# "More blue" has to become a number that is small when the wish is met, and that has a gradient. Take the mean absolute
# difference between all pixels and one colour. Mind the scales: pictures are in [-1, 1], colours in [0, 1].


# %%
def color_loss(images, target_color):
    """The mean absolute difference from one colour, a number; 0 for a picture of nothing else.

    Args:
        images: (n, 3, height, width) in [-1, 1].
        target_color: red, green, blue in [0, 1].
    """
    ### BEGIN SOLUTION
    target = torch.tensor(target_color).view(1, 3, 1, 1) * 2 - 1
    return (images - target).abs().mean()
    ### END SOLUTION


check("03-color-loss", color_loss)

# %% [markdown]
# <details><summary>Hint 1</summary>Bring the colour to [-1, 1]: twice, minus one.</details>
# <details><summary>Hint 2</summary>A tensor of three numbers lines up with the <i>last</i> axis of a picture.
# <code>.view(1, 3, 1, 1)</code> lines it up with the channels.</details>
#
# ## 2 · Downhill
#
# In the middle of sampling there is only a noisy picture. So guess the clean one (lesson 01), take the loss of the
# guess, and ask how the *noisy* picture would have to change to make it smaller. Move it a little that way.


# %%
def move_downhill(images, noise_pred, t, alphas_cumprod, loss, guidance_strength):
    """The noisy pictures, moved by guidance_strength times the gradient, without a gradient of their own.

    Args:
        images, noise_pred: (n, channels, height, width).
        t: a whole number, 0 to 999.
        alphas_cumprod: (1000,).
        loss: from predicted clean pictures to a number. Taken as it is, not times n as in the lesson.
    """
    ### BEGIN SOLUTION
    images = images.detach().requires_grad_()
    alpha = alphas_cumprod[t]
    clean_images = (images - (1 - alpha).sqrt() * noise_pred) / alpha.sqrt()
    [gradient] = torch.autograd.grad(loss(clean_images), images)
    return (images - guidance_strength * gradient).detach()
    ### END SOLUTION


downhill_result = check("03-downhill", move_downhill)
downhill_result

# %% [markdown]
# <details><summary>Hint 1</summary><code>images.detach().requires_grad_()</code> gives pictures that a gradient can be
# taken to.</details>
# <details><summary>Hint 2</summary><code>torch.autograd.grad(value, images)</code> gives a tuple with one gradient in
# it.</details>
# <details><summary>Hint 3</summary>Downhill is minus the gradient. <code>.detach()</code> at the end.</details>

# %%
quiz("03-through-the-guess")

# %% [markdown]
# ## 3 · The loop
#
# The sampling loop of an unconditional model, with your move in every step, between prediction and step. It
# works for any loss, so also for any colour. You may call `move_downhill`.


# %%
def sample_with_loss(unet, scheduler, images, loss, guidance_strength, num_inference_steps):
    """The finished pictures, as the last step left them: not clamped.

    Args:
        unet: `unet(images, t).sample` is the predicted noise.
        scheduler: knows `set_timesteps`, `timesteps`, `alphas_cumprod` and `step`.
        images: (n, channels, height, width), Gaussian noise.
        loss: from predicted clean pictures to a number.
        guidance_strength: 0 draws without guidance.
    """
    ### BEGIN SOLUTION
    scheduler.set_timesteps(num_inference_steps)
    for t in scheduler.timesteps:
        with torch.no_grad():
            noise_pred = unet(images, t).sample
        images = move_downhill(images, noise_pred, t, scheduler.alphas_cumprod, loss, guidance_strength)
        images = scheduler.step(noise_pred, t, images).prev_sample
    return images
    ### END SOLUTION


loop_result = check("03-loss-loop", sample_with_loss)
loop_result

# %% [markdown]
# <details><summary>Hint 1</summary>Start from the plain loop: set the timesteps; for each predict, then step.</details>
# <details><summary>Hint 2</summary>The move comes after the prediction, and the moved pictures go into
# <code>scheduler.step</code>. The network is asked once per step, under <code>torch.no_grad()</code>.</details>
#
# When exercises 1 to 3 are correct, choose a colour.

# %%
if downhill_result.correct and loop_result.correct:
    unet, scheduler = sdcourse.load_pixel_model("gallery-pixels")
    noise = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    blue = (0.1, 0.3, 0.9)
    images = torch.cat(
        [
            sample_with_loss(unet, scheduler, noise, lambda x: color_loss(x, blue) * len(x), strength, 40)
            for strength in (0, 4)
        ]
    )
    sdcourse.show_images(
        images.clamp(-1, 1) / 2 + 0.5,
        columns=6,
        size=112,
        alt="six small pictures, and below the same ones in blue",
    )

# %% [markdown]
# ## 4 · A text as the wish
#
# CLIP turns pictures and texts into vectors, *embeddings*, that point the same way where they fit (lesson 05). The
# cosine of the angle between two of them is 1 where they point the same way. Make a loss of it: 0 for pictures that fit
# the text perfectly.


# %%
def text_loss(image_embeds, text_embeds):
    """The mean over pictures of 1 minus the cosine, a number with a gradient.

    Args:
        image_embeds: (n, d), of any length.
        text_embeds: (1, d), of any length.
    """
    ### BEGIN SOLUTION
    image_embeds = torch.nn.functional.normalize(image_embeds, dim=-1)
    text_embeds = torch.nn.functional.normalize(text_embeds, dim=-1)
    return 1 - (image_embeds * text_embeds).sum(-1).mean()
    ### END SOLUTION


text_result = check("03-text-loss", text_loss)
text_result

# %% [markdown]
# <details><summary>Hint 1</summary>The cosine is the sum of the products, after both have been brought to length
# 1.</details>
# <details><summary>Hint 2</summary><code>torch.nn.functional.normalize(x, dim=-1)</code> brings each row to length
# 1.</details>
#
# With it, your loop draws by text, with a model that never read a word.

# %%
if downhill_result.correct and loop_result.correct and text_result.correct:
    clip, tokenizer = sdcourse.load_clip()
    tokens = tokenizer(["a house in the snow"], return_tensors="pt")
    text_embeds = clip.get_text_features(**tokens).pooler_output.detach()  # (1, 128)

    def fits_text(images):
        large = torch.nn.functional.interpolate(images.clamp(-1, 1), size=64, mode="bilinear")
        return text_loss(clip.get_image_features(large).pooler_output, text_embeds) * len(images)

    images = sample_with_loss(unet, scheduler, noise, fits_text, 10, 40)
    print(f"distance from the text: {fits_text(images).item() / len(images):.2f}")
    sdcourse.show_images(
        images.clamp(-1, 1) / 2 + 0.5, columns=6, size=112, alt="six small pictures, pulled towards a text"
    )

# %% [markdown]
# ## 5 · A classifier as the wish
#
# A classifier that knows noisy pictures can be asked at every step which change would make a class more likely. The
# predicted noise is moved against that (Dhariwal and Nichol, 2021, algorithm 2):
#
# $$\hat\epsilon = \epsilon - s\,\sqrt{1-\bar\alpha_t}\;\nabla_{x_t}\log p(y\,|\,x_t)$$


# %%
def classifier_guidance(classifier, noise_pred, images, t, labels, alphas_cumprod, guidance_scale):
    """The guided noise prediction, in the shape of the pictures, without a gradient of its own.

    Args:
        classifier: `classifier(images, timesteps)` gives logits (n, classes); it wants a timestep for each
            picture, (n,).
        noise_pred, images: (n, channels, height, width).
        t: the timestep of all pictures, a tensor without a shape.
        labels: (n,), the class that each picture should become.
        alphas_cumprod: (1000,).
    """
    ### BEGIN SOLUTION
    images = images.detach().requires_grad_()
    log_probability = classifier(images, t.expand(len(images))).log_softmax(1)
    chosen = log_probability[range(len(labels)), labels].sum()
    [gradient] = torch.autograd.grad(chosen, images)
    return noise_pred - guidance_scale * (1 - alphas_cumprod[t]).sqrt() * gradient
    ### END SOLUTION


check("03-classifier", classifier_guidance)

# %% [markdown]
# <details><summary>Hint 1</summary>As in exercise 2: pictures that a gradient can be taken to, a number, the gradient of
# the number.</details>
# <details><summary>Hint 2</summary><code>logits.log_softmax(1)[range(n), labels]</code> are the n log-probabilities. Their
# sum has the gradient that belongs to each picture.</details>
# <details><summary>Hint 3</summary>The share of the noise in the picture is √(1-ᾱ).</details>
#
# ## 6 · Label dropout
#
# Classifier-free guidance needs one model that knows both answers, with and without a class. Training gives it both with
# a single line: at random, a label is replaced by the *null label*.


# %%
def drop_labels(labels, probability, null_label):
    """New labels (n,): each is the null label with this probability.

    Args:
        labels: (n,), stays as it is.
        probability: 0 to 1.
        null_label: a whole number.
    """
    ### BEGIN SOLUTION
    dropped = torch.rand(len(labels)) < probability
    return torch.where(dropped, null_label, labels)
    ### END SOLUTION


check("03-label-dropout", drop_labels)

# %% [markdown]
# <details><summary>Hint 1</summary><code>torch.rand(n) &lt; probability</code> is true for that share of n places.</details>
# <details><summary>Hint 2</summary><code>torch.where(condition, a, b)</code> makes something new and leaves both as they
# are.</details>

# %%
quiz("03-null-class")

# %% [markdown]
# ## 7 · Both predictions, then guidance
#
# Ask for the null class and for the class, and go from the first answer towards the second, `guidance_scale`
# times as far.


# %%
def guided_prediction(unet, images, t, labels, null_label, guidance_scale):
    """The guided noise prediction, in the shape of the pictures, without a gradient.

    Args:
        unet: `unet(images, t, class_labels=labels).sample` is the predicted noise.
        labels: (n,), one for each picture.
    """
    ### BEGIN SOLUTION
    both_labels = torch.cat([torch.full_like(labels, null_label), labels])
    with torch.no_grad():
        noise_pred = unet(torch.cat([images, images]), t, class_labels=both_labels).sample
    noise_pred_uncond, noise_pred_class = noise_pred.chunk(2)
    return noise_pred_uncond + guidance_scale * (noise_pred_class - noise_pred_uncond)
    ### END SOLUTION


guided_result = check("03-guided-prediction", guided_prediction)
guided_result

# %% [markdown]
# <details><summary>Hint 1</summary><code>torch.full_like(labels, null_label)</code> are null labels for all.</details>
# <details><summary>Hint 2</summary>Two calls are fine. One call with <code>torch.cat</code> of pictures and labels, and
# <code>.chunk(2)</code> of the answer, is what the library does.</details>
#
# What does the scale do? The same noise at five scales.

# %%
if guided_result.correct:
    unet, scheduler = sdcourse.load_pixel_model("fashion")
    labels = torch.tensor([0, 1, 5, 7, 8, 9])
    rows, scales = [], (0.0, 1.0, 2.0, 4.0, 8.0)
    for guidance_scale in scales:
        images = torch.randn(6, 1, 32, 32, generator=torch.Generator().manual_seed(4))
        scheduler.set_timesteps(25)
        for t in scheduler.timesteps:
            noise_pred = guided_prediction(unet, images, t, labels, 10, guidance_scale)
            images = scheduler.step(noise_pred, t, images).prev_sample
        rows.append(images.clamp(-1, 1) / 2 + 0.5)
    sdcourse.show_images(
        torch.cat(rows),
        titles=[f"scale {scale:g}" for scale in scales for _ in labels],
        columns=6,
        size=96,
        alt="six columns of clothing; towards the bottom they become clearer and more alike",
    )

# %%
quiz("03-cost")

# %% [markdown]
# **What you can do now.** You can make a model that was trained without any wish follow one, and a model that knows
# classes follow them as closely as you like. Lesson 09 does the same with words.
