"""Instruments that tell how good a model is."""

from .accuracy import Accuracy, attribute_accuracy, evaluation_prompts, measure_accuracy

__all__ = ["Accuracy", "attribute_accuracy", "evaluation_prompts", "measure_accuracy"]
