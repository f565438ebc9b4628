"""The judge and what is counted with it."""

import pytest

from sdcourse.data.gallery import ATTRIBUTES, Caption, Scene, is_heldout, random_scenes, render
from sdcourse.metrics import attribute_accuracy, evaluation_prompts
from sdcourse.models.judge import labels, load_judge


def reading(**changes):
    scene = Scene("cat", "red", "cap", "white", background="snow")
    return {a: getattr(scene, a) for a in ATTRIBUTES} | changes, scene


def test_only_what_the_caption_names_counts():
    read, scene = reading(color="blue", background="city")
    named = Caption("a cat in a cap", frozenset({"subject", "hat"}))
    accuracy = attribute_accuracy([read], [(named, scene)])
    assert accuracy.per_attribute == {"subject": 1.0, "hat": 1.0} and accuracy.all_right == 1.0
    named = Caption("a red cat", frozenset({"subject", "color"}))
    accuracy = attribute_accuracy([read], [(named, scene)])
    assert accuracy.per_attribute == {"subject": 1.0, "color": 0.0} and accuracy.all_right == 0.0
    assert accuracy.mean == 0.5


def test_any_hat_will_do_where_the_caption_does_not_say_which():
    said = Caption("a cat in a hat", frozenset({"subject", "any hat"}))
    for hat, right in (("crown", 1.0), ("none", 0.0)):
        read, scene = reading(hat=hat)
        assert attribute_accuracy([read], [(said, scene)]).per_attribute["hat"] == right


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_evaluation_prompts_are_always_the_same(split):
    prompts = evaluation_prompts(500, split)
    assert len(prompts) == 500 and prompts[:40] == evaluation_prompts(500, split)[:40]
    assert all(is_heldout(scene) == (split == "heldout") for _, scene in prompts)
    assert all("subject" in caption.named for caption, _ in prompts)


def test_labels_are_the_places_in_the_lists():
    scene = Scene("horse", "brown", style="pixel art")
    numbers = {k: v.item() for k, v in labels([scene]).items()}
    assert ATTRIBUTES["subject"][numbers["subject"]] == "horse"
    assert ATTRIBUTES["style"][numbers["style"]] == "pixel art" and numbers["hat"] == 0


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_the_shipped_judge_reads_fresh_renders(split):
    judge = load_judge()
    scenes = random_scenes(600, seed=123_456, split=split)
    readings = judge.read(render(scenes).float() / 127.5 - 1)
    right = {
        a: sum(r[a] == getattr(s, a) for r, s in zip(readings, scenes, strict=True)) / 600 for a in ATTRIBUTES
    }
    assert sum(right.values()) / len(right) >= 0.97, right
    assert min(right.values()) >= 0.92, right
