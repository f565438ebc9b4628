"""Every step of one picture: noisy latents, the guess of the finished picture, and where the prompt pulls."""

from typing import TYPE_CHECKING

from .settings import Settings
from .view import View, as_html, wide
from .walk import walk

if TYPE_CHECKING:
    import torch
    from PIL import Image

SIDE = 208  # pixels of one picture on the screen


def trajectory(pipe, settings: Settings, check=None) -> "list[tuple[int, torch.Tensor, torch.Tensor]]":
    """For each step its timestep; the noisy latents and the guess decoded, (2, 3, h, w) in [0, 1]; and how
    strongly the prompt pulls at each place of the latents, (h / 8, w / 8)."""
    import torch

    from sdcourse.guidance import classifier_free_guidance
    from sdcourse.sampling import decode_latents

    def guide(noise_preds):
        return classifier_free_guidance(*noise_preds.chunk(2), settings.guidance_scale)

    steps = []
    for moment in walk(pipe, settings, [settings.negative_prompt, settings.prompt], guide, check):
        with torch.no_grad():
            pictures = decode_latents(pipe.vae, torch.cat([moment.latents, moment.guess]))
        uncond, text = moment.noise_preds
        steps.append((moment.timestep, pictures, (text - uncond).norm(dim=0)))
    return steps


class TrajectoryViewer(View):
    """A slider over the steps of one picture.

    Args:
        pipe: a `StableDiffusionPipeline`.
        settings: what `Settings` has; the scheduler is DDIM, whose steps can be read.
    """

    def __init__(self, pipe, threaded: bool | None = None, **settings):
        import ipywidgets as w

        names = ("prompt", "negative_prompt", "guidance_scale", "num_inference_steps", "seed")
        super().__init__(Settings(**{**settings, "scheduler": "ddim"}), names, threaded)
        self.pipe, self._steps = pipe, []
        self._controls["guidance_scale"].continuous_update = False
        self._slider = wide(w.IntSlider(0, min=0, max=0, description="Step"), "Which step to look at")
        self._slider.observe(lambda change: self._try(self._show), "value")
        self._cells = [w.HTML(layout=w.Layout(width=f"{SIDE + 12}px")) for _ in range(3)]
        pictures = w.HBox(self._cells, layout=w.Layout(flex_flow="row wrap", min_height=f"{SIDE + 48}px"))
        self.box = w.VBox([*self._controls.values(), self._slider, pictures, self._status])
        self._latest.request(self.settings)

    def describe(self) -> str:
        return f"step {self._slider.value}: {self.settings.describe()}"

    def _draw(self, settings, check):
        self._say("drawing every step …")
        self._steps = trajectory(self.pipe, settings, check)
        self._slider.max = len(self._steps) - 1
        self._show()

    def _show(self):
        from sdcourse.images import image_grid, to_pil

        if not self._steps:
            return
        number = self._slider.value
        timestep, pictures, pull = self._steps[number]
        strongest = max(step[2].max().item() for step in self._steps) or 1.0
        noisy, guess = to_pil(pictures)
        shown = {
            f"noisy latents, decoded (t = {timestep})": noisy,
            "guess of the finished picture": guess,
            "where the prompt pulls": _heat(pull / strongest, noisy.size),
        }
        for cell, (caption, picture) in zip(self._cells, shown.items(), strict=True):
            cell.value = f"{as_html(picture, f'{caption}, step {number}', SIDE)}<br>{caption}"
        self.image = image_grid(list(shown.values()), rows=1)
        self._say(self.describe())


def _heat(pull: "torch.Tensor", size: tuple[int, int]) -> "Image.Image":
    """(h, w) in [0, 1] as a picture: dark blue for nothing, yellow for the strongest."""
    from matplotlib import colormaps
    from PIL import Image

    colors = (colormaps["cividis"](pull.cpu().numpy())[..., :3] * 255).round().astype("uint8")
    return Image.fromarray(colors).resize(size, Image.Resampling.NEAREST)
