"""One image of a source, before it is decoded, wherever it lies."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from deepsic.errors import InputError

__all__ = ["Sample", "class_name"]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """An image file's bytes, its name below the source, and its class."""

    key: str
    data: bytes
    class_name: str = ""
    """Empty for none."""


def class_name(label: object, names: Sequence[str]) -> str:
    """Name of the class that a data set gives as a number or as text.

    Args:
        label: whole number, or text of one, or a name; None, "" or below 0 for no class.
        names: of the numbers, in order; without, a number is a name.

    Raises:
        InputError: a number without a name, or neither number nor text.
    """
    if isinstance(label, bytes):
        label = label.decode("utf-8", "replace")
    if isinstance(label, str):
        label = label.strip()
        if not label.removeprefix("-").isdecimal():
            return label
        label = int(label)
    if label is None:
        return ""
    if not isinstance(label, int) or isinstance(label, bool):
        raise InputError(f"label {json.dumps(label, default=str)[:40]} is neither number nor text")
    if label < 0:
        return ""
    if not names:
        return str(label)
    if label >= len(names):
        raise InputError(f"class {label} isn't one of the {len(names)} that have names")
    return names[label]
