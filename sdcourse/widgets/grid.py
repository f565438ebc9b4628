"""Any two settings against each other."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from sdcourse.errors import check_name

from .latest import Stale
from .settings import Settings, render
from .view import View, add_tooltip, as_html

SIDE = 112  # pixels of one picture on the screen


class XYGrid(View):
    """A table of pictures: each column one value of a setting, each row one of another.

    Args:
        pipe: a `StableDiffusionPipeline`.
        x, y: names of settings, with their values in `x_values` and `y_values`.
        settings: what stays the same, as in `Settings`.

    Raises:
        ValueError: for a setting that does not exist, the same one twice, or no values.
    """

    def __init__(
        self,
        pipe,
        x: str = "guidance_scale",
        x_values: Sequence[Any] = (1.0, 3.0, 5.0, 8.0, 12.0),
        y: str = "seed",
        y_values: Sequence[Any] = (0, 1, 2),
        threaded: bool | None = None,
        **settings,
    ):
        import ipywidgets as w

        super().__init__(Settings(**settings), (), threaded)
        self.pipe = pipe
        for name, values in ((x, x_values), (y, y_values)):
            check_name("setting", name, vars(self.settings))
            if not values:
                raise ValueError(f"There are no values for {name}: give one or more.")
        if x == y:
            raise ValueError(f"Both sides of the grid are {x}: choose two different settings.")
        self.x, self.y, self.x_values, self.y_values = x, y, tuple(x_values), tuple(y_values)
        self._stopped = False
        count = len(self.x_values) * len(self.y_values)
        self._bar = w.IntProgress(0, min=0, max=count, description="Pictures")
        add_tooltip(self._bar, "Pictures drawn so far")
        stop = w.Button(description="Stop", icon="stop", tooltip="Keep what is drawn so far")
        stop.on_click(lambda _: self.stop())
        self._table = w.HTML()
        self.box = w.VBox([w.HBox([self._bar, stop]), self._table, self._status])
        self._latest.request(self.settings)

    def stop(self) -> None:
        """Draw no more; what is there stays."""
        self._stopped = True

    def describe(self) -> str:
        return f"{self.x} {self.x_values} against {self.y} {self.y_values}: {self.settings.describe()}"

    def _draw(self, settings, check):
        from sdcourse.images import image_grid

        def go_on():
            check()
            if self._stopped:
                raise Stale

        wanted = [
            replace(settings, **{self.x: x, self.y: y}) for y, x in product(self.y_values, self.x_values)
        ]
        pictures = []
        for one in wanted:
            try:
                pictures.append(render(self.pipe, one, check=go_on))
            except Stale:
                self._say(f"Stopped after {len(pictures)} of {len(wanted)} pictures.")
                return
            self._bar.value = len(pictures)
            self._table.value = self._as_table(wanted, pictures)
            self.image = image_grid(pictures, cols=len(self.x_values))
        self._say(self.describe())

    def _as_table(self, wanted, pictures) -> str:
        cells = [
            f"<td>{as_html(picture, one.describe(), SIDE)}</td>"
            for one, picture in zip(wanted, pictures, strict=False)
        ]
        head = "".join(f"<th>{self.x} {value}</th>" for value in self.x_values)
        columns = len(self.x_values)
        rows = [
            f"<tr><th>{self.y} {value}</th>{''.join(cells[i * columns : (i + 1) * columns])}</tr>"
            for i, value in enumerate(self.y_values)
        ]
        return f"<table><tr><td></td>{head}</tr>{''.join(rows)}</table>"
