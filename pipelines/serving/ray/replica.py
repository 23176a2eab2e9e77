"""The codec on Ray Serve: replicas that batch, keep a few models, and leave no caller alone."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from ray import serve
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from deepsic.errors import DeepsicError
from pipelines.serving.http.problems import BusyError
from pipelines.serving.settings import ServeSettings
from pipelines.serving.work.jobs import Encoded, EncodeJob, Job, ModelInfo
from pipelines.serving.work.uploads import Uploads
from pipelines.serving.work.worker import CodecLike, Loader, Worker, load_codec

__all__ = ["CodecReplica", "RayBackend", "UploadsReplica"]

R = TypeVar("R")
T = TypeVar("T")
MODELS_PER_REPLICA = 3
#: A replica that dies takes its requests with it. The work has no side effects, so it is done
#: again elsewhere; an image that kills every replica it meets must not go on for ever.
ATTEMPTS = 3
#: Of replicas that take the idle time only.
LOWEST_PRIORITY = 19
REPLICA_GONE = (ActorDiedError, ActorUnavailableError, RayActorError)


def take_idle_time() -> None:
    """Give the calling thread the lowest priority; on Linux, threads that it starts inherit it."""
    os.setpriority(os.PRIO_PROCESS, 0, LOWEST_PRIORITY)


class CodecReplica:
    """One process with codecs. The event loop stays free: all work runs in one thread."""

    def __init__(
        self, settings: ServeSettings, loader: Loader = load_codec, bulk: bool = False
    ) -> None:
        self.settings = settings
        self.thread = ThreadPoolExecutor(1, "codec", initializer=take_idle_time if bulk else None)
        self.worker = Worker(settings, loader)
        # Loaded before Serve sends anything here, so that a rolling redeploy never answers slowly.
        self.default = self.worker.load(settings.models[0])
        self.together.set_max_batch_size(settings.max_batch)  # type: ignore[attr-defined]
        self.together.set_batch_wait_timeout_s(settings.batch_wait_s)  # type: ignore[attr-defined]

    async def _run(self, function: Callable[..., T], *arguments: Any) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.thread, function, *arguments)

    async def codec(self, name: str) -> CodecLike:
        """A model by name; the default one is always at hand."""
        if name == self.default.name:
            return self.default
        loaded: CodecLike = await self.other(name)
        return loaded

    @serve.multiplexed(max_num_models_per_replica=MODELS_PER_REPLICA)  # type: ignore[untyped-decorator]
    async def other(self, name: str) -> CodecLike:
        """A model, loaded at its first use; the least recently used one leaves."""
        return await self._run(self.worker.load, name)

    @serve.batch(max_batch_size=8, batch_wait_timeout_s=0.002)
    async def together(self, jobs: list[EncodeJob]) -> list[Encoded | Exception]:
        """Encode what came in together; an error takes the place of its own image's result."""
        by_model: dict[str, list[int]] = defaultdict(list)
        for index, job in enumerate(jobs):
            by_model[job.model].append(index)
        results: dict[int, Encoded | Exception] = {}
        for model, indices in by_model.items():
            try:
                codec = await self.codec(model)
                batch = [jobs[index] for index in indices]
                done = await self._run(self.worker.encode_many, codec, batch)
            except Exception as error:  # of one model; the others' images go on
                results.update(dict.fromkeys(indices, error))
            else:
                results.update(zip(indices, done, strict=True))
        return [results[index] for index in range(len(jobs))]

    async def do(self, job: Job[R]) -> R | DeepsicError:
        """Do one request's work; images to encode go with those that wait beside them.

        An error that was foreseen is the result: raised, Serve would log it as a failure of ours.
        """
        try:
            if isinstance(job, EncodeJob):
                encoded: Any = await self.together(job)
                if isinstance(encoded, Exception):
                    raise encoded
                done: R = encoded
                return done
            codec = await self.codec(job.model) if job.model else None
            return await self._run(self.worker.do, codec, job)
        except DeepsicError as error:
            return error.with_traceback(None)

    async def describe(self, name: str) -> ModelInfo:
        """A model's identity."""
        return self.worker.describe(await self.codec(name))

    async def classifier(self, _: None = None) -> str | None:
        """Name of the classifier, if there is one."""
        return None if self.worker.reader is None else self.worker.reader.name


class UploadsReplica:
    """The uploads of all ingress processes; they end with this process."""

    def __init__(self, settings: ServeSettings) -> None:
        self.uploads = Uploads(settings.max_uploads_bytes, settings.upload_s)

    async def put(self, data: bytes, client: str) -> str:
        """Keep `data`; its handle."""
        return self.uploads.put(data, client)

    async def get(self, handle: str) -> bytes | None:
        """What was kept."""
        return self.uploads.get(handle)


class RayBackend:
    """Calls the replicas through deployment handles.

    bulk: does what costs more than `bulk_pixels`; None: `codec` does all.
    """

    def __init__(
        self,
        settings: ServeSettings,
        codec: DeploymentHandle[Any],
        bulk: DeploymentHandle[Any] | None,
        uploads: DeploymentHandle[Any],
    ) -> None:
        self.settings = settings
        self.codec = codec
        self.bulk = bulk or codec
        self.uploads = uploads
        self._handles: dict[tuple[str, str, bool], DeploymentHandle[Any]] = {}
        self._models: list[ModelInfo] | None = None

    def _to(self, method: str, model: str, bulk: bool) -> DeploymentHandle[Any]:
        key = (method, model, bulk)
        if key not in self._handles:
            handle = self.bulk if bulk else self.codec
            self._handles[key] = handle.options(method_name=method, multiplexed_model_id=model)
        return self._handles[key]

    async def _call(self, method: str, argument: Any, model: str = "", bulk: bool = False) -> Any:
        if model == self.settings.default_model:
            model = ""  # every replica has it: none has to be looked for
        return await self._again(self._to(method, model, bulk), argument)

    async def _again(self, handle: DeploymentHandle[Any], *arguments: Any) -> Any:
        """Call until a replica lives to answer, some times."""
        for _ in range(ATTEMPTS):
            try:
                answer = await handle.remote(*arguments)
            except RayTaskError as error:
                # Its text is a trace; the error inside is what the codec meant to say.
                if isinstance(error.cause, DeepsicError):
                    raise error.cause from None
                raise
            except BackPressureError:
                raise BusyError from None
            except REPLICA_GONE:
                continue
            except DeploymentUnavailableError:
                raise BusyError("the codec is being deployed") from None
            if isinstance(answer, DeepsicError):
                raise answer
            return answer
        raise BusyError("the codec's replicas are restarting")

    async def models(self) -> list[ModelInfo]:
        """All offered models; asked once."""
        if self._models is None:
            names = [Path(name).stem for name in self.settings.models]
            self._models = [await self._call("describe", name, name) for name in names]
        return self._models

    async def classifier(self) -> str | None:
        """Name of the classifier, if there is one."""
        name: str | None = await self._call("classifier", None)
        return name

    async def do(self, job: Job[R]) -> R:
        """Do one request's work on some replica."""
        bulk = job.cost > self.settings.bulk_pixels
        result: R = await self._call("do", job, job.model, bulk)
        return result

    async def keep(self, data: bytes, client: str) -> str:
        """Keep a file for further requests; its handle."""
        handle: str = await self._again(self.uploads.put, data, client)
        return handle

    async def kept(self, handle: str) -> bytes | None:
        """A file that was kept."""
        data: bytes | None = await self._again(self.uploads.get, handle)
        return data
