"""What a person sees who types the two commands that a search ends with, in a real browser.

SCREENSHOTS is a folder for pictures, SEARCH another search to take them of (without --out each
test makes its own). The pictures of the documentation anew:

    SCREENSHOTS=docs/pictures SEARCH="--trials 20 --out $(mktemp -d)" \\
        .venv/bin/python -m pytest tests/e2e/test_browser.py
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from contextlib import closing, contextmanager
from pathlib import Path

import optuna
import pytest
from selenium import webdriver
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    StaleElementReferenceException,
    TimeoutException,
)
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # What a page takes from elsewhere is not there for a user without network either.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--window-size=1600,1000",
]
# A page that is still being drawn: look again.
NOT_YET = [
    ElementClickInterceptedException,
    ElementNotInteractableException,
    StaleElementReferenceException,
]
WAIT_SECONDS = 60

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER),
    reason="no browser here: apt-get install chromium chromium-driver",
)


@pytest.fixture
def search(command, small, tmp_path):
    """A finished study, and the commands that it says are next."""
    pictured = shlex.split(os.environ.get("SEARCH", ""))
    done = command(*(pictured or ["--trials", 6, *small]), timeout=1800)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.partition("\nNext:\n")[2].splitlines()
    dashboard, mlflow = (shlex.split(line) for line in lines)
    [name] = optuna.get_all_study_names(_storage(dashboard, tmp_path))
    study = optuna.load_study(study_name=name, storage=_storage(dashboard, tmp_path))
    return study, dashboard, mlflow


def _storage(dashboard, folder):
    """The storage's URL as seen from here: the command was typed in another folder."""
    return f"sqlite:///{folder / dashboard[-1].removeprefix('sqlite:///')}"


@contextmanager
def served(command, folder):
    """A server as the user starts it, on a port of its own; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--port", str(port)],
            cwd=folder,
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + WAIT_SECONDS
        while not _answers(port):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        # Its workers are of its group; asked to end, MLflow's take ten seconds.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


class Browser:
    """Chromium, and what a person does with it: look, click, wait until something is there."""

    def __init__(self, driver, pictures):
        self.driver = driver
        self.pictures = pictures

    def find(self, xpath, act=lambda element: element.is_displayed()):
        """Wait for an element that can be seen, and on which `act` succeeds."""
        wait = WebDriverWait(self.driver, WAIT_SECONDS, ignored_exceptions=NOT_YET)

        def found(driver):
            return any(
                act(element) is not False for element in driver.find_elements("xpath", xpath)
            )

        try:
            wait.until(found)
        except TimeoutException:
            self.save_picture("missing.png")
            text = self.driver.find_element("tag name", "body").text
            pytest.fail(f"{xpath} is not on the page {self.driver.current_url}: {text}")

    def find_text(self, text):
        self.find(f"//*[normalize-space()='{text}']")

    def click(self, xpath):
        self.find(xpath, act=lambda element: element.click())

    def cell(self, run_id, column):
        """A cell of MLflow's table, which has what is scrolled out of sight too."""
        css = f"[row-id='{run_id}'] [col-id='{column}']"
        self.find(f"//*[@row-id='{run_id}']//*[@col-id='{column}']")
        return self.driver.find_element("css selector", css).get_attribute("textContent")

    def save_picture(self, name):
        self.driver.save_screenshot(str(self.pictures / name))


@pytest.fixture
def browser(tmp_path):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in [*FLAGS, f"--user-data-dir={tmp_path / 'browser'}"]:
        options.add_argument(flag)
    pictures = Path(os.environ.get("SCREENSHOTS", tmp_path)).resolve()
    pictures.mkdir(parents=True, exist_ok=True)
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        yield Browser(driver, pictures)
    finally:
        driver.quit()


def test_the_dashboard_shows_the_study_and_its_best_trial(search, browser, tmp_path):
    study, dashboard, _ = search
    best = study.best_trial
    browser.driver.set_window_size(1400, 1690)  # the page as far as the best trial
    with served(dashboard, tmp_path) as address:
        browser.driver.get(address)
        browser.click(f"//a[contains(., '{study.study_name}')]")
        browser.find_text(f"{study.study_name} (id={study._study_id})")
        browser.find_text(f"Best Trial (number={best.number})")
        browser.find_text(as_javascript(best.value))
        # The charts are drawn one by one.
        browser.find("//*[name()='svg']//*[text()='Hyperparameter']")
        browser.find("//*[name()='svg']//*[text()='Datetime']")
        browser.save_picture("dashboard.png")


def test_mlflow_shows_a_run_of_the_study_and_in_it_one_per_trial(search, browser, tmp_path):
    study, _, mlflow = search
    name, trials = study.study_name, study.get_trials(deepcopy=False)
    with served(mlflow, tmp_path) as address:
        wait_until_sent(mlflow[-1].removeprefix("sqlite:///"), name)
        browser.driver.get(address)
        browser.click("//*[text()='Model training']")
        browser.click("//a[normalize-space()='title-search']")
        browser.click("//button[@aria-label='Close']")  # the assistant's panel
        browser.find_text(f"{len(trials) + 1} matching runs")
        parent = f"//*[@role='gridcell'][.//a[normalize-space()='{name}']]"
        browser.click(f"{parent}//button")
        choose_columns(browser)
        for trial in trials:
            link = f"//a[normalize-space()='trial {trial.number}']"
            browser.find(link, act=lambda element: None)
            run_id = browser.driver.find_element("xpath", link).get_attribute("href")[-32:]
            assert browser.cell(run_id, "metrics.`value`") == as_javascript(trial.value)
        browser.save_picture("mlflow.png")


def choose_columns(browser):
    """Metrics and parameters in place of what is empty or the same for every trial."""
    browser.click("//button[@data-testid='column-selection-dropdown']")
    hidden = ["Dataset", "Source", "Models"]
    metrics = ["best_balanced_accuracy", "value", "loss"]
    for column in [*hidden, *metrics, "batch_size", "dropout", "learning_rate"]:
        browser.click(f"//*[@title='{column}']")
    browser.driver.switch_to.active_element.send_keys(Keys.ESCAPE)


def wait_until_sent(database, study_name):
    """A search does not wait for MLflow longer than 10 seconds: the rest is sent after its end."""
    query = "SELECT status FROM runs WHERE name = ?"
    deadline = time.monotonic() + WAIT_SECONDS
    with closing(sqlite3.connect(database)) as connection:
        while connection.execute(query, [study_name]).fetchall() != [("FINISHED",)]:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def as_javascript(value):
    """A number as a web page writes it: 1 for 1.0."""
    return repr(value).removesuffix(".0")
