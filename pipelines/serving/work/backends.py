"""Where the work is done: in this process, for tests and tiny services, or on Ray's replicas."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from pipelines.serving.http.problems import BusyError
from pipelines.serving.work.jobs import Job, ModelInfo
from pipelines.serving.work.worker import CodecLike, Worker

__all__ = ["Backend", "LocalBackend"]

R = TypeVar("R")
T = TypeVar("T")


class Backend(Protocol):
    """The codec as the routes see it; every call may raise `BusyError`."""

    async def models(self) -> list[ModelInfo]: ...
    async def classifier(self) -> str | None: ...
    async def do(self, job: Job[R]) -> R: ...


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
        return None if self.worker.reader is None else self.worker.reader.name

    async def do(self, job: Job[R]) -> R:
        """Do one request's work."""
        codec = await self._codec(job.model) if job.model else None
        return await self._run(self.worker.do, codec, job)
