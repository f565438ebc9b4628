"""Training goes on where it was stopped, and its parts do what their papers say."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from sdcourse.training import loop
from sdcourse.training.batches import gallery_batch, mask_batch
from sdcourse.training.loop import parse_budget, train_for


def line(seed=0):
    """A module, and the loss of fitting y = 3x with it."""
    torch.manual_seed(seed)
    module = torch.nn.Linear(1, 1)

    def compute_loss(step):
        x = torch.randn(16, 1)
        return (module(x) - 3 * x).square().mean(), {"weight": module.weight.item()}

    return module, compute_loss


def test_it_learns_and_leaves_averaged_weights(tmp_path):
    module, compute_loss = line()
    progress = train_for(2.0, module, compute_loss, tmp_path, learning_rate=0.05, ema_decay=0.9)
    assert progress.step > 100 and progress.elapsed >= 2.0
    assert abs(module.weight.item() - 3) < 0.05 and not module.training


def test_it_goes_on_from_the_checkpoint(tmp_path, capfd):
    first = train_for(0.4, *line(), tmp_path, learning_rate=0.01)
    module, compute_loss = line(seed=5)  # other weights, which the checkpoint replaces
    second = train_for(0.8, module, compute_loss, tmp_path, learning_rate=0.01)
    assert second.step > first.step and second.elapsed >= 0.8
    assert f"step {first.step}" in capfd.readouterr().out
    done = train_for(0.8, *line(), tmp_path, learning_rate=0.01)
    assert done.step == second.step  # the budget is spent: nothing more to do


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY", 0.1)
    train_for(0.5, *line(), tmp_path, learning_rate=0.01)
    current, previous = tmp_path / "checkpoint.pt", tmp_path / "checkpoint.previous.pt"
    before = torch.load(previous)["progress"]["step"]
    current.write_bytes(current.read_bytes()[:300])
    capfd.readouterr()
    train_for(0.5, *line(), tmp_path, learning_rate=0.01)
    said = capfd.readouterr().out
    assert f"{current} is damaged" in said and f"step {before}" in said


def test_killed_at_any_moment_it_loses_only_the_last_moments(tmp_path):
    code = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from pathlib import Path; from test_training import line; from sdcourse.training import loop\n"
        "loop.CHECKPOINT_EVERY = 0.2\n"
        f"loop.train_for(60, *line(), Path({str(tmp_path)!r}), 0.01)"
    )
    root = Path(__file__).parent.parent
    process = subprocess.Popen([sys.executable, "-c", code], cwd=root, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (tmp_path / "checkpoint.previous.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    progress = loop.load_checkpoint(tmp_path, line()[0], *_optimizer_and_ema(line()[0]))
    assert progress.step > 0 and progress.elapsed > 0.1


def _optimizer_and_ema(module):
    parameters = list(module.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.01, betas=(0.9, 0.99))
    return optimizer, loop.EMAModel(parameters, decay=0.999, use_ema_warmup=True, power=0.75)


def test_the_log_has_a_row_every_few_seconds(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "LOG_EVERY", 0.1)
    train_for(0.6, *line(), tmp_path, learning_rate=0.05)
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert len(rows) >= 3 and {"step", "seconds", "loss", "weight"} <= set(rows[0])
    assert int(rows[0]["step"]) < int(rows[-1]["step"])


@pytest.mark.parametrize("text, seconds", [("90s", 90), ("10m", 600), ("1.5h", 5400)])
def test_budgets(text, seconds):
    assert parse_budget(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "m", "-3m", "0s", "10 parsecs", "infh", "nanm"])
def test_what_is_not_a_time_is_refused_with_examples(text):
    with pytest.raises(ValueError, match="90s, 10m or 2h"):
        parse_budget(text)


def test_batches_are_new_at_every_step_and_the_same_at_the_same_step():
    scenes, images = gallery_batch(3, 16, seed=5)
    assert images.shape == (16, 3, 64, 64) and images.min() >= -1 and images.max() <= 1
    again = gallery_batch(3, 16, seed=5)
    assert scenes == again[0] and torch.equal(images, again[1])
    assert scenes != gallery_batch(4, 16, seed=5)[0]
    assert scenes != gallery_batch(3 + 64, 16, seed=5)[0]  # the next pool
    assert mask_batch(3, 16, seed=5).shape == (16, 64, 64)


def test_the_contrastive_loss_is_small_only_where_pairs_match():
    from sdcourse.training.clip import contrastive_loss

    embeds = torch.eye(8)
    scale = torch.tensor(3.0)  # exp(3) = 20
    matching, logits = contrastive_loss(5 * embeds, embeds, scale)
    assert matching < 1e-3 and logits[0, 0] == pytest.approx(scale.exp().item())  # lengths do not count
    assert contrastive_loss(embeds, embeds.roll(1, 0), scale)[0] > 15


def test_the_diffusion_loss_is_zero_for_who_knows_the_noise():
    from diffusers import DDPMScheduler

    from sdcourse.models.components import make_scheduler
    from sdcourse.training.unet import diffusion_loss

    scheduler = DDPMScheduler.from_config(make_scheduler().config)
    latents = torch.randn(32, 4, 8, 8)

    class Oracle:
        """Works the noise out of what it is shown, because it knows the latents."""

        off = 0.0

        def __call__(self, noisy, timesteps, text_embeddings):
            alpha = scheduler.alphas_cumprod[timesteps].view(-1, 1, 1, 1)
            noise = (noisy - alpha.sqrt() * latents) / (1 - alpha).sqrt()
            return type("Output", (), {"sample": noise + self.off})

    oracle = Oracle()
    assert diffusion_loss(oracle, scheduler, latents, None) < 1e-6
    oracle.off = 1.0
    wrong = diffusion_loss(oracle, scheduler, latents, None)
    assert 0.05 < wrong < 1  # min-SNR takes weight from the steps with little noise


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_the_loss_on_pixels_is_zero_for_who_knows_the_pictures(prediction_type):
    from sdcourse.models.components import make_pixel_scheduler
    from sdcourse.training.pixels import pixel_loss

    scheduler, images = make_pixel_scheduler(prediction_type), torch.randn(16, 1, 32, 32)

    def oracle(noisy, timesteps, class_labels):
        """Works out what is asked for from what it is shown, because it knows the pictures."""
        alpha = scheduler.alphas_cumprod[timesteps].view(-1, 1, 1, 1)
        noise = (noisy - alpha.sqrt() * images) / (1 - alpha).sqrt()
        velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * images
        return type("Output", (), {"sample": noise if prediction_type == "epsilon" else velocity})

    assert pixel_loss(oracle, scheduler, images) < 1e-6
    other = "v_prediction" if prediction_type == "epsilon" else "epsilon"
    assert pixel_loss(oracle, make_pixel_scheduler(other), images) > 0.1


def test_what_the_subject_wears_counts_more_in_the_diffusion_loss():
    from sdcourse.training.unet import cell_weights

    masks = torch.zeros(1, 64, 64, dtype=torch.uint8)
    masks[0, 9:12, 17] = 4  # three pixels of a hat
    masks[0, 40:64] = 2
    weights = cell_weights(masks)
    assert weights.shape == (1, 1, 8, 8)
    assert weights[0, 0, 1, 2] == weights.max() > weights[0, 0, 5, 0] > weights[0, 0, 0, 0] == 1
    assert (weights == weights.max()).sum() == 1


def test_what_is_worn_comes_up_more_often():
    from sdcourse.data.gallery import Scene
    from sdcourse.training.batches import cumulative_odds

    plain = Scene("cat", "red")
    worn = Scene("cat", "red", "cap", "white", "scarf", "blue")
    assert cumulative_odds([plain, worn, plain]).tolist() == pytest.approx([1 / 6, 5 / 6, 1])


def test_scenes_whose_subject_can_hardly_be_seen_come_up_less_often():
    from sdcourse.data.gallery import ATTRIBUTES, COLORS, Scene
    from sdcourse.training.batches import cumulative_odds
    from sdcourse.training.captions import HARD_TO_SEE, visibility

    assert tuple(HARD_TO_SEE) == ATTRIBUTES["background"]
    assert set().union(*HARD_TO_SEE.values()) <= set(COLORS)
    scenes = [Scene("rose", "green", background="forest"), Scene("rose", "green", background="beach")]
    assert cumulative_odds(scenes, visibility(scenes)).tolist() == pytest.approx([1 / 11, 1])
    rider = dict(subject="robot", color="yellow", mount_color="black", background="night")
    assert visibility([Scene(**rider), Scene(**rider, relation="riding a horse")]).tolist() == [1, 0.1]
    for relation, odds in (("riding a horse", 0.1), ("none", 1)):
        white = dict(color="white", background="meadow", relation=relation)
        horses = [Scene("robot", mount_color=color, **white) for color in ("brown", "white")]
        assert visibility(horses).tolist() == [1, odds]


def test_captions_leave_out_what_people_would_expect():
    """Of a rose without a colour, four in five are red or pink; of a hat without one, a third are white."""
    from sdcourse.data.gallery import random_scenes
    from sdcourse.training.captions import say

    rng = np.random.default_rng(0)
    said = [(scene, say(scene, rng)) for scene in random_scenes(40_000, seed=1)]
    roses = [scene.color for scene, text in said if "rose" in text and scene.color not in text]
    assert len(roses) > 150
    assert sum(color in ("red", "pink") for color in roses) > 0.8 * len(roses)
    hats = [
        scene.hat_color
        for scene, text in said
        if "hat" in text.split() and scene.hat_color not in text and scene.hat != "none"
    ]
    assert len(hats) > 500
    assert 0.27 < hats.count("white") / len(hats) < 0.37


SURPRISES = {
    "hat": (dict(hat="top hat", hat_color="red"), "hat"),
    "accessory": (dict(accessory="scarf", accessory_color="red"), "scarf"),
    "relation": (dict(relation="riding a horse"), "horse"),
    "background": (dict(background="city"), "city"),
    "style": (dict(style="pixel art"), "pixel"),
}


@pytest.mark.parametrize("attribute", SURPRISES)
def test_what_people_would_not_expect_is_seldom_left_unsaid(attribute):
    from sdcourse.data.gallery import Scene, caption
    from sdcourse.training.captions import say

    extra, word = SURPRISES[attribute]
    scene = Scene(**{"subject": "robot", "color": "blue", "background": "snow", **extra})

    def unsaid(wording):
        rng = np.random.default_rng(0)
        robots = [text for text in (wording(scene, rng) for _ in range(3000)) if "robot" in text]
        return sum(word not in text for text in robots) / len(robots)

    assert 0.02 < unsaid(say) < 0.6 * unsaid(caption)


def test_a_hat_of_no_stated_kind_is_said_as_often_as_before():
    from sdcourse.data.gallery import Scene, caption
    from sdcourse.training.captions import say

    scene = Scene("robot", "blue", hat="top hat", hat_color="red", background="snow")

    def generic(wording):
        rng = np.random.default_rng(0)
        hats = [text for text in (wording(scene, rng) for _ in range(4000)) if "hat" in text]
        return sum("top" not in text for text in hats) / len(hats)

    assert generic(say) == pytest.approx(generic(caption), abs=0.05)


def test_where_nothing_is_unusual_the_colour_alone_is_said_less():
    from sdcourse.data.gallery import Scene, caption
    from sdcourse.training.captions import say

    scene = Scene("robot", "blue", background="snow")

    def said(wording, word):
        rng = np.random.default_rng(0)
        robots = [text for text in (wording(scene, rng) for _ in range(3000)) if "robot" in text]
        return sum(word in text for text in robots) / len(robots)

    for word in ("snow", "photo"):
        assert said(say, word) == pytest.approx(said(caption, word), abs=0.05)
    assert said(say, "blue") < 0.8 * said(caption, "blue")


def test_every_colour_is_still_said_and_left_unsaid():
    from sdcourse.data.gallery import Scene
    from sdcourse.training.captions import say

    rng = np.random.default_rng(0)
    for color in ("red", "green"):
        texts = [say(Scene("rose", color, background="beach"), rng) for _ in range(400)]
        named = sum(color in text for text in texts if "rose" in text)
        assert 0 < named < sum("rose" in text for text in texts)


def test_the_unet_is_trained_on_such_scenes_and_captions(tmp_path, monkeypatch):
    from importlib.resources import files

    from sdcourse.training import unet

    for part in ("vae", "tokenizer", "text_encoder"):
        shutil.copytree(str(files("sdcourse") / "weights" / "pocket-sd" / part), tmp_path / part)
    seen = []
    monkeypatch.setattr(unet, "MIN_PICTURES", 64)
    monkeypatch.setattr(unet, "visibility", lambda scenes: np.arange(len(scenes)) == 7)
    monkeypatch.setattr(unet, "say", lambda scene, rng: seen.append(scene) or "a rose")
    unet.train_unet(tmp_path, budget=0.5, device="cpu")
    assert seen and set(seen) == {unet.random_scenes(64, seed=6_000_000)[7]}


def test_cached_latents_are_used_again_only_with_the_encoder_that_made_them(tmp_path):
    from sdcourse.models.components import make_vae
    from sdcourse.training.unet import cache_latents

    vae, path = make_vae(), tmp_path / "latents.safetensors"
    scenes, moments, weights = cache_latents(vae, 20, path, seed=1)
    assert len(scenes) == 20 and moments.shape == (20, 8, 8, 8) and weights.shape == (20, 1, 8, 8)
    again = cache_latents(vae, 30, path, seed=1)
    assert again[0] == scenes and torch.equal(again[1], moments) and torch.equal(again[2], weights)
    other = cache_latents(make_vae(), 30, path, seed=1)
    assert len(other[1]) == 30 and not torch.equal(other[1][:20], moments)


def test_what_other_networks_see_tells_pictures_apart_where_pixels_hardly_do(tmp_path):
    from sdcourse.data.gallery import Scene, render
    from sdcourse.models.registry import WEIGHTS_ROOT
    from sdcourse.training.vae import Eye

    (tmp_path / "judge").symlink_to(WEIGHTS_ROOT / "judge")
    (tmp_path / "clip").symlink_to(WEIGHTS_ROOT / "pocket-clip")
    eye = Eye(tmp_path, "cpu")
    scenes = [
        Scene("cat", "red", hat="crown", hat_color="blue"),
        Scene("cat", "red", hat="cap", hat_color="blue"),
    ]
    crown, cap = (render([scene]).float() / 127.5 - 1 for scene in scenes)
    brighter = crown + (cap - crown).abs().mean()  # every pixel a little: as far away in the mean
    assert eye.difference(crown, crown) == 0
    assert eye.difference(cap, crown) > 1.5 * eye.difference(brighter, crown)
    output = cap.clone().requires_grad_()
    eye.difference(output, crown).backward()
    assert output.grad.abs().sum() > 0
    assert all(p.grad is None for p in (*eye.judge.parameters(), *eye.clip.parameters()))


def test_a_part_that_is_missing_is_named_with_the_command_that_makes_it(tmp_path):
    from sdcourse.training.recipes import train

    with pytest.raises(FileNotFoundError, match="sdcourse train tokenizer"):
        train("clip", tmp_path, 1, "cpu")
    with pytest.raises(ValueError, match="Did you mean 'unet'"):
        train("unett", tmp_path, 1, "cpu")


@pytest.mark.slow
def test_the_whole_recipe_from_nothing(tmp_path):
    """A minute of it, twice: the second call finds everything done and changes nothing."""
    from diffusers import StableDiffusionPipeline

    from sdcourse.sampling import text_to_image
    from sdcourse.training.recipes import train

    for _ in range(2):
        train("pocket-sd", tmp_path, 30, "cpu")
        pipe = StableDiffusionPipeline.from_pretrained(tmp_path / "pocket-sd", safety_checker=None)
        assert pipe.unet.dtype == pipe.text_encoder.dtype == torch.float32
        image = text_to_image(pipe, "a cat", num_inference_steps=3, progress=False)[0]
        assert image.size == (64, 64)
    assert pipe.vae.config.scaling_factor != 0.18215  # measured, not the default
    assert pipe.tokenizer.vocab_size > 500


TOGETHER = """
import sys, time
from pathlib import Path
import torch
import torch.distributed
from sdcourse.training.loop import first_alone, train_for

folder = Path(sys.argv[1])
torch.manual_seed(0)
model = torch.nn.Linear(1, 1, bias=False)
seen = []

def say(*words):  # in one piece: torchrun's processes share a pipe, and print writes word by word there
    sys.stdout.write(" ".join(map(str, words)) + "\\n")

def compute_loss(step):
    seen.append(step)
    x = torch.tensor([[1.0 + step % 2]])  # the first process sees only 1, the second only 2
    noise = torch.randn(1).item()
    (folder / f"noise{step % 2}").write_text(str(noise))
    return (model(x) - 3 * x).square().mean(), {}

with first_alone():  # the second process finds what the first one made
    made = folder / "made"
    found = made.exists()
    if not found:
        time.sleep(1)
        made.write_text("")
say("FOUND", found)
progress = train_for(8, model, compute_loss, folder, 0.1)
say("WEIGHT", model.weight.item(), "STEPS", sorted(set(s % 2 for s in seen)), seen[:3])
say("LEFT", not torch.distributed.is_initialized())
"""


@pytest.mark.slow
def test_two_processes_train_one_model_together(tmp_path):
    script = tmp_path / "together.py"
    script.write_text(TOGETHER)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    done = subprocess.run([*command, script, tmp_path], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert sorted(x for x in done.stdout.splitlines() if "FOUND" in x) == ["FOUND False", "FOUND True"]
    [line] = [line for line in done.stdout.splitlines() if "WEIGHT" in line]  # the second process has left
    assert line.endswith("STEPS [0] [0, 2, 4]")
    assert "LEFT True" in done.stdout  # else a process may be aborted as it ends
    assert float(line.split()[1]) == pytest.approx(3, abs=0.1)
    assert (tmp_path / "noise0").read_text() != (tmp_path / "noise1").read_text()


def test_gradients_of_processes_are_averaged(monkeypatch):
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1))
    model[0].bias.requires_grad_(False)
    for p in model.parameters():
        p.grad = torch.ones_like(p) if p.requires_grad else None
    monkeypatch.setattr(loop.dist, "all_reduce", lambda flat: flat.add_(torch.arange(len(flat)).float()))
    monkeypatch.setattr(loop.dist, "get_world_size", lambda: 2)
    loop.average_gradients(list(model.parameters()))
    got = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    assert torch.allclose(got, (1 + torch.arange(len(got))) / 2)


def test_the_picture_half_of_clip_learns_alone_and_the_text_half_stays(tmp_path):
    from transformers import CLIPModel

    from sdcourse.models.registry import WEIGHTS_ROOT
    from sdcourse.training.recipes import train

    shutil.copytree(WEIGHTS_ROOT / "pocket-clip", tmp_path / "clip")
    shutil.copytree(WEIGHTS_ROOT / "pocket-clip", tmp_path / "tokenizer")
    before = CLIPModel.from_pretrained(tmp_path / "clip", dtype=torch.float32).state_dict()
    train("clip-vision", tmp_path, 1, "cpu")
    after = CLIPModel.from_pretrained(tmp_path / "clip", dtype=torch.float32).state_dict()
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"vision_model", "visual_projection", "text_projection", "logit_scale"}
    assert not (tmp_path / "text_encoder").exists()


def test_the_small_models_on_pixels_are_trained_and_can_be_loaded(tmp_path, monkeypatch):
    from itertools import repeat

    from diffusers import DDPMScheduler, UNet2DModel

    from sdcourse.models.judge import Judge
    from sdcourse.training import pixels, recipes

    batch = {"images": torch.randn(8, 1, 32, 32), "labels": torch.arange(8)}
    monkeypatch.setattr(pixels, "fashion_batches", lambda seed: repeat(batch))
    for name, channels, classes in (
        ("fashion", 1, 11),
        ("fashion-unconditional", 1, None),
        ("gallery-pixels", 3, None),
    ):
        recipes.train(name, tmp_path, 1.0, "cpu")
        unet = UNet2DModel.from_pretrained(tmp_path / name / "unet")
        assert (unet.config.in_channels, unet.config.num_class_embeds) == (channels, classes)
        scheduler = DDPMScheduler.from_pretrained(tmp_path / name / "scheduler")
        asked_for = "v_prediction" if name == "fashion-unconditional" else "epsilon"
        assert (scheduler.config.beta_schedule, scheduler.config.prediction_type) == ("linear", asked_for)
    recipes.train("fashion-judge", tmp_path, 1.0, "cpu")
    [reading, *_] = Judge.load(tmp_path / "fashion-judge").read(batch["images"])
    assert reading["class"] in pixels.CLASSES
