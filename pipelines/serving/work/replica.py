"""The codec on Ray Serve: replicas that batch, keep a few models, and leave no caller alone."""

from __future__ import annotations

import asyncio
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
from pipelines.serving.work.worker import CodecLike, Loader, Worker, load_codec

__all__ = ["CodecReplica", "RayBackend"]

R = TypeVar("R")
T = TypeVar("T")
MODELS_PER_REPLICA = 3
#: A replica that dies takes its requests with it. The work has no side effects, so it is done
#: again elsewhere; a picture that kills every replica it meets must not go on for ever.
ATTEMPTS = 3
REPLICA_GONE = (ActorDiedError, ActorUnavailableError, RayActorError)


class CodecReplica:
    """One process with codecs. The event loop stays free: all work runs in one thread."""

    def __init__(self, settings: ServeSettings, loader: Loader = load_codec) -> None:
        self.settings = settings
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="codec")
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
        """Encode what came in together; an error takes the place of its own picture's result."""
        by_model: dict[str, list[int]] = defaultdict(list)
        for index, job in enumerate(jobs):
            by_model[job.model].append(index)
        results: dict[int, Encoded | Exception] = {}
        for model, indices in by_model.items():
            try:
                codec = await self.codec(model)
                batch = [jobs[index] for index in indices]
                done = await self._run(self.worker.encode_many, codec, batch)
            except Exception as error:  # of one model; the others' pictures go on
                results.update(dict.fromkeys(indices, error))
            else:
                results.update(zip(indices, done, strict=True))
        return [results[index] for index in range(len(jobs))]

    async def do(self, job: Job[R]) -> R:
        """Do one request's work; pictures to encode go with those that wait beside them."""
        if isinstance(job, EncodeJob):
            encoded: Any = await self.together(job)
            if isinstance(encoded, Exception):
                raise encoded
            done: R = encoded
            return done
        codec = await self.codec(job.model) if job.model else None
        return await self._run(self.worker.do, codec, job)

    async def describe(self, name: str) -> ModelInfo:
        """A model's identity."""
        return self.worker.describe(await self.codec(name))

    async def classifier(self, _: None = None) -> str | None:
        """Name of the classifier, if there is one."""
        return None if self.worker.reader is None else self.worker.reader.name


class RayBackend:
    """Calls the replicas through a deployment handle."""

    def __init__(self, settings: ServeSettings, handle: DeploymentHandle[Any]) -> None:
        self.settings = settings
        self.handle = handle
        self._handles: dict[tuple[str, str], DeploymentHandle[Any]] = {}
        self._models: list[ModelInfo] | None = None

    def _to(self, method: str, model: str) -> DeploymentHandle[Any]:
        key = (method, model)
        if key not in self._handles:
            self._handles[key] = self.handle.options(method_name=method, multiplexed_model_id=model)
        return self._handles[key]

    async def _call(self, method: str, argument: Any, model: str = "") -> Any:
        if model == self.settings.default_model:
            model = ""  # every replica has it: none has to be looked for
        for _ in range(ATTEMPTS):
            try:
                return await self._to(method, model).remote(argument)
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
        result: R = await self._call("do", job, job.model)
        return result
