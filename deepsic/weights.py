"""Model files: safetensors with everything that encoding and decoding need.

    net.*    float weights of transforms, modulations and steps
    int.*    int8 weights and int32 biases of the probability nets
    table.*  initial probabilities, scale classes, biases by quality, dead zones
    head.*   weights of the semantic heads, if the model has any

Configuration, label set (and the names of its classes, where they are the user's own) and
provenance lie in the file's metadata as JSON. A `.sic` file names
its model by the first 8 bytes of the SHA-256 of this file, so a wrong model is an error and never
a wrong image. Nothing is ever unpickled or downloaded.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepsic import atomic
from deepsic.errors import UnknownModelError, UsageError
from deepsic.labels import class_names, class_set, is_custom

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "ModelFile",
    "check_identity",
    "find",
    "identity_of",
    "read",
    "read_arrays",
    "resolve",
    "shipped",
    "write",
]

FORMAT = "deepsic-model-1"
IDENTITY_BYTES = 8
SUFFIX = ".safetensors"


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """A model file's contents."""

    preset: str
    """Which net: "sic", "deepsic-pre", "deepsic-post" or "saic"."""
    config: dict[str, Any]
    """Sizes of the net."""
    tensors: dict[str, Any]
    """torch tensors; arrays if `read_arrays` read them."""
    label_set: str | None = None
    """Names of the classes that the heads know."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """Data, recipe, commit, date and results of the training."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The tensors as arrays, bfloat16 widened to float32."""
        return {name: _as_array(value) for name, value in self.tensors.items()}


def shipped() -> dict[str, Path]:
    """Name and path of every model that ships with the package."""
    zoo = resources.files("deepsic") / "zoo"
    with resources.as_file(zoo) as folder:
        return {path.stem: path for path in sorted(folder.glob(f"*{SUFFIX}"))}


def resolve(model: str | os.PathLike[str]) -> Path:
    """Path of a shipped model's name or of a model file.

    Raises:
        UsageError: neither text nor a path.
        UnknownModelError: neither a shipped name nor a file.
    """
    known = shipped()
    if isinstance(model, str) and model in known:
        return known[model]
    try:
        path = Path(model)
    except TypeError:
        raise UsageError(f"model {model!r}: give a shipped name or a file's path") from None
    if path.is_file():
        return path
    names = ", ".join(known) or "none"
    raise UnknownModelError(f"no model {str(model)!r}: shipped are {names}; or give a file's path")


@lru_cache(maxsize=32)
def _identity(path: str, size: int, modified: int) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()[:IDENTITY_BYTES]


def identity_of(path: Path) -> bytes:
    """First 8 bytes of the SHA-256 of a model file."""
    status = path.stat()
    return _identity(str(path), status.st_size, status.st_mtime_ns)


def find(identity: bytes) -> Path | None:
    """The shipped model of an identity, or None."""
    for path in shipped().values():
        if identity_of(path) == identity:
            return path
    return None


def check_identity(wanted: bytes, own: bytes, name: str) -> None:
    """Raise `UnknownModelError` unless the model `name`, of identity `own`, is the one wanted."""
    if wanted != own:
        path = find(wanted)
        hint = f"load model {path.stem!r}" if path else "get that model's file and load it"
        raise UnknownModelError(
            f"written by model {wanted.hex()}, this is {name} ({own.hex()}): {hint}"
        )


def read(path: Path) -> ModelFile:
    """Read a model file, its tensors with torch.

    Raises:
        UnknownModelError: not a model file, or of a newer format.
    """
    from safetensors import safe_open

    def tensors() -> dict[str, Any]:
        with safe_open(path, framework="pt") as file:
            # A safe_open has keys() but cannot be iterated.
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118

    return _read(path, tensors)


def read_arrays(path: Path) -> ModelFile:
    """Read a model file, its tensors as arrays, without torch. Raises as `read`."""
    from safetensors import deserialize

    def tensors() -> dict[str, Any]:
        parts = deserialize(path.read_bytes())  # type: ignore[no-untyped-call]
        return {name: _parsed(part) for name, part in parts}

    return _read(path, tensors)


def _read(path: Path, tensors: Callable[[], dict[str, Any]]) -> ModelFile:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
        held = tensors()
    except (SafetensorError, OSError) as error:
        raise UnknownModelError(f"{path} is not a model file ({error})") from None
    if metadata.get("format") != FORMAT:
        raise UnknownModelError(f"{path} is not a {FORMAT} file; update deepsic or export it anew")
    if metadata.get("classes"):
        _learn_classes(path, metadata)
    return ModelFile(
        preset=metadata["preset"],
        config=json.loads(metadata["config"]),
        tensors=held,
        label_set=metadata.get("label_set") or None,
        provenance=json.loads(metadata.get("provenance", "{}")),
    )


_TYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U8": "|u1", "BOOL": "|b1", "BF16": "<u2",
}  # fmt: skip
"""numpy's names of safetensors' types."""


def _parsed(part: dict[str, Any]) -> NDArray[Any]:
    import numpy as np

    array = np.frombuffer(part["data"], _TYPES[part["dtype"]]).reshape(part["shape"])
    return _widened(array) if part["dtype"] == "BF16" else array


def _widened(bits: NDArray[Any]) -> NDArray[Any]:
    """bfloat16, as bits, in float32."""
    import numpy as np

    return (bits.astype(np.uint32) << 16).view(np.float32)


def _as_array(value: Any) -> NDArray[Any]:
    import numpy as np

    if isinstance(value, np.ndarray):
        return value
    tensor = value.detach().cpu()
    array: NDArray[Any] = (tensor.float() if "bfloat16" in str(tensor.dtype) else tensor).numpy()
    return array


def _learn_classes(path: Path, metadata: dict[str, str]) -> None:
    """Make the file's own classes known by the name of their set."""
    try:
        found = class_set(json.loads(metadata["classes"]))
    except (ValueError, TypeError) as error:
        raise UnknownModelError(f"{path}: its class names are damaged ({error})") from None
    if found != metadata.get("label_set"):
        raise UnknownModelError(f"{path}: its class names aren't those of its label set")


def write(path: Path, model: ModelFile) -> bytes:
    """Write a model file, atomically; returns its identity."""
    from safetensors.torch import save

    metadata = {
        "format": FORMAT,
        "preset": model.preset,
        "config": json.dumps(model.config, sort_keys=True),
        "label_set": model.label_set or "",
        "provenance": json.dumps(model.provenance, sort_keys=True),
    }
    if model.label_set and is_custom(model.label_set):
        metadata["classes"] = json.dumps(class_names(model.label_set))
    data = _sorted_header(save({k: v.contiguous() for k, v in model.tensors.items()}, metadata))
    atomic.write(path, data)
    return identity_of(path)


def _sorted_header(data: bytes) -> bytes:
    """The same safetensors file with its header in order.

    The library writes metadata in the order of a hash table that changes from call to call; a
    model's identity must not.
    """
    size = 8 + int.from_bytes(data[:8], "little")
    text = json.dumps(json.loads(data[8:size]), sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[size:]
