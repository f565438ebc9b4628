"""What a gallery picture shows: a scene is a few named attributes and the numbers of its layout."""

from dataclasses import dataclass, replace

import numpy as np

from sdcourse.errors import check_name

COLORS = {
    "red": (214, 58, 52),
    "orange": (240, 140, 40),
    "yellow": (246, 212, 70),
    "green": (72, 160, 76),
    "blue": (62, 112, 208),
    "purple": (142, 82, 186),
    "pink": (244, 150, 182),
    "brown": (134, 88, 54),
    "white": (242, 242, 238),
    "black": (50, 50, 58),
}
NATURAL_COLORS = {
    "cat": ("orange", "black", "white", "brown"),
    "puppy": ("brown", "yellow"),
    "collie": ("brown", "orange", "black"),
    "hamster": ("orange", "brown", "white"),
    "squirrel": ("brown", "orange", "red"),
    "rabbit": ("white", "brown"),
    "bird": ("blue", "red", "yellow"),
    "fish": ("orange", "blue"),
    "horse": ("brown", "white", "black"),
    "elephant": ("blue", "pink", "brown"),
    "astronaut": ("white", "orange"),
    "robot": ("blue", "red", "yellow"),
    "girl": ("red", "blue", "pink"),
    "rose": ("red", "pink", "white"),
    "flower": ("purple", "pink", "red"),
    "tree": ("green", "orange"),
    "mushroom": ("red", "brown"),
    "house": ("white", "yellow", "blue"),
    "castle": ("white", "pink", "brown"),
    "boat": ("red", "blue", "brown"),
    "car": ("red", "blue", "yellow"),
    "rocket": ("white", "red"),
}
SUBJECTS = tuple(NATURAL_COLORS)
BACKGROUNDS = (
    "meadow", "snow", "beach", "forest", "city", "night", "desert", "sunset", "sea", "plain",
)  # fmt: skip
STYLES = (
    "photograph", "oil painting", "watercolor", "palette knife", "pencil sketch", "pixel art", "picasso",
)  # fmt: skip
HATS = ("none", "top hat", "cap", "party hat", "crown")
ACCESSORIES = ("none", "scarf", "balloon")
RELATIONS = ("none", "riding a horse", "sitting on a branch")

WEARERS = (
    "cat", "puppy", "collie", "hamster", "squirrel", "rabbit", "bird", "horse", "elephant",
    "astronaut", "robot", "girl",
)  # fmt: skip
RIDERS = ("cat", "puppy", "collie", "hamster", "squirrel", "rabbit", "bird", "astronaut", "robot", "girl")
PERCHERS = ("cat", "hamster", "squirrel", "bird")

ATTRIBUTES = {
    "subject": SUBJECTS,
    "color": tuple(COLORS),
    "hat": HATS,
    "hat_color": ("none", *COLORS),
    "accessory": ACCESSORIES,
    "accessory_color": ("none", *COLORS),
    "relation": RELATIONS,
    "background": BACKGROUNDS,
    "style": STYLES,
}
VARIANTS = 10  # drawings of each subject
BACKDROPS = 6  # drawings of each background


@dataclass(frozen=True)
class Scene:
    """The attributes that captions speak of, then the layout (picture coordinates run from 0 to 1)."""

    subject: str
    color: str
    hat: str = "none"
    hat_color: str = "none"
    accessory: str = "none"
    accessory_color: str = "none"
    relation: str = "none"
    background: str = "plain"
    style: str = "photograph"
    x: float = 0.5  # where the subject stands
    y: float = 0.93
    scale: float = 0.75  # height of the 100-unit drawing box
    stretch: float = 1.0  # width over height
    tilt: float = 0.0  # degrees
    flip: bool = False
    variant: int = 0  # which drawing of the subject
    backdrop: int = 0  # which drawing of the background
    shift: float = 0.0  # of the background, -1 to 1
    light: float = 1.0  # brightness
    warmth: float = 0.0  # -1 (cool) to 1 (warm)
    mount_color: str = "brown"  # of the horse that is ridden
    facets: int = 0  # which of the cubist cuts

    def __post_init__(self):
        for attribute, allowed in ATTRIBUTES.items():
            check_name(attribute, getattr(self, attribute), allowed)
        if (self.hat == "none") != (self.hat_color == "none"):
            raise ValueError(
                f"hat is {self.hat!r} but hat_color is {self.hat_color!r}: give both or neither."
            )
        if (self.accessory == "none") != (self.accessory_color == "none"):
            raise ValueError(
                f"accessory is {self.accessory!r} but accessory_color is {self.accessory_color!r}: "
                "give both or neither."
            )
        if self.subject not in WEARERS and (self.hat, self.accessory) != ("none", "none"):
            raise ValueError(f"A {self.subject} cannot wear anything. These can: {', '.join(WEARERS)}.")
        if self.relation == "riding a horse" and self.subject not in RIDERS:
            raise ValueError(f"A {self.subject} cannot ride. These can: {', '.join(RIDERS)}.")
        if self.relation == "sitting on a branch" and self.subject not in PERCHERS:
            raise ValueError(f"A {self.subject} cannot sit on a branch. These can: {', '.join(PERCHERS)}.")


# Combinations that never enter training: with them we measure composition.
HELDOUT_COLORS = {
    (s, c) for i, s in enumerate(SUBJECTS) for j, c in enumerate(COLORS) if (7 * i + 3 * j) % 11 == 5
}
HELDOUT_BACKGROUNDS = {
    (s, b) for i, s in enumerate(SUBJECTS) for j, b in enumerate(BACKGROUNDS) if (5 * i + 4 * j) % 13 == 6
}
HELDOUT_RIDERS = {"rabbit", "hamster"}


def is_heldout(scene: Scene) -> bool:
    return (
        (scene.subject, scene.color) in HELDOUT_COLORS
        or (scene.subject, scene.background) in HELDOUT_BACKGROUNDS
        or (scene.relation == "riding a horse" and scene.subject in HELDOUT_RIDERS)
    )


def random_scenes(n: int, seed: int = 0, split: str = "train") -> list[Scene]:
    """Draw `n` scenes; the same seed and split give the same scenes.

    Args:
        split: "train" never holds a held-out combination; in "heldout" every scene holds at least one.
    """
    check_name("split", split, ("train", "heldout"))
    if n < 0:
        raise ValueError(f"n is {n}: it must be 0 or more.")
    rng = np.random.default_rng([seed, split == "heldout"])
    scenes = []
    while len(scenes) < n:
        scene = _random_scene(rng)
        if is_heldout(scene) == (split == "heldout"):
            scenes.append(scene)
    return scenes


def _hat_color(u: float) -> str:
    """One hat in four is white, so that the negative prompt "a white hat" has something to take away."""
    colors = ("white", "white", *COLORS)
    return colors[int(u * len(colors))]


def _random_scene(rng: np.random.Generator) -> Scene:
    u = rng.random(24).tolist()

    def pick(values, k):
        return values[int(u[k] * len(values))]

    subject = pick(SUBJECTS, 0)
    color = pick(NATURAL_COLORS[subject], 1) if u[2] < 0.3 else pick(tuple(COLORS), 1)
    relation, hat, accessory = "none", "none", "none"
    if subject in PERCHERS and u[3] < 0.3:
        relation = "sitting on a branch"
    elif subject in RIDERS and u[3] > 0.65:
        relation = "riding a horse"
    if subject in WEARERS:
        hat = pick(HATS[1:], 4) if u[5] < 0.5 else "none"
        accessory = pick(ACCESSORIES[1:], 6) if u[7] < 0.3 else "none"
    # Room above the head for what is worn there.
    lowest, highest = (0.66, 0.86) if hat == "none" else (0.62, 0.72)
    if relation == "riding a horse":
        highest -= 0.08
    return Scene(
        subject=subject,
        color=color,
        hat=hat,
        hat_color="none" if hat == "none" else _hat_color(u[8]),
        accessory=accessory,
        accessory_color="none" if accessory == "none" else pick(tuple(COLORS), 9),
        relation=relation,
        background=pick(BACKGROUNDS, 10),
        style=pick(STYLES, 11),
        x=0.5 + 0.2 * (u[12] - 0.5),
        y=0.91 + 0.06 * u[13],
        scale=lowest + (highest - lowest) * u[14],
        stretch=0.93 + 0.14 * u[15],
        tilt=8 * (u[16] - 0.5),
        flip=bool(u[17] < 0.5),
        variant=int(u[18] * VARIANTS),
        backdrop=int(u[19] * BACKDROPS),
        shift=2 * u[20] - 1,
        light=0.9 + 0.2 * u[21],
        warmth=2 * u[22] - 1,
        mount_color=pick(NATURAL_COLORS["horse"], 23),
        facets=int(u[23] * 1000) % 6,
    )


def all_twins(scene: Scene) -> list[Scene]:
    """Every scene that differs from this one in a single attribute and is not held out."""
    twins = []
    for attribute, values in ATTRIBUTES.items():
        for value in values:
            try:
                other = replace(scene, **{attribute: value})
            except ValueError:  # a house in a hat
                continue
            if other != scene and not is_heldout(other):
                twins.append(other)
    return twins


def twin(scene: Scene, rng: np.random.Generator) -> Scene:
    """One of `all_twins`: an attribute is drawn, then its value, so that rare attributes come up too."""
    changeable = ("subject", "color", "hat_color", "hat", "accessory_color", "background", "style")
    while True:
        attribute = str(rng.choice(changeable))
        value = str(rng.choice(ATTRIBUTES[attribute]))
        try:
            other = replace(scene, **{attribute: value})
        except ValueError:
            continue
        if other != scene and not is_heldout(other):
            return other
