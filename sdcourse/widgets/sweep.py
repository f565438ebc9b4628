"""The same noise at many guidance scales."""

from collections.abc import Sequence
from dataclasses import replace

from .settings import Settings, render
from .view import View, as_html

SIDE = 128  # pixels of one picture on the screen


class GuidanceSweep(View):
    """A strip of pictures from the same noise, one for each scale, with what the judge reads in each.

    Args:
        pipe: a `StableDiffusionPipeline`.
        scales: the guidance scales, 0 or more.
        judge: `sdcourse.load_judge()`, or None for pictures that it cannot read.
        settings: prompt, negative_prompt, num_inference_steps, seed, scheduler, as in `Settings`.
    """

    def __init__(
        self,
        pipe,
        scales: Sequence[float] = (1, 2, 4, 8, 12),
        judge=None,
        threaded: bool | None = None,
        **settings,
    ):
        import ipywidgets as w

        super().__init__(Settings(**settings), ("prompt", "negative_prompt", "seed"), threaded)
        self.pipe, self.scales, self.judge = pipe, tuple(float(scale) for scale in scales), judge
        cell = w.Layout(width=f"{SIDE + 16}px")
        self._cells = [w.HTML(layout=cell) for _ in self.scales]
        strip = w.HBox(self._cells, layout=w.Layout(flex_flow="row wrap", min_height=f"{SIDE + 80}px"))
        self.box = w.VBox([*self._controls.values(), strip, self._status])
        self._latest.request(self.settings)

    def describe(self) -> str:
        scales = ", ".join(f"{scale:g}" for scale in self.scales)
        return f"{self.settings.prompt}, seed {self.settings.seed}, at the scales {scales}"

    def _draw(self, settings, check):
        from sdcourse.images import image_grid

        pictures = []
        for number, (scale, cell) in enumerate(zip(self.scales, self._cells, strict=True), 1):
            one = replace(settings, guidance_scale=scale)
            picture = render(self.pipe, one, check=check)
            check()
            said = read(self.judge, picture) if self.judge else ""
            cell.value = f"{as_html(picture, one.describe(), SIDE)}<br><b>scale {scale:g}</b><br>{said}"
            pictures.append(picture)
            self._say(f"{number} of {len(self.scales)}")
        self.image = image_grid(pictures, rows=1)
        self._say(self.describe())


def read(judge, picture) -> str:
    """What the judge sees, in words."""
    from sdcourse.data.gallery import Scene, full_caption
    from sdcourse.images import to_tensor

    [reading] = judge.read(to_tensor(picture) * 2 - 1)
    try:
        return full_caption(Scene(**reading))
    except ValueError:  # a house in a hat: it may read what no scene can be
        return ", ".join(value for value in reading.values() if value != "none")
