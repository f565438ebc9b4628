"""Models by name, pipelines from folders, files or a hub, and checks of their files.

Importing this package is cheap: what needs torch is loaded on first use.
"""

from importlib import import_module

_HOMES = {
    "load_pipeline": "loading",
    "MODELS": "registry",
    "default_model": "registry",
    "WeightsUnavailable": "hub",
    "DamagedWeights": "integrity",
    "verify_weights": "integrity",
    "write_checksums": "integrity",
}

__all__ = list(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value  # the next look-up does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
