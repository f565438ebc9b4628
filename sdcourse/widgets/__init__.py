"""Explorers: pure functions from settings to pictures, and thin views of sliders around them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "explorer": ["PromptExplorer"],
        "grid": ["XYGrid"],
        "negative": ["NegativePromptLab"],
        "sweep": ["GuidanceSweep"],
        "trajectory": ["TrajectoryViewer"],
    },
)
