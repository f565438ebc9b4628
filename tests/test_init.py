"""`import sdcourse` offers the whole course, and loads what is heavy on first use only."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import sdcourse

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
FUNCTIONS = {
    "setup": "sdcourse.runtime",
    "load_pipeline": "sdcourse.models.loading",
    "load_judge": "sdcourse.models.judge",
    "load_clip": "sdcourse.models.clip",
    "load_pixel_model": "sdcourse.models.pixels",
    "text_to_image": "sdcourse.sampling",
    "show_image": "sdcourse.images",
    "show_images": "sdcourse.images",
    "image_grid": "sdcourse.images",
    "load_image": "sdcourse.images",
    "color_loss": "sdcourse.guidance",
    "classifier_free_guidance": "sdcourse.guidance",
}
ROOMS = ["data", "guidance", "images", "metrics", "models", "runtime", "sampling"]


def run_python(code):
    """What `code` prints as JSON, in a new interpreter."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_version_is_that_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert sdcourse.__version__ == project["version"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_those_of_their_rooms(name):
    assert getattr(sdcourse, name) is getattr(importlib.import_module(FUNCTIONS[name]), name)


def test_rooms_are_attributes_without_an_import_of_their_own():
    code = f"import json, sdcourse; print(json.dumps([getattr(sdcourse, n).__name__ for n in {ROOMS}]))"
    assert run_python(code) == [f"sdcourse.{room}" for room in ROOMS]


def test_opening_all_rooms_loads_no_heavy_library():
    heavy = ["torch", "diffusers", "transformers", "datasets", "matplotlib"]
    code = f"""
import json, sys, sdcourse
[getattr(sdcourse, name) for name in {ROOMS}]
print(json.dumps([name for name in {heavy} if name in sys.modules]))
"""
    assert run_python(code) == []


def test_dir_lists_what_is_not_loaded_yet():
    listed = run_python("import json, sdcourse; print(json.dumps(dir(sdcourse)))")
    assert {*FUNCTIONS, *ROOMS} <= set(listed)
    assert set(sdcourse.__all__) == {*FUNCTIONS, *ROOMS}


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="No sdcourse attribute text_to_imag"):
        sdcourse.text_to_imag  # noqa: B018
    with pytest.raises(ImportError):
        exec("from sdcourse import text_to_imag")
