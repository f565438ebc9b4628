"""JupyterLab in a headless Chromium: for the tests of the widgets, and for benchmarks/widget_latency.py."""

import base64
import importlib.util
import io
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
import numpy as np
from PIL import Image

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tools"))
from build_notebooks import METADATA, build, kernel_environment  # noqa: E402

try:
    from playwright.sync_api import Browser, Locator, expect, sync_playwright
except ModuleNotFoundError:  # then missing() says so
    Browser = Locator = expect = sync_playwright = None

PATIENCE = 120  # seconds: a busy machine is no failure
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
SUBSHELLS = "commsOverSubshells"  # JupyterLab's setting: widgets' messages in a thread of the kernel, or not
SETTINGS_OF_KERNELS = "@jupyterlab/apputils-extension/kernels-settings.jupyterlab-settings"

# JupyterLab warns about each of its plugins that starts late.
OF_A_BUSY_MACHINE = re.compile(
    r"^Plugin \S+ (\(with \d+ dependants\) took [\d.]+ms|is taking too long) to activate"
)

RUN_ALL = "void window.jupyterapp.commands.execute('notebook:run-all-cells')"
NOTEBOOK = "window.jupyterapp?.shell.currentWidget"  # nothing yet while the page loads
KERNEL = f"{NOTEBOOK}.sessionContext.session.kernel"
IS_OPEN = f"""() => {NOTEBOOK}?.context?.isReady && {NOTEBOOK}.content.model.cells.length > 0
    && window.jupyterapp.commands.isEnabled('notebook:run-all-cells')"""
IS_IDLE = f"() => {NOTEBOOK}?.sessionContext?.session?.kernel?.status === 'idle'"
READ = f"() => {NOTEBOOK}.content.model.sharedModel.toJSON()"
HAS_RUN = f"""() => {{
    const cells = ({READ})().cells.filter(cell => cell.cell_type === 'code');
    const failed = cells.some(cell => cell.outputs.some(output => output.output_type === 'error'));
    return failed || cells.every(cell => cell.execution_count);
}}"""
EXECUTE = f"""async code => {{
    const future = {KERNEL}.requestExecute({{ code, store_history: false }});
    let said = '';
    future.onIOPub = message => {{
        const {{ text, ename, evalue }} = message.content;
        said += message.header.msg_type === 'stream' ? text : ename ? `${{ename}}: ${{evalue}}` : '';
    }};
    const reply = await future.done;
    return [reply.content.status, said];
}}"""


def missing() -> str:
    """What these tests lack here, in one sentence; empty if nothing."""
    if importlib.util.find_spec("playwright") is None:
        return "The package playwright is not installed: `make test` installs it."
    if chromium() is None:
        return "There is no Chromium: `.ci/install-debian-packages` installs it."
    return ""


def chromium() -> str | None:
    return next(filter(None, map(shutil.which, CHROMIUMS)), None)


def write_notebook(path: Path, *cells: str) -> None:
    """A notebook of these code cells."""
    cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=METADATA), path)


def write_lesson(path: Path, number: str) -> nbformat.NotebookNode:
    """The notebook of a lesson, without outputs."""
    [source] = (ROOT / "lessons").glob(f"{number}_*.py")
    notebook = build(source)
    nbformat.write(notebook, path)
    return notebook


@contextmanager
def jupyterlab(folder: Path, subshells: bool = True) -> Iterator[str]:
    """A server whose files lie in `folder`/notebooks; gives the address to open, token and all.

    It has no settings but those of `sdcourse lab`, its kernels have no network, and it ends with its kernels.

    Args:
        subshells: as JupyterLab has it by default; False runs the widgets' callbacks on the kernel's main
            thread, when no cell runs, as other programs do.
    """
    (folder / "notebooks").mkdir(exist_ok=True)
    if not subshells:
        file = folder / "settings" / SETTINGS_OF_KERNELS
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps({SUBSHELLS: "disabled"}))
    environment = {
        **kernel_environment(),
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_CONFIG_PATH": str(ROOT / "sdcourse" / "cli" / "jupyter"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += ["--ServerApp.ip=127.0.0.1", "--ServerApp.port=0"]  # a free port
    command += [f"--ServerApp.root_dir={folder / 'notebooks'}", "--LabApp.expose_app_in_browser=True"]
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        info = _wait_for_server(server, folder)
        yield f"{info['url']}lab/tree/{{}}?reset&token={info['token']}"
    finally:
        server.terminate()  # it ends its kernels first
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()


def _wait_for_server(server: subprocess.Popen, folder: Path) -> dict:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and server.poll() is None:
        for file in (folder / "runtime").glob("jpserver-*.json"):
            try:
                return json.loads(file.read_text())
            except json.JSONDecodeError:  # it is being written
                pass
        time.sleep(0.1)
    raise RuntimeError(f"JupyterLab did not start:\n{(folder / 'server.log').read_text()[-3000:]}")


@contextmanager
def browser() -> "Iterator[Browser]":
    """A fresh Chromium."""
    expect.set_options(timeout=PATIENCE * 1000)
    with sync_playwright() as playwright:
        chrome = playwright.chromium.launch(executable_path=chromium())
        yield chrome
        chrome.close()


class Notebook:
    """A page of the browser, for a notebook. As a context manager it closes the page.

    Attributes:
        page: Playwright's page.
        requests: the addresses that it asked for, web sockets too.
        complaints: warnings and errors on its console, and exceptions that nobody caught.
    """

    def __init__(self, chrome: "Browser"):
        self.requests, self.complaints = [], []
        self.page = chrome.new_page(viewport={"width": 1400, "height": 1000})
        self.page.set_default_timeout(PATIENCE * 1000)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("websocket", lambda socket: self.requests.append(socket.url))
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def __enter__(self) -> "Notebook":
        return self

    def __exit__(self, *exception) -> None:
        self.page.close()

    def _hear(self, message):
        if message.type in ("warning", "error") and not OF_A_BUSY_MACHINE.search(message.text):
            self.complaints.append(f"{message.type}: {message.text}")

    def open(self, address: str) -> None:
        """Until its kernel is ready."""
        self.page.goto(address)
        self.page.wait_for_function(IS_OPEN)
        self.page.wait_for_function(IS_IDLE)

    def run_all(self) -> None:
        """Start all cells; `wait_until_run` waits for them."""
        self.page.evaluate(RUN_ALL)

    def wait_until_run(self, seconds: float = PATIENCE) -> None:
        """Until all cells have run, or one has failed."""
        self.page.wait_for_function(HAS_RUN, timeout=seconds * 1000)
        self.page.wait_for_function(IS_IDLE, timeout=seconds * 1000)

    def read(self) -> nbformat.NotebookNode:
        """As it stands in the browser, with its outputs."""
        return nbformat.from_dict(self.page.evaluate(READ))

    def execute(self, code: str) -> str:
        """Run code in the kernel, as a cell would that is not there; gives what it prints."""
        status, said = self.page.evaluate(EXECUTE, code)
        assert status == "ok", said
        return said

    def cell(self, number: int) -> "Locator":
        """The outputs of a cell, counted from 0."""
        return self.page.locator(".jp-Cell").nth(number).locator(".jp-OutputArea")


def pixels(picture: "Locator") -> np.ndarray:
    """What an `<img>` shows, (height, width, 3), from the data in its address."""
    data = picture.get_attribute("src").split("base64,")[1]
    return np.array(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


def is_local(address: str) -> bool:
    """Whether asking for this address leaves the machine alone."""
    scheme, _, rest = address.partition(":")
    return scheme in ("data", "blob") or rest.startswith(("//127.0.0.1:", "//localhost:"))
