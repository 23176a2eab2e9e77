"""The code blocks of a Markdown file, by section."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Block", "blocks"]


@dataclass(frozen=True, kw_only=True)
class Block:
    """One fenced block."""

    section: str
    """The heading above it; "" before the first of level two."""
    language: str
    text: str


def blocks(path: Path) -> list[Block]:
    """Return the fenced blocks of a file that name a language, in their order."""
    found = []
    section = ""
    for match in re.finditer(
        r"^## (?P<heading>[^\n]+)$|^```(?P<language>\w+)\n(?P<text>.*?)^```$",
        path.read_text("utf-8"), re.M | re.S,
    ):  # fmt: skip
        if match["heading"]:
            section = match["heading"]
        else:
            found.append(Block(section=section, language=match["language"], text=match["text"]))
    return found
