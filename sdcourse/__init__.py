"""A course on Stable Diffusion: train every part yourself, offline, on a laptop; then drive the real one.

>>> import sdcourse
>>> sdcourse.setup()
>>> pipe = sdcourse.load_pipeline()
>>> sdcourse.show_images(sdcourse.text_to_image(pipe, "a cat wearing a white hat in the snow"))

Importing this package is cheap: what needs torch is loaded on first use.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "setup": "runtime",
    "load_pipeline": "models",
    "load_judge": "models.judge",
    "load_clip": "models.clip",
    "text_to_image": "sampling",
    "show_image": "images",
    "show_images": "images",
    "image_grid": "images",
    "load_image": "images",
    "color_loss": "guidance",
    "classifier_free_guidance": "guidance",
}
_ROOMS = ("data", "guidance", "images", "metrics", "models", "runtime", "sampling")

__all__ = [*_HOMES, *_ROOMS]


def __getattr__(name: str):
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")  # which also binds it here
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value  # the next look-up does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
