"""Which scenes the noise predictor sees, and what their captions leave unsaid.

Guidance exaggerates whatever a text makes more likely, also what the text does not name. Roses have green
leaves: while a green rose went unsaid as often as a red one, more than half of the roses in watercolour came
out green. What is left unsaid should therefore be what people would expect: a natural colour, nothing worn,
a photograph, a place where the subject can be seen.
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
    "sunset": ("red", "orange", "yellow", "pink", "purple"),
    "sea": ("blue",),
    "plain": ("white",),
}

# Places where nearly every subject is easily made out; the others are dark, full, or not for all.
CALM_PLACES = ("meadow", "snow", "beach", "desert", "plain")


def visibility(scenes: list[Scene]) -> np.ndarray:
    """How often each scene should come up, (n,): a tenth as often if its subject or mount is hard to see.

    On a background of its colour, that is, or a rider on a horse of the rider's colour.
    """
    return np.array([0.1 if _is_hard_to_see(scene) else 1.0 for scene in scenes])


def _is_hard_to_see(scene: Scene) -> bool:
    rides = scene.relation == "riding a horse"
    colors = {scene.color, scene.mount_color} if rides else {scene.color}
    lost_on_the_horse = rides and scene.color == scene.mount_color
    return lost_on_the_horse or not colors.isdisjoint(HARD_TO_SEE[scene.background])


def say(scene: Scene, rng: np.random.Generator) -> str:
    """A caption that rather names what is unusual (Grice, 1975, "Logic and Conversation")."""
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
            aptness *= 0.5 if usual else 0.03
        aptness *= 0.1 ** len(_surprises(scene) - _told(said))
    if "hat_color" in said.named and scene.hat_color == "white":
        aptness *= 0.5  # so that "a hat" is often a white one, to be taken away again
    return aptness


def _surprises(scene: Scene) -> set[str]:
    """The attributes, besides colours, in which the scene is not what people would expect."""
    unusual = {
        "hat": scene.hat != "none",
        "accessory": scene.accessory != "none",
        "relation": scene.relation != "none",
        "background": scene.background not in CALM_PLACES,
        "style": scene.style != "photograph",
    }
    return {attribute for attribute, is_so in unusual.items() if is_so}


def _told(said: Caption) -> frozenset[str]:
    """What the caption speaks of: a hat of any kind counts."""
    return said.named | {"hat"} if "any hat" in said.named else said.named
