"""Data of the course: drawn on the fly, labelled exactly."""

__all__ = ["gallery", "load_gallery"]


def __getattr__(name):
    import importlib

    if name == "load_gallery":
        return importlib.import_module(".loaders", __name__).load_gallery
    if name == "gallery":
        return importlib.import_module(".gallery", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
