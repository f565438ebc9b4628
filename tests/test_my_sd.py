"""my-sd, the learner's own model: kept part by part, checked, loaded, and trained on."""

import json

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from tiny import make_tiny_sd

import sdcourse
from sdcourse.models import MODELS, keep_parts, load_my_parts, my_sd_folder

PARTS = ("tokenizer", "text_encoder", "vae", "unet")


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SDCOURSE_MY_SD", str(tmp_path / "mine"))
    return tmp_path / "mine"


@pytest.fixture(scope="module")
def tiny():
    return make_tiny_sd()


def parts_of(pipe, *names):
    return {name: getattr(pipe, name) for name in names or PARTS}


def picture(pipe):
    [image] = sdcourse.text_to_image(pipe, "a cat", num_inference_steps=2, progress=False)
    return np.asarray(image).astype(int)


def test_without_the_variable_it_lies_in_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("SDCOURSE_MY_SD", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert my_sd_folder() == tmp_path / "sdcourse" / "my-sd"


def test_parts_of_several_lessons_make_a_model_that_any_tool_opens(home, tiny, capsys):
    keep_parts(**parts_of(tiny, "vae"))
    assert capsys.readouterr().out == f"Kept in {home}: vae.\n"
    keep_parts(**parts_of(tiny, "tokenizer", "text_encoder"))
    assert not (home / "model_index.json").exists()
    keep_parts(**parts_of(tiny))
    expected = picture(tiny)
    assert (picture(sdcourse.load_pipeline("my-sd")) == expected).all()
    theirs = StableDiffusionPipeline.from_pretrained(home, local_files_only=True)
    assert (picture(theirs) == expected).all()
    assert not list(home.glob("earlier/*")), "what was kept twice was the same"


def test_a_tokenizer_that_was_used_is_still_the_same(home, tiny):
    keep_parts(**parts_of(tiny, "tokenizer"))
    used = type(tiny.tokenizer).from_pretrained(home / "tokenizer")
    used(["a cat"], padding="max_length", max_length=7, truncation=True)
    keep_parts(tokenizer=used)
    assert not (home / "earlier").exists()


def test_with_a_clip_its_text_half_is_kept(home):
    from sdcourse.models.components import make_clip
    from sdcourse.training.tokenizer import train_clip_tokenizer

    tokenizer = train_clip_tokenizer(["a cat in the snow"] * 3, 10)
    clip = make_clip(tokenizer).eval()
    keep_parts(tokenizer=tokenizer, clip=clip)
    text_encoder = load_my_parts()["text_encoder"]
    ids = tokenizer(["a cat"], padding="max_length", max_length=77, return_tensors="pt").input_ids
    with torch.no_grad():
        assert torch.equal(text_encoder(ids)[0], clip.text_model(ids)[0])


def test_what_is_replaced_is_not_lost(home, tiny):
    keep_parts(**parts_of(tiny, "vae"))
    first = (home / "vae" / "diffusion_pytorch_model.safetensors").read_bytes()
    for seed in (1, 2):
        keep_parts(vae=make_tiny_sd(seed).vae)
    assert (home / "earlier" / "vae-1" / "diffusion_pytorch_model.safetensors").read_bytes() == first
    assert sorted(path.name for path in (home / "earlier").iterdir()) == ["vae-1", "vae-2"]
    (home / "earlier" / "vae-1").rename(home / "mine again")
    for seed in (3, 4):
        keep_parts(vae=make_tiny_sd(seed).vae)
    assert sorted(path.name for path in (home / "earlier").iterdir()) == ["vae-1", "vae-2", "vae-3"]


def test_a_part_that_cannot_be_written_leaves_all_as_it_was(home, tiny):
    keep_parts(**parts_of(tiny))

    class Full:
        def save_pretrained(self, folder):
            raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        keep_parts(vae=make_tiny_sd(1).vae, unet=Full())
    assert (picture(sdcourse.load_pipeline("my-sd")) == picture(tiny)).all()


def test_a_name_that_is_no_part_is_refused(home, tiny):
    with pytest.raises(ValueError, match="no part 'encoder': its parts are vae, tokenizer, clip, text_enc"):
        keep_parts(encoder=tiny.vae)
    assert not home.exists()


def test_missing_parts_are_named_with_their_lessons(home, tiny):
    with pytest.raises(FileNotFoundError, match=r"has no tokenizer \(lesson 05\), no text_encoder \(les"):
        sdcourse.load_pipeline("my-sd")
    keep_parts(**parts_of(tiny, "vae", "tokenizer", "text_encoder"))
    with pytest.raises(FileNotFoundError) as error:
        sdcourse.load_pipeline("my-sd")
    assert str(error.value) == f"my-sd is not complete: {home} has no unet (lesson 06)."


@pytest.mark.parametrize("part", ["vae", "text_encoder"])
def test_a_unet_that_was_trained_with_another_part_is_refused(home, tiny, part):
    keep_parts(**parts_of(tiny))
    keep_parts(**parts_of(make_tiny_sd(1), part))
    with pytest.raises(ValueError, match="(?i)the UNet was trained with another " + part.replace("_", " ")):
        sdcourse.load_pipeline("my-sd")
    # as the sentence says
    (home / part).rename(home / "newer")
    (home / "earlier" / f"{part}-1").rename(home / part)
    assert (picture(sdcourse.load_pipeline("my-sd")) == picture(tiny)).all()


def test_a_better_decoder_still_fits(home, tiny):
    keep_parts(**parts_of(tiny))
    other = make_tiny_sd()
    with torch.no_grad():
        other.vae.decoder.conv_out.bias.add_(0.5)
    keep_parts(vae=other.vae)
    assert (picture(sdcourse.load_pipeline("my-sd")) != picture(tiny)).any()


@pytest.mark.parametrize(
    ("file", "key", "value", "sentence"),
    [
        ("text_encoder", "vocab_size", 77, "tokens, the text encoder 77; lesson 05 makes both"),
        ("unet", "cross_attention_dim", 64, "the text encoder is 32 wide, the UNet expects 64"),
        ("unet", "in_channels", 9, "the VAE has 4 latent channels, the UNet 9"),
    ],
)
def test_parts_of_other_shapes_are_named(home, tiny, file, key, value, sentence):
    keep_parts(**parts_of(tiny))
    config = home / file / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {key: value}))
    with pytest.raises(ValueError, match=f"does not fit together: .*{sentence}"):
        sdcourse.load_pipeline("my-sd")


def test_a_lesson_gets_the_learners_parts_or_those_of_pocket_sd(home, capsys):
    pocket = sdcourse.load_pipeline("pocket-sd")
    parts = load_my_parts()
    assert capsys.readouterr().out == "VAE: pocket-sd's; tokenizer and text encoder: pocket-sd's.\n"
    assert torch.equal(parts["vae"].decoder.conv_out.weight, pocket.vae.decoder.conv_out.weight)

    with torch.no_grad():
        parts["vae"].encoder.conv_in.weight.mul_(2)
    keep_parts(**parts)  # the text encoder is a copy of pocket-sd's, and does not become another by that
    capsys.readouterr()
    mine = load_my_parts()
    assert capsys.readouterr().out == "VAE: yours; tokenizer and text encoder: pocket-sd's.\n"
    assert torch.equal(mine["vae"].encoder.conv_in.weight, parts["vae"].encoder.conv_in.weight)


def test_training_goes_on_with_all_that_is_the_learners(home, monkeypatch):
    """Clip, VAE and UNet of other shapes than pocket-sd's."""
    from sdcourse.training import unet
    from sdcourse.training.recipes import train

    monkeypatch.setattr(unet, "MIN_PICTURES", 64)
    keep_other_parts()
    before = {name: weights(home / name) for name in ("clip", "text_encoder", "vae", "unet")}
    train("my-sd", home, 2, "cpu")
    assert sdcourse.load_pipeline("my-sd").unet.config.cross_attention_dim == 64
    for name, old in before.items():
        new = weights(home / name)
        assert old.keys() == new.keys() and any(not torch.equal(old[k], new[k]) for k in old), name
    assert {path.name for path in (home / "earlier").iterdir()} >= {"vae-1", "unet-1", "clip-1"}


def test_training_keeps_its_folder_until_parts_are_replaced(home, capsys):
    from sdcourse.training.my_sd import train_my_sd

    keep_other_parts()
    calls = []
    for _ in range(2):
        train_my_sd(lambda *a: calls.append(a), 60, "cpu")
    work = home / "training"
    expected = [("clip", work, 9.0, "cpu", 0), ("vae", work, 21.0, "cpu", 0), ("unet", work, 30.0, "cpu", 0)]
    assert calls == expected * 2
    assert not (home / "earlier").exists(), "nothing was trained, so nothing was replaced"

    keep_parts(vae=other_vae(seed=1))
    capsys.readouterr()
    train_my_sd(lambda *a: None, 60, "cpu")
    assert "were replaced since training began" in capsys.readouterr().out
    assert sorted(path.name for path in (home / "earlier").iterdir()) == ["training-1", "vae-1"]
    sdcourse.load_pipeline("my-sd")


def test_training_that_is_stopped_leaves_my_sd_as_it_was(home):
    from sdcourse.training.my_sd import train_my_sd

    def stop_at_the_unet(name, folder, *_):
        if name == "unet":
            raise KeyboardInterrupt
        other_vae(seed=1).save_pretrained(folder / "vae")

    keep_other_parts()
    before = {name: weights(home / name) for name in ("vae", "unet")}
    with pytest.raises(KeyboardInterrupt):
        train_my_sd(stop_at_the_unet, 60, "cpu")
    sdcourse.load_pipeline("my-sd")
    assert all(torch.equal(weights(home / name)[k], old[k]) for name, old in before.items() for k in old)


def test_of_pocket_sds_parts_only_a_new_unet_is_trained(home, monkeypatch):
    from sdcourse.training import unet
    from sdcourse.training.recipes import train

    monkeypatch.setattr(unet, "MIN_PICTURES", 64)
    train("my-sd", home, 1, "cpu")
    pipe, pocket = sdcourse.load_pipeline("my-sd"), sdcourse.load_pipeline("pocket-sd")
    for name in ("vae", "text_encoder"):
        pairs = zip(getattr(pipe, name).parameters(), getattr(pocket, name).parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs), name
    assert not (home / "clip").exists()


def keep_other_parts():
    """As after lessons 04 to 06, with shapes that are not pocket-sd's."""
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

    from sdcourse.models.components import make_clip, make_unet

    tokenizer = CLIPTokenizer.from_pretrained(MODELS["pocket-sd"].folder / "tokenizer")
    config = make_clip(tokenizer).config.to_dict()
    for half in ("text_config", "vision_config"):
        config[half] |= {"hidden_size": 64, "projection_dim": 64, "num_hidden_layers": 1}
    clip = CLIPModel(CLIPConfig(**config | {"projection_dim": 64}))
    keep_parts(vae=other_vae())
    keep_parts(tokenizer=tokenizer, clip=clip)
    keep_parts(**load_my_parts(), unet=make_unet(64))


def other_vae(seed=0):
    from sdcourse.models.components import make_vae

    torch.manual_seed(seed)
    vae = make_vae()
    return type(vae).from_config({**vae.config, "block_out_channels": [8, 16, 16, 16]})


def weights(folder):
    from safetensors.torch import load_file

    return load_file(next(folder.glob("*.safetensors")))


def test_the_shipped_parts_are_never_written_to(home):
    before = {path: path.stat().st_mtime_ns for path in MODELS["pocket-sd"].folder.rglob("*")}
    keep_parts(**load_my_parts())
    assert before == {path: path.stat().st_mtime_ns for path in MODELS["pocket-sd"].folder.rglob("*")}
