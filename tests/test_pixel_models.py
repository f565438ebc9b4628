"""The shipped models on pixels: they load, draw what they are asked for, and are measured."""

import shutil

import pytest
import torch

import sdcourse
from sdcourse.data.fashion import CLASSES
from sdcourse.metrics import evaluate_pixel_model, frechet_distance
from sdcourse.metrics.pixels import class_is_right, draw_pixels
from sdcourse.metrics.table import pixel_table
from sdcourse.models import DamagedWeights, load_pixel_model, registry


@pytest.fixture(scope="module")
def fashion():
    return load_pixel_model("fashion")


@pytest.mark.parametrize(
    "name, channels, classes",
    [("fashion", 1, 11), ("fashion-unconditional", 1, None), ("gallery-pixels", 3, None)],
)
def test_each_is_a_network_of_diffusers_with_its_noise_levels(name, channels, classes):
    unet, scheduler = sdcourse.load_pixel_model(name)
    assert (unet.config.in_channels, unet.config.num_class_embeds) == (channels, classes)
    assert unet.dtype == torch.float32 and not unet.training
    assert scheduler.config.beta_schedule == "linear" and scheduler.config.num_train_timesteps == 1000


def test_a_folder_of_one_s_own_loads_too(tmp_path, fashion):
    shutil.copytree(registry.WEIGHTS_ROOT / "fashion", tmp_path / "mine")
    unet, _ = load_pixel_model(tmp_path / "mine")
    assert all(torch.equal(a, b) for a, b in zip(unet.parameters(), fashion[0].parameters(), strict=True))


def test_what_is_no_model_is_refused_in_one_sentence(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="Did you mean 'fashion'.*or a folder with unet/ and scheduler/"):
        load_pixel_model("fashon")
    parts = tmp_path / "parts"  # what `sdcourse train` makes of pocket-sd: no scheduler, and no pipeline yet
    shutil.copytree(registry.WEIGHTS_ROOT / "pocket-sd" / "unet", parts / "unet")
    for folder in (parts, registry.WEIGHTS_ROOT / "pocket-sd"):
        with pytest.raises(ValueError, match="or a folder with unet/ and scheduler/"):
            load_pixel_model(folder)
    shutil.copytree(registry.WEIGHTS_ROOT / "fashion", tmp_path / "fashion")
    shutil.copy(registry.WEIGHTS_ROOT / "SHA256SUMS", tmp_path)
    monkeypatch.setattr("sdcourse.models.pixels.WEIGHTS_ROOT", tmp_path)
    load_pixel_model("fashion")
    weights = tmp_path / "fashion" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(DamagedWeights, match="diffusion_pytorch_model.safetensors"):
        load_pixel_model("fashion")


def test_pictures_show_the_class_that_was_asked_for(fashion):
    labels = torch.arange(len(CLASSES)).repeat_interleave(6)
    judge = sdcourse.load_judge("fashion")
    followed = class_is_right(judge, draw_pixels(*fashion, labels, 2.0, steps=15), labels).mean()
    ignored = class_is_right(judge, draw_pixels(*fashion, labels, 0.0, steps=15), labels).mean()
    assert followed > 0.9  # the card has the figure from many more
    assert ignored < 0.3  # at scale 0 only chance is right


def test_pictures_without_a_class_are_nearer_to_clothing_than_noise_is():
    judge = sdcourse.load_judge("fashion")
    pictures = draw_pixels(*load_pixel_model("fashion-unconditional"), n=60, steps=15)
    drawn = draw_pixels(*load_pixel_model("fashion"), torch.arange(10).repeat(6), 1.0, steps=15)
    noise = torch.randn_like(pictures).clamp(-1, 1)
    assert frechet_distance(judge, pictures, drawn) < frechet_distance(judge, noise, drawn) / 4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fashion", "gallery-pixels"])
def test_evaluate_measures_with_and_without_classes(name, monkeypatch):
    monkeypatch.setattr("sdcourse.metrics.pixels.SCALES", (0.0, 1.0))
    monkeypatch.setattr("sdcourse.metrics.pixels.REFERENCES", 400)
    figures = evaluate_pixel_model(*load_pixel_model(name), n=20, guidance_scale=1.5, steps=4)
    assert figures["frechet floor"] > 0
    text = pixel_table(figures)
    if name == "fashion":
        assert [p["guidance scale"] for p in figures["guidance curve"]] == [0.0, 1.0, 1.5]
        assert figures["accuracy"] == figures["guidance curve"][2]["accuracy"]
        assert "Sneaker" in text and "diversity" in text
    else:
        assert f"{figures['frechet distance']:.1f}" in text and "accuracy" not in figures


def test_too_few_pictures_are_refused(fashion):
    with pytest.raises(ValueError, match="20 to 2000"):
        evaluate_pixel_model(*fashion, n=5)
