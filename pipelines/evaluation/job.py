"""The Ray job: every picture measured once, with every codec, on some worker."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from deepsic.errors import DeepsicError
from deepsic.metrics.judges import Judge
from deepsic.metrics.measure import Plan, Row, measure
from deepsic.rivals import Coder
from pipelines.evaluation.pictures import PictureRef, read_picture

__all__ = ["Measurer", "measure_all", "measure_here"]

_MAX_BLOCKS = 2_000


class Measurer:
    """A worker's hands: codecs and networks, loaded once, one picture at a time."""

    def __init__(self, coders: Sequence[Coder], judges: Sequence[Judge], plan: Plan) -> None:
        import torch

        torch.set_num_threads(1)  # as many workers as CPUs; each codec's time is one thread's
        self.coders, self.judges, self.plan = coders, judges, plan

    def __call__(self, item: dict[str, Any]) -> list[dict[str, str]]:
        """One picture's rows as JSON; a picture that can't be read gives one row that says why."""
        ref = PictureRef(**json.loads(item["ref"]))
        try:
            subject = read_picture(ref)
        except DeepsicError as error:
            return _lines([Row(picture=ref.key, codec="", kind="unreadable", error=str(error))])
        return _lines(measure(subject, self.coders, self.plan, self.judges))


def measure_here(
    pictures: Sequence[PictureRef], coders: Sequence[Coder], judges: Sequence[Judge], plan: Plan
) -> Iterator[Row]:
    """The same in this process, without Ray, one picture after the other."""
    measurer = Measurer(coders, judges, plan)
    for ref in pictures:
        for line in measurer({"ref": json.dumps(asdict(ref))}):
            yield Row(**json.loads(line["row"]))


def measure_all(
    pictures: Sequence[PictureRef],
    coders: Sequence[Coder],
    judges: Sequence[Judge],
    plan: Plan,
    workers: int,
) -> Iterator[Row]:
    """Rows of all pictures as they are made, in no fixed order. Ray must run already."""
    import ray.data

    items = [{"ref": json.dumps(asdict(ref))} for ref in pictures]
    blocks = min(len(items), _MAX_BLOCKS)  # a picture a block: progress shows from the first on
    lines = ray.data.from_items(items, override_num_blocks=blocks).flat_map(
        Measurer,
        fn_constructor_args=(list(coders), list(judges), plan),
        num_cpus=1,
        compute=ray.data.ActorPoolStrategy(size=min(workers, len(items))),
    )
    for line in lines.iter_rows():
        yield Row(**json.loads(line["row"]))


def _lines(rows: Sequence[Row]) -> list[dict[str, str]]:
    return [{"row": json.dumps(row.line())} for row in rows]
