"""Captions: many wordings, and things left out at random, as people do.

What a caption leaves out stays free in the picture; single words and comma lists are captions too.
So short prompts and negative prompts are texts that a model trained on them knows.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .scene import ATTRIBUTES, Scene

_STYLES = {
    "photograph": ("a photograph of {}", "a photo of {}", "{}, photograph"),
    "oil painting": ("an oil painting of {}", "an oil painting of {}", "{}, oil painting"),
    "watercolor": ("a watercolor illustration of {}", "a watercolor of {}", "a watercolor painting of {}"),
    "palette knife": (
        "an acrylic palette knife painting of {}", "a palette knife painting of {}",
        "{}, palette knife painting",
    ),
    "pencil sketch": ("a pencil sketch of {}", "a pencil drawing of {}", "{}, pencil sketch"),
    "pixel art": ("pixel art of {}", "a pixel art picture of {}", "{}, pixel art"),
    "picasso": ("{} in Picasso style", "{} in the style of Picasso", "a Picasso painting of {}"),
}  # fmt: skip
_STYLE_WORDS = {
    "watercolor": "watercolor",
    "palette knife": "palette knife painting",
    "picasso": "Picasso style",
}
_PLACES = {
    "meadow": ("in a meadow", "on a meadow", "on the grass"),
    "snow": ("in the snow", "in the snow", "on snow"),
    "beach": ("on a beach", "on the beach"),
    "forest": ("in a forest", "in the forest", "in the woods"),
    "city": ("in a city", "in the city", "on a city street"),
    "night": ("at night", "under a starry sky", "under the night sky"),
    "desert": ("in the desert", "in a desert"),
    "sunset": ("at sunset", "in front of a sunset"),
    "sea": ("under the sea", "under water"),
    "plain": ("on a plain background", "in front of a plain background"),
}
_PLACE_WORDS = {"night": "starry night", "sea": "under the sea", "plain": "plain background"}
_SYNONYMS = {"puppy": "dog", "cat": "kitten", "rabbit": "bunny", "boat": "sailing boat"}
_RELATIONS = {
    "riding a horse": ("riding a horse", "riding on a horse", "riding a horse", "on a horse"),
    "sitting on a branch": (
        "sitting on a tree branch", "is sitting on a tree branch", "on a branch", "sitting on a branch",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Caption:
    text: str
    named: frozenset[str]  # the attributes that the text fixes


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """A caption of `scene`. What it leaves out is free."""
    return describe(scene, rng).text


def describe(scene: Scene, rng: np.random.Generator) -> Caption:
    """A caption and the names of the attributes it fixes."""
    kind = rng.random()
    if kind < 0.06:
        return _single(scene, rng)
    if kind < 0.15:
        return _list(scene, rng)
    return _sentence(scene, rng)


def full_caption(scene: Scene) -> str:
    """The one caption that leaves nothing out."""
    text = article(f"{scene.color} {scene.subject}")
    worn = [
        article(f"{getattr(scene, what + '_color')} {getattr(scene, what)}")
        for what in ("hat", "accessory")
        if getattr(scene, what) != "none"
    ]
    if worn:
        text += " wearing " + " and ".join(worn)
    if scene.relation != "none":
        text += f" {_RELATIONS[scene.relation][0]}"
    return _STYLES[scene.style][0].format(f"{text} {_PLACES[scene.background][0]}")


@lru_cache
def known_words() -> frozenset[str]:
    """Every word that a caption can hold, in lower case: what a model trained on captions can know."""
    phrases = ["a an and in wearing with hat picture of"]
    for table in (_STYLES, _PLACES, _RELATIONS):
        phrases += [phrase for phrases_of_one in table.values() for phrase in phrases_of_one]
    phrases += [*_STYLE_WORDS.values(), *_PLACE_WORDS.values(), *_SYNONYMS.values()]
    phrases += [value for values in ATTRIBUTES.values() for value in values if value != "none"]
    return frozenset(" ".join(phrases).replace(",", " ").replace("{}", " ").lower().split())


class _Writer:
    """Chooses words for one caption and remembers which attributes they fix."""

    def __init__(self, scene: Scene, rng: np.random.Generator):
        self.scene, self.u, self.k = scene, rng.random(24).tolist(), 0
        self.named: set[str] = set()

    def chance(self, p: float) -> bool:
        self.k += 1
        return self.u[self.k % 24] < p

    def pick(self, values):
        self.k += 1
        return values[int(self.u[self.k % 24] * len(values))]

    def fixes(self, attribute: str, text: str) -> str:
        self.named.add(attribute)
        return text

    def subject(self, color: float) -> str:
        word = self.scene.subject
        if word in _SYNONYMS and self.chance(0.15):
            word = _SYNONYMS[word]
        self.fixes("subject", word)
        if self.chance(color):
            word = f"{self.fixes('color', self.scene.color)} {word}"
        return word

    def worn(self, what: str, color: float, generic: float) -> str:
        """As in "white top hat", "white hat", "hat", ..."""
        kind = getattr(self.scene, what)
        if what == "hat" and self.chance(generic):
            word = "hat"  # some hat: its kind is free, and nothing is fixed but its colour, if named
            self.named.add("any hat")
        else:
            word = self.fixes(what, kind)
        if self.chance(color):
            word = f"{self.fixes(what + '_color', getattr(self.scene, what + '_color'))} {word}"
        return word

    def done(self, text: str) -> Caption:
        return Caption(" ".join(text.split()), frozenset(self.named))


def article(words: str) -> str:
    return ("an " if words[0] in "aeiou" else "a ") + words


def _sentence(scene, rng) -> Caption:
    w = _Writer(scene, rng)
    text = article(w.subject(color=0.62))
    things = []
    if scene.hat != "none" and w.chance(0.78):
        things.append(article(w.worn("hat", color=0.65, generic=0.35)))
    if scene.accessory != "none" and w.chance(0.78):
        things.append(article(w.worn("accessory", color=0.65, generic=0)))
    if things:
        if w.chance(0.3):
            things.reverse()
        verb = "in" if scene.hat != "none" and w.chance(0.3) and "balloon" not in things[0] else "wearing"
        verb = "with" if "balloon" in things[0] or w.chance(0.25) else verb
        text += f" {verb} " + " and ".join(things)
    if scene.relation != "none" and w.chance(0.85):
        phrase = w.fixes("relation", w.pick(_RELATIONS[scene.relation]))
        text += f" {phrase}"
    if w.chance(0.74):
        text += " " + w.fixes("background", w.pick(_PLACES[scene.background]))
    if w.chance(0.82):
        text = w.fixes("style", w.pick(_STYLES[scene.style])).format(text)
    elif w.chance(0.3):
        text = f"a picture of {text}"
    return w.done(text)


def _words(w: _Writer) -> list:
    """Ways to say one thing about the scene, each a function without arguments."""
    s = w.scene
    ways = [
        lambda: w.subject(color=0.5),
        lambda: w.fixes("background", _PLACE_WORDS.get(s.background, s.background)),
        lambda: w.fixes("style", _STYLE_WORDS.get(s.style, s.style)),
    ]
    if s.hat != "none":
        ways.append(lambda: w.worn("hat", color=0.6, generic=0.5))
    if s.accessory != "none":
        ways.append(lambda: w.worn("accessory", color=0.6, generic=0))
    if s.relation != "none":
        ways.append(lambda: w.fixes("relation", s.relation))
    return ways


def _single(scene, rng) -> Caption:
    w = _Writer(scene, rng)
    ways = _words(w)
    # Hats are worth a word of their own: negative prompts name them.
    word = ways[3]() if scene.hat != "none" and w.chance(0.4) else w.pick(ways)()
    return w.done(
        article(word) if w.chance(0.3) and not w.named & {"background", "style", "relation"} else word
    )


def _list(scene, rng) -> Caption:
    w = _Writer(scene, rng)
    ways = _words(w)
    order = sorted(range(len(ways)), key=lambda i: w.u[(7 + i) % 24])
    return w.done(", ".join(ways[i]() for i in order[: 2 + w.chance(0.6) + w.chance(0.4)]))
