"""Prompts for evaluation, each with what its picture must show."""

import json
from dataclasses import dataclass
from importlib.resources import files

from sdcourse.data.gallery import ATTRIBUTES, Caption, Scene
from sdcourse.errors import check_name

ANY = "any"  # "a hat": some hat, whichever


@dataclass(frozen=True)
class Prompt:
    """A text, and what it asks for: attributes with their values, or `ANY` for anything but none.

    What a text does not name is free and does not count.
    """

    text: str
    asks: dict[str, str]

    def verdicts(self, reading: dict[str, str]) -> dict[str, bool]:
        """For each attribute asked for, whether the judge's reading of a picture agrees."""
        return {
            name: reading[name] != "none" if value == ANY else reading[name] == value
            for name, value in self.asks.items()
        }


def prompt_of(caption: Caption, scene: Scene) -> Prompt:
    """What a caption of a scene asks for."""
    asks = {name: getattr(scene, name) for name in ATTRIBUTES if name in caption.named}
    if "any hat" in caption.named:
        asks["hat"] = ANY
    return Prompt(caption.text, asks)


def evaluation_prompts(n: int = 500, split: str = "train") -> list[Prompt]:
    """The first `n` of 500 prompts that come with the package and never change.

    Args:
        n: 1 to 500.
        split: "train" for combinations that training has seen, "heldout" for texts that name one it has not,
            "known" for the ten prompts by which people know Stable Diffusion.
    """
    check_name("split", split, ("train", "heldout", "known"))
    kept = json.loads(files(__package__).joinpath("evaluation_prompts.json").read_text())[split]
    if not 1 <= n <= 500:
        raise ValueError(f"n is {n}: there are 500 evaluation prompts, so it must be 1 to 500.")
    return [Prompt(**entry) for entry in kept[:n]]
