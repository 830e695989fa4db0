"""A small matcher, films, and a real browser: chromium over its debugging pipe, without any further package."""

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)

# Chromium reads commands from descriptor 3 and answers on 4.
_START = """
import fcntl, os, sys
for end, number in zip([fcntl.fcntl(int(n), fcntl.F_DUPFD, 20) for n in sys.argv[1:3]], (3, 4)):
    os.dup2(end, number)
os.execvp(sys.argv[3], sys.argv[3:])
"""


class Browser:
    """One page of a headless chromium.

    Args:
        profile: Folder for the browser's own files.
        size: Width and height of the window in CSS pixels.
        dots: Device pixels in a CSS pixel.
    """

    def __init__(
        self, profile: Path, size: tuple[int, int] = (1280, 860), dots: float = 1.0
    ) -> None:
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        self._last, self._rest = 0, b""
        self.console: list[str] = []
        command = [
            CHROMIUM or "chromium",
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ]
        command += [f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"]
        ends = [str(to_browser), str(from_browser)]
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-c", _START, *ends, *command],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._session = None
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        self.send("Page.enable")
        self.send("Runtime.enable")
        self.send("Log.enable")
        self.send("Network.enable")
        self.resize(size, dots)

    def resize(self, size: tuple[int, int], dots: float = 1.0) -> None:
        """Give the window another size."""
        metrics = {
            "width": size[0],
            "height": size[1],
            "deviceScaleFactor": dots,
            "mobile": size[0] < 500,
        }
        self.send("Emulation.setDeviceMetricsOverride", **metrics)

    def open(self, path: Path) -> None:
        """Load a local file and wait until its script ran."""
        self.send("Page.navigate", url=path.resolve().as_uri())
        self.run(
            "new Promise(done => document.readyState === 'complete' ? done() : addEventListener('load', done))"
        )

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression, promises awaited."""
        answer = self.send(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(
                answer["exceptionDetails"]["exception"].get("description", "script failed")
            )
        return answer["result"].get("value")

    def mouse(self, kind: str, x: float, y: float) -> None:
        """`Moved`, `Pressed` or `Released` at a place of the window."""
        button = {} if kind == "Moved" else {"button": "left", "clickCount": 1}
        self.send("Input.dispatchMouseEvent", type=f"mouse{kind}", x=x, y=y, **button)

    def click(self, x: float, y: float) -> None:
        """Move, press and release."""
        for kind in ("Moved", "Pressed", "Released"):
            self.mouse(kind, x, y)

    def touch(self, kind: str, *points: tuple[float, float]) -> None:
        """`Start`, `Move` or `End` of a finger."""
        self.send(
            "Input.dispatchTouchEvent",
            type=f"touch{kind}",
            touchPoints=[{"x": x, "y": y} for x, y in points],
        )

    def key(self, key: str) -> None:
        """Press and release a key, by its DOM name."""
        text = {"text": "\r"} if key == "Enter" else {}
        code = {
            "Escape": 27,
            "Enter": 13,
            "Tab": 9,
            "ArrowUp": 38,
            "ArrowDown": 40,
            "ArrowLeft": 37,
            "ArrowRight": 39,
        }
        for kind in ("keyDown", "keyUp"):
            given = {
                "key": key,
                "windowsVirtualKeyCode": code.get(key, 0),
                **(text if kind == "keyDown" else {}),
            }
            self.send("Input.dispatchKeyEvent", type=kind, **given)

    def screenshot(self, path: Path) -> None:
        """The window as PNG."""
        path.write_bytes(
            base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"])
        )

    def close(self) -> None:
        """End the browser."""
        self._process.terminate()
        self._process.wait(timeout=20)
        os.close(self._write)
        os.close(self._read)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the browser's protocol and its answer; what the page logs meanwhile is kept."""
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._last:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self._note(answer)

    def _note(self, event: dict[str, Any]) -> None:
        """Keep errors, whatever the script says, and every request that leaves the page."""
        method, parameters = event.get("method"), event.get("params", {})
        logged = method == "Log.entryAdded" and parameters["entry"]["level"] == "error"
        if logged or method in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled"):
            self.console.append(json.dumps(parameters))
        if method == "Network.requestWillBeSent":
            url = parameters["request"]["url"]
            if not url.startswith(("data:", "file:")):
                self.console.append(f"requested {url}")

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            chunk = os.read(self._read, 1 << 16)
            if not chunk:
                raise RuntimeError("The browser ended.")
            self._rest += chunk
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """A headless chromium; what needs it is skipped where there is none."""
    if CHROMIUM is None:
        pytest.skip("needs chromium on the PATH (Debian: apt-get install chromium)")
    started = Browser(tmp_path_factory.mktemp("browser"))
    yield started
    started.close()


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> Path:
    """Weights of a tiny matcher that has learned nothing."""
    from crossray.models.matcher import MatcherConfig, MatcherNetwork
    from crossray.models.storage import save_network

    torch.manual_seed(7)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_network(path, MatcherNetwork(MatcherConfig.preset("tiny")), {"data": "none"})
    return path


@pytest.fixture
def limb():
    """A function that draws a film of a vertical limb: (rows, columns, axis of the limb as a share of the width)."""

    def draw(rows: int, columns: int, axis: float = 0.5) -> torch.Tensor:
        across = (torch.arange(columns) / columns - axis).abs()
        soft = 0.4 * (across < 0.25) + 0.4 * (across < 0.1)
        level = 0.5 + 0.5 * torch.sin(torch.arange(rows) / rows * 9)
        return soft[None, :] * (0.6 + 0.4 * level[:, None])

    return draw
