"""A course on Stable Diffusion: train every part yourself, offline, on a laptop; then drive the real one.

>>> import sdcourse
>>> sdcourse.setup()
>>> pipe = sdcourse.load_pipeline()
>>> sdcourse.show_images(sdcourse.text_to_image(pipe, "a cat wearing a white hat in the snow"))

Importing this package is cheap: what needs torch is loaded on first use.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    ["data", "guidance", "images", "metrics", "models", "runtime", "sampling"],
    {
        "guidance": ["classifier_free_guidance", "color_loss"],
        "images": ["image_grid", "load_image", "show_image", "show_images"],
        "models": ["load_pipeline"],
        "models.clip": ["load_clip"],
        "models.judge": ["load_judge"],
        "models.pixels": ["load_pixel_model"],
        "runtime": ["setup"],
        "sampling": ["text_to_image"],
    },
)
