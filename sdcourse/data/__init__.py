"""Data of the course: drawn on the fly, labelled exactly."""

from importlib import import_module

_HOMES = {"load_gallery": "loaders", "load_fashion": "loaders", "BatchLoader": "batches"}
_ROOMS = ("fashion", "gallery")

__all__ = [*_HOMES, *_ROOMS]


def __getattr__(name: str):
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
