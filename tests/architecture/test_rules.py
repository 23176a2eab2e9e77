"""The house rules, held by reading the source. Each test names all files that break its rule."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIBRARY = sorted((ROOT / "deepsic").rglob("*.py"))
PIPELINES = sorted((ROOT / "pipelines").rglob("*.py"))
OTHERS = [
    path
    for folder in ("tune_spaces", "benchmarks", "tests")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
STAGES = ("preprocess", "train", "tune_saic", "evaluate", "compress_archive", "serve")
#: What `deepsic info` and `deepsic labels` import, and so may need nothing but Python.
LIGHT = (
    *("bitstream", "cli", "labels", "zoo", "atomic.py", "errors.py", "limits.py"),
    *("weights.py", "__init__.py", "__main__.py"),
)
SERVICES = ("ray", "mlflow", "boto3", "botocore", "fastapi", "starlette", "uvicorn", "pipelines")
BUILDER = ROOT / "deepsic" / "labels" / "build.py"  # a tool, imported by nothing


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def imports(node: ast.AST, *, inside: bool = True) -> Iterator[str]:
    """Yield the full names of modules that code below `node` imports, type checking left out.

    With `inside` false, only what importing the module imports: not what its functions import
    when they are called.
    """
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        if not inside and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.level == 0 and child.module:
            yield child.module
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        yield from imports(child, inside=inside)


def below(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def third_party(name: str) -> bool:
    return name.split(".")[0] not in (*sys.stdlib_module_names, "deepsic", "pipelines")


def place(path: Path) -> str:
    """Return the package or file of the library that a path lies in."""
    return path.relative_to(ROOT / "deepsic").parts[0]


def offenders(paths: list[Path], wrong: Callable[[Path], object]) -> dict[str, object]:
    """Return what is wrong with each file, for those with something wrong."""
    found = {str(path.relative_to(ROOT)): wrong(path) for path in paths}
    return {name: reason for name, reason in found.items() if reason}


def test_there_is_something_to_check() -> None:
    assert len(LIBRARY) > 50
    assert len(PIPELINES) > 20
    assert {place(path) for path in LIBRARY} >= {*LIGHT, "coding", "models", "codec.py"}


def test_no_file_is_longer_than_400_lines() -> None:
    def lines(path: Path) -> int:
        count = len(path.read_text("utf-8").splitlines())
        return count if count > 400 else 0

    assert not offenders([*LIBRARY, *PIPELINES, *OTHERS], lines)


def test_the_library_knows_nothing_of_clusters_and_services() -> None:
    assert not offenders(
        LIBRARY, lambda path: {name for name in imports(tree_of(path)) if below(name, SERVICES)}
    )


def test_light_modules_need_the_standard_library_only() -> None:
    light = [path for path in LIBRARY if place(path) in LIGHT and path != BUILDER]
    assert not offenders(
        light,
        lambda path: {name for name in imports(tree_of(path), inside=False) if third_party(name)},
    )


def test_the_byte_layer_is_hermetic() -> None:
    def outside(path: Path) -> set[str]:
        allowed = ("deepsic.bitstream", "deepsic.labels", "deepsic.errors", "deepsic.limits")
        if path.name == "facts.py":
            allowed += ("deepsic.zoo",)  # for the name of the model
        used = {name for name in imports(tree_of(path)) if name != "deepsic"}
        return {
            n for n in used if third_party(n) or (below(n, ("deepsic",)) and not below(n, allowed))
        }

    layer = [path for path in LIBRARY if place(path) in ("bitstream", "errors.py", "limits.py")]
    assert len(layer) > 8
    assert not offenders(layer, outside)


def test_the_entropy_coder_needs_numpy_and_numba_only() -> None:
    allowed = ("numpy", "numba", "llvmlite", "deepsic.coding", "deepsic.errors", "deepsic.limits")

    def outside(path: Path) -> set[str]:
        used = {name for name in imports(tree_of(path)) if name != "deepsic"}
        used = {name for name in used if third_party(name) or below(name, ("deepsic",))}
        return {name for name in used if not below(name, allowed)}

    assert not offenders([path for path in LIBRARY if place(path) == "coding"], outside)


def test_only_the_codec_joins_networks_and_format() -> None:
    joined = ("deepsic.codec", "deepsic.bitstream.container", "deepsic.bitstream.pack")
    parts = ("models", "losses", "tasks", "coding")
    assert not offenders(
        [path for path in LIBRARY if place(path) in parts],
        lambda path: {name for name in imports(tree_of(path)) if below(name, joined)},
    )


def test_stages_do_not_import_each_other() -> None:
    def others(path: Path) -> set[str]:
        stages = [stage for stage in STAGES if path != ROOT / "pipelines" / f"{stage}.py"]
        names = tuple(f"pipelines.{stage}" for stage in stages)
        return {name for name in imports(tree_of(path)) if below(name, names)}

    assert not offenders(PIPELINES, others)


def test_all_names_every_public_name() -> None:
    def missing(path: Path) -> object:
        listed: list[str] | None = None
        public = set()
        for node in tree_of(path).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
                public.add(node.name)
            elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                listed = ast.literal_eval(node.value)
        if listed is None:
            return path.name == "__init__.py" and len(tree_of(path).body) > 1 and "no __all__"
        return {name for name in public if not name.startswith("_")} - set(listed)

    assert not offenders(LIBRARY, missing)


def test_no_assert_on_data() -> None:
    def asserts(path: Path) -> list[int]:
        return [node.lineno for node in ast.walk(tree_of(path)) if isinstance(node, ast.Assert)]

    assert not offenders([*LIBRARY, *PIPELINES], asserts)


def test_training_knows_no_preset() -> None:
    """Nets are found by the registry; only recipes name one."""
    presets = ("sic", "fourstage", "saic")
    forbidden = tuple(f"deepsic.models.{name}" for name in presets)
    paths = [
        path
        for path in (*LIBRARY, *PIPELINES)
        if path.is_relative_to(ROOT / "deepsic" / "training")
        or path.is_relative_to(ROOT / "pipelines" / "training")
    ]
    assert len(paths) > 20
    assert not offenders(
        paths, lambda path: {name for name in imports(tree_of(path)) if below(name, forbidden)}
    )
