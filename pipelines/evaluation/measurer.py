"""The Ray job: every image measured once, with every codec, on some worker."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from deepsic.errors import DeepsicError
from deepsic.evaluation.baselines import MeasuredCodec, Memory
from deepsic.evaluation.evaluators import Evaluator
from deepsic.evaluation.measure import Measurement, MeasurementPlan, measure
from pipelines.evaluation.models import on_this_node
from pipelines.evaluation.record import MeasurementTask
from pipelines.evaluation.sources import ImageRef, read_image

__all__ = ["Measurer", "Work", "measure_all", "measure_here"]

_MAX_BLOCKS = 2_000
Work = tuple[ImageRef, MeasurementTask]
"""An image, and what is left to measure of it."""


class Measurer:
    """A worker's hands: codecs and networks, loaded once, one image at a time."""

    def __init__(
        self,
        coders: Sequence[MeasuredCodec],
        evaluators: Sequence[Evaluator],
        plan: MeasurementPlan,
        models: Mapping[str, str] | None = None,
    ) -> None:
        import torch

        on_this_node(coders, models or {})

        torch.set_num_threads(1)  # as many workers as CPUs; each codec's time is one thread's
        self.coders, self.evaluators, self.plan = coders, evaluators, plan
        self.memory = Memory()

    def __call__(self, item: dict[str, Any]) -> dict[str, str]:
        """One image's rows as JSON; an image that can't be read gives one row that says why."""
        ref, task = ImageRef(**json.loads(item["ref"])), json.loads(item["task"])
        coders = [coder for coder in self.coders if coder.name in task["codecs"]]
        try:
            subject = read_image(ref)
        except DeepsicError as error:
            return _lines(
                [Measurement(picture=ref.key, codec="", kind="unreadable", error=str(error))]
            )
        rows = measure(
            subject,
            coders,
            self.plan,
            self.evaluators,
            original=task["original"],
            memory=self.memory,
        )
        return _lines(rows)


def measure_here(
    work: Sequence[Work],
    coders: Sequence[MeasuredCodec],
    evaluators: Sequence[Evaluator],
    plan: MeasurementPlan,
) -> Iterator[list[Measurement]]:
    """The rows of each image in this process, without Ray, one image after the other."""
    measurer = Measurer(coders, evaluators, plan)
    for item in work:
        yield _rows(measurer(_item(item))["rows"])


def measure_all(
    work: Sequence[Work],
    coders: Sequence[MeasuredCodec],
    evaluators: Sequence[Evaluator],
    plan: MeasurementPlan,
    workers: int,
    models: Mapping[str, str] | None = None,
) -> Iterator[list[Measurement]]:
    """The rows of each image as they are made, in no fixed order. Ray must run already.

    models: of `local_codecs`, for workers on other nodes.
    """
    import ray.data

    items = [_item(item) for item in work]
    blocks = min(len(items), _MAX_BLOCKS)  # an image a block: progress shows from the first on
    lines = ray.data.from_items(items, override_num_blocks=blocks).map(
        Measurer,  # type: ignore[arg-type]  # Ray takes a class as well
        fn_constructor_args=(list(coders), list(evaluators), plan, models),
        num_cpus=1,
        compute=ray.data.ActorPoolStrategy(size=min(workers, len(items))),
    )
    for line in lines.iter_rows():
        yield _rows(line["rows"])


def _item(work: Work) -> dict[str, str]:
    ref, task = work
    return {"ref": json.dumps(asdict(ref)), "task": json.dumps(asdict(task))}


def _lines(rows: Sequence[Measurement]) -> dict[str, str]:
    return {"rows": json.dumps([row.line() for row in rows])}


def _rows(text: str) -> list[Measurement]:
    return [Measurement(**line) for line in json.loads(text)]
