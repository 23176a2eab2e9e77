"""`--help` of every command: examples keep their lines, every option says something."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from deepsic.cli.stages import STAGES, script_of

ROOT = Path(__file__).parents[2]
VERBS = ("encode", "decode", "info", "labels", "verify", "models", "bench")


def help_of(*command: str) -> str:
    variables = os.environ | {"COLUMNS": "200", "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    done = subprocess.run([sys.executable, *command, "--help"], capture_output=True, text=True,
                          env=variables, check=True, timeout=300)  # fmt: skip
    return done.stdout


def bare_options(text: str) -> list[str]:
    """Options of a help text that nothing is said about, on their line or the next."""
    lines = re.split(r"(?im)^options:$", text)[-1].splitlines()
    bare = []
    for index, line in enumerate(lines):
        if re.match(r"\s+-{1,2}[a-z]", line):
            following = lines[index + 1] if index + 1 < len(lines) else ""
            said = re.search(r"\S\s{2,}\S", line.strip())
            if not said and not following.startswith(" " * 10):
                bare.append(line.strip())
    return bare


@pytest.mark.parametrize("command", STAGES)
def test_stages(command: str) -> None:
    script = script_of(command)
    text = help_of(str(script))
    docstring = ast.get_docstring(ast.parse(script.read_text("utf-8")), clean=False) or ""
    examples = re.findall(r"^    (python pipelines/.+)$", docstring, re.M)
    assert examples
    shown = {" ".join(line.split()) for line in text.splitlines()}
    for example in examples:
        assert " ".join(example.split()) in shown
    assert not bare_options(text)


@pytest.mark.parametrize("verb", VERBS)
def test_verbs(verb: str) -> None:
    text = help_of("-m", "deepsic", verb)
    assert not bare_options(text)
    assert f"deepsic {verb}" in (ROOT / "docs" / "COMMANDS.md").read_text("utf-8")
