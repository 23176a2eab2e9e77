"""Where a bucket's listing may be cut, so that several threads read a piece each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

__all__ = ["cut_points"]

#: Requests that looking for cuts may cost, for each piece asked for.
PROBES = 8
#: The largest character that a key may have; above all keys that go on after a letter.
LAST = "\U0010ffff"


def cut_points(
    first_key: Callable[[str, str], str | None],
    folders: Callable[[str], Sequence[str]],
    count: int,
) -> list[str]:
    """Keys in order that cut a listing into about `count` pieces.

    Folders are opened, the largest level first, until there are enough; where keys have no
    folders, they are cut by their next letter.

    first_key: (prefix, after) to the first key of that prefix above `after`, None if there is none.
    folders: a prefix to the folders right below it.
    """
    left = PROBES * count
    pieces = [""]
    while pieces and len(pieces) < count and left > 0:
        found: list[str] = []
        for number, piece in enumerate(pieces):
            if left <= 0 or len(found) + len(pieces) - number >= count:
                found += pieces[number:]
                break
            inner = list(folders(piece))
            left -= 1
            if len(inner) < 2:
                inner, asked = _next_letters(first_key, inner[0] if inner else piece, left)
                left -= asked
            found += inner or [piece]
        if found == pieces:
            break
        pieces = found
    step = max(1, len(pieces) // count)
    return [piece for piece in sorted(pieces)[::step] if piece]


def _next_letters(
    first_key: Callable[[str, str], str | None], prefix: str, most: int
) -> tuple[list[str], int]:
    """(prefixes one letter or more longer, requests made): what the keys below `prefix` share."""
    found: list[str] = []
    asked, after = 0, ""
    while asked < most:
        key = first_key(prefix, after)
        asked += 1
        if key is None or len(key) <= len(prefix):
            break
        found.append(key[: len(prefix) + 1])
        after = found[-1] + LAST
    return found, asked
