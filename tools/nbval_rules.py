r"""How nbval compares the notebooks of this project. By hand, from the repository:

    PYTHONPATH=tools:tests/offline .venv/bin/python -m pytest -p nbval_rules --nbval --nbval-current-env \
        --nbval-sanitize-with=tools/nbval_sanitize.cfg notebooks/08_sampling_loop.ipynb

`tests/test_notebooks.py` does this for every notebook. A cell whose output may differ from run to run carries
the tag `nbval-ignore-output`.
"""

from build_notebooks import storable
from nbval.plugin import IPyNbCell, IPyNbFile


def pytest_collectstart(collector):
    if isinstance(collector, IPyNbFile):
        # Pixels differ between processors, and the HTML of our figures holds pixels; their text/plain holds
        # number, sizes and captions, and is compared. Libraries warn on some machines and not on others.
        collector.skip_compare += ("text/html", "stderr")


def pytest_itemcollected(item):
    if isinstance(item, IPyNbCell):
        compare = item.compare_outputs
        # what the build leaves out of the stored notebook (progress bars) must not count as unexpected here
        item.compare_outputs = lambda test, ref: compare(storable(test), storable(ref))
