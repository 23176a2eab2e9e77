"""Where the work is done: in this process, for tests and tiny services, or on Ray's replicas."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from pipelines.serving.settings import ServeSettings
from pipelines.serving.work.jobs import Job, ModelInfo
from pipelines.serving.work.turns import Turns
from pipelines.serving.work.uploads import Uploads
from pipelines.serving.work.worker import CodecLike, Worker

__all__ = ["Backend", "LocalBackend", "Queued"]

R = TypeVar("R")
T = TypeVar("T")


class Backend(Protocol):
    """The codec as the routes see it; every call may raise `BusyError`."""

    async def models(self) -> list[ModelInfo]: ...
    async def classifier(self) -> str | None: ...
    async def do(self, job: Job[R]) -> R: ...
    async def keep(self, data: bytes, client: str) -> str: ...
    async def kept(self, handle: str) -> bytes | None: ...


class Queued:
    """A backend whose clients take turns; work beyond `bulk_pixels` has a line of its own."""

    def __init__(self, backend: Backend, settings: ServeSettings) -> None:
        self.backend = backend
        self.settings = settings
        slots = 2 * settings.max_batch * settings.max_replicas
        self.small = Turns(slots, max(settings.max_replicas, slots // 2), settings.max_queued)
        self.bulk = self.small
        if settings.bulk_replicas:
            self.bulk = Turns(settings.bulk_replicas, settings.bulk_replicas, settings.max_queued)

    async def do(self, job: Job[R], client: str) -> R:
        """Do one request's work when it is the client's turn."""
        turns = self.bulk if job.cost > self.settings.bulk_pixels else self.small
        async with turns.turn(client):
            return await self.backend.do(job)


class LocalBackend:
    """One worker in a thread of this process, without batching."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.codecs: dict[str, CodecLike] = {}
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="codec")
        self.uploads = Uploads(worker.settings.max_uploads_bytes, worker.settings.upload_s)

    async def _run(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.thread, function, *arguments)

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

    async def keep(self, data: bytes, client: str) -> str:
        """Keep a file for further requests; its handle."""
        return self.uploads.put(data, client)

    async def kept(self, handle: str) -> bytes | None:
        """A file that was kept."""
        return self.uploads.get(handle)
