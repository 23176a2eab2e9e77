"""Where networks run."""

from __future__ import annotations

import sys
from pathlib import Path

from deepsic.errors import UsageError

__all__ = ["device_named", "has_bf16"]

_DRIVERS = ("/dev/nvidiactl", "/dev/dxg")
"""What a Linux system with a CUDA device has."""


def device_named(name: str) -> str:
    """The device of a name, "auto" included: "cpu", or "cuda" with its number if one was given.

    torch isn't loaded to say that there is no GPU.

    Raises:
        UsageError: no such device.
    """
    if name == "cpu":
        return name
    if name == "auto" and sys.platform == "linux" and "torch" not in sys.modules:
        if not any(Path(driver).exists() for driver in _DRIVERS):
            return "cpu"
    try:
        import torch
    except ImportError:
        if name == "auto":
            return "cpu"
        raise UsageError(f"device {name!r} needs torch; pip install 'deepsic[torch]'") from None
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"device {name!r}: give cpu, cuda or auto")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError("torch finds no CUDA device here: give cpu or auto")
    return str(device)


def has_bf16() -> bool:
    """Whether the CPU multiplies bfloat16 in hardware: elsewhere float32 is faster."""
    import torch

    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return bool(
        supported is not None
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and supported()
    )
