"""The command `sdcourse`: what it writes, and one sentence for everything that goes wrong."""

import json
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import save_tiny_sd, save_tiny_sdxl
from typer.testing import CliRunner

import sdcourse
from sdcourse.cli import app
from sdcourse.cli import arguments as arguments_module
from sdcourse.cli import doctor as doctor_function
from sdcourse.models import registry
from sdcourse.settings_png import describe, read_settings

ROOT = Path(__file__).parent.parent
# The modules; the package binds the functions of the same names over them.
doctor_module = sys.modules[doctor_function.__module__]
lab_module = sys.modules["sdcourse.cli.lab"]
txt2img_module = sys.modules["sdcourse.cli.txt2img"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return save_tiny_sd(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def weights(tiny, tmp_path, monkeypatch):
    """A folder of shipped weights that may be damaged: a copy of the tiny model as pocket-sd."""
    root = tmp_path / "weights"
    shutil.copytree(tiny, root / "pocket-sd")
    monkeypatch.setattr(registry, "WEIGHTS_ROOT", root)
    return root


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def sdcourse_command(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def refused(*arguments, code=1):
    """The one line on stderr of a command that must fail, without a word on stdout."""
    result = sdcourse_command(*arguments)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    [*progress, sentence] = result.stderr.strip().splitlines()
    assert all(line.startswith("Loading ") for line in progress), result.stderr
    return sentence


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def pixels(path):
    return np.asarray(Image.open(path))


def largest_difference(one, other):
    """Of 255; 1 is rounding, because a batch is computed in another order."""
    return abs(one.astype(int) - other).max()


# Speed


def run_and_list_heavy_modules(*arguments):
    """Run the command in a new interpreter, which at the end prints what it imported of these."""
    code = f"""
import sys
from sdcourse.cli import main
sys.argv = ["sdcourse", *{arguments}]
try:
    main()
finally:
    print([name for name in ("torch", "diffusers", "transformers", "numpy") if name in sys.modules])
"""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def processor_seconds():
    """Of all processes that tests started: unlike the clock, the same on a busy machine."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_help_loads_no_heavy_library_and_takes_less_than_a_second():
    def seconds():
        before = processor_seconds()
        done = run_and_list_heavy_modules("--help")
        assert done.returncode == 0 and done.stdout.endswith("[]\n"), done.stdout + done.stderr
        return processor_seconds() - before

    assert min(seconds() for _ in range(3)) < 1


def test_bad_arguments_are_refused_before_torch_is_loaded():
    done = run_and_list_heavy_modules("txt2img", "a", "--scheduler", "x")
    assert (done.returncode, done.stdout) == (1, "[]\n")
    assert done.stderr == "Unknown scheduler 'x'. Allowed: pndm, ddim, ddpm, euler, euler-a, dpm++.\n"


@pytest.mark.slow
def test_a_picture_is_there_within_15_seconds(tiny, empty_folder):
    shipped = (registry.WEIGHTS_ROOT / "pocket-sd" / "model_index.json").is_file()
    command = [sys.executable, "-c", "from sdcourse.cli import main; main()", "txt2img"]
    command += ["an oil painting of a collie in a top hat", *([] if shipped else ["--model", str(tiny)])]
    used, start = processor_seconds(), time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True)
    used, passed = processor_seconds() - used, time.monotonic() - start
    assert done.returncode == 0, done.stderr
    assert Image.open(empty_folder / done.stdout.strip()).format == "PNG"
    assert used < 15
    assert passed < 100  # on a busy machine; waiting for a network that is not there takes longer


# txt2img: what it writes


def test_txt2img_writes_a_picture_and_says_where(tiny, empty_folder):
    result = sdcourse_command("txt2img", "a red cat", "--model", tiny, "--steps", 2)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{Path('outputs', 'picture-0000.png')}\n"
    assert [p.name for p in (empty_folder / "outputs").iterdir()] == ["picture-0000.png"]
    assert Image.open(empty_folder / "outputs" / "picture-0000.png").size == (32, 32)


def test_the_settings_in_the_file_draw_the_same_picture_again(tiny, tmp_path):
    arguments = ["--negative-prompt", "a hat", "--scale", 3.5, "--steps", 3, "--seed", 7]
    arguments += ["--scheduler", "ddim", "--size", "40x32", "--model", tiny, "--outdir", tmp_path / "out"]
    assert sdcourse_command("txt2img", "a cat, 猫 “on” snow", *arguments).exit_code == 0
    file = tmp_path / "out" / "picture-0000.png"
    settings = read_settings(file)
    versions = settings.pop("versions")
    assert settings == {
        "prompt": "a cat, 猫 “on” snow",
        "negative_prompt": "a hat",
        "guidance_scale": 3.5,
        "num_inference_steps": 3,
        "seed": 7,
        "scheduler": "ddim",
        "width": 40,
        "height": 32,
        "model": str(tiny),
        "device": sdcourse.runtime.default_device(),
        "dtype": str(sdcourse.runtime.default_dtype(settings["device"])).removeprefix("torch."),
    }
    assert versions["sdcourse"] == sdcourse.__version__
    assert set(versions) == {"python", "sdcourse", "torch", "diffusers", "transformers"}

    pipe = sdcourse.load_pipeline(settings["model"], device=settings["device"])
    [again] = sdcourse.text_to_image(
        pipe,
        settings["prompt"],
        settings["negative_prompt"],
        settings["guidance_scale"],
        settings["num_inference_steps"],
        settings["seed"],
        settings["scheduler"],
        settings["height"],
        settings["width"],
        progress=False,
    )
    assert largest_difference(np.asarray(again), pixels(file)) <= 1
    [other] = sdcourse.text_to_image(
        pipe, "a cat", num_inference_steps=3, seed=8, height=32, width=40, progress=False
    )
    assert largest_difference(np.asarray(other), pixels(file)) > 10


def test_the_settings_are_also_one_readable_line(tiny, tmp_path):
    prompt = "a cat\nand a dog"
    result = sdcourse_command("txt2img", prompt, "--model", tiny, "--steps", 2, "--outdir", tmp_path)
    assert result.exit_code == 0
    line = Image.open(tmp_path / "picture-0000.png").info["parameters"]
    assert line.startswith("a cat and a dog | ") and "\n" not in line
    assert "num inference steps: 2, seed: 0, scheduler: pndm, width: 32, height: 32" in line


def test_several_pictures_have_the_seeds_after_the_first_and_a_grid(tiny, tmp_path):
    arguments = ["a cat", "--model", tiny, "--steps", 2]
    out, alone = tmp_path / "out", tmp_path / "alone"
    result = sdcourse_command("txt2img", *arguments, "--n-samples", 3, "--seed", 5, "--outdir", out)
    names = ["picture-0000.png", "picture-0001.png", "picture-0002.png", "grid-0000.png"]
    assert result.stdout.split() == [str(out / name) for name in names]
    assert [read_settings(out / name)["seed"] for name in names] == [5, 6, 7, 5]
    assert read_settings(out / "grid-0000.png")["n_samples"] == 3
    assert Image.open(out / "grid-0000.png").size == (66, 66)  # 2 × 2 places with a gap of 2

    sdcourse_command("txt2img", *arguments, "--seed", 7, "--outdir", alone)
    first, third = (pixels(out / f"picture-000{number}.png") for number in (0, 2))
    assert largest_difference(pixels(alone / "picture-0000.png"), third) <= 1
    assert largest_difference(first, third) > 10


def test_many_pictures_are_drawn_in_parts_with_the_same_result(tiny, tmp_path, monkeypatch):
    arguments = ["txt2img", "a cat", "--model", tiny, "--steps", 2, "--n-samples", 3]
    sdcourse_command(*arguments, "--outdir", tmp_path / "at_once")
    sizes, draw = [], sdcourse.text_to_image

    def text_to_image(*args, **kwargs):
        sizes.append(kwargs["num_images_per_prompt"])
        return draw(*args, **kwargs)

    monkeypatch.setattr(sdcourse, "text_to_image", text_to_image)
    monkeypatch.setattr(txt2img_module, "PIXELS_AT_ONCE", 2 * 32 * 32)
    sdcourse_command(*arguments, "--outdir", tmp_path / "in_parts")
    assert sizes == [2, 1]
    for number in range(3):
        name = f"picture-{number:04}.png"
        at_once, in_parts = (pixels(tmp_path / folder / name) for folder in ("at_once", "in_parts"))
        assert largest_difference(at_once, in_parts) <= 1
        assert read_settings(tmp_path / "in_parts" / name)["seed"] == number


def test_nothing_is_overwritten(tiny, tmp_path):
    arguments = ["txt2img", "a cat", "--model", tiny, "--steps", 1, "--n-samples", 2, "--outdir", tmp_path]
    (tmp_path / "picture-0041.png").write_text("mine")
    sdcourse_command(*arguments)
    first = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    sdcourse_command(*arguments, "--seed", 9)
    assert {name: (tmp_path / name).read_bytes() for name in first} == first
    assert first["picture-0041.png"] == b"mine"
    names = {p.name for p in tmp_path.iterdir() if p.is_file()}
    assert names == {
        *(f"picture-{number:04}.png" for number in (41, 42, 43, 44, 45)),
        "grid-0000.png",
        "grid-0001.png",
    }


def test_a_number_that_another_process_took_meanwhile_is_passed_over(tmp_path, monkeypatch):
    (tmp_path / "picture-0000.png").write_text("theirs")
    monkeypatch.setattr(Path, "iterdir", lambda self: iter(()))  # it was not there when we looked
    file = txt2img_module.save_numbered(Image.new("RGB", (8, 8)), tmp_path, "picture", {"prompt": "a"})
    assert file.name == "picture-0001.png"
    assert (tmp_path / "picture-0000.png").read_text() == "theirs"


def test_without_a_model_the_one_of_the_profile_draws(weights, tmp_path):
    assert sdcourse_command("txt2img", "a cat", "--steps", 1, "--outdir", tmp_path).exit_code == 0
    assert read_settings(tmp_path / "picture-0000.png")["model"] == "pocket-sd"


def test_an_empty_prompt_is_allowed(tiny, tmp_path):
    assert sdcourse_command("txt2img", "", "--model", tiny, "--steps", 1, "--outdir", tmp_path).exit_code == 0
    assert read_settings(tmp_path / "picture-0000.png")["prompt"] == ""


def test_a_prompt_that_is_too_long_warns_with_the_words_cut_off(tiny, tmp_path):
    prompt = "cat " * 75 + "robot"
    result = sdcourse_command("txt2img", prompt, "--model", tiny, "--steps", 1, "--outdir", tmp_path)
    assert result.exit_code == 0
    [warning] = [line for line in result.stderr.splitlines() if line.startswith("Warning: ")]
    assert "77 tokens" in warning and "'robot'" in warning
    short = sdcourse_command("txt2img", "cat robot", "--model", tiny, "--steps", 1, "--outdir", tmp_path)
    assert "Warning" not in short.stderr


# txt2img: bad input


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--scheduler", "pmdm"], r"Unknown scheduler 'pmdm'\. Did you mean 'pndm'\? Allowed: pndm, "),
        (["--scale", "-1"], "--scale is -1: it must be 0 or more .*--negative-prompt"),
        (["--scale", "nan"], "--scale is nan: it must be 0 or more"),
        (["--scale", "inf"], "--scale is inf: it must be 0 or more"),
        (["--steps", "0"], "--steps is 0: it must be 1 to 1000"),
        (["--steps", "1001"], "--steps is 1001: it must be 1 to 1000"),
        (["--n-samples", "0"], "--n-samples is 0: it must be 1 or more"),
        (["--seed", "-1"], "--seed is -1: it must be 0 to 4294967295"),
        (["--seed", "4294967295", "--n-samples", "2"], "--seed is 4294967296: "),
        (["--size", "60"], "--size gives a width of 60: it must be a multiple of 8, for example 64"),
        (["--size", "64x70"], "--size gives a height of 70: it must be a multiple of 8, for example 72"),
        (["--size", "0"], "--size gives a width of 0: it must be a multiple of 8, for example 8"),
        (["--size", "big"], "--size is 'big': write it as 64, or as 96x64"),
        (["--model", "sdxl"], "sdxl is a StableDiffusionXLPipeline, which txt2img cannot drive yet"),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused_before_loading(arguments, expected, empty_folder, monkeypatch):
    monkeypatch.setattr(sdcourse, "load_pipeline", lambda *a, **k: pytest.fail("it was loaded"))
    assert re.match(expected, refused("txt2img", "a cat", *arguments))
    assert list(empty_folder.iterdir()) == []


def test_an_unknown_model_gets_the_nearest_name_and_the_allowed_ones(empty_folder):
    sentence = refused("txt2img", "a cat", "--model", "poket-sd")
    assert "Unknown model 'poket-sd'. Did you mean 'pocket-sd'? Allowed: pocket-sd, sd15" in sentence
    assert "There is no file or folder './none'" in refused("txt2img", "a cat", "--model", "./none")
    assert list(empty_folder.iterdir()) == []


def test_an_unknown_profile_is_refused(monkeypatch):
    monkeypatch.setattr(sdcourse.runtime, "_current", None)
    monkeypatch.setenv("SDCOURSE_PROFILE", "poket")
    assert refused("txt2img", "a cat").startswith("Unknown profile 'poket'. Did you mean 'pocket'?")


def test_a_model_that_cannot_be_downloaded_is_one_sentence():
    assert "The weights of sd15 are not on this machine" in refused("txt2img", "a cat", "--model", "sd15")


def test_a_folder_with_another_kind_of_pipeline_is_refused(tmp_path):
    folder = save_tiny_sdxl(tmp_path / "xl")
    sentence = refused("txt2img", "a", "--model", folder)
    assert "is a StableDiffusionXLPipeline, which txt2img cannot drive" in sentence


def test_more_steps_than_the_model_was_trained_with_are_refused(tiny, tmp_path):
    folder = shutil.copytree(tiny, tmp_path / "short")
    config = folder / "scheduler" / "scheduler_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"num_train_timesteps": 100}))
    sentence = refused("txt2img", "a cat", "--model", folder, "--steps", 101)
    assert "it must be 1 to 100" in sentence


def test_a_damaged_weights_file_is_named_with_how_to_restore_it(weights):
    file = weights / "pocket-sd" / "unet" / "diffusion_pytorch_model.safetensors"
    truncate(file)
    sentence = refused("txt2img", "a cat")
    assert str(file) in sentence and "is damaged" in sentence
    assert "git checkout -- sdcourse/weights/pocket-sd/unet/diffusion_pytorch_model.safetensors" in sentence


def test_an_output_folder_below_a_file_is_refused_before_drawing(tmp_path, monkeypatch):
    monkeypatch.setattr(sdcourse, "load_pipeline", lambda *a, **k: pytest.fail("it was loaded"))
    file = tmp_path / "file"
    file.write_text("")
    for outdir in (file, file / "below"):
        sentence = refused("txt2img", "a cat", "--outdir", outdir)
        reason = f"because {file} is a file: choose a folder with --outdir."
        assert sentence == f"Cannot write into {outdir}, {reason}"


def test_an_output_folder_without_write_permission_is_refused_before_drawing(tmp_path, monkeypatch):
    def denied(dir):
        raise PermissionError(13, "Permission denied", str(dir))

    monkeypatch.setattr(sdcourse, "load_pipeline", lambda *a, **k: pytest.fail("it was loaded"))
    monkeypatch.setattr(arguments_module.tempfile, "TemporaryFile", denied)  # root may write everywhere
    sentence = refused("txt2img", "a cat", "--outdir", tmp_path / "new" / "folder")
    reason = "(Permission denied): choose a folder of yours with --outdir."
    assert sentence == f"Cannot write into {tmp_path} {reason}"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_output_folder_is_refused(tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    sentence = refused("txt2img", "a cat", "--outdir", folder)
    assert f"Cannot write into {folder} (Permission denied)" in sentence


def test_checking_the_output_folder_leaves_no_trace(tmp_path):
    before = sorted(tmp_path.rglob("*"))
    arguments_module.check_writable(tmp_path / "new" / "folder", "--outdir")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_full_disk_is_one_sentence(tiny, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device", "picture.png")

    monkeypatch.setattr("sdcourse.images.save_image", full)
    result = sdcourse_command("txt2img", "a", "--model", tiny, "--steps", 1, "--outdir", tmp_path)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == "No space left on device: picture.png"


# Errors in general


def test_wrong_usage_ends_with_code_2():
    for arguments in (["txt2img"], ["txt2img", "a", "--steps", "x"], ["txt2img", "a", "--nope"], ["nope"]):
        result = sdcourse_command(*arguments)
        assert result.exit_code == 2 and "Traceback" not in result.stderr
        assert result.stderr.startswith("Usage: ")


def test_an_unexpected_error_is_one_sentence_and_a_traceback_with_debug(monkeypatch):
    def broken(*args, **kwargs):
        raise KeyError("weights")

    monkeypatch.setattr(sdcourse, "load_pipeline", broken)
    sentence = refused("txt2img", "a cat")
    assert sentence == "Unexpected error, KeyError: 'weights' (add --debug to see where it comes from)"
    for arguments in (["--debug", "txt2img", "a"], ["txt2img", "a", "--debug"]):
        result = sdcourse_command(*arguments)
        assert isinstance(result.exception, KeyError)


# Settings in files


def test_read_settings_of_files_without_settings(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no file"):
        read_settings(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ValueError, match="is not a picture"):
        read_settings(tmp_path / "text.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "bare.png")
    with pytest.raises(ValueError, match="has no settings inside"):
        read_settings(tmp_path / "bare.png")


def test_describe_is_one_line():
    settings = {"prompt": "a\ncat", "negative_prompt": "a\tdog", "seed": 3, "versions": {"torch": "2.13"}}
    assert describe(settings) == "a cat | negative prompt: a dog, seed: 3"


# doctor


def test_doctor_reports_everything(weights):
    result = sdcourse_command("doctor")
    assert result.exit_code == 0, result.output
    for what in ("python", "sdcourse", *doctor_module.SHOWN):
        assert re.search(rf"^ok +{what} \d+\.\d+", result.stdout, re.MULTILINE), what
    for what in ("profile pocket", "device", "widgets are installed", "weights are whole: pocket-sd"):
        assert re.search(rf"^ok +{what}", result.stdout, re.MULTILINE), what
    for what in (r"\d+ cores?", r"memory [\d.]+ GB", r"disk [\d.]+ GB free"):
        assert re.search(rf"^(ok|warning) +{what}", result.stdout, re.MULTILINE), what


def problems(result):
    """Each problem of a report, with the advice under it."""
    assert result.exit_code == 1, result.output
    return re.findall(r"^problem +(.*)\n +-> (.*)$", result.stdout, re.MULTILINE)


def test_doctor_finds_damaged_weights(weights):
    file = weights / "pocket-sd" / "vae" / "diffusion_pytorch_model.safetensors"
    truncate(file)
    [(what, advice)] = problems(sdcourse_command("doctor"))
    assert str(file) in what and "is damaged" in what
    assert "git checkout -- sdcourse/weights/pocket-sd/vae/diffusion_pytorch_model.safetensors" in advice


def test_doctor_finds_missing_weights(weights):
    shutil.rmtree(weights / "pocket-sd")
    [(what, _)] = problems(sdcourse_command("doctor"))
    assert what == f"{weights / 'pocket-sd'} is missing"


def test_doctor_finds_versions_outside_the_bounds(weights, monkeypatch):
    def version(name):
        if name == "psutil":
            raise doctor_module.metadata.PackageNotFoundError(name)
        return {"torch": "2.0.1+cpu", "ipywidgets": "9.0"}.get(name, real(name))

    real = doctor_module.metadata.version
    monkeypatch.setattr(doctor_module.metadata, "version", version)
    found = dict(problems(sdcourse_command("doctor")))
    assert [what.split(",")[0] for what in sorted(found)] == [
        "ipywidgets 9.0",
        "psutil is missing (>=5.9 is needed)",
        "torch 2.0.1+cpu",
    ]
    assert found["torch 2.0.1+cpu, but >=2.11 is needed"] == 'python -m pip install "torch>=2.11"'


def test_doctor_finds_that_the_package_is_not_installed(weights, monkeypatch):
    def absent(name):
        raise doctor_module.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor_module.metadata, "metadata", absent)
    assert problems(sdcourse_command("doctor")) == [
        ("the package is not installed", "run `make env` in the clone")
    ]


def test_doctor_finds_an_unsupported_python(weights, monkeypatch):
    monkeypatch.setattr(doctor_module.platform, "python_version", lambda: "3.9.1")
    [(what, _)] = problems(sdcourse_command("doctor"))
    assert re.match(r"python 3\.9\.1, but .*>=3\.10.* is needed", what)


def test_doctor_finds_an_unknown_profile(weights, monkeypatch):
    monkeypatch.setattr(sdcourse.runtime, "_current", None)
    monkeypatch.setenv("SDCOURSE_PROFILE", "poket")
    [(what, advice)] = problems(sdcourse_command("doctor"))
    assert what == "Unknown profile 'poket'. Did you mean 'pocket'? Allowed: pocket, full."
    assert "SDCOURSE_PROFILE" in advice


def test_doctor_finds_missing_widgets(weights, monkeypatch):
    monkeypatch.setattr("jupyter_core.paths.jupyter_path", lambda *a: ["/nowhere"])
    [(what, advice)] = problems(sdcourse_command("doctor"))
    assert what == "widgets are not installed for JupyterLab" and "jupyterlab_widgets" in advice


def test_doctor_finds_a_torch_that_does_not_load(weights, monkeypatch):
    def broken(profile):
        raise ImportError("libtorch.so: cannot open\nshared object file")

    monkeypatch.setattr(doctor_module.runtime, "default_device", broken)
    [(what, _)] = problems(sdcourse_command("doctor"))
    assert what == "torch cannot be loaded (ImportError: libtorch.so: cannot open shared object file)"


def test_doctor_warns_of_a_small_machine_without_failing(weights, monkeypatch):
    memory, disk = namedtuple("memory", "total available"), namedtuple("disk", "free")
    monkeypatch.setattr("psutil.virtual_memory", lambda: memory(2e9, 1e9))
    monkeypatch.setattr(doctor_module.shutil, "disk_usage", lambda folder: disk(0.2e9))
    monkeypatch.setattr(doctor_module.os, "sched_getaffinity", lambda pid: {0}, raising=False)
    result = sdcourse_command("doctor")
    assert result.exit_code == 0, result.output
    warnings = re.findall(r"^warning +(.*)\n +-> ", result.stdout, re.MULTILINE)
    assert [w.split()[0] for w in warnings] == ["1", "memory", "disk"]
    assert result.stdout.endswith("problems: 0, warnings: 3\n")


def test_doctor_says_that_the_full_profile_is_slow_without_a_gpu(weights, monkeypatch):
    monkeypatch.setattr(sdcourse.runtime, "_current", None)
    monkeypatch.setenv("SDCOURSE_PROFILE", "full")
    monkeypatch.setattr(sdcourse.runtime, "available_devices", lambda: ["cpu"])
    result = sdcourse_command("doctor")
    assert re.search(r"^warning +device cpu: the full profile", result.stdout, re.MULTILINE)


# lab


@pytest.fixture
def started(monkeypatch):
    """The arguments that JupyterLab would have been started with."""
    calls = []
    monkeypatch.setattr("jupyterlab.labapp.main", calls.append)
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "/etc/mine")
    return calls


def make_clone(folder):
    for name in ("sdcourse/__init__.py", "pyproject.toml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    (folder / "notebooks").mkdir()
    return folder


def test_lab_opens_the_notebooks_of_the_clone_around_the_current_folder(started, tmp_path, monkeypatch):
    clone = make_clone(tmp_path / "clone")
    (clone / "notebooks" / "mine").mkdir()
    monkeypatch.chdir(clone / "notebooks" / "mine")
    assert sdcourse_command("lab").exit_code == 0
    assert started[0][:2] == [
        f"--ServerApp.root_dir={clone}",
        f"--ServerApp.preferred_dir={clone / 'notebooks'}",
    ]


def test_lab_elsewhere_opens_the_notebooks_of_the_installed_clone(started):
    assert sdcourse_command("lab").exit_code == 0
    assert started[0][1] == f"--ServerApp.preferred_dir={ROOT / 'notebooks'}"


def test_lab_without_notebooks_says_what_to_do(started, tmp_path, monkeypatch):
    site_packages = tmp_path / "site-packages"
    monkeypatch.setattr(lab_module, "__file__", str(site_packages / "sdcourse" / "cli" / "lab.py"))
    assert "run `sdcourse lab` in a clone" in refused("lab")
    assert started == []


def test_lab_passes_other_arguments_on(started):
    arguments = ["--no-browser", "--port", "9999"]
    for command in (["lab", "--", *arguments], ["lab", *arguments]):
        assert sdcourse_command(*command).exit_code == 0
        assert started.pop()[-3:] == arguments


def test_lab_lets_only_root_run_as_root(started, monkeypatch):
    for user, allowed in ((0, True), (1000, False)):
        monkeypatch.setattr(lab_module.os, "geteuid", lambda user=user: user)
        sdcourse_command("lab")
        assert ("--allow-root" in started.pop()) == allowed


def test_lab_adds_its_settings_beside_those_of_the_user(started):
    sdcourse_command("lab")
    assert os.environ["JUPYTER_CONFIG_PATH"] == os.pathsep.join([str(lab_module.CONFIG), "/etc/mine"])


@pytest.mark.slow
def test_lab_serves_the_notebooks_and_asks_nothing_about_news(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "settings")}
    environment |= {f"JUPYTER_{kind}_DIR": str(tmp_path / kind) for kind in ("CONFIG", "DATA", "RUNTIME")}
    command = [sys.executable, "-c", "from sdcourse.cli import main; main()", "lab", "--", "--no-browser"]
    command += [f"--port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=secret"]
    log = (tmp_path / "log").open("w")
    server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:

        def ask(path):
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/{path}", headers={"Authorization": "token secret"}
            )
            return json.load(urllib.request.urlopen(request, timeout=30))

        deadline = time.monotonic() + 120
        while True:
            try:
                contents = ask("api/contents/notebooks")
                break
            except OSError:
                assert server.poll() is None and time.monotonic() < deadline, (tmp_path / "log").read_text()
                time.sleep(0.2)
        shown = {entry["name"] for entry in contents["content"]}
        assert shown == {p.name for p in (ROOT / "notebooks").iterdir() if not p.name.startswith(".")}
        assert "exercises" in {entry["name"] for entry in ask("api/contents")["content"]}
        settings = ask("lab/api/settings/@jupyterlab/apputils-extension:notification")
        assert settings["schema"]["properties"]["fetchNews"]["default"] == "false"
        assert not (tmp_path / "settings").exists()  # the user's own settings stay as they are
    finally:
        server.terminate()
        server.wait(30)
        log.close()


# models


def test_models_lists_every_model(weights, tmp_path, monkeypatch):
    monkeypatch.setenv("SDCOURSE_MY_SD", str(tmp_path / "mine"))
    result = sdcourse_command("models")
    assert result.exit_code == 0
    rows = {line.split()[0]: line for line in result.stdout.splitlines()}
    assert list(rows) == ["name", *registry.MODELS, "my-sd"]
    assert re.search(r"not made yet +- +yours", rows["my-sd"])
    assert re.search(r" shipped +4 MB +Apache-2.0 ", rows["pocket-sd"])
    assert re.search(r" to be downloaded +2\.1 GB +CreativeML OpenRAIL-M ", rows["sd15"])


def test_models_shows_what_is_missing_and_what_is_downloaded(weights, tiny, tmp_path, monkeypatch):
    shutil.rmtree(weights / "pocket-sd")
    cache = tmp_path / "hub"
    repository = cache / ("models--" + registry.MODELS["sd15"].repositories[1].replace("/", "--"))
    snapshot = repository / "snapshots" / ("a" * 40)
    shutil.copytree(tiny, snapshot)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    result = sdcourse_command("models")
    assert re.search(r"^pocket-sd +missing, see `sdcourse doctor` ", result.stdout, re.MULTILINE)
    assert re.search(r"^sd15 +downloaded +4 MB ", result.stdout, re.MULTILINE)

    (snapshot / "unet" / "diffusion_pytorch_model.safetensors").unlink()  # an interrupted download
    result = sdcourse_command("models")
    assert re.search(r"^sd15 +to be downloaded +2\.1 GB ", result.stdout, re.MULTILINE)


# train


@pytest.fixture
def recipe(monkeypatch):
    """What the recipes are called with; nothing is trained."""
    from sdcourse.training import recipes

    calls = []
    monkeypatch.setattr(recipes, "train", lambda *a: calls.append(a))
    return calls


def test_train_knows_every_recipe():
    from sdcourse.cli.train import NAMES
    from sdcourse.training.recipes import RECIPES

    assert NAMES == tuple(RECIPES)


def test_train_passes_its_arguments_on(recipe, empty_folder):
    arguments = ["--budget", "90s", "--out", "mine", "--device", "cpu", "--seed", 3]
    result = sdcourse_command("train", "vae", *arguments)
    assert result.exit_code == 0, result.output
    assert recipe == [("vae", Path("mine"), 90.0, "cpu", 3)]
    assert result.stdout == "vae is trained, in mine.\n"


def test_train_chooses_half_an_hour_one_folder_for_all_parts_and_the_best_device(recipe):
    result = sdcourse_command("train", "pocket-sd")
    assert recipe == [("pocket-sd", Path("my-pocket-sd"), 1800.0, sdcourse.runtime.default_device(), 0)]
    assert f"--model {Path('my-pocket-sd', 'pocket-sd')}" in result.stdout


def test_train_goes_on_with_the_learners_own_model_where_it_lies(recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("SDCOURSE_MY_SD", str(tmp_path / "mine"))
    result = sdcourse_command("train", "my-sd", "--budget", "60m", "--device", "cpu")
    assert recipe == [("my-sd", tmp_path / "mine", 3600.0, "cpu", 0)]
    assert result.stdout.endswith("--model my-sd\n")
    assert "set the variable SDCOURSE_MY_SD" in refused("train", "my-sd", "--out", tmp_path)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["unett"], "Unknown recipe 'unett'. Did you mean 'unet'? Allowed: tokenizer, judge, clip"),
        (["vae", "--budget", "soon"], "The budget 'soon' is not a time: write it as 90s, 10m or 2h."),
        (["vae", "--budget", "-5m"], "The budget '-5m' is not a time: write it as 90s, 10m or 2h."),
        (["vae", "--device", "gpu"], "Unknown device 'gpu'. Did you mean 'cpu'? Allowed: cpu"),
        (["vae", "--seed", "-1"], "--seed is -1: it must be 0 to 4294967295."),
    ],
)  # fmt: skip
def test_train_refuses_bad_arguments(recipe, arguments, expected, empty_folder):
    assert refused("train", *arguments).startswith(expected)
    assert recipe == [] and list(empty_folder.iterdir()) == []


def test_train_refuses_a_folder_that_cannot_be_written(recipe, tmp_path):
    (tmp_path / "file").write_text("")
    sentence = refused("train", "vae", "--out", tmp_path / "file" / "x")
    assert "is a file: choose a folder with --out." in sentence
    assert recipe == []


def test_train_names_the_part_that_must_come_first(tmp_path):
    sentence = refused("train", "unet", "--out", tmp_path / "mine", "--budget", "10s", "--device", "cpu")
    assert "run `sdcourse train vae --out" in sentence


def test_train_stopped_by_the_user_says_how_to_go_on(monkeypatch):
    from sdcourse.training import recipes

    def stopped(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(recipes, "train", stopped)
    assert refused("train", "vae", code=130) == "Stopped; the same command goes on from the last checkpoint."


# evaluate


def test_evaluate_prints_tables_and_writes_figures_and_a_page(monkeypatch, tmp_path):
    import torch

    from sdcourse import metrics
    from sdcourse.models.registry import WEIGHTS_ROOT

    figures = json.loads((WEIGHTS_ROOT / "pocket-sd" / "measured.json").read_text())
    asked = []

    def measured(pipe, judge, n, scale, steps):
        asked.append((n, scale, steps))
        return {**figures, "pictures": torch.rand(10, 16, 3, 64, 64)}

    monkeypatch.setattr(metrics, "evaluate", measured)
    arguments = ["--n", 20, "--scale", 3, "--steps", 4, "--out", tmp_path / "new"]
    result = sdcourse_command("evaluate", "pocket-sd", *arguments)
    assert result.exit_code == 0, result.output
    assert asked == [(20, 3.0, 4)]
    assert f"{figures['train']['mean']:.3f}" in result.output and "a hamster" in result.output
    assert json.loads((tmp_path / "new" / "evaluation.json").read_text()) == figures
    assert (tmp_path / "new" / "report.png").is_file()


def test_evaluate_sets_the_learners_own_model_beside_pocket_sd(monkeypatch, tmp_path):
    import torch

    from sdcourse import metrics
    from sdcourse.models import keep_parts, load_my_parts
    from sdcourse.models.components import make_unet
    from sdcourse.models.registry import WEIGHTS_ROOT

    monkeypatch.setenv("SDCOURSE_MY_SD", str(tmp_path / "mine"))
    keep_parts(**load_my_parts(), unet=make_unet())
    shipped = json.loads((WEIGHTS_ROOT / "pocket-sd" / "measured.json").read_text())
    figures = json.loads(json.dumps(shipped))
    figures["train"]["mean"] = 0.123
    pictures = torch.rand(10, 16, 3, 64, 64)
    monkeypatch.setattr(metrics, "evaluate", lambda *_: {**figures, "pictures": pictures})
    result = sdcourse_command("evaluate", "my-sd", "--n", 20, "--out", tmp_path / "new")
    assert result.exit_code == 0, result.output
    cells = [line.split("|")[1:-1] for line in result.output.splitlines() if line.startswith("|")]
    rows = {cells[0].strip(): [c.strip() for c in cells[1:]] for cells in cells}
    assert rows["beside"] == ["my-sd", "pocket-sd"]
    assert rows["mean accuracy over attributes"] == ["0.123", f"{shipped['train']['mean']:.3f}"]


def test_evaluate_measures_clothing_by_name_and_by_folder(monkeypatch, tmp_path):
    from sdcourse import metrics
    from sdcourse.models.registry import WEIGHTS_ROOT

    figures = json.loads((WEIGHTS_ROOT / "fashion" / "measured.json").read_text())
    asked = []

    def measured(unet, scheduler, n, scale, steps):
        asked.append((unet.config.num_class_embeds, n, scale, steps))
        return figures

    monkeypatch.setattr(metrics, "evaluate_pixel_model", measured)
    for model, options in (("fashion", []), (WEIGHTS_ROOT / "fashion", ["--scale", 0, "--n", 30])):
        result = sdcourse_command("evaluate", model, *options, "--out", tmp_path)
        assert result.exit_code == 0, result.output
        assert "Sneaker" in result.output and f"{figures['accuracy']:.3f}" in result.output
        assert json.loads((tmp_path / "evaluation.json").read_text()) == figures
    assert asked == [(11, 500, 2.0, 25), (11, 30, 0.0, 25)]


@pytest.mark.parametrize(
    "arguments, expected",
    [(["pocket-sd", "--n", 5], "20 to 500"), (["pocket-ds", "--n", 20], "pocket-sd")],
)
def test_evaluate_refuses_bad_arguments(arguments, expected, empty_folder):
    assert expected in refused("evaluate", *arguments)
    assert not list(empty_folder.iterdir())


# grade


def test_grade_writes_a_table_and_a_page(tmp_path, monkeypatch):
    from sdcourse.grading import grade as room

    def graded(folder, seconds, memory, jobs):
        assert (seconds, memory, jobs) == (30, 4, 2)
        for submission in room.find_submissions(folder):
            yield (
                submission,
                [room.Grade(submission.learner, "08-loop", "correct", 3, 3, "You can now <loop>.")],
            )

    monkeypatch.setattr(room, "grade", graded)
    for learner in ("ada", "grace"):
        (tmp_path / "in" / learner).mkdir(parents=True)
        (tmp_path / "in" / learner / "08_sampling_loop.ipynb").write_text("{}")
    options = ["--out", tmp_path / "out", "--seconds", "30", "--memory", "4", "--jobs", "2"]
    result = sdcourse_command("grade", tmp_path / "in", *options)
    assert f"Written: {tmp_path / 'out' / 'grades.csv'} and" in result.stdout
    assert (tmp_path / "out" / "grades.csv").read_text().splitlines()[1:] == [
        "ada,08-loop,correct,3,3,You can now <loop>.",
        "grace,08-loop,correct,3,3,You can now <loop>.",
    ]
    assert "You can now &lt;loop&gt;." in (tmp_path / "out" / "grades.html").read_text()


def test_grade_refuses_bad_arguments(tmp_path):
    assert "holds no notebooks: put them into it as" in refused("grade", tmp_path)
    assert "--jobs is 0: it must be more than 0." in refused("grade", tmp_path, "--jobs", "0")
    assert "is not a folder: give the one that holds a folder for each learner." in refused(
        "grade", tmp_path / "x"
    )
