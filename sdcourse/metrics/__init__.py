"""Instruments that tell how good a model is."""

from .accuracy import Accuracy, attribute_accuracy, measure_accuracy, wilson_interval
from .clip_score import caption_choice, clip_score
from .distance import diversity, frechet_distance
from .drawing import draw_pictures
from .evaluate import evaluate
from .prompts import ANY, Prompt, evaluation_prompts, prompt_of
from .reconstruction import Reconstruction, measure_reconstruction

__all__ = [
    "ANY", "Accuracy", "Prompt", "Reconstruction", "attribute_accuracy", "caption_choice", "clip_score",
    "diversity", "draw_pictures", "evaluate", "evaluation_prompts", "frechet_distance", "measure_accuracy",
    "measure_reconstruction", "prompt_of", "wilson_interval",
]  # fmt: skip
