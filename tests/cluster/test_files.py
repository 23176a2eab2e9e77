"""The cluster's files: Ray's own checks, and that all they name is there."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
FILES = ("cluster.yaml", "cluster-local.yaml")
LOCK = ROOT / "cluster" / "requirements.lock"
#: Commands of the scripts that Linux has; all others must be ours or come with the lock file.
SYSTEM = {"bash", "curl", "sh", "sed", "ip", "sha256sum", "cut", "cat", "mkdir", "chmod", "setsid",
          "nohup", "dirname", "printf"}  # fmt: skip


def load(name: str) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((ROOT / name).read_text("utf-8"))
    return config


def locked() -> dict[str, str]:
    """Name -> version of all that nodes install."""
    found = re.findall(r"^([\w.-]+)(?:\[[^\]]*\])?==([^ ]+)", LOCK.read_text("utf-8"), re.M)
    return {canonicalize_name(name): version for name, version in found}


@pytest.mark.parametrize("name", FILES)
def test_ray_accepts_the_file(name: str, monkeypatch: pytest.MonkeyPatch, aws: object) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    monkeypatch.chdir(ROOT)
    validate_config(prepare_config(load(name)))


@pytest.mark.parametrize("name", FILES)
def test_ray_would_see_a_wrong_key(name: str, monkeypatch: pytest.MonkeyPatch, aws: object) -> None:
    from jsonschema.exceptions import ValidationError
    from ray.autoscaler._private.util import prepare_config, validate_config

    monkeypatch.chdir(ROOT)
    with pytest.raises(ValidationError):
        validate_config(prepare_config(load(name) | {"idle_timeout": 5}))


@pytest.mark.parametrize("name", FILES)
def test_every_mounted_path_and_command_exists(name: str) -> None:
    config = load(name)
    mounts: dict[str, str] = config["file_mounts"]
    for remote, local in mounts.items():
        if local.startswith("~"):
            assert remote == local == "~/.ray/auth_token"
        else:
            assert (ROOT / local).exists(), local
    commands = [c for key, value in config.items() if key.endswith("_commands") for c in value]
    scripts = {path for command in commands for path in re.findall(r"~/deepsic/(\S+)", command)}
    assert scripts == {"cluster/setup.sh", "cluster/start.sh"}
    for script in scripts:
        assert any(script.startswith(f"{local}/") for local in mounts.values()), script
        assert (ROOT / script).is_file(), script
    assert {command.split()[0] for command in commands} <= SYSTEM


def test_both_files_start_nodes_alike() -> None:
    aws, local = (load(name) for name in FILES)
    for key in ("file_mounts", "rsync_exclude", "initialization_commands",
                "head_start_ray_commands", "worker_start_ray_commands"):  # fmt: skip
        assert aws[key] == local[key], key
    assert aws["setup_commands"][1:] == local["setup_commands"][1:]


@pytest.mark.parametrize("script", ["setup.sh", "environment.sh", "start.sh", "run.sh"])
def test_scripts_parse_and_use_what_the_lock_brings(script: str) -> None:
    path = ROOT / "cluster" / script
    subprocess.run(["bash", "-n", path], check=True)
    text = path.read_text("utf-8")
    for command, package in (("ray ", "ray"), ("mlflow ", "mlflow")):
        if re.search(rf"^\s*(exec |.*setsid nohup )?{command}", text, re.M):
            assert package in locked()


def test_the_lock_file_satisfies_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras: dict[str, list[str]] = project["optional-dependencies"]
    wanted = [*project["dependencies"]]
    for extra in ("codec", "bench", "pipelines", "serve", "demo", "tasks"):
        wanted += extras[extra]
    versions = locked()
    for text in wanted:
        requirement = Requirement(text)
        name = canonicalize_name(requirement.name)
        if name == "deepsic":
            continue
        assert name in versions, f"{name}: {RELOCK}"
        assert requirement.specifier.contains(versions[name]), f"{text}: {RELOCK}"


def test_every_locked_package_has_a_hash() -> None:
    entries = re.split(r"\n(?=\S)", LOCK.read_text("utf-8").strip())
    assert len(entries) > 100
    assert all("--hash=sha256:" in entry for entry in entries)


RELOCK = (
    "lock anew: uv pip compile pyproject.toml --extra pipelines --extra serve --python-version "
    "3.11 --python-platform x86_64-manylinux_2_28 --generate-hashes --no-annotate --no-header "
    "-o cluster/requirements.lock"
)
