"""Instruments that tell how good a model is."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "accuracy": ["Accuracy", "attribute_accuracy", "measure_accuracy", "wilson_interval"],
        "clip_score": ["caption_choice", "clip_score"],
        "distance": ["diversity", "frechet_distance"],
        "drawing": ["draw_pictures"],
        "evaluate": ["evaluate"],
        "pixels": ["evaluate_pixel_model"],
        "prompts": ["ANY", "Prompt", "evaluation_prompts", "prompt_of"],
        "reconstruction": ["Reconstruction", "measure_reconstruction"],
    },
)
