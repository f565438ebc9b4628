"""What a picture is made from, and the pure function that makes it."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

COARSE_STEPS = 5  # of a picture that is to be seen while a slider moves
MAX_SEED = 2**32 - 1  # that of `sdcourse txt2img`


@dataclass(frozen=True)
class Settings:
    """The arguments of `text_to_image` that the explorers offer."""

    prompt: str = "a photo of a cat wearing a hat in the snow"
    negative_prompt: str = ""
    guidance_scale: float = 5.0
    num_inference_steps: int = 20
    seed: int = 0
    scheduler: str = "dpm++"

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Settings":
        """Those of the values that are settings; for example what a saved PNG holds."""
        names = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in names and value is not None})

    def check(self) -> None:
        """The seed and the scheduler; the sampling loop looks at the other numbers.

        Raises:
            ValueError: one sentence, if one of them cannot be.
        """
        from sdcourse.errors import check_name
        from sdcourse.sampling import SCHEDULERS

        check_name("scheduler", self.scheduler, SCHEDULERS)
        if not 0 <= self.seed <= MAX_SEED:
            raise ValueError(f"seed is {self.seed}: it must be 0 to {MAX_SEED}.")

    def describe(self) -> str:
        """One line, for people."""
        negative = f", not {self.negative_prompt}" if self.negative_prompt else ""
        return (
            f"{self.prompt or 'no prompt'}{negative} · scale {self.guidance_scale:g} · "
            f"{self.num_inference_steps} steps · seed {self.seed} · {self.scheduler}"
        )

    def as_code(self) -> str:
        """The call that makes this picture."""
        changed = [f"    {name}={value!r},\n" for name, value in asdict(self).items() if name != "prompt"]
        return f"sdcourse.text_to_image(\n    pipe,\n    {self.prompt!r},\n{''.join(changed)})"


def render(
    pipe, settings: Settings, num_inference_steps: int | None = None, check: Callable[[], None] | None = None
) -> "Image.Image":
    """The picture of these settings.

    Args:
        num_inference_steps: in place of those in the settings, for a coarse picture.
        check: is called after each step; what it raises stops the drawing.

    Raises:
        ValueError: one sentence, if a setting is out of range.
    """
    from sdcourse.sampling import text_to_image

    settings.check()
    arguments = asdict(settings)
    arguments["num_inference_steps"] = num_inference_steps or settings.num_inference_steps
    callback = (lambda step: check()) if check else None
    return text_to_image(pipe, **arguments, progress=False, callback_on_step_end=callback)[0]
