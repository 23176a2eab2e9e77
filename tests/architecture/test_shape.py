"""The shape of the house: no circles, short functions, small folders, names that say which."""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.architecture.test_rules import LIBRARY, OTHERS, PIPELINES, ROOT, imports, tree_of

BENCHMARKS = [path for path in OTHERS if path.is_relative_to(ROOT / "benchmarks")]
SOURCES = [*LIBRARY, *PIPELINES, *BENCHMARKS]
#: Options of commands and arrays of compiled kernels are what they are.
MANY_PARAMETERS = ("command", "callback", "exit_codes", "jit", "njit", "inline", "intrinsic")


#: Functions beyond eight parameters, and how far; a number here may only fall.
MORE_PARAMETERS = {"pipelines/tuning/search.py:run_search": 9}
#: Commands without a decorator: one parameter an option.
COMMANDS = {
    "deepsic/cli/commands.py:decode",
    "deepsic/cli/commands.py:encode",
    "pipelines/train.py:train",
}


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def graph() -> dict[str, set[str]]:
    """Module to the modules of ours that it imports, inside functions too."""
    known = {name_of(path) for path in SOURCES}
    return {
        name_of(path): {n for n in imports(tree_of(path)) if n in known and n != name_of(path)}
        for path in SOURCES
        if path.name != "__init__.py"  # a package's face hands names on
    }


def circles() -> Iterator[list[str]]:
    """Import circles, each once, by depth-first search."""
    done: set[str] = set()

    def visit(module: str, way: list[str]) -> Iterator[list[str]]:
        if module in way:
            yield way[way.index(module) :]
        elif module not in done:
            for below in sorted(graph().get(module, ())):
                yield from visit(below, [*way, module])
            done.add(module)

    for module in sorted(graph()):
        yield from visit(module, [])


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert len(graph()) > 150
    assert list(circles()) == []


def test_folders_hold_at_most_twelve_files() -> None:
    count = Counter(path.parent.relative_to(ROOT).as_posix() for path in SOURCES)
    assert {f: n for f, n in count.items() if n > 12 and f != "deepsic/recipes"} == {}


def test_functions_have_at_most_eighty_lines() -> None:
    found = {}
    for path in SOURCES:
        for node in functions(path):
            place = f"{path.relative_to(ROOT).as_posix()}:{node.name}"
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > 80:
                found[place] = lines
    assert found == {}


def test_functions_take_at_most_eight_parameters() -> None:
    found = {}
    for path in SOURCES:
        if path.is_relative_to(ROOT / "deepsic" / "recipes"):
            continue
        for node in functions(path):
            given = [
                a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
            ]
            place = f"{path.relative_to(ROOT).as_posix()}:{node.name}"
            marks = " ".join(ast.unparse(mark) for mark in node.decorator_list)
            command = path in BENCHMARKS and node.name == "main"
            exempt = any(word in marks for word in MANY_PARAMETERS) or place in COMMANDS or command
            count = len([a for a in given if a not in ("self", "cls")])
            if count > MORE_PARAMETERS.get(place, 8) and not exempt:
                found[place] = count
    assert found == {}


def test_scripts_have_no_neighbour_that_hides_a_module_of_python() -> None:
    """A script's folder comes first where its imports are looked up."""
    scripts = {path.parent for path in SOURCES if "__main__" in path.read_text("utf-8")}
    hidden = [path for path in SOURCES if path.stem in sys.stdlib_module_names - {"__main__"}]
    assert [name_of(path) for path in hidden if path.parent in scripts] == []


def test_no_two_public_classes_share_a_name() -> None:
    homes = defaultdict(list)
    for path in SOURCES:
        for node in tree_of(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(name_of(path))
    clashes = {name: where for name, where in homes.items() if len(where) > 1}
    assert clashes == {}


def test_every_folder_says_what_lives_there() -> None:
    faces = [path for path in SOURCES if path.name == "__init__.py"]
    assert [name_of(path) for path in faces if not ast.get_docstring(tree_of(path))] == []


def test_the_two_paths_in_the_architecture_name_what_is_there() -> None:
    """Each in ten steps: a file, and names that it defines."""
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text("utf-8")
    paths = re.findall(r"^## The path of one (\w+).*?\n(?=## )", text, re.M | re.S)
    assert paths == ["image", "option"]
    steps = re.findall(r"^(\d+)\. `([\w./]+\.py)`((?:, `[\w.]+`)*):", text, re.M)
    assert [int(number) for number, _, _ in steps] == [*range(1, 11), *range(1, 11)]
    for _, file, names in steps:
        path = next(place / file for place in (ROOT, ROOT / "deepsic") if (place / file).exists())
        defined = {
            target.id if isinstance(target, ast.Name) else target
            for node in ast.walk(tree_of(path))
            for target in (
                node.targets if isinstance(node, ast.Assign) else [getattr(node, "name", "")]
            )
            if isinstance(target, ast.Name | str)
        }
        assert {
            part for name in re.findall(r"[\w.]+", names) for part in name.split(".")
        } <= defined
