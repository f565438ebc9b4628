"""The explorers with ipywidgets 7, IPython 7 and ipykernel 6, as in Colab: in a kernel, with a front end of a
few lines that sends what a browser would send.
"""

import os
import re
import sys
import time
from pathlib import Path

import pytest
from jupyter_client import KernelManager

from sdcourse.settings_png import settings_info

TESTS = Path(__file__).parent
OLD = Path(sys.prefix) / "old-widgets"
MISSING = "" if OLD.is_dir() else "The old widgets are not installed: `make test` installs them."
pytestmark = [
    pytest.mark.slow,
    # in CI the fixture fails instead
    pytest.mark.skipif(bool(MISSING) and not os.environ.get("CI"), reason=MISSING),
]

VIEW = "application/vnd.jupyter.widget-view+json"
PATIENCE = 120  # seconds: a busy machine is no failure

SETUP = """
import sys, types
from tiny import make_tiny_sd
from sdcourse.widgets import GuidanceSweep, NegativePromptLab, PromptExplorer, TrajectoryViewer, XYGrid
from sdcourse.widgets.settings import Settings, render
pipe = make_tiny_sd()
"""
IN_COLAB = "sys.modules['google.colab'] = types.ModuleType('google.colab')"
EXPLORER = "explorer = PromptExplorer(pipe, prompt='a cat', num_inference_steps=12)\nexplorer"
BREAK = """
def broken(*args, **kwargs):
    raise MemoryError("out of memory")
forward, pipe.unet.forward = pipe.unet.forward, broken
"""


class FrontEnd:
    """What a browser does: keeps the state of all widgets, and sends changes of it.

    Attributes:
        state: of each widget, by the id of its comm.
        failures: what a kernel says about an exception in a callback.
    """

    def __init__(self, client):
        self.client, self.state, self.failures = client, {}, []

    def run(self, code):
        """Run a cell; gives what it prints, and the id of the widget that it shows, if any."""
        said, shown = [], []

        def output(message):
            self.hear(message)
            if message["msg_type"] == "stream":
                said.append(message["content"]["text"])
            elif message["msg_type"] in ("display_data", "execute_result"):
                shown.append(message["content"]["data"].get(VIEW, {}).get("model_id"))

        reply = self.client.execute_interactive(code, output_hook=output, timeout=PATIENCE)
        assert reply["content"]["status"] == "ok", reply["content"]
        return "".join(said).strip(), shown[-1] if shown else None

    def hear(self, message):
        content = message["content"]
        if message["msg_type"] == "comm_open":
            self.state[content["comm_id"]] = dict(content["data"]["state"])
        elif message["msg_type"] == "comm_msg" and content["data"].get("method") == "update":
            self.state[content["comm_id"]].update(content["data"]["state"])
        elif message["msg_type"] == "error" or "Traceback" in content.get("text", ""):
            self.failures.append(content)

    def wait_until(self, condition):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline and not self.failures, self.failures
            try:
                self.hear(self.client.get_iopub_msg(timeout=0.2))
            except TimeoutError:
                pass
            except Exception as error:  # queue.Empty, which jupyter_client does not export
                if type(error).__name__ != "Empty":
                    raise

    def inside(self, widget):
        """A box and all that it holds."""
        children = self.state[widget].get("children", [])
        return [widget, *(x for child in children for x in self.inside(child.removeprefix("IPY_MODEL_")))]

    def send(self, widget, data, buffers=()):
        message = self.client.session.msg("comm_msg", {"comm_id": widget, "data": data})
        self.client.session.send(self.client.shell_channel.socket, message, buffers=list(buffers))

    def change(self, widget, buffer_paths=(), buffers=(), **state):
        self.send(widget, {"method": "update", "state": state, "buffer_paths": list(buffer_paths)}, buffers)


class Explorer:
    """The PromptExplorer as the front end shows it."""

    def __init__(self, front_end):
        self.front_end = front_end
        _, self.box = front_end.run(EXPLORER)

    def find(self, description):
        [widget] = [
            widget
            for widget in self.front_end.inside(self.box)
            if self.front_end.state[widget].get("description") == description
        ]
        return widget

    def value(self, description):
        return self.front_end.state[self.find(description)]["value"]

    def change(self, description, value):
        self.front_end.change(self.find(description), value=value)

    def click(self, description):
        self.front_end.send(self.find(description), {"method": "custom", "content": {"event": "click"}})

    @property
    def html(self):
        states = [self.front_end.state[widget] for widget in self.front_end.inside(self.box)]
        return "\n".join(state["value"] for state in states if state["_model_name"] == "HTMLModel")

    @property
    def picture(self):
        """The address of the large picture, which holds its pixels."""
        return re.search(r'<img src="([^"]*)" alt="[^"]+" width="320"', self.html).group(1)

    def expect(self, words):
        self.front_end.wait_until(lambda: words in re.search(r'role="status"[^>]*>(.*)</div>', self.html)[1])


@pytest.fixture(scope="module")
def kernel():
    assert not MISSING, MISSING
    manager = KernelManager(kernel_name="python3")
    path = os.pathsep.join([str(OLD), str(TESTS), os.environ["PYTHONPATH"]])
    manager.start_kernel(env={**os.environ, "PYTHONPATH": path})
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=PATIENCE)
    front_end = FrontEnd(client)
    front_end.run(SETUP)
    yield front_end
    client.stop_channels()
    manager.shutdown_kernel(now=True)


@pytest.fixture(params=["threaded", "in Colab"])
def explorer(kernel, request):
    """With its worker thread, and without, as it chooses itself in Colab; no callback may have failed."""
    kernel.run(IN_COLAB if request.param == "in Colab" else "sys.modules.pop('google.colab', None)")
    explorer = Explorer(kernel)
    said, _ = kernel.run("print(explorer._latest.threaded)")
    assert said == str(request.param == "threaded")
    yield explorer
    assert kernel.failures == []


def test_the_versions_are_old(kernel):
    said, _ = kernel.run(
        "import IPython, ipykernel, ipywidgets\n"
        "print(IPython.__version__, ipykernel.__version__, ipywidgets.__version__)"
    )
    assert said == "7.34.0 6.17.1 7.7.1"


def test_the_first_picture_is_shown(explorer):
    explorer.expect("finished: a cat · scale 5")
    assert explorer.picture.startswith("data:image/png;base64,")


def test_a_moved_slider_draws_and_the_last_move_wins(explorer):
    before = explorer.picture
    for scale in (6.0, 7.5, 9.0):
        explorer.change("Guidance scale", scale)
    explorer.expect("finished: a cat · scale 9")
    assert explorer.picture != before
    same, _ = explorer.front_end.run("print(explorer.image == render(pipe, explorer.settings))")
    assert same == "True"


def test_a_negative_prompt_and_another_scheduler_draw(explorer):
    explorer.change("Negative prompt", "a hat")
    explorer.expect("finished: a cat, not a hat")
    explorer.front_end.change(explorer.find("Scheduler"), index=1)
    explorer.expect("· ddim")


def test_buttons_do_what_they_say(explorer):
    explorer.change("Seed", 3)
    explorer.expect("finished: a cat · scale 5 · 12 steps · seed 3")
    explorer.click("As code")
    explorer.front_end.wait_until(lambda: "sdcourse.text_to_image(" in explorer.html)
    explorer.click("Another seed")
    explorer.front_end.wait_until(lambda: explorer.value("Seed") not in (0, 3))
    explorer.expect(f"finished: a cat · scale 5 · 12 steps · seed {explorer.value('Seed')}")


def test_the_history_brings_settings_back(explorer):
    explorer.change("Guidance scale", 2.0)
    explorer.expect("finished: a cat · scale 2")
    explorer.front_end.wait_until(lambda: explorer.html.count('width="80"') == 2)
    explorer.click("scale 5")
    explorer.expect("finished: a cat · scale 5")
    assert explorer.value("Guidance scale") == 5.0


def test_a_saved_picture_is_loaded_and_loaded_again(explorer, tmp_path):
    from PIL import Image

    from sdcourse.images import save_image

    settings = {"prompt": "a dog", "guidance_scale": 3.0, "num_inference_steps": 3, "seed": 4}
    file = save_image(Image.new("RGB", (8, 8)), tmp_path / "a.png", info=settings_info(settings))
    for counter in (1, 2):
        explorer.front_end.change(
            explorer.find("Load"),
            metadata=[{"name": "a.png", "type": "image/png", "size": 8, "lastModified": 0}],
            data=[None],
            _counter=counter,
            buffer_paths=[["data", 0]],
            buffers=[file.read_bytes()],
        )
        explorer.expect("finished: a dog · scale 3 · 3 steps · seed 4")
        explorer.change("Prompt", "a cat")
        explorer.expect("finished: a cat · scale 3")


def test_an_error_is_said_and_the_next_change_works(explorer):
    explorer.front_end.run(BREAK)
    explorer.change("Seed", 1)
    explorer.expect("MemoryError: out of memory")
    explorer.front_end.run("pipe.unet.forward = forward")
    explorer.change("Seed", -1)
    explorer.expect("seed is -1: it must be 0 to")
    explorer.change("Seed", 2)
    explorer.expect("finished: a cat · scale 5 · 12 steps · seed 2")


@pytest.mark.parametrize(
    "other",
    [
        "GuidanceSweep(pipe, (1, 3), num_inference_steps=2)",
        "NegativePromptLab(pipe, num_inference_steps=2)",
        "TrajectoryViewer(pipe, num_inference_steps=2)",
        "XYGrid(pipe, x_values=(1, 3), y_values=(0, 1), num_inference_steps=2)",
    ],
)
def test_the_others_show_their_pictures(kernel, other):
    kernel.run("sys.modules.pop('google.colab', None)")
    _, box = kernel.run(f"other = {other}\nassert other.wait(60)\nother")
    html = "".join(str(kernel.state[widget].get("value", "")) for widget in kernel.inside(box))
    assert html.count("<img") >= 2 and kernel.failures == []
    assert kernel.run("print(other.last_error)")[0] == "None"
