"""Where the work is done: in this process, for tests and tiny services, or on Ray's replicas."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from deepsic.bitstream.semantics import Label
from pipelines.serving.jobs import (
    ClassifyJob,
    Decoded,
    DecodeJob,
    Encoded,
    EncodeJob,
    HeatJob,
    LabelsJob,
    ModelInfo,
    RivalJob,
)
from pipelines.serving.problems import BusyError
from pipelines.serving.worker import CodecLike, Worker

__all__ = ["Backend", "LocalBackend"]

T = TypeVar("T")


class Backend(Protocol):
    """The codec as the routes see it; every call may raise `BusyError`."""

    async def models(self) -> list[ModelInfo]: ...
    async def classifier(self) -> str | None: ...
    async def encode(self, job: EncodeJob) -> Encoded: ...
    async def decode(self, job: DecodeJob) -> Decoded: ...
    async def labels(self, job: LabelsJob) -> list[Label]: ...
    async def rival(self, job: RivalJob) -> Decoded: ...
    async def classify(self, job: ClassifyJob) -> list[Label]: ...
    async def heat(self, job: HeatJob) -> Decoded: ...


class LocalBackend:
    """One worker in a thread of this process, with a bounded queue and no batching."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.codecs: dict[str, CodecLike] = {}
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="codec")
        self.waiting = 0

    async def _run(self, function: Callable[..., T], *arguments: Any) -> T:
        if self.waiting > self.worker.settings.max_queued:
            raise BusyError
        self.waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self.thread, function, *arguments)
        finally:
            self.waiting -= 1

    async def _codec(self, name: str) -> CodecLike:
        if name not in self.codecs:
            self.codecs[name] = await self._run(self.worker.load, name)
        return self.codecs[name]

    async def models(self) -> list[ModelInfo]:
        """All offered models, loaded."""
        return [
            self.worker.describe(await self._codec(name)) for name in self.worker.settings.models
        ]

    async def classifier(self) -> str | None:
        """Name of the classifier, if there is one."""
        return None if self.worker.looker is None else self.worker.looker.name

    async def encode(self, job: EncodeJob) -> Encoded:
        """Encode one picture."""
        codec = await self._codec(job.model)
        result = (await self._run(self.worker.encode_many, codec, [job]))[0]
        if isinstance(result, Exception):
            raise result
        return result

    async def decode(self, job: DecodeJob) -> Decoded:
        """Decode one file."""
        return await self._run(self.worker.decode, await self._codec(job.model), job)

    async def labels(self, job: LabelsJob) -> list[Label]:
        """Labels by the model's semantic head."""
        return await self._run(self.worker.labels, await self._codec(job.model), job)

    async def rival(self, job: RivalJob) -> Decoded:
        """The picture by an ordinary codec."""
        return await self._run(self.worker.rival, job)

    async def classify(self, job: ClassifyJob) -> list[Label]:
        """What the classifier sees in a picture."""
        return await self._run(self.worker.classify, job)

    async def heat(self, job: HeatJob) -> Decoded:
        """The classifier's weights as a gray picture."""
        return await self._run(self.worker.heat, job)
