"""Pointers that nothing counts: what they point to must stay."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

from deepsic.coding.raw_pointers import keep, pointer

CODE = Path(__file__).parents[2] / "deepsic"


@numba.njit
def _changed(count: int) -> Any:
    """How many numbers of an array, known by a pointer alone, change while others are made."""
    own = np.empty(count, np.int32), np.empty(count, np.float32)
    numbers = pointer(own[0])
    for at in range(count):
        numbers[at] = 7
    changed = 0
    for turn in range(100):
        other = np.full(count, turn, np.int32)
        for at in range(count):
            changed += numbers[at] != 7 or other[at] != turn
    keep(own)
    return changed


def test_an_array_stays_until_it_is_let_go() -> None:
    assert _changed(384) == 0


def _unkept(function: ast.FunctionDef) -> set[str]:
    """Names of what a function makes, takes a pointer of, and doesn't keep."""
    calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]

    def names_in(called: str) -> set[str]:
        found = (call.args[0] for call in calls if getattr(call.func, "id", "") == called)
        roots = (getattr(one, "value", one) for one in found)
        return {root.id for root in roots if isinstance(root, ast.Name)}

    given = {argument.arg for argument in function.args.args}
    return (names_in("pointer") | names_in("uncounted")) - given - names_in("keep")


@pytest.mark.parametrize(
    "path", sorted(path for path in CODE.rglob("*.py") if "raw_pointers" in path.read_text())
)
def test_kernels_keep_what_they_make(path: Path) -> None:
    tree = ast.parse(path.read_text())
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    lost = {function.name: _unkept(function) for function in functions}
    assert {name: names for name, names in lost.items() if names} == {}
