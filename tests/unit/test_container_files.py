"""What can be said of the container files without an engine."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
# The oldest version that the README there promises.
KUBERNETES_VERSION = "1.33"
ONE_SHOT = {"secrets", "init"}
WORKERS = ["study", "worker"]
FILES = ["Dockerfile", "docker-compose.yml", "docker-compose.gpu.yml", ".env.example"]


def compose_file(name: str = "docker-compose.yml") -> dict:
    return yaml.safe_load((ROOT / name).read_text())


SERVICES = compose_file()["services"]


def manifests() -> dict[str, dict]:
    paths = sorted(KUBERNETES.glob("*.yaml"))
    found = {path.name: yaml.safe_load(path.read_text()) for path in paths}
    del found["kustomization.yaml"]
    return found


def pod(manifest: str) -> dict:
    return manifests()[manifest]["spec"]["template"]["spec"]


def test_the_linter_finds_nothing_in_the_dockerfile():
    linter = Path(sys.executable).with_name("hadolint")
    result = subprocess.run([linter, ROOT / "Dockerfile"], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "")


def test_the_dockerfile_keeps_to_what_older_buildkits_understand():
    text = (ROOT / "Dockerfile").read_text()
    assert "# syntax=" not in text
    assert "<<" not in text


def test_the_build_context_holds_only_what_the_image_runs():
    rules = (ROOT / ".dockerignore").read_text().split("\n")
    assert "*" in rules
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    assert allowed == {
        "requirements.lock", "studies.py", "search", "prediction", "models", "data_utils",
        "deploy/compose",
    }  # fmt: skip


@pytest.mark.parametrize("files", [[], ["docker-compose.gpu.yml"]], ids=["plain", "gpu"])
def test_compose_accepts_its_files(files):
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "compose", "version"], capture_output=True).returncode
    ):
        pytest.skip("docker compose is not installed")
    arguments = [word for name in ["docker-compose.yml", *files] for word in ("-f", ROOT / name)]
    result = subprocess.run(
        ["docker", "compose", *arguments, "config", "--quiet"], capture_output=True, text=True
    )
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_limits_and_bounded_logs(name):
    service = SERVICES[name]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    assert service["logging"]["driver"] == "json-file"
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_locked_down(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert "user" not in service  # the image's own, which is not root


@pytest.mark.parametrize("name", sorted(set(SERVICES) - ONE_SHOT))
def test_a_long_running_service_is_watched_and_started_again(name):
    service = SERVICES[name]
    assert service["healthcheck"]["test"]
    assert service["restart"].startswith("on-failure" if name in WORKERS else "unless-stopped")
    # Docker's own 10 s would cut a checkpoint or a shutdown of the database short.
    assert service["stop_grace_period"] in ("30s", "60s")


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_has_a_minute_for_its_last_checkpoint(name):
    assert SERVICES[name]["stop_grace_period"] == "60s"


def test_ports_are_published_on_localhost_alone():
    ports = {port for service in SERVICES.values() for port in service.get("ports", [])}
    assert len(ports) == 2
    assert all(re.fullmatch(r"127\.0\.0\.1:\$\{[A-Z]+_PORT:-\d+\}:\d+", port) for port in ports)


def test_no_file_holds_a_password():
    for name in FILES + [f"deploy/kubernetes/{path}" for path in manifests()]:
        text = (ROOT / name).read_text()
        assert not re.search(r"(?mi)^[ #-]*\w*password *[:=] *[\"']?\w", text), name
        assert not re.search(r"://[^/\s@]+:[^/\s@]+@", text), name


def test_the_password_reaches_only_the_service_that_keeps_it():
    knowing = {name for name in SERVICES if "${POSTGRES_PASSWORD" in str(SERVICES[name])}
    assert knowing == {"secrets"}
    assert SERVICES["secrets"]["environment"]["POSTGRES_PASSWORD"] == "${POSTGRES_PASSWORD:-}"


def test_the_example_settings_are_those_that_compose_reads():
    read = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text()))
    offered = set(re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.M))
    assert offered == read


def test_the_example_settings_change_nothing():
    lines = (ROOT / ".env.example").read_text().splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == []


def test_the_study_and_its_workers_agree_on_its_name():
    names = {re.search(r"--study (\S+)", SERVICES[name]["command"])[1] for name in WORKERS}
    assert names == {"${STUDY:-${MODEL:-mlp}-search}"}


def test_the_gpu_file_changes_only_the_workers():
    services = compose_file("docker-compose.gpu.yml")["services"]
    assert sorted(services) == WORKERS
    for service in services.values():
        (device,) = service["deploy"]["resources"]["reservations"]["devices"]
        assert device["capabilities"] == ["gpu"]


@pytest.mark.parametrize("name", manifests())
def test_kubernetes_accepts_a_manifest(name):
    kubernetes_validate.validate(manifests()[name], KUBERNETES_VERSION, strict=True)


def test_the_schema_check_finds_a_misspelt_field():
    manifest = manifests()["workers.yaml"]
    manifest["spec"]["paralellism"] = 8
    with pytest.raises(kubernetes_validate.ValidationError, match="paralellism"):
        kubernetes_validate.validate(manifest, KUBERNETES_VERSION, strict=True)


@pytest.mark.parametrize("name", ["launch.yaml", "workers.yaml"])
def test_a_pod_is_locked_down_and_limited(name):
    spec = pod(name)
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["automountServiceAccountToken"] is False
    for container in spec["containers"] + spec.get("initContainers", []):
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert set(container["resources"]["limits"]) == {"cpu", "memory"}


@pytest.mark.parametrize("name", ["launch.yaml", "workers.yaml"])
def test_a_pod_gets_its_storage_from_the_secret(name):
    for container in pod(name)["containers"]:
        assert {"secretRef": {"name": "title-search-storage"}} in container["envFrom"]
        own = {variable["name"] for variable in container.get("env", [])}
        assert own <= {"TITLE_SEARCH_LAUNCH"}
        assert not any("value" in variable for variable in container.get("env", []))


@pytest.mark.parametrize("name", ["launch.yaml", "workers.yaml"])
def test_a_pod_has_a_minute_for_its_last_checkpoint(name):
    assert pod(name)["terminationGracePeriodSeconds"] == 60


def test_the_workers_are_an_indexed_job():
    spec = manifests()["workers.yaml"]["spec"]
    assert spec["completionMode"] == "Indexed"
    assert spec["completions"] == spec["parallelism"]


def test_a_launch_that_compose_restarts_has_the_name_of_its_container(tmp_path):
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$TITLE_SEARCH_LAUNCH" "$@"\n')
    python.chmod(0o755)
    # As compose does: variables first, then words.
    text = SERVICES["study"]["command"].replace("${ARGS:-}", "--set 'a b=\"c\"'")
    text = re.sub(r"\$\{[A-Z]+:-([^{}$]*)\}", r"\1", text)
    text = re.sub(r"\$\{[A-Z]+:-([^{}$]*)\}", r"\1", text).replace("$$", "$")
    said = [
        subprocess.run(
            shlex.split(text),
            env={"PATH": f"{tmp_path}:/usr/bin:/bin", "HOSTNAME": name},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        for name in ("0123456789ab", "0123456789ab", "ba9876543210")
    ]
    assert [lines[0] for lines in said] == ["0123456789ab", "0123456789ab", "ba9876543210"]
    assert said[0][1:4] == ["studies.py", "--model", "mlp"]
    assert said[0][-2:] == ["--set", 'a b="c"']


def test_the_pods_of_a_launch_share_the_name_of_their_job():
    (launch,) = pod("launch.yaml")["containers"]
    (variable,) = launch["env"]
    path = "metadata.labels['batch.kubernetes.io/controller-uid']"
    assert variable == {
        "name": "TITLE_SEARCH_LAUNCH",
        "valueFrom": {"fieldRef": {"fieldPath": path}},
    }


def test_pods_run_as_the_user_of_the_image():
    user = re.search(r"^USER (\d+):(\d+)$", (ROOT / "Dockerfile").read_text(), re.M)
    for name in ("launch.yaml", "workers.yaml"):
        context = pod(name)["securityContext"]
        assert (str(context["runAsUser"]), str(context["runAsGroup"])) == user.groups()


@pytest.mark.parametrize(
    ("service", "manifest"), [("study", "launch.yaml"), ("worker", "workers.yaml")]
)
def test_kubernetes_gives_the_same_options_as_compose(service, manifest):
    arguments = " ".join(pod(manifest)["containers"][0]["args"])
    assert set(re.findall(r"--[a-z-]+", arguments)) == set(
        re.findall(r"--[a-z-]+", SERVICES[service]["command"])
    )
