"""The files around the code say what is so: versions, commands, extras, Python."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from dockerfile_parse import DockerfileParser

import deepsic
from deepsic.cli.stages import STAGES, script_of

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
BIN = Path(sys.executable).parent
#: What the base image has: Debian's essential packages, and Python's own commands.
BASE = {"useradd", "install", "pip", "python", "ls"}


def check(*command: str) -> None:
    done = subprocess.run([str(BIN / command[0]), *command[1:]], cwd=ROOT, capture_output=True,
                          text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_command_of_the_wheel_has_its_script() -> None:
    assert set(PROJECT["scripts"]) == {"deepsic", *STAGES}
    scripts = (ROOT / "pipelines").glob("*.py")
    stages = {path.name for path in scripts if '__name__ == "__main__"' in path.read_text("utf-8")}
    assert {script_of(command).name for command in STAGES} == stages


def test_extras_that_messages_name_exist() -> None:
    named: set[str] = set()
    texts = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    texts += [*ROOT.glob("deepsic/**/*.py"), *ROOT.glob("pipelines/**/*.py")]
    for path in texts:
        for found in re.findall(
            r"pip install (?:-e )?'(?:deepsic|\.)\[([\w,]+)\]", path.read_text()
        ):
            named.update(found.split(","))
    assert {"codec", "pipelines"} <= named <= set(PROJECT["optional-dependencies"])


def test_the_image_builds_from_what_is_here() -> None:
    """As far as that shows without a daemon: syntax, sources, commands, extras, user."""
    check("hadolint", "Dockerfile")
    parser = DockerfileParser(str(ROOT / "Dockerfile"))
    arguments = dict(
        line["value"].split("=", 1) for line in parser.structure if line["instruction"] == "ARG"
    )
    assert set(arguments["EXTRAS"].split(",")) <= set(PROJECT["optional-dependencies"])
    assert parser.baseimage.startswith(f"python:{min(pythons())}")
    users = [line["value"] for line in parser.structure if line["instruction"] == "USER"]
    assert users
    assert users[-1] not in ("root", "0")
    for line in parser.structure:
        if line["instruction"] == "RUN":
            shell = re.sub(r"^(--\S+\s+)+", "", line["value"])
            subprocess.run(["bash", "-n", "-c", shell], check=True)
            for step in re.split(r"&&|;|\|", shell):
                assert step.split()[0] in BASE, step
    for entry in (ROOT / ".dockerignore").read_text().splitlines():
        assert not entry.startswith("!") or (ROOT / entry[1:]).exists()


def test_commands_that_the_dockerfile_names_exist_with_their_options() -> None:
    text = (ROOT / "Dockerfile").read_text("utf-8")
    examples = re.findall(r"^#\s+run (?:-p \S+ )?deepsic (\S+)(.*)$", text, re.M)
    assert len(examples) == 3
    for command, rest in examples:
        assert command in PROJECT["scripts"]
        program = ["-m", "deepsic"] if command == "deepsic" else [str(script_of(command))]
        verb = rest.split()[:1] if command == "deepsic" else []
        done = subprocess.run([sys.executable, *program, *verb, "--help"], cwd=ROOT,
                              capture_output=True, text=True, check=True)  # fmt: skip
        for option in re.findall(r"(?<!\S)--?[a-z][\w-]*", rest):
            assert option in done.stdout, f"{command} {option}"


def pythons() -> set[str]:
    """Versions that the CI workflow runs."""
    workflow = yaml.safe_load(WORKFLOW.read_text("utf-8"))
    return set(workflow["jobs"]["test"]["strategy"]["matrix"]["python"])


def test_ci_runs_what_developers_run_on_each_python_that_is_claimed() -> None:
    check("check-jsonschema", "--builtin-schema", "vendor.github-workflows", str(WORKFLOW))
    workflow = yaml.safe_load(WORKFLOW.read_text("utf-8"))
    assert ".ci/run" in [step.get("run") for step in workflow["jobs"]["test"]["steps"]]
    claimed = re.findall(r"Python :: (3\.\d+)", " ".join(PROJECT["classifiers"]))
    assert set(claimed) == pythons()
    assert PROJECT["requires-python"] == f">={min(claimed)}"


def test_pre_commit_runs_tools_that_dev_installs() -> None:
    check("pre-commit", "validate-config")
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"][0][
        "hooks"
    ]
    for hook in hooks:
        assert shutil.which(hook["entry"].split()[0], path=str(BIN))


def test_versions_agree() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == deepsic.__version__
    assert citation["license"] == PROJECT["license"] == "Apache-2.0"
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    released = re.findall(r"^## (\d+\.\d+\.\d+)$", changelog, re.M)
    assert released[0] == deepsic.__version__
    assert released == sorted(released, key=lambda v: [int(p) for p in v.split(".")], reverse=True)


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "CHANGELOG.md"])
def test_paths_that_the_files_name_exist(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    paths = re.findall(r"`((?:deepsic|pipelines|tests|docs)/[\w./]+)`", text)
    for path in paths:
        assert "NAME" in path or (ROOT / path).exists(), path
