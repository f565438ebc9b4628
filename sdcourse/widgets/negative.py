"""What a negative prompt does: pictures with and without it, and the three predictions as directions."""

from dataclasses import replace
from typing import NamedTuple

from .settings import Settings, render
from .view import View, as_html
from .walk import walk

SIDE = 224  # pixels of one picture on the screen


class Directions(NamedTuple):
    """At one step: how far prompt and negative prompt pull away from the unconditional prediction."""

    timestep: int
    prompt: float  # length of prompt - unconditional
    negative: float  # length of negative - unconditional
    cosine: float  # between the two; 1 where both pull the same way


def noise_directions(pipe, settings: Settings, check=None) -> list[Directions]:
    """The three predictions on the way of a picture that is guided away from its negative prompt."""
    import torch.nn.functional as F

    texts = ["", settings.negative_prompt, settings.prompt]

    def guide(noise_preds):
        _, negative, text = noise_preds.chunk(3)
        return negative + settings.guidance_scale * (text - negative)

    steps = []
    for moment in walk(pipe, settings, texts, guide, check):
        uncond, negative, text = moment.noise_preds.flatten(1)
        cosine = F.cosine_similarity(text - uncond, negative - uncond, dim=0).item()
        lengths = (text - uncond).norm().item(), (negative - uncond).norm().item()
        steps.append(Directions(moment.timestep, *lengths, cosine))
    return steps


class NegativePromptLab(View):
    """A picture without and with its negative prompt, and what the predictions do on the way.

    Args:
        pipe: a `StableDiffusionPipeline`.
        settings: what `Settings` has.
    """

    def __init__(self, pipe, threaded: bool | None = None, **settings):
        import ipywidgets as w

        settings = Settings(**{"negative_prompt": "a white hat", **settings})
        super().__init__(settings, ("prompt", "negative_prompt", "guidance_scale", "seed"), threaded)
        self.pipe = pipe
        self._controls["guidance_scale"].continuous_update = False
        self._cells = [w.HTML(layout=w.Layout(width=f"{SIDE + 12}px")) for _ in range(2)]
        self._curves = w.HTML()
        pictures = w.HBox(
            [*self._cells, self._curves], layout=w.Layout(flex_flow="row wrap", min_height=f"{SIDE + 40}px")
        )
        self.box = w.VBox([*self._controls.values(), pictures, self._status])
        self._latest.request(self.settings)

    def describe(self) -> str:
        return f"without and with the negative prompt: {self.settings.describe()}"

    def _draw(self, settings, check):
        from sdcourse.images import image_grid, to_pil

        pictures = []
        for cell, one in zip(self._cells, (replace(settings, negative_prompt=""), settings), strict=True):
            pictures.append(render(self.pipe, one, check=check))
            check()
            words = f"without {one.negative_prompt}" if one.negative_prompt else "no negative prompt"
            cell.value = f"{as_html(pictures[-1], one.describe(), SIDE)}<br>{words}"
        [curves] = to_pil(_plot(noise_directions(self.pipe, settings, check)))
        alt = "how far prompt and negative prompt pull at each step, and the cosine between them"
        self._curves.value = as_html(curves, alt, curves.width)
        self.image = image_grid(pictures, rows=1)
        self._say(self.describe())


def _plot(steps: list[Directions]):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2, 2.6), layout="constrained")
    axes = figure.subplots()
    t = [step.timestep for step in steps]
    axes.plot(t, [step.prompt for step in steps], "o-", color="#0072B2", label="prompt")
    axes.plot(t, [step.negative for step in steps], "s--", color="#D55E00", label="negative prompt")
    axes.set(xlabel="timestep t (noisy → clean)", ylabel="pull, away from unconditional")
    axes.legend(loc="upper left")
    cosine = axes.twinx()
    cosine.plot(t, [step.cosine for step in steps], ":", color="black")
    cosine.set(ylabel="cosine between them (dotted)", ylim=(-1, 1))
    axes.invert_xaxis()
    return figure
