"""Models by name, pipelines from folders, files or a hub, and checks of their files.

Importing this package is cheap: what needs torch is loaded on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "hub": ["WeightsUnavailable"],
        "integrity": ["DamagedWeights", "verify_weights", "write_checksums"],
        "loading": ["load_pipeline"],
        "my_sd": ["keep_parts", "load_my_parts", "my_sd_folder"],
        "pixels": ["PIXEL_MODELS", "find_pixel_model", "load_pixel_model"],
        "registry": ["MODELS", "default_model"],
    },
)
