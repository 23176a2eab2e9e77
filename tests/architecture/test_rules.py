"""The house rules of `docs/ARCHITECTURE.md`, held by reading the source."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIBRARY = sorted((ROOT / "deepsic").rglob("*.py"))
PIPELINES = sorted((ROOT / "pipelines").rglob("*.py"))
EVERYTHING = [
    path
    for folder in ("deepsic", "pipelines", "tune_spaces", "benchmarks", "tests")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
STAGES = ("preprocess", "train", "tune_saic", "evaluate", "compress_archive", "serve")
#: Modules that `deepsic info` and `deepsic labels` need, and so may need nothing but Python.
LIGHT = ("bitstream", "labels", "zoo", "errors", "limits", "files", "cli", "__init__", "__main__")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def imports(node: ast.AST) -> Iterator[str]:
    """Yield the full names of modules that code below `node` imports, type checking left out."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.level == 0 and child.module:
            yield child.module
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        yield from imports(child)


def top_imports(path: Path) -> set[str]:
    """Return what importing the module imports: not what its functions import when called."""
    tree = tree_of(path)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = []
    return set(imports(tree))


def below(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def test_there_is_something_to_check() -> None:
    assert len(LIBRARY) > 20
    assert all((ROOT / "deepsic" / name).exists() for name in ("bitstream", "entropy", "models"))


@pytest.mark.parametrize("path", EVERYTHING, ids=name_of)
def test_no_file_is_longer_than_400_lines(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 400


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_the_library_knows_nothing_of_clusters_and_services(path: Path) -> None:
    outside = ("ray", "mlflow", "boto3", "botocore", "fastapi", "starlette", "uvicorn", "pipelines")
    found = {name for name in imports(tree_of(path)) for no in outside if below(name, no)}
    assert not found


@pytest.mark.parametrize(
    "path", [p for p in LIBRARY if p.relative_to(ROOT / "deepsic").parts[0] in LIGHT], ids=name_of
)
def test_light_modules_need_the_standard_library_only(path: Path) -> None:
    if path.parts[-2:] == ("labels", "build.py"):
        pytest.skip("a tool, imported by nothing")
    heavy = {
        name
        for name in top_imports(path)
        if name.split(".")[0] not in sys.stdlib_module_names and not below(name, "deepsic")
    }
    assert not heavy


@pytest.mark.parametrize(
    "path", [p for p in LIBRARY if "bitstream" in p.parts or p.name in ("errors.py", "limits.py")]
)
def test_the_byte_layer_is_hermetic(path: Path) -> None:
    allowed: tuple[str, ...] = (
        *("deepsic.bitstream", "deepsic.labels", "deepsic.errors", "deepsic.limits"),
    )
    inside = {name for name in imports(tree_of(path)) if below(name, "deepsic")}
    if path.name == "facts.py":
        allowed = (*allowed, "deepsic.zoo")
    assert not {n for n in inside if n != "deepsic" and not any(below(n, a) for a in allowed)}


@pytest.mark.parametrize("path", [p for p in LIBRARY if "entropy" in p.parts], ids=name_of)
def test_the_entropy_coder_needs_numpy_and_numba_only(path: Path) -> None:
    allowed = ("numpy", "numba", "deepsic.entropy", "deepsic.errors", "deepsic.limits")
    found = {n for n in imports(tree_of(path)) if n.split(".")[0] not in sys.stdlib_module_names}
    assert not {n for n in found if n != "deepsic" and not any(below(n, a) for a in allowed)}


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_only_the_codec_joins_networks_and_format(path: Path) -> None:
    place = path.relative_to(ROOT / "deepsic").parts[0]
    if place in ("models", "losses", "tasks", "entropy"):
        assert not {n for n in imports(tree_of(path)) if below(n, "deepsic.codec")}
        assert not {n for n in imports(tree_of(path)) if below(n, "deepsic.bitstream.container")}


@pytest.mark.parametrize("path", PIPELINES, ids=name_of)
def test_stages_do_not_import_each_other(path: Path) -> None:
    others = [stage for stage in STAGES if path != ROOT / "pipelines" / f"{stage}.py"]
    found = {
        name
        for name in imports(tree_of(path))
        for stage in others
        if below(name, f"pipelines.{stage}")
    }
    assert not found


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_all_names_every_public_name(path: Path) -> None:
    tree = tree_of(path)
    listed: list[str] | None = None
    defined = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            defined.add(node.name)
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            listed = ast.literal_eval(node.value)
    public = {name for name in defined if not name.startswith("_")}
    if listed is None:
        assert path.name != "__init__.py" or not tree.body[1:], "a package without __all__"
    else:
        assert public <= set(listed)
        assert len(listed) == len(set(listed))


@pytest.mark.parametrize("path", [*LIBRARY, *PIPELINES], ids=name_of)
def test_no_assert_on_data(path: Path) -> None:
    asserts = [node.lineno for node in ast.walk(tree_of(path)) if isinstance(node, ast.Assert)]
    assert not asserts
