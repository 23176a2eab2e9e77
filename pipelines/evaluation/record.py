"""The lines of an evaluation: what earlier runs into the same folder measured, and what is left.

results.jsonl begins with a line on the run, among it the contract: images, rates, evaluators and
the identity of every codec. A run with the same contract resumes; a codec that is new or has
changed is measured and added; another contract starts over.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from deepsic import atomic
from deepsic.evaluation.baselines import MeasuredCodec
from deepsic.evaluation.evaluators import Evaluator
from deepsic.evaluation.measure import ORIGINAL, Measurement, MeasurementPlan
from pipelines.stage import console

__all__ = ["MeasurementTask", "Record"]


@dataclass(frozen=True, kw_only=True)
class MeasurementTask:
    """What is left to measure of one image."""

    picture: str
    codecs: tuple[str, ...]
    original: bool


@dataclass(kw_only=True)
class Record:
    """The rows of one folder of results. `open` it, then `add` rows inside a `with` of its file."""

    path: Path
    head: dict[str, Any]
    """The first line."""
    rows: list[Measurement] = field(default_factory=list)
    expected: dict[str, int] = field(default_factory=dict)
    """Codec → rows that each image has when it is whole."""

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        source: str | None,
        plan: MeasurementPlan,
        coders: Sequence[MeasuredCodec],
        evaluators: Sequence[Evaluator],
        about: dict[str, str],
        force: bool = False,
    ) -> Record:
        """Read what is there and keep what still holds; rewrites the file without the rest.

        Raises: `OSError` when the disk refuses.
        """
        contract: dict[str, Any] = {
            "source": source,
            "plan": json.loads(json.dumps(asdict(plan))),
            # The evaluators, by the name that this field had in the first version of the file.
            "judges": sorted(evaluator.name for evaluator in evaluators),
        }
        codecs = {coder.name: coder.identity() for coder in coders}
        head, lines = ({}, []) if force else _read(path)
        before = dict(head.get("contract", {}))
        known = before.pop("codecs", {})
        if before != contract:
            if lines:
                console.say(f"other images, rates or evaluators than in {path}: starting over")
            known, lines = {}, []
        current = {
            name for name, identity in known.items() if codecs.get(name, identity) == identity
        }
        expected = {coder.name: len(plan.rungs(coder)) + len(plan.bpp) for coder in coders}
        rows = _whole([Measurement(**line) for line in lines], current, expected)
        merged = {name: identity for name, identity in known.items() if name in current} | codecs
        head = {"kind": "run", **about, "contract": {**contract, "codecs": merged}}
        record = cls(path=path, head=head, rows=rows, expected=expected)
        record._rewrite()
        return record

    def tasks(self, pictures: Sequence[str]) -> Iterator[MeasurementTask]:
        """What is left of each image; images with nothing left aren't mentioned."""
        have: dict[str, set[str]] = defaultdict(set)
        for row in self.rows:
            have[row.picture].add(row.codec)
        for picture in pictures:
            codecs = tuple(name for name in self.expected if name not in have[picture])
            original = ORIGINAL not in have[picture]
            if codecs or original:
                yield MeasurementTask(picture=picture, codecs=codecs, original=original)

    def add(self, rows: Sequence[Measurement]) -> None:
        """Append rows to the file, at once, and keep them."""
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row.line()) + "\n" for row in rows)
        self.rows += rows

    def of(self, pictures: Sequence[str]) -> list[Measurement]:
        """Rows of these images and of the codecs of this run, in the order of both."""
        place = {name: at for at, name in enumerate((ORIGINAL, *self.expected))}
        order = {name: at for at, name in enumerate(pictures)}
        rows = [
            row
            for row in self.rows
            if row.picture in order and (row.codec in place or row.kind == "unreadable")
        ]
        return sorted(rows, key=lambda row: (order[row.picture], place.get(row.codec, 0)))

    def _rewrite(self) -> None:
        lines = [self.head, *(row.line() for row in self.rows)]
        atomic.write(self.path, "".join(json.dumps(line) + "\n" for line in lines).encode())


def _read(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """First line and the others; a line torn by a kill is left out."""
    if not path.is_file():
        return {}, []
    found = []
    for line in path.read_text("utf-8").splitlines():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    if not found or found[0].get("kind") != "run":
        return {}, []
    return found[0], found[1:]


def _whole(
    rows: Sequence[Measurement], current: set[str], expected: dict[str, int]
) -> list[Measurement]:
    """Rows that need no second try: of an unchanged codec, complete for their image."""
    good = [
        row for row in rows if row.error is None and (row.codec in current or row.codec == ORIGINAL)
    ]
    count = Counter((row.picture, row.codec) for row in good)
    return [
        row
        for row in good
        if count[row.picture, row.codec] == expected.get(row.codec, count[row.picture, row.codec])
    ]
