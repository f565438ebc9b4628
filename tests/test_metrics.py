"""The instruments, held against cases whose answer is known."""

import json

import numpy as np
import pytest
import torch

from sdcourse.data.gallery import (
    ATTRIBUTES,
    Caption,
    Scene,
    all_twins,
    full_caption,
    is_heldout,
    random_scenes,
    render,
    twin,
)
from sdcourse.metrics import (
    ANY,
    Prompt,
    attribute_accuracy,
    caption_choice,
    clip_score,
    diversity,
    draw_pictures,
    evaluate,
    evaluation_prompts,
    frechet_distance,
    measure_reconstruction,
    prompt_of,
    wilson_interval,
)
from sdcourse.metrics.report import write_report
from sdcourse.metrics.table import as_table
from sdcourse.models import load_pipeline
from sdcourse.models.clip import load_clip
from sdcourse.models.judge import labels, load_judge


@pytest.fixture(scope="module")
def judge():
    return load_judge()


@pytest.fixture(scope="module")
def pipe():
    return load_pipeline("pocket-sd")


def pictures_of(scenes):
    return render(scenes).float() / 127.5 - 1


def reading(**changes):
    scene = Scene("cat", "red", "cap", "white", background="snow")
    return {a: getattr(scene, a) for a in ATTRIBUTES} | changes


# accuracy


def test_only_what_the_prompt_asks_for_counts():
    read = reading(color="blue", background="city")
    accuracy = attribute_accuracy([read], [Prompt("a cat in a cap", {"subject": "cat", "hat": "cap"})])
    assert accuracy.per_attribute == {"subject": 1.0, "hat": 1.0} and accuracy.all_right == 1.0
    accuracy = attribute_accuracy([read], [Prompt("a red cat", {"subject": "cat", "color": "red"})])
    assert accuracy.per_attribute == {"subject": 1.0, "color": 0.0} and accuracy.all_right == 0.0
    assert accuracy.mean == 0.5 and accuracy.counts == {"subject": 1, "color": 1}


def test_any_hat_will_do_where_the_prompt_does_not_say_which():
    prompt = Prompt("a cat in a hat", {"subject": "cat", "hat": ANY})
    for hat, right in (("crown", 1.0), ("none", 0.0)):
        assert attribute_accuracy([reading(hat=hat)], [prompt]).per_attribute["hat"] == right


def test_attributes_count_alike_and_pictures_that_do_not_name_them_not_at_all():
    prompts = [Prompt("a cat", {"subject": "cat"})] * 3 + [
        Prompt("a red dog", {"subject": "puppy", "color": "red"})
    ]
    accuracy = attribute_accuracy([reading()] * 4, prompts)
    assert accuracy.per_attribute == {"subject": 0.75, "color": 1.0}
    assert accuracy.mean == 0.875 and accuracy.all_right == 0.75
    assert "0.750  (0.30 to 0.95, 4 pictures)" in str(accuracy)


def test_a_caption_of_a_scene_becomes_a_prompt():
    scene = Scene("cat", "red", "cap", "white", background="snow")
    assert prompt_of(Caption("a red cat", frozenset({"subject", "color"})), scene).asks == {
        "subject": "cat",
        "color": "red",
    }
    assert prompt_of(Caption("a hat", frozenset({"any hat"})), scene).asks == {"hat": ANY}


@pytest.mark.parametrize(
    ("right", "n", "low", "high"), [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (81, 263, 0.2553, 0.3662)]
)
def test_intervals_are_those_of_the_literature(right, n, low, high):
    """The last case is table I of Newcombe, 1998, method 3."""
    assert wilson_interval(right / n, n) == pytest.approx((low, high), abs=1e-4)


# the prompts


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_evaluation_prompts_ask_for_what_their_split_says(split):
    prompts = evaluation_prompts(500, split)
    assert len({p.text for p in prompts}) == 500
    for prompt in prompts:
        asks = {k: v for k, v in prompt.asks.items() if v != ANY}
        assert set(asks) <= set(ATTRIBUTES) and all(v in ATTRIBUTES[k] for k, v in asks.items())
        assert len(prompt.asks) >= 2
        named = {k: asks.get(k, "none") for k in ("relation",)} | {
            k: asks[k] for k in ("subject", "color", "background") if k in asks
        }
        # what is not named gets a value that is held out with no subject
        scenes = [
            Scene(**{"color": c, "background": b} | named)
            for c in ATTRIBUTES["color"]
            for b in ATTRIBUTES["background"]
        ]
        assert all(map(is_heldout, scenes)) == (split == "heldout"), prompt


def test_known_prompts_are_ten_and_wrong_arguments_are_refused():
    assert len(evaluation_prompts(10, "known")) == 10
    with pytest.raises(ValueError, match="1 to 500"):
        evaluation_prompts(501)
    with pytest.raises(ValueError, match="split"):
        evaluation_prompts(5, "test")


# distances


class Means(torch.nn.Module):
    """Features that are easy to reckon with: the mean of each channel."""

    def features(self, images):
        return torch.cat([images.mean((2, 3)), torch.zeros(len(images), 189)], 1)


def test_frechet_distance_equals_the_direct_computation(judge):
    a, b = pictures_of(random_scenes(300, 1)), pictures_of(random_scenes(300, 2, "heldout"))
    with torch.no_grad():
        x, y = (judge.features(p).double() for p in (a, b))
    s, t = torch.cov(x.T), torch.cov(y.T)
    values, vectors = torch.linalg.eigh(s)
    root = vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.T
    middle = torch.linalg.eigvalsh(root @ t @ root).clamp(min=0).sqrt().sum()
    direct = (x.mean(0) - y.mean(0)).square().sum() + s.trace() + t.trace() - 2 * middle
    assert frechet_distance(judge, a, b) == pytest.approx(direct.item(), rel=1e-3)


def test_frechet_distance_of_shifted_pictures_is_the_square_of_the_shift():
    pictures = torch.rand(400, 3, 8, 8) / 2
    assert frechet_distance(Means(), pictures, pictures) == pytest.approx(0, abs=1e-3)
    assert frechet_distance(Means(), pictures + 0.5, pictures) == pytest.approx(3 * 0.25, abs=1e-2)


def test_diversity_is_the_mean_distance_within_a_prompt():
    dark, light = torch.zeros(3, 8, 8), torch.ones(3, 8, 8)
    same = torch.stack([torch.stack([dark, dark]), torch.stack([light, light])])
    other = torch.stack([torch.stack([dark, light])])
    assert diversity(Means(), same) == pytest.approx(0, abs=1e-6)
    assert diversity(Means(), other) == pytest.approx(3**0.5, abs=1e-5)


# reconstruction and CLIP


def test_reconstruction_of_a_vae_that_keeps_all_but_an_offset():
    class Offset(torch.nn.Module):
        device, dtype = torch.device("cpu"), torch.float32

        def encode(self, x):
            self.latents = x
            return type("Encoded", (), {"latent_dist": self})

        def mode(self):
            return self.latents

        def decode(self, x):
            return type("Decoded", (), {"sample": x + 0.02})

    images = torch.rand(3, 3, 16, 16) - 0.5
    measured = measure_reconstruction(Offset(), images)
    assert measured.psnr == pytest.approx(40, abs=0.01) and 0.98 < measured.ssim < 1  # 0.02 of 2 is 1 %


def test_clip_knows_which_caption_belongs_to_which_picture():
    clip, tokenizer = load_clip()
    scenes = random_scenes(32, 5)
    texts = [full_caption(scene) for scene in scenes]
    right = clip_score(clip, tokenizer, pictures_of(scenes), texts)
    assert right > clip_score(clip, tokenizer, pictures_of(scenes), texts[1:] + texts[:1]) + 10
    assert caption_choice(clip, tokenizer, n=40, captions=4) > 0.6  # chance is 0.25


def test_full_captions_leave_nothing_out():
    scene = Scene("cat", "orange", "cap", "white", "scarf", "blue", "riding a horse", "snow", "pixel art")
    assert full_caption(scene) == (
        "pixel art of an orange cat wearing a white cap and a blue scarf riding a horse in the snow"
    )


def test_twins_differ_in_one_attribute():
    rng = np.random.default_rng(0)
    for scene in random_scenes(50, 3):
        twins = all_twins(scene)
        assert len(twins) == len(set(twins)) and twin(scene, rng) in twins
        for other in twins:
            assert sum(getattr(scene, a) != getattr(other, a) for a in ATTRIBUTES) == 1
            assert not is_heldout(other)


# the judge


def test_labels_are_the_places_in_the_lists():
    scene = Scene("horse", "brown", style="pixel art")
    numbers = {k: v.item() for k, v in labels([scene]).items()}
    assert ATTRIBUTES["subject"][numbers["subject"]] == "horse"
    assert ATTRIBUTES["style"][numbers["style"]] == "pixel art" and numbers["hat"] == 0


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_the_shipped_judge_reads_fresh_renders(judge, split):
    scenes = random_scenes(600, seed=654_321, split=split)
    readings = judge.read(pictures_of(scenes))
    right = {
        a: sum(r[a] == getattr(s, a) for r, s in zip(readings, scenes, strict=True)) / 600 for a in ATTRIBUTES
    }
    assert sum(right.values()) / len(right) >= 0.97, right
    assert min(right.values()) >= 0.92, right


# all of it


def test_pictures_are_the_same_whatever_was_drawn_beside_them(pipe):
    texts = ["a cat", "a red robot in the snow"]
    both = draw_pictures(pipe, texts, num_inference_steps=3, seed=4)
    second = draw_pictures(pipe, texts[1:], num_inference_steps=3, seed=5)
    assert both.shape == (2, 3, 64, 64) and (both[1] - second[0]).abs().max() < 1e-4
    assert torch.equal(both, draw_pictures(pipe, texts, num_inference_steps=3, seed=4))


def test_the_error_of_few_steps_is_measured_to_where_ddim_arrives_after_100(pipe, judge, monkeypatch):
    from sdcourse.metrics.evaluate import evaluation_prompts, steps_curve

    monkeypatch.setitem(steps_curve.__globals__, "STEPS", (2, 100))
    points = {(p["scheduler"], p["steps"]): p["error"] for p in steps_curve(pipe, judge, 2, 2.0)}
    texts = [p.text for p in evaluation_prompts(2)]
    few, many = (draw_pictures(pipe, texts, 2.0, steps, "ddim") / 2 + 0.5 for steps in (2, 100))
    assert points["ddim", 100] == 0
    assert points["ddim", 2] == pytest.approx(torch.sqrt(((few - many) ** 2).mean()).item(), rel=1e-4)
    assert points["dpm++", 2] > points["dpm++", 100] > 0


@pytest.mark.slow
def test_evaluate_measures_prints_and_reports(pipe, judge, tmp_path):
    figures = evaluate(pipe, judge, n=20, steps=4)
    pictures = figures.pop("pictures")
    assert json.loads(json.dumps(figures)) == figures
    assert pictures.shape == (10, 16, 3, 64, 64)
    asked = sum(sum(row) for row in figures["confusion"]["subject"])
    assert asked == 20  # each prompt names its subject
    # twenty pictures are too few to compare the two
    assert figures["frechet distance"] > 0 and figures["frechet floor"] > 0
    text = as_table(figures)
    assert f"{figures['heldout']['mean']:.3f}" in text and "a hamster" in text
    write_report(tmp_path / "report.png", "pocket-sd", figures, pictures)
    assert (tmp_path / "report.png").stat().st_size > 50_000


def test_evaluate_refuses_what_the_judge_cannot_read(judge):
    from tiny import make_tiny_sd

    with pytest.raises(ValueError, match="64×64"):
        evaluate(make_tiny_sd(), judge)
    with pytest.raises(ValueError, match="20 to 500"):
        evaluate(make_tiny_sd(), judge, n=3)
