"""Every test runs without a network, with an empty cache of its own, in the default profile."""

import os
import runpy
import tempfile
from pathlib import Path

import pytest

_OFFLINE = Path(__file__).parent / "offline"
_CACHE = tempfile.TemporaryDirectory(prefix="sdcourse-tests-")

# At import, not in a fixture: the hub libraries read these once, when a test file first imports them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HOME"] = _CACHE.name
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_OFFLINE), os.environ.get("PYTHONPATH")]))
os.environ.pop("SDCOURSE_PROFILE", None)

# By its path: under the name `sitecustomize` the system's own file may be imported already.
runpy.run_path(str(_OFFLINE / "sitecustomize.py"))


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items):
    """With `--dist loadgroup`, files stay together; only runs of whole notebooks go where there is time."""
    for item in items:
        if item.originalname != "test_notebook_does_what_its_outputs_say":
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
