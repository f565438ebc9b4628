"""Type a prompt, move the guidance scale, and the picture follows."""

import random
import time
from collections import OrderedDict
from dataclasses import asdict, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from .settings import COARSE_STEPS, Settings, render
from .view import View, add_tooltip, as_html

if TYPE_CHECKING:
    from PIL import Image

SIDE = 320  # pixels of the picture on the screen
LIVE_SECONDS = 0.5  # a coarse picture that takes longer does not follow a slider while it moves
KEPT = 64  # pictures that need not be drawn again
STRIP = 8  # pictures in the history


class PromptExplorer(View):
    """Controls for a prompt and its settings, beside the picture that they make.

    Each change draws a coarse picture first and the final one after it; a newer change ends both. In a
    notebook it is the last line of a cell; viewers without a kernel show its last picture.

    Args:
        pipe: a `StableDiffusionPipeline`.
        settings: what `Settings` has: prompt, negative_prompt, guidance_scale, num_inference_steps, seed,
            scheduler.

    Attributes:
        history: the last settings with their pictures.
    """

    def __init__(self, pipe, threaded: bool | None = None, **settings):
        names = ("prompt", "negative_prompt", "guidance_scale", "num_inference_steps", "scheduler", "seed")
        super().__init__(Settings(**settings), names, threaded)
        self.pipe, self.history = pipe, []
        self._pictures = OrderedDict()
        self._build()
        self._latest.request(self.settings)

    def set(self, **settings) -> None:
        """Change some of the settings, as moving the controls would."""
        self._show_settings(replace(self.settings, **settings))

    def save(self, path: str | Path = "picture.png") -> Path:
        """Write the picture as PNG with its settings inside; never over a file that is there.

        Raises:
            ValueError: no picture is finished yet.
        """
        from sdcourse.images import save_image, unique_path
        from sdcourse.settings_png import settings_info

        if not self.history:
            raise ValueError("No picture is finished yet: wait for the first one.")
        settings, picture = self.history[-1]
        return save_image(picture, unique_path(path), info=settings_info(asdict(settings)))

    def load(self, path: str | Path) -> None:
        """Take the settings out of a picture that was saved here or by `sdcourse txt2img`.

        Raises:
            FileNotFoundError, ValueError: one sentence, if there are none.
        """
        from sdcourse.settings_png import read_settings

        self._show_settings(Settings.from_dict(read_settings(path)))

    def describe(self) -> str:
        return (self.history[-1][0] if self.history else self.settings).describe()

    # drawing --------------------------------------------------------------------------------

    def _draw(self, settings: Settings, check):
        picture = self._pictures.get(settings)
        if picture is None:
            if settings.num_inference_steps > 2 * COARSE_STEPS and self._latest.threaded:
                start = time.perf_counter()
                self._show_picture(settings, render(self.pipe, settings, COARSE_STEPS, check), "coarse")
                self._controls["guidance_scale"].continuous_update = (
                    time.perf_counter() - start < LIVE_SECONDS
                )
            picture = render(self.pipe, settings, check=check)
        check()
        self._pictures[settings] = picture
        self._pictures.move_to_end(settings)
        while len(self._pictures) > KEPT:
            self._pictures.popitem(last=False)
        self.image = picture
        self.history = [*(h for h in self.history if h[0] != settings), (settings, picture)][-STRIP:]
        self._show_picture(settings, picture, "finished")
        self._show_history()

    # the view -------------------------------------------------------------------------------

    def _build(self):
        import ipywidgets as w

        seed = self._controls["seed"]
        seed.layout.width = "70%"
        dice = w.Button(description="Another seed", icon="random", tooltip="Draw with a random seed")
        dice.on_click(lambda _: setattr(seed, "value", random.randrange(100_000)))
        save = w.Button(description="Save", icon="download", tooltip="Write a PNG with the settings inside")
        save.on_click(lambda _: self._try(lambda: self._say(f"Saved as {self.save()}.")))
        self._upload = w.FileUpload(accept=".png", multiple=False, description="Load")
        add_tooltip(self._upload, "Take the settings out of a saved PNG")
        self._upload.observe(lambda change: self._try(self._load_upload), "value")
        code = w.Button(description="As code", tooltip="Show the call that makes this picture")
        code.on_click(lambda _: self._show_code())
        self._unknown, self._code, self._strip = w.HTML(), w.HTML(), w.HBox()
        self._picture = w.HTML(layout=w.Layout(height=f"{SIDE + 8}px", flex=f"0 0 {SIDE + 8}px"))
        self._name_unknown_words()
        prompt, *rest, _ = self._controls.values()
        left = w.VBox(
            [
                prompt,
                self._unknown,
                *rest,
                w.HBox([seed, dice]),
                w.HBox([save, self._upload, code]),
                self._code,
            ],
            layout=w.Layout(flex="1 1 340px"),
        )
        body = w.HBox([left, self._picture], layout=w.Layout(flex_flow="row wrap"))
        self.box = w.VBox([body, self._status, self._strip])

    def _changed(self, change):
        super()._changed(change)
        self._name_unknown_words()

    def _show_settings(self, settings: Settings):
        """Move all controls, and draw once.

        Raises:
            ValueError: one sentence, if a setting cannot be; then nothing has moved.
        """
        settings.check()
        for control in self._controls.values():
            control.unobserve(self._changed, "value")
        try:
            for name, control in self._controls.items():
                value = getattr(settings, name)
                if control.has_trait("max"):
                    control.max = max(control.max, value)  # it would be cut off, and draw another picture
                control.value = value
        finally:
            for control in self._controls.values():
                control.observe(self._changed, "value")
        self._changed(None)

    def _show_picture(self, settings: Settings, picture: "Image.Image", state: str):
        self._picture.value = as_html(picture, settings.describe(), SIDE)
        self._say(f"{state}: {settings.describe()}")

    def _show_history(self):
        import ipywidgets as w

        cells = []
        for settings, picture in self.history:
            back = w.Button(
                description=f"scale {settings.guidance_scale:g}",
                tooltip=f"Back to: {settings.describe()}",
                layout=w.Layout(width="84px"),
            )
            back.on_click(lambda _, settings=settings: self._show_settings(settings))
            cells.append(w.VBox([w.HTML(as_html(picture, settings.describe(), 80)), back]))
        self._strip.children = cells

    def _show_code(self):
        self._code.value = f"<pre>{escape(self.settings.as_code())}</pre>"

    def _load_upload(self):
        from sdcourse.settings_png import settings_in

        files = self._upload.value
        if not files:
            return
        # ipywidgets 7 gives a dictionary by name, 8 a tuple of dictionaries
        file = next(iter(files.values())) if isinstance(files, dict) else files[0]
        content = bytes(file["content"])
        if isinstance(files, dict):
            files.clear()  # so that the same file can be chosen again: it must be a change
        else:
            self._upload.value = ()
        self._show_settings(Settings.from_dict(settings_in(content)))

    def _name_unknown_words(self):
        words = unknown_words(self.pipe, f"{self.settings.prompt} {self.settings.negative_prompt}")
        self._unknown.value = (
            f"<small>Not in this model's vocabulary: {escape(', '.join(words))}.</small>" if words else ""
        )


def unknown_words(pipe, text: str) -> list[str]:
    """Words that no caption of the pocket gallery holds; none for a model with the web's vocabulary."""
    if len(pipe.tokenizer) > 5000:  # ours has 799 pieces, the real one 49,408
        return []
    from sdcourse.data.gallery import known_words

    words = text.lower().replace(",", " ").replace(".", " ").split()
    return list(dict.fromkeys(word for word in words if word not in known_words()))
