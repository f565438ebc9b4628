"""The project's own files agree with each other and with what the README says."""

import os
import re
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
PYTHONS = ["3.10", "3.11", "3.12", "3.13"]
PROJECT_FILES = [
    "pyproject.toml",
    "constraints.txt",
    "environment.yml",
    "Makefile",
    ".ci/run",
    ".ci/install-debian-packages",
]

README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
EXTRAS = PROJECT["optional-dependencies"]
REQUIREMENTS = [Requirement(line) for lines in [PROJECT["dependencies"], *EXTRAS.values()] for line in lines]
PINS = [
    Requirement(line)
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if line.strip() and not line.startswith("#")
]


def applies(requirement, python):
    environment = {"python_version": python, "python_full_version": f"{python}.9"}
    return requirement.marker is None or requirement.marker.evaluate(environment)


# Versions


@pytest.mark.parametrize("python", PYTHONS)
def test_every_dependency_has_one_pin_and_every_pin_a_dependency(python):
    pins = sorted(canonicalize_name(pin.name) for pin in PINS if applies(pin, python))
    needed = sorted({canonicalize_name(r.name) for r in REQUIREMENTS if applies(r, python)})
    assert pins == needed


@pytest.mark.parametrize("python", PYTHONS)
def test_every_pin_is_exact_and_within_the_bounds(python):
    pins = {canonicalize_name(pin.name): str(pin.specifier) for pin in PINS if applies(pin, python)}
    for requirement in REQUIREMENTS:
        if applies(requirement, python):
            assert ">=" in str(requirement.specifier), f"{requirement} has no lower bound"
            pin = pins[canonicalize_name(requirement.name)]
            assert re.fullmatch(r"==[\d.]+", pin), f"{requirement.name}{pin} is not an exact version"
            assert Version(pin[2:]) in requirement.specifier, f"{requirement} excludes the pin {pin}"


def test_one_range_of_python_versions_everywhere():
    supported = SpecifierSet(PROJECT["requires-python"])
    assert [f"3.{minor}" for minor in range(30) if f"3.{minor}" in supported] == PYTHONS
    [conda_python] = [d for d in ENVIRONMENT["dependencies"] if str(d).startswith("python")]
    assert SpecifierSet(conda_python.removeprefix("python")) == supported
    first, last = (tuple(map(int, python.split("."))) for python in (PYTHONS[0], PYTHONS[-1]))
    assert f"not {first} <= sys.version_info[:2] <= {last}" in MAKEFILE
    assert f"Python {PYTHONS[0]} to {PYTHONS[-1]}" in MAKEFILE
    assert f"Python {PYTHONS[0]} to {PYTHONS[-1]}" in README


def test_conda_brings_python_and_pip_and_pip_the_rest():
    *from_conda, from_pip = ENVIRONMENT["dependencies"]
    assert [re.match(r"\w+", d).group() for d in from_conda] == ["python", "pip"]
    assert from_pip == {"pip": ["-c constraints.txt", "-e ."]}


def test_the_package_knows_its_version():
    import sdcourse

    assert sdcourse.__version__ == PROJECT["version"]


# What must not be there


def test_no_torchvision():
    for name in PROJECT_FILES:
        assert "torchvision" not in (ROOT / name).read_text(encoding="utf-8"), name
    for folder in ("sdcourse", "lessons", "tests", "tools"):
        for file in (ROOT / folder).rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            assert not re.search(r"^\s*(import|from) torchvision", text, re.MULTILINE), file


@pytest.mark.parametrize("name", PROJECT_FILES)
def test_project_files_name_no_index_and_no_path_of_a_machine(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    found = re.findall(r"https?://\S+|file://\S+|--[\w-]*index-url|--find-links|--trusted-host", text)
    found += re.findall(r"(?<![\w.)}])/(?!usr/bin/env|dev/null)\w+/\S+", text)
    assert found == []


# The Makefile and what runs it


def test_readme_names_only_targets_that_exist():
    targets = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))
    code = re.findall(r"```.*?```", README, re.DOTALL) + re.findall(r"(?<!`)`[^`\n]+`(?!`)", README)
    named = {target for piece in code for target in re.findall(r"\bmake +([a-z]+)", piece)}
    assert {"env", "lab", "test"} <= named
    assert named <= targets


def test_a_fresh_machine_needs_two_commands():
    first_block = re.search(r"```\w*\n(.*?)```", README, re.DOTALL).group(1)
    commands = [line.split("#")[0].strip() for line in first_block.splitlines()]
    assert commands == ["make lab", "make test"]


def test_make_help_tells_every_target():
    targets = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE).group(1).split()
    for target in targets:
        assert target == "help" or f"'make {target} " in MAKEFILE, target


def test_ci_runs_make_test_and_nothing_after():
    lines = (ROOT / ".ci/run").read_text(encoding="utf-8").split("\n")
    assert "set -euo pipefail" in lines
    assert [line for line in lines if line][-2:] == [".ci/install-debian-packages", "make test"]
    for name in (".ci/run", ".ci/install-debian-packages"):
        assert os.access(ROOT / name, os.X_OK), f"{name} is not executable"


# The README


def test_folders_in_the_readme_exist():
    folders = re.findall(r"`([\w./-]+)/`", README)
    assert {"lessons", "notebooks", "sdcourse", "tests"} <= set(folders)
    for folder in folders:
        assert (ROOT / folder).is_dir(), folder


def test_files_that_the_readme_links_to_exist():
    links = re.findall(r"\]\(([^)\s#]+)\)", README)
    local = [link for link in links if "://" not in link]
    assert local
    for link in local:
        assert (ROOT / link).exists(), link


def test_pictures_in_the_readme_have_an_alternative_text():
    pictures = re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", README)
    assert pictures
    for text, picture in pictures:
        assert len(text) > 10, f"{picture} has no alternative text"


def test_lessons_marked_ready_are_the_lessons_that_exist():
    rows = re.findall(r"^\| (\d\d) \|.*\| (yes|planned) \|$", README, re.MULTILINE)
    ready = {number for number, state in rows if state == "yes"}
    assert ready == {file.name[:2] for file in (ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")}
