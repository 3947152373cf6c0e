"""Makes the pictures of the documentation from a real search: ``python docs/pictures/make.py``.

The terminal's picture is the live display, fed with the JSON events of that search; the others
are what Chromium shows of the same study. Needs the development tools, chromium and
chromium-driver. With 30 trials it takes some ten minutes.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import deque
from pathlib import Path
from typing import Any

from PIL import Image
from rich.console import Console
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from search.display.live import LiveProgress  # noqa: E402

PICTURES = Path(__file__).resolve().parent
COLUMNS, LINES = 100, 14
# What the display shows when this share of the trials is done.
SHOWN_AT = 0.7


class Recorded(LiveProgress):
    """The live display without a terminal: its last lines, and the panel below them."""

    def __init__(self) -> None:
        super().__init__(io.StringIO())
        self._console.width = COLUMNS
        self._last: deque[Any] = deque(maxlen=LINES)

    def _show(self, event: str, **facts: Any) -> None:
        line = self._line(event, facts)
        if line and event != "preparing":
            self._last.append(self._styled(line, facts))

    def as_svg(self, command: str) -> str:
        console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
        console.print(f"$ {command}", highlight=False)
        for line in self._last:
            console.print(line)
        console.print(self.panel())
        return console.export_svg(title="title-search")


def record(arguments: list[str]) -> str:
    """Run a search, and draw what its display showed when most of it was done."""
    shown = Recorded()
    command = [sys.executable, str(ROOT / "studies.py"), *arguments, "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    drawn = ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as search:
        assert search.stdout
        for line in search.stdout:
            event = json.loads(line)
            name = event.pop("event")
            for fact in ("time", "is_best"):
                event.pop(fact, None)
            if name != "closed":
                getattr(shown, name)(**event)
            view = shown.view
            is_far = view.n_trials and view.done >= SHOWN_AT * view.n_trials
            halfway = name == "evaluated" and event["step"] >= 4
            if is_far and halfway and not drawn:
                drawn = shown.as_svg("python studies.py --trials " + str(view.n_trials))
    assert search.returncode == 0
    return drawn or shown.as_svg("python studies.py --trials " + str(shown.view.n_trials))


def photograph(svg: str, picture: Path) -> None:
    """Draw an SVG picture with Chromium."""
    options = webdriver.ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(flag)
    page = picture.with_suffix(".html")
    page.write_text(f"<body style='margin:0'>{svg}</body>", "utf-8")
    options.binary_location = shutil.which("chromium") or ""
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        driver.get(page.as_uri())
        box = driver.execute_script(
            "const b = document.querySelector('svg').viewBox.baseVal; return [b.width, b.height]"
        )
        style = f"width:{box[0]}px;height:{box[1]}px"
        driver.execute_script(f"document.querySelector('svg').style = '{style}'")
        driver.set_window_size(int(box[0]) + 1, int(box[1]) + 140)
        driver.find_element("css selector", "svg").screenshot(str(picture))
    finally:
        driver.quit()
        page.unlink()


def shrink(picture: Path, *, width: int = 1400) -> None:
    """No more pixels than a page shows."""
    image = Image.open(picture).convert("RGB")
    if image.width > width:
        image = image.resize((width, round(image.height * width / image.width)))
    image.save(picture, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=30)
    trials = parser.parse_args().trials
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["--trials", str(trials), "--out", f"{folder}/runs"]
        photograph(record(arguments), PICTURES / "terminal.png")
        # The same command again adds no trial: it only says where to look.
        environment = {
            "SEEDS": "3",
            **os.environ,
            "SEARCH": " ".join(arguments),
            "SCREENSHOTS": str(PICTURES),
        }
        test = [sys.executable, "-m", "pytest", "-q", "tests/e2e/test_browser.py"]
        subprocess.run([*test, "-k", "not four_workers"], cwd=ROOT, env=environment, check=True)
    for picture in PICTURES.glob("*.png"):
        shrink(picture)
        print(f"{picture.name}: {picture.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
