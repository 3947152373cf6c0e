"""What a person sees who types what a search says is next, in a real browser.

docs/pictures/make.py takes its pictures so: SCREENSHOTS is a folder for them, SEARCH another
search, SEEDS how many new seeds its report trains.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import optuna
import pytest
from mlflow import MlflowClient
from optuna.trial import TrialState
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

from search.folders import OutputFolder

ROOT = Path(__file__).resolve().parent.parent.parent
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

pytestmark = [
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER),
        reason="no browser here: apt-get install chromium chromium-driver",
    ),
    # Of mlflow's own making, where its database is read.
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
]


SMALL = ["--sample", "3000", "--dim", "16", "--epochs", "2", "--trials", "8", "--workers", "4"]


@dataclass
class Search:
    """A finished search, and what it says is next."""

    folder: Path
    out: str
    study: optuna.Study
    dashboard: list[str]
    mlflow: list[str]
    runs_page: str

    @property
    def best(self):
        return self.study.best_trial


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    """By four workers, unless it is another search that is asked for."""
    folder = tmp_path_factory.mktemp("search")
    arguments = shlex.split(os.environ.get("SEARCH", "")) or SMALL
    environment = {"STORAGE_URL": "", "MLFLOW_TRACKING_URI": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(ROOT / "studies.py"), *arguments],
        cwd=folder,
        env={k: v for k, v in {**os.environ, **environment}.items() if v},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.partition("\nNext:\n")[2].splitlines()

    def line_with(word):
        return next(shlex.split(line) for line in lines if word in line)

    dashboard = line_with("studies.py dashboard")
    out = dashboard[dashboard.index("--out") + 1] if "--out" in dashboard else "runs"
    storage = OutputFolder(folder / out).storage_url
    [name] = optuna.get_all_study_names(storage)
    study = optuna.load_study(study_name=name, storage=storage)
    mlflow = line_with("mlflow ui")
    wait_until_sent(mlflow[-1].removeprefix("sqlite:///"), name)
    return Search(folder, out, study, dashboard, mlflow, line_with("#/experiments")[-1])


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

    def broken_pictures(self):
        """Addresses of the images that could not be drawn, once all are there or have failed."""
        all_done = "return [...document.images].every(i => i.complete)"
        WebDriverWait(self.driver, WAIT_SECONDS).until(lambda d: d.execute_script(all_done))
        script = "return [...document.images].filter(i => !i.naturalWidth).map(i => i.src)"
        return self.driver.execute_script(script)

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


def test_the_dashboard_shows_the_study_and_its_best_trial(search, browser):
    study, best = search.study, search.best
    browser.driver.set_window_size(1400, 1690)  # the page as far as the best trial
    with served(search.dashboard, search.folder) as address:
        browser.driver.get(address)
        browser.click(f"//a[contains(., '{study.study_name}')]")
        browser.find_text(f"{study.study_name} (id={study._study_id})")
        browser.find_text(f"Best Trial (number={best.number})")
        browser.find_text(as_javascript(best.value))
        # The charts are drawn one by one.
        browser.find("//*[name()='svg']//*[text()='Hyperparameter']")
        browser.find("//*[name()='svg']//*[text()='Datetime']")
        browser.save_picture("dashboard.png")

        browser.driver.get(f"{address}/dashboard/studies/{study._study_id}/note")
        browser.find_text(f"Trial {best.number}: {best.value:.4f}")
        browser.find_text("Search space")
        browser.save_picture("dashboard-note.png")

        pages = f"{address}/dashboard/studies/{study._study_id}/trials"
        browser.driver.get(f"{pages}?numbers={best.number}")
        browser.find_text("hardest-confusions.csv")
        browser.find(f"//*[contains(., 'name {best.user_attrs['name']}')]")
        # Those of the note and those of the list of files below it.
        browser.find("//img", act=lambda image: image.get_property("naturalWidth") > 0)
        assert browser.broken_pictures() == []
        browser.save_picture("dashboard-trial.png")


def test_mlflow_shows_a_run_of_the_study_and_in_it_one_per_trial(search, browser):
    name, trials = search.study.study_name, search.study.get_trials(deepcopy=False)
    with served(search.mlflow, search.folder) as address:
        browser.driver.get(search.runs_page.replace("http://127.0.0.1:5000", address))
        browser.find_text(f"{len(trials) + 1} matching runs")
        browser.find_text("Runs")  # and not "Training runs", as on the page for language models
        browser.click("//button[@aria-label='Close']")  # the assistant's panel
        parent = f"//*[@role='gridcell'][.//a[normalize-space()='{name}']]"
        browser.click(f"{parent}//button")
        choose_columns(browser)
        for trial in trials:
            link = f"//a[normalize-space()='trial {trial.number}']"
            browser.find(link, act=lambda element: None)
            run_id = browser.driver.find_element("xpath", link).get_attribute("href")[-32:]
            assert browser.cell(run_id, "metrics.`value`") == as_javascript(trial.value)
        browser.save_picture("mlflow.png")


def test_mlflow_has_a_run_for_each_trial_of_four_workers(search):
    """Each with its parameters, one point for each of its steps, and its end."""
    uri = search.mlflow[-1]
    client = MlflowClient(uri)
    found = client.search_runs([client.get_experiment_by_name("title-search").experiment_id])
    [parent] = [run for run in found if run.data.tags["kind"] == "study"]
    children = {int(r.data.tags["root"]): r for r in found if r.data.tags["kind"] == "trial"}
    trials = {t.number: t for t in search.study.get_trials(deepcopy=False)}
    assert children.keys() == trials.keys()
    status = {TrialState.COMPLETE: "FINISHED", TrialState.PRUNED: "KILLED"}
    for number, run in children.items():
        trial = trials[number]
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.info.status == status[trial.state]
        assert run.data.params == {name: str(value) for name, value in trial.params.items()}
        curve = client.get_metric_history(run.info.run_id, "balanced_accuracy")
        assert {point.step: point.value for point in curve} == trial.intermediate_values
        assert len(curve) == len(trial.intermediate_values)
    best = search.best
    assert parent.data.metrics["best_balanced_accuracy"] == best.value
    assert parent.data.tags["best_trial"] == str(best.number)
    assert f"Trial {best.number}: {best.value:.4f}" in parent.data.tags["mlflow.note.content"]
    files = {file.path for file in client.list_artifacts(children[best.number].info.run_id)}
    assert files == {"confusions.svg", "learning-curve.svg", "hardest-confusions.csv"}


def test_the_report_shows_the_best_trial(search, browser):
    seeds = ["--seeds", os.environ.get("SEEDS", "0")]
    report = [sys.executable, str(ROOT / "studies.py"), "report", "--to", "report.html", *seeds]
    done = subprocess.run(
        [*report, "--out", search.out],
        cwd=search.folder,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stderr
    browser.driver.set_window_size(1050, 1400)
    browser.driver.get((search.folder / "report.html").as_uri())
    browser.find(f"//*[normalize-space()='{search.best.value:.4f}']")
    browser.find(f"//*[contains(normalize-space(), 'trial {search.best.number}')]")
    assert browser.broken_pictures() == []
    errors = [e for e in browser.driver.get_log("browser") if e["level"] == "SEVERE"]
    assert errors == []
    browser.save_picture("report.png")


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
