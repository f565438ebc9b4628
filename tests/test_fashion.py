"""Pocket fashion: clothing that is drawn, in the form of Fashion-MNIST; and Fashion-MNIST from a hub."""

import socket
import time

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hub_server import serve
from torch import nn

from sdcourse import network
from sdcourse.data import BatchLoader, load_fashion
from sdcourse.data.fashion import CLASSES, render_fashion
from sdcourse.data.fashion import dataset as fashion_dataset
from sdcourse.data.fashion.dataset import REPOSITORY, DataUnavailable, download_dataset, features

# the renderer


def test_the_same_seed_draws_the_same_clothes_and_another_seed_others():
    labels = torch.arange(10).repeat(4)
    pictures = render_fashion(labels, seed=3)
    assert pictures.shape == (40, 28, 28) and pictures.dtype == torch.uint8
    assert torch.equal(pictures, render_fashion(labels, seed=3))
    assert not torch.equal(pictures, render_fashion(labels, seed=4))
    assert not torch.equal(pictures[:10], pictures[10:20])


def test_clothes_are_bright_on_black_and_fit_into_the_picture():
    pictures = render_fashion(torch.arange(10).repeat(200)).float() / 255
    covered = (pictures > 0.05).float()
    assert (covered.mean((1, 2)) > 0.05).all() and (covered.mean((1, 2)) < 0.85).all()
    corners = pictures[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners == 0).float().mean() > 0.97
    assert 0.15 < pictures.mean() < 0.45  # Fashion-MNIST has 0.286


def test_a_label_that_is_no_class_is_refused():
    with pytest.raises(ValueError, match="0 to 9"):
        render_fashion(torch.tensor([3, 10]))
    assert len(render_fashion(torch.tensor([], dtype=torch.int64))) == 0


@pytest.mark.slow
def test_a_classifier_finds_the_clothes_neither_trivial_nor_noise():
    """Trained on one half, right on 95 to 99.5 % of the other."""
    torch.manual_seed(0)
    labels = torch.arange(10).repeat(1200)
    pictures = render_fashion(labels).float()[:, None] / 255
    train, test = slice(0, 6000), slice(6000, None)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.Flatten(),
        nn.Linear(32 * 49, 10),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(8):
        for places in torch.randperm(6000).split(64):
            loss = F.cross_entropy(model(pictures[train][places]), labels[train][places])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        right = (model(pictures[test]).argmax(1) == labels[test]).float().mean().item()
    assert 0.95 <= right <= 0.995, right


# the dataset


@pytest.fixture
def small(monkeypatch):
    """As the drawn dataset, with fewer pictures."""
    monkeypatch.setattr(fashion_dataset, "SIZES", {"train": 200, "test": 50})
    fashion_dataset.draw_dataset.cache_clear()
    yield load_fashion("pocket")
    fashion_dataset.draw_dataset.cache_clear()


def test_the_drawn_dataset_has_the_form_of_fashion_mnist(small):
    assert fashion_dataset.SIZES.keys() == small.keys() == {"train", "test"}
    assert small["train"].features == features()
    assert small["train"].features["label"].names == list(CLASSES)
    picture = small["train"][0]["image"]
    assert picture.size == (28, 28) and picture.mode == "L"
    assert np.bincount(small["train"][:]["label"]).tolist() == [20] * 10
    assert small["train"][:10]["label"] != sorted(small["train"][:10]["label"])
    first, other = (small[s][:]["image"] for s in ("train", "test"))
    assert not {p.tobytes() for p in first} & {p.tobytes() for p in other}


def test_the_pocket_profile_draws_and_a_wrong_source_is_refused(small):
    assert load_fashion() is small
    with pytest.raises(ValueError, match="auto.*pocket.*hub"):
        load_fashion("mnist")


# batches


def test_an_epoch_shows_every_picture_once_padded_and_in_range(small):
    loader = BatchLoader(small["train"], batch_size=64, flip=False)
    batches = list(loader)
    assert len(batches) == len(loader) == 4
    assert batches[0]["images"].shape == (64, 1, 32, 32) and batches[-1]["images"].shape[0] == 8
    images = torch.cat([b["images"] for b in batches])
    assert images.min() == -1 and images.max() <= 1
    assert (images[:, :, :2] == -1).all() and (images[..., -2:] == -1).all()
    shown = {((i[0, 2:-2, 2:-2] + 1) * 127.5).round().to(torch.uint8).numpy().tobytes() for i in images}
    assert shown == {p.tobytes() for p in small["train"][:]["image"]}


def test_labels_stay_with_their_pictures_and_epochs_differ(small):
    loader = BatchLoader(small["train"], batch_size=200, flip=False, seed=1)
    known = {p.tobytes(): label for p, label in zip(*small["train"][:].values(), strict=True)}
    epochs = [next(iter(loader)) for _ in range(2)]
    for batch in epochs:
        for image, label in zip(batch["images"], batch["labels"], strict=True):
            assert known[((image[0, 2:-2, 2:-2] + 1) * 127.5).round().byte().numpy().tobytes()] == label
    assert not torch.equal(epochs[0]["labels"], epochs[1]["labels"])


def test_about_half_of_the_pictures_are_flipped(small):
    plain = next(iter(BatchLoader(small["train"], 200, flip=False, seed=5)))["images"]
    flipped = next(iter(BatchLoader(small["train"], 200, flip=True, seed=5)))["images"]
    mirrored = (flipped == plain.flip(-1)).all(3).all(2).all(1)
    same = (flipped == plain).all(3).all(2).all(1)
    assert (mirrored | same).all() and 60 < mirrored.sum() < 140


def test_a_batch_size_of_nothing_is_refused(small):
    with pytest.raises(ValueError, match="batch_size is 0"):
        BatchLoader(small["train"], 0)


# the hub


@pytest.fixture
def online(monkeypatch, tmp_path):
    """The hub's library with an empty cache, not in offline mode (and still without a network)."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return constants


@pytest.fixture
def repository(tmp_path, small):
    """Laid out as the one on the hub, with other names for the classes."""
    from datasets import ClassLabel

    folder = tmp_path / "repository"
    names = [name.replace("/", " / ") for name in CLASSES]
    for split, data in small.items():
        data = data.cast_column("label", ClassLabel(names=names))
        path = folder / "fashion_mnist" / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        data.to_parquet(path)
    (folder / "README.md").write_text("# Fashion")
    return folder


def test_the_hub_gives_the_same_form(online, repository, small, monkeypatch, tmp_path):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    with serve({REPOSITORY: repository}) as server:
        data = download_dataset(endpoint=server.endpoint)
        assert server.downloaded() == [f"fashion_mnist/{s}-00000-of-00001.parquet" for s in ("test", "train")]
        asked = len(server.requests)
        again = download_dataset(endpoint=server.endpoint)  # from the cache
        assert len(server.requests) == asked
    assert data.keys() == again.keys() == small.keys()
    for split in small:
        assert data[split].features == small[split].features
        assert data[split][:]["label"] == small[split][:]["label"]
        assert data[split][7]["image"].tobytes() == small[split][7]["image"].tobytes()


def unavailable(function):
    start = time.monotonic()
    with pytest.raises(DataUnavailable) as raised:
        function()
    assert time.monotonic() - start < 2 and "load_fashion('pocket')" in str(raised.value)
    return str(raised.value)


def test_without_a_network_there_is_one_sentence_at_once(online, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert REPOSITORY in unavailable(lambda: download_dataset(f"http://127.0.0.1:{port}"))
    monkeypatch.setattr(network, "FIRST_ANSWER_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert "no answer" in unavailable(lambda: download_dataset(address))
    monkeypatch.setattr(online, "HF_HUB_OFFLINE", True)
    assert "offline mode is on" in unavailable(download_dataset)


def test_a_repository_without_parquet_is_refused(online, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "README.md").write_text("# nothing")
    with serve({REPOSITORY: tmp_path / "empty"}) as server:
        assert "no parquet files" in unavailable(lambda: download_dataset(server.endpoint))
