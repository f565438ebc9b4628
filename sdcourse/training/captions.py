"""Which scenes the noise predictor sees, and what their captions leave unsaid.

Guidance exaggerates whatever a text makes more likely, also what the text does not name. Roses have green
leaves: while a green rose went unsaid as often as a red one, more than half of the roses in watercolour came
out green. What is left unsaid should therefore be what people would expect.
"""

import numpy as np

from sdcourse.data.gallery import NATURAL_COLORS, Caption, Scene, describe

# Colours in which a subject is hard to see on a background.
HARD_TO_SEE = {
    "meadow": ("green",),
    "snow": ("white",),
    "beach": ("yellow",),
    "forest": ("green", "brown"),
    "city": (),
    "night": ("blue", "purple", "black"),
    "desert": ("orange", "yellow", "brown"),
    "sunset": ("red", "orange", "pink"),
    "sea": ("blue",),
    "plain": ("white",),
}


def visibility(scenes: list[Scene]) -> np.ndarray:
    """How often each scene should come up, (n,): a quarter as often if its subject is hard to see."""
    return np.array([0.25 if s.color in HARD_TO_SEE[s.background] else 1.0 for s in scenes])


def say(scene: Scene, rng: np.random.Generator) -> str:
    """A caption that names a colour rather if it is unusual (Grice, 1975, "Logic and Conversation")."""
    while True:
        said = describe(scene, rng)
        if rng.random() < _aptness(said, scene):
            return said.text


def _aptness(said: Caption, scene: Scene) -> float:
    """The probability of keeping this caption, 0 to 1."""
    aptness = 1.0
    if "subject" in said.named:
        usual = scene.color in NATURAL_COLORS[scene.subject]
        if usual == ("color" in said.named):
            aptness *= 0.5 if usual else 0.1
    if said.named & {"hat", "any hat"}:
        usual = scene.hat_color == "white"  # so that "a hat" is often a white one, to be taken away again
        if usual == ("hat_color" in said.named):
            aptness *= 0.5 if usual else 0.75
    return aptness
