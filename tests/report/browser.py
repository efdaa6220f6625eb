"""Headless Chromium over its debugging pipe: no driver, no port, nothing to install beside the browser.

https://chromedevtools.github.io/devtools-protocol/ : messages are JSON, each ended by a zero byte.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
    "--disable-dev-shm-usage", "--remote-debugging-pipe",
)  # fmt: skip
PATIENCE = 60.0


class Browser:
    """One page at a time.

    What the browser complains of (console, exceptions, refused content) gathers in ``problems``, addresses that the
    page asks for in ``requests``.
    """

    def __init__(self, downloads: Path, width: int = 1280, height: int = 900) -> None:
        self.problems: list[str] = []
        self.requests: list[str] = []
        self._number, self._rest = 0, b""
        self._profile = tempfile.mkdtemp()
        there, self._out = os.pipe()
        self._in, back = os.pipe()

        def hand_over() -> None:  # the browser reads from 3 and writes to 4
            for fd, source in ((3, os.dup(there)), (4, os.dup(back))):
                os.dup2(source, fd)
                os.set_inheritable(fd, True)

        command = [
            CHROMIUM,
            *FLAGS,
            f"--user-data-dir={self._profile}",
            f"--window-size={width},{height}",
            "about:blank",
        ]
        self._process = subprocess.Popen(
            command,
            close_fds=False,
            preexec_fn=hand_over,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
        os.close(there)
        os.close(back)
        self._session = self._target = None
        self.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._out)
        self._process.terminate()
        self._process.wait()
        os.close(self._in)
        shutil.rmtree(self._profile, ignore_errors=True)

    def send(self, method: str, **parameters: object) -> dict:
        """Call a method of the protocol and wait for its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        rest = json.dumps(message).encode() + b"\0"
        while rest:
            rest = rest[os.write(self._out, rest) :]
        while (answer := self._receive()).get("id") != self._number:
            self._note(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def open(self, path: Path) -> None:
        """Open a file in a new tab, close the tab before, and wait until it has loaded."""
        self._session, before = None, self._target
        self._target = self.send("Target.createTarget", url="about:blank")["targetId"]
        if before:
            self.send("Target.closeTarget", targetId=before)
        session = self.send("Target.attachToTarget", targetId=self._target, flatten=True)["sessionId"]
        self._session = session
        self.problems.clear()
        self.requests.clear()
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")
        self.send("Page.navigate", url=path.as_uri())
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, script: str):
        """Value of a JavaScript expression; a promise is waited for."""
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def until(self, script: str):
        """Wait until an expression is true; its value."""
        end = time.monotonic() + PATIENCE
        while not (value := self.run(script)):
            assert time.monotonic() < end, f"in vain: {script}; {self.problems}"
            time.sleep(0.05)
        return value

    def mouse(self, kind: str, x: float, y: float, *, held: bool = False) -> None:
        """One of "Moved", "Pressed" and "Released"."""
        button = {"button": "left", "clickCount": 1} if kind != "Moved" else {"button": "none"}
        self.send("Input.dispatchMouseEvent", type=f"mouse{kind}", x=x, y=y, buttons=int(held), **button)

    def click(self, selector: str) -> None:
        """Bring an element into view and click into its middle, as a person would."""
        x, y = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect();"
            "return [r.x + r.width / 2, r.y + r.height / 2] })()"
        )
        self.mouse("Moved", x, y)
        self.mouse("Pressed", x, y, held=True)
        self.mouse("Released", x, y)

    def type(self, text: str, key: str = "Enter") -> None:
        """Type into what has the focus, then press a key."""
        self.send("Input.insertText", text=text)
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key)

    def screenshot(self) -> bytes:
        """What the window shows, as PNG."""
        return base64.b64decode(self.send("Page.captureScreenshot")["data"])

    def cpu_seconds(self) -> float:
        """Processor time of the browser's running processes, by Linux's /proc: however busy the machine is."""
        stats = [path.read_text().rpartition(")")[2].split() for path in Path("/proc").glob("[0-9]*/stat")]
        group = [fields for fields in stats if int(fields[2]) == self._process.pid]
        return sum(int(fields[11]) + int(fields[12]) for fields in group) / os.sysconf("SC_CLK_TCK")

    def _receive(self) -> dict:
        end = time.monotonic() + PATIENCE
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._in], [], [], max(0.0, end - time.monotonic()))
            part = os.read(self._in, 1 << 20) if ready else b""
            if not part:
                raise RuntimeError("the browser says nothing any more")
            self._rest += part
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)

    def _note(self, event: dict) -> None:
        method, facts = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(facts["exceptionDetails"])[:2000])
        elif method == "Runtime.consoleAPICalled" and facts["type"] in ("error", "warning", "assert"):
            self.problems.append(json.dumps(facts["args"])[:2000])
        elif method == "Log.entryAdded" and facts["entry"]["level"] in ("error", "warning"):
            if "GL Driver Message" not in facts["entry"]["text"]:  # software drawing says that it is slow
                self.problems.append(facts["entry"]["text"])
        elif method == "Network.requestWillBeSent" and not facts["request"]["url"].startswith(("data:", "blob:")):
            self.requests.append(facts["request"]["url"])
