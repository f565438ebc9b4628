"""Data of the course: drawn on the fly, labelled exactly."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    ["fashion", "gallery"],
    {"batches": ["BatchLoader"], "loaders": ["load_fashion", "load_gallery"]},
)
