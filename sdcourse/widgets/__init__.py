"""Explorers: a pure function from settings to a picture, and a thin view of sliders around it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={"explorer": ["PromptExplorer"]})
