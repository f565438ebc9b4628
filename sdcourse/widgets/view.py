"""What all explorers share: a worker, a status line, and a picture for viewers without a kernel."""

import base64
import io
import os
import sys
from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING, Any

from .latest import Latest, Stale
from .settings import Settings

if TYPE_CHECKING:
    from PIL import Image

VIEW = "application/vnd.jupyter.widget-view+json"
TOOLTIPS = {
    "prompt": "What to draw",
    "negative_prompt": "What to leave out",
    "guidance_scale": "How strongly the prompt is followed; 1 is no guidance",
    "num_inference_steps": "More steps draw finer and take longer",
    "scheduler": "How the noise is taken out, step by step",
    "seed": "Which noise to begin with",
}


class View:
    """A box of controls whose changes are wishes, and `_draw(settings, check)`, which fulfils them.

    Args:
        settings: what is drawn first.
        names: the settings that get a control.
        threaded: draw in a thread, so that the notebook stays free; None does so wherever threads can show
            something, which they cannot in Colab.

    Attributes:
        settings: of the controls as they stand.
        box: the ipywidgets box that a notebook shows.
        image: the last finished picture, or None; viewers without a kernel show it.
        last_error: the last exception, for whoever wants more than its sentence.
    """

    def __init__(self, settings: Settings, names: tuple[str, ...], threaded: bool | None):
        import ipywidgets as w

        self.settings, self.image, self.last_error = settings, None, None
        if threaded is None:
            threaded = "google.colab" not in sys.modules
        self._latest = Latest(self._work, threaded)
        self._status = w.HTML()
        self._controls = make_controls(settings, names)
        for control in self._controls.values():
            control.observe(self._changed, "value")

    def wait(self, timeout: float | None = None) -> bool:
        """Until all is drawn; False if `timeout` seconds were not enough."""
        return self._latest.wait(timeout)

    def describe(self) -> str:
        """What is shown, one line: the alternative text of the picture."""
        raise NotImplementedError

    def _draw(self, settings: Settings, check) -> None:
        raise NotImplementedError

    def _changed(self, change):
        values = {name: control.value for name, control in self._controls.items()}
        self.settings = replace(self.settings, **values)
        self._latest.request(self.settings)

    def _work(self, settings, check):
        if self._latest.threaded:
            leave_a_core_to_the_browser()
        try:
            self._draw(settings, check)
        except Stale:
            raise
        except Exception as error:  # in a thread it would vanish
            self._fail(error)

    def _try(self, action):
        """For callbacks of buttons, whose exceptions would vanish too."""
        try:
            action()
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception):
        self.last_error = error
        self._say(str(error) if isinstance(error, ValueError) else first_sentence(error))

    def _say(self, text: str):
        self._status.value = f'<div role="status" aria-live="polite">{escape(text)}</div>'

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        self.wait(30)  # so that a stored notebook has a picture
        bundle = {
            VIEW: {"version_major": 2, "version_minor": 0, "model_id": self.box.model_id},
            "text/plain": f"[{type(self).__name__}: {self.describe()}]",
        }
        if self.image is not None:
            bundle["text/html"] = as_html(self.image, self.describe(), self.image.width)
            bundle["image/png"] = as_base64(self.image)
        return bundle


def leave_a_core_to_the_browser() -> None:
    """For the calling thread: with a core less the picture comes sooner, where the browser wants one too.

    Threads of one computation wait for each other, so a browser that holds up one of them holds up all.
    On two cores a final picture takes 0.7 s with this and 1.6 s without (benchmarks/widget_latency.py).
    """
    import torch

    torch.set_num_threads(max(1, min(torch.get_num_threads(), (os.cpu_count() or 1) - 1)))


def first_sentence(error: Exception) -> str:
    """What went wrong, without the pages of advice that libraries append."""
    first_line = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first_line.partition('. ')[0]}"


def make_controls(settings: Settings, names: tuple[str, ...]) -> dict[str, Any]:
    """ipywidgets for these settings, each with a label, in their order."""
    import ipywidgets as w

    from sdcourse.sampling import SCHEDULERS

    make = {
        "prompt": lambda v: w.Text(v, description="Prompt"),
        "negative_prompt": lambda v: w.Text(v, description="Negative prompt"),
        "guidance_scale": lambda v: w.FloatSlider(
            v, min=0, max=max(20, v), step=0.5, description="Guidance scale"
        ),
        "num_inference_steps": lambda v: w.IntSlider(
            v, min=1, max=max(50, v), description="Steps", continuous_update=False
        ),
        "scheduler": lambda v: w.Dropdown(options=list(SCHEDULERS), value=v, description="Scheduler"),
        "seed": lambda v: w.IntText(v, description="Seed"),
    }
    return {name: wide(make[name](getattr(settings, name)), TOOLTIPS[name]) for name in names}


def wide(control, tooltip: str):
    """As wide as its box, beside a label of the same width as the others, whose tooltip it is."""
    import ipywidgets as w

    control.layout = w.Layout(width="98%")  # one for each: a change to a shared one changes them all
    control.style.description_width = "110px"
    add_tooltip(control, tooltip)
    return control


def add_tooltip(control, tooltip: str) -> None:
    """Without one, ipywidgets 8 shows "null" on its label; ipywidgets 7 shows the label itself."""
    if control.has_trait("tooltip"):
        control.tooltip = tooltip


def as_html(picture: "Image.Image", alt: str, width: int) -> str:
    """An `<img>` with alternative text, which ipywidgets' own Image lacks."""
    height = round(picture.height * width / picture.width)
    source = f"data:image/png;base64,{as_base64(picture)}"
    return f'<img src="{source}" alt="{escape(alt)}" width="{width}" height="{height}">'


def as_base64(picture: "Image.Image") -> str:
    """As PNG."""
    buffer = io.BytesIO()
    picture.save(buffer, format="png")
    return base64.b64encode(buffer.getvalue()).decode("ascii")
