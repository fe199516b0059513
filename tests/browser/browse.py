"""Opens a page in Chromium (Qt WebEngine) in a process of its own: `python browse.py` with a job as JSON on standard
input, its findings as JSON on standard output.

job: {"url", "dark", "size": [width, height], "steps": [step, ...]}.  A step is JavaScript whose value is kept,
"shot:PATH", a picture of what is to be seen, or "key:NAME", a key pressed and released.
findings: {"loaded", "console", "requests", "values"}.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

PAUSE_MS = 250
LIMIT_MS = 60_000


def main() -> None:
    job = json.load(sys.stdin)
    scheme = 0 if job["dark"] else 1
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    os.environ["QTWEBENGINE_DISABLE_SANDBOX"] = "1"
    os.environ["QTWEBENGINE_CHROMIUM_FLAGS"] = (
        f"--disable-gpu --disable-dev-shm-usage --blink-settings=preferredColorScheme={scheme}"
    )
    print(json.dumps(browse(job)))


def browse(job: dict[str, Any]) -> dict[str, Any]:
    from PySide6.QtCore import Qt, QTimer, QUrl
    from PySide6.QtTest import QTest
    from PySide6.QtWebEngineCore import QWebEnginePage, QWebEngineProfile, QWebEngineUrlRequestInterceptor
    from PySide6.QtWebEngineWidgets import QWebEngineView
    from PySide6.QtWidgets import QApplication

    found: dict[str, Any] = {"loaded": False, "console": [], "requests": [], "values": []}

    class Requests(QWebEngineUrlRequestInterceptor):
        def interceptRequest(self, info: Any) -> None:
            found["requests"].append(info.requestUrl().toString()[:200])

    class Page(QWebEnginePage):
        def javaScriptConsoleMessage(self, level: Any, message: str, line: int, source: str) -> None:
            found["console"].append(f"{level.name} {source[-40:]}:{line}: {message}")

    app = QApplication([])
    profile = QWebEngineProfile()
    requests = Requests()
    profile.setUrlRequestInterceptor(requests)
    view = QWebEngineView()
    page = Page(profile, view)
    view.setPage(page)
    view.resize(*job["size"])
    view.show()
    steps = iter(job["steps"])

    def kept(value: Any) -> None:
        found["values"].append(value)
        QTimer.singleShot(PAUSE_MS, step)

    def shoot(path: str, tries: int = 40) -> None:
        """Chromium paints when it is ready: wait until there is something to see, and then once more."""
        image = view.grab().toImage()
        if tries and plain(image):
            QTimer.singleShot(PAUSE_MS, lambda: shoot(path, tries - 1))
        elif tries > 1:
            QTimer.singleShot(PAUSE_MS, lambda: shoot(path, 1))
        else:
            image.save(path)
            step()

    def step() -> None:
        script = next(steps, None)
        if script is None:
            app.quit()
        elif script.startswith("shot:"):
            shoot(script[5:])
        elif script.startswith("key:"):
            QTest.keyClick(view.focusProxy(), getattr(Qt.Key, f"Key_{script[4:]}"))
            QTimer.singleShot(PAUSE_MS, step)
        else:
            page.runJavaScript(f"{{ {script} }}", kept)  # a block: constants are the step's own

    def loaded(good: bool) -> None:
        found["loaded"] = good
        QTimer.singleShot(PAUSE_MS, step)

    page.loadFinished.connect(loaded)
    view.load(QUrl(job["url"]))
    QTimer.singleShot(LIMIT_MS, app.quit)
    app.exec()
    return found


def plain(image: Any) -> bool:
    """Whether a picture has one colour only, at a grid of points."""
    columns, rows = range(0, image.width(), 7), range(0, image.height(), 7)
    return len({image.pixel(x, y) for y in rows for x in columns}) < 2


if __name__ == "__main__":
    main()
