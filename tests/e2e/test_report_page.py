"""The report as its reader meets it: a file opened in a real browser, without any network.

SCREENSHOTS is a folder for pictures, SEARCH another search to take them of, as in
test_browser.py.
"""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

import optuna
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND",
]
DESK, PHONE = 1200, 390

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER),
    reason="no browser here: apt-get install chromium chromium-driver",
)


@pytest.fixture
def report(command, small, tmp_path):
    """A study and the page that its report is."""
    pictured = shlex.split(os.environ.get("SEARCH", ""))
    searched = command(*(pictured or ["--trials", 6, *small]), timeout=1800)
    assert searched.returncode == 0, searched.stderr
    out = pictured[pictured.index("--out") + 1] if "--out" in pictured else "runs"
    written = command("report", "--out", out, "--seeds", 2, "--top", 2, timeout=1800)
    assert written.returncode == 0, written.stderr
    storage = f"sqlite:///{tmp_path / out / 'optuna.db'}"
    [name] = optuna.get_all_study_names(storage)
    study = optuna.load_study(study_name=name, storage=storage)
    return study, tmp_path / written.stdout.strip()


@pytest.fixture
def open_page(tmp_path):
    """Open a file as wide as a desk's window or a phone, light or dark."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in [*FLAGS, f"--user-data-dir={tmp_path / 'browser'}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))

    def open_at(file, *, width=DESK, scheme="light"):
        size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": width < 500}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        wish = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", wish)
        driver.get(file.as_uri())
        return driver

    try:
        yield open_at
    finally:
        driver.quit()


def picture(driver, name):
    if "SCREENSHOTS" in os.environ:
        driver.save_screenshot(str(Path(os.environ["SCREENSHOTS"]).resolve() / name))


# One test of several claims: each would take a search of its own.
def test_the_report_names_the_best_trial_offline_on_desk_and_phone_in_light_and_dark(
    report, open_page
):
    study, file = report
    trials = study.get_trials(deepcopy=False)
    best = max(trials, key=lambda t: (t.state.name == "COMPLETE", t.value, -t.number))
    charts, colours = {}, {}
    for width, scheme, name in (
        (DESK, "light", "report-desk.png"),
        (DESK, "dark", "report-dark.png"),
        (PHONE, "light", "report-phone.png"),
    ):
        page = open_page(file, width=width, scheme=scheme)
        text = page.find_element("tag name", "header").text
        assert study.study_name in text
        assert f"best value, trial {best.number}\n{best.value:.4f}" in text
        # Nothing was asked for, nothing was refused, and nothing sticks out.
        assert page.execute_script("return performance.getEntriesByType('resource').length") == 0
        assert page.get_log("browser") == []
        assert page.execute_script("return document.documentElement.scrollWidth") == width
        drawn = page.find_elements("css selector", "#history svg")
        charts[width] = [chart.is_displayed() for chart in drawn]
        colours[width, scheme] = [
            page.find_element("css selector", css).value_of_css_property(what)
            for css, what in (("body", "background-color"), ("#history svg text", "fill"))
        ]
        picture(page, name)
    assert charts == {DESK: [True, False], PHONE: [False, True]}
    light, dark = colours[DESK, "light"], colours[DESK, "dark"]
    assert all(a != b for a, b in zip(light, dark, strict=True))
