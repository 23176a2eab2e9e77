"""Where the output of a source object goes: its key and a suffix, wherever that is possible."""

from __future__ import annotations

import hashlib

__all__ = ["RENAMED", "RESERVED", "output_key"]

#: Kept for the job's own files.
RESERVED = ".deepsic"
#: Outputs whose source key can't be a name at the destination.
RENAMED = "_renamed"
MAX_NAME_BYTES = 255


def output_key(key: str, suffix: str = ".sic", *, max_key_bytes: int = 1024) -> str:
    """Key for the output of source `key`; different sources never share one.

    The suffix is appended, so `a.jpg` and `a.png` stay apart. A key that can't be a path
    everywhere (empty or dotted parts, parts over 255 bytes, too long) or that would clash becomes
    `_renamed/<SHA-256>` + suffix; the ledger tells which source that is.

    >>> output_key("trip/a.jpg")
    'trip/a.jpg.sic'
    >>> output_key("../a.jpg")
    '_renamed/2845741b69a9a93c8fb1f9fb58d1bf310e9edd9ce9ca67f9ec0d75e0d7388a2f.sic'
    """
    made = key + suffix
    parts = made.split("/")
    clash = parts[0] in (RESERVED, RENAMED)
    clash = clash or (suffix != "" and any(part.endswith(suffix) for part in parts[:-1]))
    if clash or not _is_portable(made, parts, max_key_bytes):
        return f"{RENAMED}/{hashlib.sha256(key.encode()).hexdigest()}{suffix}"
    return made


def _is_portable(made: str, parts: list[str], max_key_bytes: int) -> bool:
    return (
        len(made.encode()) <= max_key_bytes
        and "\0" not in made
        and all(part not in ("", ".", "..") for part in parts)
        and all(len(part.encode()) <= MAX_NAME_BYTES for part in parts)
    )
