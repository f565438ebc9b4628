"""The gallery: what is drawn is what is said, and the same scene gives the same picture."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
import torch

from sdcourse.data import load_gallery
from sdcourse.data.gallery import (
    ATTRIBUTES,
    COLORS,
    Scene,
    caption,
    describe,
    is_heldout,
    random_scenes,
    render,
    render_depth,
    render_masks,
)  # fmt: skip
from sdcourse.data.gallery.scene import HELDOUT_BACKGROUNDS, HELDOUT_COLORS

# The prompts by which people know Stable Diffusion, as scenes.
KNOWN = {
    "a photograph of an astronaut riding a horse": dict(subject="astronaut", relation="riding a horse"),
    "a watercolor illustration of a rose": dict(subject="rose", style="watercolor"),
    "a photograph of a puppy": dict(subject="puppy"),
    "an oil painting of a collie in a top hat": dict(
        subject="collie", hat="top hat", hat_color="black", style="oil painting"
    ),
    "an acrylic palette knife painting of a flower": dict(subject="flower", style="palette knife"),
    "a squirrel in Picasso style": dict(subject="squirrel", style="picasso"),
    "a bird is sitting on a tree branch": dict(subject="bird", relation="sitting on a branch"),
    "a hamster": dict(subject="hamster"),
    "a robot": dict(subject="robot"),
    "a cat wearing a white hat in the snow": dict(
        subject="cat", hat="cap", hat_color="white", background="snow"
    ),
}


@pytest.mark.parametrize("text", KNOWN)
def test_captions_reach_the_known_prompts(text):
    """The very words of each known prompt come out of the caption writer."""
    scene = Scene(color="brown", **KNOWN[text])
    rng = np.random.default_rng(0)
    assert text in {caption(scene, rng) for _ in range(6000)}


def test_the_same_seed_gives_the_same_scenes_and_other_seeds_others():
    assert random_scenes(50, seed=3) == random_scenes(50, seed=3)
    assert random_scenes(50, seed=3) != random_scenes(50, seed=4)
    assert random_scenes(80, seed=3)[:50] == random_scenes(50, seed=3)


@pytest.mark.parametrize("style", ATTRIBUTES["style"])
def test_a_scene_looks_the_same_in_any_batch(style):
    scenes = [dataclasses.replace(s, style=style) for s in random_scenes(40, seed=1)]
    together = render(scenes)
    for i in (0, 17, 39):
        difference = (together[i].int() - render([scenes[i]])[0].int()).abs().max()
        assert difference <= 1  # rounding of the last bit may depend on the batch


@pytest.mark.parametrize("size", [16, 64, 100, 512])
def test_any_size(size):
    pictures = render(random_scenes(2, seed=5), size)
    assert pictures.shape == (2, 3, size, size) and pictures.dtype == torch.uint8


def test_the_same_scene_at_another_size_is_the_same_picture():
    scenes = [dataclasses.replace(s, style="photograph") for s in random_scenes(12, seed=8)]
    small = render(scenes, 64).float()
    large = torch.nn.functional.avg_pool2d(render(scenes, 256).float(), 4)
    assert (small - large).abs().mean() < 8  # of 255


@pytest.mark.parametrize("size", [0, 15, 513])
def test_a_size_out_of_range_is_refused_in_one_sentence(size):
    with pytest.raises(ValueError, match="16 to 512"):
        render(random_scenes(1), size)


def test_heldout_combinations_never_enter_training():
    assert not any(is_heldout(s) for s in random_scenes(3000, seed=1))
    assert all(is_heldout(s) for s in random_scenes(300, seed=1, split="heldout"))
    train = random_scenes(6000, seed=2)
    # Every part of a held-out pair is seen in training, only never together.
    for pairs, attribute in ((HELDOUT_COLORS, "color"), (HELDOUT_BACKGROUNDS, "background")):
        seen = Counter((s.subject, getattr(s, attribute)) for s in train)
        assert not pairs & set(seen)
        assert {b for _, b in pairs} <= {b for _, b in seen}


def test_an_unknown_split_names_the_allowed_ones():
    with pytest.raises(ValueError, match="train, heldout"):
        random_scenes(1, split="test")


@pytest.mark.parametrize(
    "wrong, message",
    [
        (dict(subject="catt"), "Did you mean 'cat'"),
        (dict(hat="cap"), "give both or neither"),
        (dict(subject="house", hat="cap", hat_color="red"), "cannot wear"),
        (dict(subject="car", relation="riding a horse"), "cannot ride"),
        (dict(subject="puppy", relation="sitting on a branch"), "cannot sit on a branch"),
    ],
)
def test_impossible_scenes_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Scene(**dict(dict(subject="cat", color="red"), **wrong))


@pytest.mark.parametrize(
    "style", ["photograph", "oil painting", "watercolor", "pencil sketch", "palette knife"]
)
def test_the_main_colour_is_the_colour_of_the_picture(style):
    """A red and a blue car differ where the car is, by more red here and more blue there."""
    base = Scene("car", "red", style=style)
    red, blue = render([base, dataclasses.replace(base, color="blue")]).float()
    car = render_masks([base])[0] == 2
    difference = (red - blue).mean(0).abs()
    assert difference[car].mean() > 4 * difference[~car].mean()
    assert red[0][car].mean() > blue[0][car].mean() + 15
    assert red[2][car].mean() < blue[2][car].mean() - 15


def test_masks_show_who_wears_the_hat():
    scene = Scene(
        "cat", "orange", "top hat", "white", "scarf", "blue", relation="riding a horse", background="snow"
    )
    mask = render_masks([scene], 128)[0]
    assert set(mask.unique().tolist()) == {0, 1, 2, 3, 4}
    rows = {layer: (mask == layer).nonzero()[:, 0].float().mean() for layer in (1, 2, 4)}
    assert rows[4] < rows[2] < rows[1]  # hat above cat above horse
    picture = render([scene], 128)[0].float()
    assert picture[:, mask == 4].mean() > 150  # the hat is white


def test_depth_is_near_at_the_subject_and_far_in_the_sky():
    scene = Scene("house", "yellow", background="meadow", flip=True)
    depth, mask = render_depth([scene])[0, 0], render_masks([scene])[0]
    assert depth[mask == 2].max() < 0.35 and depth[0].min() == 1.0
    assert 0 <= depth.min() and depth.max() <= 1
    ground = depth[:, 0]
    assert ground[-1] < ground[44]  # the meadow comes nearer towards the lower edge


def test_captions_say_only_what_is_there():
    rng = np.random.default_rng(0)
    for scene in random_scenes(2000, seed=7):
        text = caption(scene, rng)
        words = set(text.replace(",", "").lower().split())
        for color in COLORS:
            if color in words:
                assert color in {scene.color, scene.hat_color, scene.accessory_color}, text
        if "hat" in words or "crown" in words or "cap" in words:
            assert scene.hat != "none", text
        if scene.hat == "none":
            assert "hat" not in words
        if "riding" in words:
            assert scene.relation == "riding a horse"


def test_what_a_caption_fixes_is_what_its_words_say():
    rng = np.random.default_rng(0)
    other_names = ("puppy", "cat", "rabbit", "boat")
    for scene in random_scenes(2000, seed=9):
        said = describe(scene, rng)
        if scene.subject not in other_names:
            assert ("color" in said.named) == (f"{scene.color} {scene.subject}" in said.text)
        if "style" not in said.named:
            assert "painting" not in said.text and "photo" not in said.text


def test_captions_leave_every_attribute_out_at_times_and_single_things_are_captions():
    rng = np.random.default_rng(1)
    scenes = [s for s in random_scenes(6000, seed=4) if s.hat != "none" and s.accessory != "none"]
    said = [describe(s, rng) for s in scenes]
    for attribute in (
        "subject",
        "color",
        "hat",
        "hat_color",
        "accessory",
        "accessory_color",
        "background",
        "style",
    ):
        share = np.mean([attribute in c.named for c in said])
        assert 0.15 < share < 0.95, (attribute, share)
    texts = {c.text for s in random_scenes(30_000, seed=6) for c in [describe(s, rng)]}
    assert {"a white hat", "white hat", "hat", "snow", "oil painting"} <= texts
    assert any(text.count(",") >= 2 for text in texts)


def test_load_gallery_is_a_dataset_with_a_column_per_attribute():
    gallery = load_gallery(12, seed=2, size=48)
    assert gallery.column_names == ["image", "text", *ATTRIBUTES]
    assert gallery[0]["image"].size == (48, 48) and gallery.cache_files == []
    scenes = random_scenes(12, seed=2)
    assert gallery["subject"][:] == [s.subject for s in scenes]
    pixels = np.asarray(gallery[3]["image"])
    assert (pixels == render(scenes, 48)[3].permute(1, 2, 0).numpy()).mean() > 0.99
    with pytest.raises(ValueError, match="one picture or more"):
        load_gallery(0)
