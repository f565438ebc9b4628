"""Checks of the exercises on class conditioning."""

import math

import torch
from diffusers import DDIMScheduler
from diffusers.models.embeddings import get_timestep_embedding
from diffusers.models.unets.unet_2d import UNet2DOutput

from .engine import Exercise, close, expect, expect_close, expect_tensor
from .quiz import Choice, Quiz
from .training import Watched, expect_loss, expect_noise, expect_timesteps, find_noise, make_scheduler

# 1 · the loss, with classes -----------------------------------------------------------------

training = Exercise("02-loss", "diffusion_loss", "train a diffusion model that knows classes")


@training.case
def _(answer):
    model = Watched()
    batch = {"images": torch.rand(64, 1, 8, 8) * 2 - 1, "labels": torch.randint(0, 10, (64,))}
    loss = answer(model, make_scheduler(), batch)
    expect(loss is not None, "The result is None: does your function end with a return?")
    expect(bool(model.seen), "The network was never called.")
    given = model.seen[0][2]
    expect(
        given is not None,
        "The network was not told the classes, so it learns to draw anything: pass class_labels.",
    )
    given = torch.as_tensor(given)
    expect(
        given.shape == (64,),
        f"class_labels should be one whole number for each picture, (64,), and has the shape "
        f"{tuple(given.shape)}: the network looks them up in its table by itself.",
    )
    expect(
        not close(given, model.seen[0][1]) and not given.is_floating_point(),
        "class_labels are the timesteps, or no whole numbers: pass batch['labels'].",
    )
    expect(
        not (len(given.unique()) == 1),
        f"All pictures were given the class {given[0]}: pass batch['labels'].",
    )
    expect(
        close(given, batch["labels"]),
        "The network was given other classes than those of its pictures: it would learn that they mean "
        "nothing.",
    )
    expect_loss(loss, model)
    noise, timesteps = find_noise(batch["images"], model)
    expect_timesteps(timesteps)
    expect_noise(noise)
    noise_pred = 0.5 * model.seen[0][0]
    expect_close(
        loss.detach(),
        ((noise_pred - noise) ** 2).mean(),
        "The loss should be the mean squared error of the predicted noise, as without classes.",
        {
            "Yours compares with the clean pictures.": ((noise_pred - batch["images"]) ** 2).mean(),
            "Yours is a sum.": ((noise_pred - noise) ** 2).sum(),
        },
        tolerance=1e-3,
    )


def _loss(
    model, scheduler, batch, *, labels=lambda batch, t: batch["labels"], noise=torch.randn_like, sum=False
):
    """The loss, with each mistake that can be made in it as an option."""
    clean_images = batch["images"]
    noise = noise(clean_images)
    timesteps = torch.randint(0, 1000, (len(clean_images),))
    noisy_images = scheduler.add_noise(clean_images, noise, timesteps)
    noise_pred = model(noisy_images, timesteps, class_labels=labels(batch, timesteps)).sample
    square = (noise_pred - noise) ** 2
    return square.sum() if sum else square.mean()


@training.rejects("was not told the classes")
def _(*arguments):
    return _loss(*arguments, labels=lambda batch, t: None)


@training.rejects("looks them up in its table")
def _(*arguments):
    return _loss(*arguments, labels=lambda batch, t: torch.nn.functional.one_hot(batch["labels"], 10))


@training.rejects("class_labels are the timesteps")
def _(*arguments):
    return _loss(*arguments, labels=lambda batch, t: t)


@training.rejects("All pictures were given the class")
def _(*arguments):
    return _loss(*arguments, labels=lambda batch, t: torch.zeros_like(batch["labels"]))


@training.rejects("other classes than those of its pictures")
def _(*arguments):
    return _loss(*arguments, labels=lambda batch, t: batch["labels"].flip(0))


@training.rejects("as of torch.rand")
def _(*arguments):
    return _loss(*arguments, noise=torch.rand_like)


@training.rejects("is a sum")
def _(*arguments):
    return _loss(*arguments, sum=True)


# 2 · the timestep as waves ------------------------------------------------------------------

waves = Exercise(
    "02-time-embedding", "timestep_embedding", "turn a timestep into numbers that a network can read"
)


def _waves(timesteps, dim, *, start=0, base=10000.0, sines_first=False, mixed=False, frequency=True):
    half = dim // 2
    exponent = torch.arange(half) / half
    angles = timesteps.float()[:, None] * base ** (-exponent if frequency else exponent)[None]
    parts = [angles.sin(), angles.cos()] if sines_first else [angles.cos(), angles.sin()]
    return torch.stack(parts, -1).flatten(1) if mixed else torch.cat(parts, 1)


@waves.case
def _(answer):
    timesteps = torch.tensor([0, 1, 10, 999])
    got = answer(timesteps, 8)
    expect_tensor(got, (4, 8))

    def other(**mistake):
        return lambda: _waves(timesteps, 8, **mistake)

    expect_close(
        got,
        get_timestep_embedding(timesteps, 8, flip_sin_to_cos=True, downscale_freq_shift=0),
        "For timesteps 0, 1, 10, 999 and 8 numbers the result should agree with diffusers.",
        {
            "Yours has the sines first: cosines first, then sines.": other(sines_first=True),
            "Yours mixes cosines and sines: all cosines first, then all sines.": other(mixed=True),
            "Yours has frequencies that rise: they should fall, 10000 to the power of -i / half.": (
                other(frequency=False)
            ),
            "Yours takes e for 10000.": other(base=math.e),
            "Yours holds the angles: take cosine and sine of them.": (
                lambda: torch.cat([timesteps[:, None] * 10000 ** (-torch.arange(4) / 4)] * 2, 1)
            ),
        },
        tolerance=1e-3,
    )


@waves.case
def _(answer):
    timesteps = torch.tensor([3, 700])
    expect_close(
        answer(timesteps, 32),
        _waves(timesteps, 32),
        "With 8 numbers yours is right, with 32 it is not: the frequencies depend on `dim`.",
        tolerance=1e-3,
    )


@waves.rejects("sines first")
def _(*arguments):
    return _waves(*arguments, sines_first=True)


@waves.rejects("mixes cosines and sines")
def _(*arguments):
    return _waves(*arguments, mixed=True)


@waves.rejects("frequencies that rise")
def _(*arguments):
    return _waves(*arguments, frequency=False)


@waves.rejects("takes e for 10000")
def _(*arguments):
    return _waves(*arguments, base=math.e)


@waves.rejects("holds the angles")
def _(timesteps, dim):
    return torch.cat([timesteps[:, None] * 10000 ** (-torch.arange(dim // 2) / (dim // 2))] * 2, 1)


@waves.rejects("the frequencies depend on `dim`")
def _(timesteps, dim):
    angles = timesteps[:, None] * 10000 ** (-torch.arange(dim // 2) / 4)
    return torch.cat([angles.cos(), angles.sin()], 1)


# 3 · time and class together ----------------------------------------------------------------

together = Exercise("02-condition", "condition", "say where time and class enter a network")


@together.case
def _(answer):
    time_emb, table, labels = torch.randn(3, 6), torch.randn(10, 6), torch.tensor([7, 0, 7])
    got = answer(time_emb.clone(), table.clone(), labels)
    expect(got is not None, "The result is None: does your function end with a return?")
    expect(
        not isinstance(got, torch.Tensor) or tuple(got.shape) != (3, 12),
        "Yours puts the two side by side, which makes vectors of 12: every block expects 6. Add them.",
    )
    expect_tensor(got, (3, 6))
    expect_close(
        got,
        time_emb + table[labels],
        "For classes 7, 0, 7 the result should be the time embedding plus rows 7, 0, 7 of the table.",
        {
            "Yours takes the first rows of the table, whatever the labels say.": time_emb + table[:3],
            "Yours multiplies the two: UNet2DModel adds them.": time_emb * table[labels],
            "Yours leaves the time out.": table[labels],
            "Yours leaves the class out.": time_emb,
            "Yours adds the number of the class: look its row up in the table.": time_emb + labels[:, None],
            "Yours gives all pictures the class of the first.": time_emb + table[labels[0]],
            "Yours takes the mean of the two: UNet2DModel adds them.": (time_emb + table[labels]) / 2,
        },
    )


@together.rejects("side by side")
def _(time_emb, class_table, labels):
    return torch.cat([time_emb, class_table[labels]], 1)


@together.rejects("first rows of the table")
def _(time_emb, class_table, labels):
    return time_emb + class_table[: len(labels)]


@together.rejects("multiplies the two")
def _(time_emb, class_table, labels):
    return time_emb * class_table[labels]


@together.rejects("leaves the time out")
def _(time_emb, class_table, labels):
    return class_table[labels]


@together.rejects("adds the number of the class")
def _(time_emb, class_table, labels):
    return time_emb + labels[:, None]


@together.rejects("class of the first")
def _(time_emb, class_table, labels):
    return time_emb + class_table[labels[0]]


# 4 · drawing by class -----------------------------------------------------------------------


class ByClass(torch.nn.Module):
    """A network whose answer depends on pictures, timestep and class, by a fixed rule."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(0.3))
        self.timesteps = []

    def forward(self, sample, timestep, class_labels=None, return_dict=True):
        timestep = torch.as_tensor(timestep).float().expand(len(sample))
        self.timesteps.append(float(timestep[0]))
        if class_labels is None:
            raise ValueError("class_labels should be provided when num_class_embeds > 0")
        shift = (timestep / 1000 + torch.as_tensor(class_labels) / 10).view(-1, 1, 1, 1)
        prediction = self.weight * sample + shift.sin()
        return UNet2DOutput(sample=prediction) if return_dict else (prediction,)


def _scheduler():
    return DDIMScheduler(beta_start=0.0001, beta_end=0.02, clip_sample=False)


def _sample(
    unet, scheduler, images, labels, num_inference_steps, *, told=None, stepped=None, index=False,
    guess=False, same=False, reset=True, clamp=True,
):  # fmt: skip
    """The loop, with each mistake that can be made in it as an option.

    Args:
        told: what the network is told in place of the timestep.
        stepped: what the scheduler is told in place of it.
    """
    if reset:
        scheduler.set_timesteps(num_inference_steps)
    labels = labels[:1].expand(len(labels)) if same else labels
    for i, t in enumerate(scheduler.timesteps):
        with torch.no_grad():
            noise_pred = unet(images, i if index else t if told is None else told, class_labels=labels).sample
        step = scheduler.step(noise_pred, int(t) if stepped is None else stepped, images)
        images = step.pred_original_sample if guess else step.prev_sample
    return images.clamp(-1, 1) if clamp else images


sampling = Exercise("02-sample", "sample", "draw the class that is asked for")


@sampling.case
def _(answer):
    unet, scheduler = ByClass(), _scheduler()
    scheduler.set_timesteps(7)  # what the last loop left behind
    images, labels = torch.randn(3, 1, 4, 4), torch.tensor([2, 9, 2])
    got = answer(unet, scheduler, images.clone(), labels, 5)
    expect(bool(unet.timesteps), "The network was never called: predict the noise in every step.")
    expect_tensor(got, (3, 1, 4, 4))
    expect(
        unet.timesteps[:5] != [0.0, 1.0, 2.0, 3.0, 4.0],
        "The network got 0, 1, 2, 3, 4 for timesteps: that is the number of the step. Pass t, from "
        "scheduler.timesteps.",
    )
    expect(
        len(unet.timesteps) == 5,
        f"5 steps should call the network 5 times, and yours called it {len(unet.timesteps)} times: begin "
        "with set_timesteps.",
    )
    expect(not got.requires_grad, "The result carries a gradient: call the network under torch.no_grad().")

    def other(**mistake):
        return lambda: _sample(ByClass(), _scheduler(), images, labels, 5, **mistake)

    expect_close(
        got,
        other()(),
        "For classes 2, 9, 2 and 5 steps of DDIM the pictures should agree with those of the library.",
        {
            "Yours gives all pictures the class of the first.": other(same=True),
            "Yours goes on with the guess of the finished picture: take .prev_sample.": other(guess=True),
            "Yours leaves numbers beyond [-1, 1]: clamp at the end.": other(clamp=False),
            "Yours returns the noise: keep what step() returns.": images.clamp(-1, 1),
        },
        tolerance=1e-3,
    )


@sampling.rejects("number of the step")
def _(*arguments):
    return _sample(*arguments, index=True)


@sampling.rejects("class of the first")
def _(*arguments):
    return _sample(*arguments, same=True)


@sampling.rejects("take .prev_sample")
def _(*arguments):
    return _sample(*arguments, guess=True)


@sampling.rejects("clamp at the end")
def _(*arguments):
    return _sample(*arguments, clamp=False)


@sampling.rejects("begin with set_timesteps")
def _(*arguments):
    return _sample(*arguments, reset=False)


@sampling.rejects("keep what step() returns")
def _(unet, scheduler, images, *rest):
    _sample(unet, scheduler, images, *rest)
    return images.clamp(-1, 1)


@sampling.rejects("under torch.no_grad()")
def _(unet, *rest):
    return _sample(unet, *rest) + 0 * unet.weight


@sampling.rejects("class_labels should be provided")
def _(unet, scheduler, images, labels, num_inference_steps):
    scheduler.set_timesteps(num_inference_steps)
    return unet(images, scheduler.timesteps[0]).sample


# 5 · a frozen timestep ----------------------------------------------------------------------

frozen = Exercise(
    "02-frozen-time", "sample_with_frozen_time", "show by an experiment what the timestep is for"
)


@frozen.case
def _(answer):
    unet, scheduler = ByClass(), _scheduler()
    images, labels = torch.randn(2, 1, 4, 4), torch.tensor([4, 5])
    got = answer(unet, scheduler, images.clone(), labels, 5, 500)
    expect_tensor(got, (2, 1, 4, 4))
    expect(
        set(unet.timesteps) == {500.0},
        f"The network should be told 500 in every step, and was told {sorted(set(unet.timesteps))[:4]}.",
    )

    def other(**changes):
        return lambda: _sample(ByClass(), _scheduler(), images, labels, 5, told=500, **changes)

    expect_close(
        got,
        other()(),
        "The network was told 500 in every step, as it should; the pictures differ from the expected ones.",
        {
            "Yours freezes the scheduler too: it has to know where it really is.": other(stepped=500),
            "Yours goes on with the guess of the finished picture: take .prev_sample.": other(guess=True),
            "Yours leaves numbers beyond [-1, 1]: clamp at the end.": other(clamp=False),
            "Yours gives all pictures the class of the first.": other(same=True),
        },
        tolerance=1e-3,
    )


@frozen.rejects("was told [")
def _(unet, scheduler, images, labels, num_inference_steps, frozen_t):
    return _sample(unet, scheduler, images, labels, num_inference_steps)


@frozen.rejects("freezes the scheduler too")
def _(unet, scheduler, images, labels, num_inference_steps, frozen_t):
    return _sample(unet, scheduler, images, labels, num_inference_steps, told=frozen_t, stepped=frozen_t)


@frozen.rejects("take .prev_sample")
def _(unet, scheduler, images, labels, num_inference_steps, frozen_t):
    return _sample(unet, scheduler, images, labels, num_inference_steps, told=frozen_t, guess=True)


@frozen.rejects("clamp at the end")
def _(unet, scheduler, images, labels, num_inference_steps, frozen_t):
    return _sample(unet, scheduler, images, labels, num_inference_steps, told=frozen_t, clamp=False)


# 6 · who is taken for whom ------------------------------------------------------------------

confusion = Exercise(
    "02-confusion", "confusion_matrix", "tell which classes a model mixes up, and which way round"
)


def _confusion(asked, read, classes):
    counts = torch.zeros(classes, classes, dtype=torch.long)
    return counts.index_put((asked, read), torch.tensor(1), accumulate=True)


@confusion.case
def _(answer):
    asked, read = torch.tensor([0, 0, 1, 2, 2, 2]), torch.tensor([0, 1, 1, 0, 0, 2])
    got = answer(asked, read, 3)
    expect_tensor(got, (3, 3))
    expected = _confusion(asked, read, 3)
    expect_close(
        got,
        expected,
        "Asked for 0 0 1 2 2 2 and read as 0 1 1 0 0 2, the matrix should be 1 1 0 / 0 1 0 / 2 0 1.",
        {
            "Yours has rows and columns swapped: rows are what was asked for.": expected.T,
            "Yours counts each pair once: matrix[asked, read] += 1 with lists of places does so. Use a loop, "
            "or index_put_ with accumulate=True.": (expected > 0).float(),
            "Yours holds shares: counts are asked for.": expected / expected.sum(1, keepdim=True),
            "Yours counts only what is right.": expected.diag().diag(),
            "Yours counts only what is wrong.": expected - expected.diag().diag(),
        },
    )


@confusion.case
def _(answer):
    got = answer(torch.tensor([1]), torch.tensor([1]), 4)
    expect_tensor(got, (4, 4), "for 4 classes of which one was asked for the result")


@confusion.rejects("rows and columns swapped")
def _(asked, read, classes):
    return _confusion(read, asked, classes)


@confusion.rejects("counts each pair once")
def _(asked, read, classes):
    matrix = torch.zeros(classes, classes)
    matrix[asked, read] += 1
    return matrix


@confusion.rejects("counts are asked for")
def _(asked, read, classes):
    matrix = _confusion(asked, read, classes)
    return matrix / matrix.sum(1, keepdim=True)


@confusion.rejects("only what is right")
def _(asked, read, classes):
    return _confusion(asked, read, classes).diag().diag()


@confusion.rejects("or 4 classes")
def _(asked, read, classes):
    return _confusion(asked, read, int(max(asked.max(), read.max())) + 1)


# Questions of understanding -----------------------------------------------------------------

loss_of_classes = Quiz(
    "02-no-class-loss",
    "Nothing in the loss says that class 7 must be a sneaker. Why does it come out?",
    (
        Choice(
            "Knowing the class makes the noise easier to predict",
            "Under much noise the class tells where the dark and the bright parts will be. Whoever predicts "
            "well, uses it.",
            right=True,
        ),
        Choice("The judge corrects the network", "The judge only reads. It takes no part in training."),
        Choice(
            "The scheduler knows the classes", "The scheduler knows noise levels, and nothing about pictures."
        ),
    ),
)

where = Quiz(
    "02-where-class-enters",
    "Where does the class enter the network?",
    (
        Choice(
            "As an eleventh channel of the picture",
            "That can be done, too. UNet2DModel has as many channels as before.",
        ),
        Choice(
            "In the first layer only",
            "Nothing would keep it from being forgotten on the way. It enters more often.",
        ),
        Choice(
            "Added to the time embedding, and so in every block",
            "Each block turns the sum into one number for each of its channels.",
            right=True,
        ),
    ),
)

shuffled = Quiz(
    "02-shuffled-labels",
    "Somebody shuffles the labels of every batch by mistake. What does the trained model draw for class 3?",
    (
        Choice("Nothing but noise", "The pictures and the noise were right, so it learned to remove noise."),
        Choice(
            "Any clothing: it learned that the label says nothing",
            "A hint that is wrong nine times in ten does not help to guess the noise, so it is ignored.",
            right=True,
        ),
        Choice(
            "A mixture of all ten",
            "It draws one piece of clothing at a time, as the model of lesson 01 does.",
        ),
    ),
)
