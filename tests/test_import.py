"""`import sdcourse` is light: heavy modules load on first use."""

import json
import subprocess
import sys

HEAVY = ["torch", "diffusers", "transformers", "matplotlib", "datasets"]
CODE = f"""
import json, sys, time
start = time.perf_counter()
import sdcourse
seconds = time.perf_counter() - start
print(json.dumps([seconds, [name for name in {HEAVY} if name in sys.modules]]))
"""


def import_sdcourse():
    """Import it in a new interpreter: the seconds it took, and the heavy modules it loaded."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_import_loads_no_heavy_module():
    assert import_sdcourse()[1] == []


def test_import_takes_less_than_a_fifth_of_a_second():
    assert min(import_sdcourse()[0] for _ in range(5)) < 0.2
