"""`setup`: one line, one profile, seeded generators, quiet libraries, no network in the pocket profile."""

import dataclasses
import os
import random
import subprocess
import sys

import numpy as np
import pytest
import torch

from sdcourse import runtime


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """The state of a process that has not called `setup` yet, and that of the tests again afterwards."""
    from huggingface_hub import constants

    monkeypatch.setattr(runtime, "_current", None)
    monkeypatch.setattr(runtime, "_offline_before", None)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for variable in ("HF_HUB_OFFLINE", "SDCOURSE_PROFILE", *runtime._QUIET_ENVIRONMENT):
        monkeypatch.setenv(variable, "")  # so that monkeypatch restores what setup() changes
        monkeypatch.delenv(variable)
    return constants


@pytest.fixture
def cpu_only(monkeypatch):
    monkeypatch.setattr(runtime, "available_devices", lambda: ["cpu"])


def run(code, **environment):
    """Run code in a new interpreter, with `environment` on top of this one; what it printed."""
    variables = {k: v for k, v in os.environ.items() if k != "HF_HUB_OFFLINE"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**variables, **environment}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_setup_prints_one_line_and_returns_what_it_says(cpu_only, capsys):
    chosen = runtime.setup()
    assert capsys.readouterr().out == "profile pocket · device cpu · dtype float32 · seed 0\n"
    assert dataclasses.astuple(chosen) == ("pocket", "cpu", torch.float32, 0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        chosen.seed = 1


def test_the_argument_wins_over_the_environment(cpu_only, monkeypatch):
    assert runtime.current_profile() == "pocket"
    monkeypatch.setenv("SDCOURSE_PROFILE", "full")
    assert runtime.current_profile() == "full"
    assert runtime.setup().profile == "full"
    assert runtime.setup("pocket").profile == runtime.current_profile() == "pocket"
    monkeypatch.setenv("SDCOURSE_PROFILE", "")
    assert runtime.setup().profile == "pocket"


def test_an_unknown_profile_gets_the_nearest(monkeypatch):
    with pytest.raises(ValueError, match="Unknown profile 'poket'. Did you mean 'pocket'.*pocket, full"):
        runtime.setup("poket")
    monkeypatch.setenv("SDCOURSE_PROFILE", "gpu")
    with pytest.raises(ValueError, match="Unknown profile 'gpu'"):
        runtime.setup()
    assert not runtime.is_set_up()


def test_the_same_seed_gives_the_same_numbers(cpu_only):
    def draw(seed):
        runtime.setup(seed=seed)
        return random.random(), np.random.rand(), torch.rand(1).item()

    first = draw(3)
    assert draw(3) == first
    assert all(a != b for a, b in zip(draw(4), first, strict=True))


def test_a_seed_out_of_range_changes_nothing(cpu_only):
    with pytest.raises(ValueError, match="between 0 and"):
        runtime.setup(seed=-1)
    assert not runtime.is_set_up() and "HF_HUB_OFFLINE" not in os.environ


@pytest.mark.parametrize(
    "there, profile, device",
    [
        (["cpu"], "full", "cpu"),
        (["cpu", "cuda"], "pocket", "cuda"),
        (["cpu", "mps"], "full", "mps"),
        (["cpu", "mps"], "pocket", "cpu"),
    ],
)
def test_the_device(monkeypatch, there, profile, device):
    monkeypatch.setattr(runtime, "available_devices", lambda: there)
    assert runtime.default_device(profile) == device


def test_the_devices_are_those_of_torch(monkeypatch):
    assert runtime.available_devices()[0] == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert runtime.available_devices() == ["cpu", "cuda", "mps"]


def test_the_dtype():
    assert runtime.default_dtype("cuda") == runtime.default_dtype("cuda:1") == torch.float16
    assert runtime.default_dtype("cpu") == runtime.default_dtype("mps") == torch.float32


def test_the_pocket_profile_is_offline_and_the_full_one_is_not(cpu_only, fresh, monkeypatch):
    runtime.setup()
    assert os.environ["HF_HUB_OFFLINE"] == "1" and fresh.HF_HUB_OFFLINE is True
    runtime.setup()
    runtime.setup("full")
    assert "HF_HUB_OFFLINE" not in os.environ and fresh.HF_HUB_OFFLINE is False


def test_the_full_profile_stays_offline_where_the_learner_said_so(cpu_only, fresh, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    fresh.HF_HUB_OFFLINE = True
    runtime.setup("full")
    assert fresh.HF_HUB_OFFLINE is True
    runtime.setup("pocket")
    runtime.setup("full")
    assert os.environ["HF_HUB_OFFLINE"] == "1" and fresh.HF_HUB_OFFLINE is True


def test_libraries_that_are_there_already_are_quietened(cpu_only, monkeypatch):
    import datasets
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    libraries = (diffusers_logging, transformers_logging)
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_warning()
    for library in libraries:
        library.enable_progress_bar()
    datasets.enable_progress_bars()
    try:
        runtime.setup()
        assert not any(library.is_progress_bar_enabled() for library in libraries)
        assert datasets.are_progress_bars_disabled()
        assert transformers_logging.get_verbosity() == transformers_logging.ERROR
    finally:
        transformers_logging.set_verbosity(before)
        for library in libraries:
            library.enable_progress_bar()
        datasets.enable_progress_bars()


def test_importing_is_light_and_setup_imports_no_more_than_torch():
    code = """if True:
        import sys
        import sdcourse.runtime
        heavy = ("torch", "numpy", "diffusers", "transformers", "datasets", "huggingface_hub")
        assert not [name for name in heavy if name in sys.modules]
        sdcourse.runtime.setup()
        print([name for name in heavy if name in sys.modules])
        """
    assert run(code).splitlines()[1:] == ["['torch', 'numpy']"]


def test_libraries_imported_later_are_quiet_and_offline():
    code = """if True:
        from sdcourse.runtime import setup
        setup("pocket")
        from diffusers import StableDiffusionPipeline
        import datasets, huggingface_hub, transformers
        assert huggingface_hub.is_offline_mode()
        assert datasets.config.HF_HUB_OFFLINE
        assert datasets.are_progress_bars_disabled()
        setup("full")
        assert not huggingface_hub.is_offline_mode()
        assert not datasets.config.HF_HUB_OFFLINE

        # diffusers has no environment variable for its bars: they are off after the next setup() or load
        from diffusers.utils import logging
        assert not logging.is_progress_bar_enabled()
        logging.enable_progress_bar()
        from sdcourse.models.loading import _quiet
        with _quiet():
            pass
        assert not logging.is_progress_bar_enabled()
        """
    lines = run(code).splitlines()
    assert [line.split(" · ")[0] for line in lines] == ["profile pocket", "profile full"]


def test_the_learners_own_settings_stay(cpu_only, monkeypatch):
    monkeypatch.setenv("TRANSFORMERS_VERBOSITY", "info")
    runtime.quiet_libraries()
    assert os.environ["TRANSFORMERS_VERBOSITY"] == "info"
