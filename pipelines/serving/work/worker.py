"""The work itself, without HTTP and without Ray: bytes in, bytes out, one call at a time."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from PIL import Image

from deepsic.bitstream.header import Prefix
from deepsic.bitstream.semantics import Label
from deepsic.errors import DeepsicError, InputError, UnknownModelError, UsageError
from pipelines.models import model_file
from pipelines.serving.http.problems import MissingClassifierError
from pipelines.serving.settings import ServeSettings
from pipelines.serving.work import baselines, images
from pipelines.serving.work.classifying import ImageReader
from pipelines.serving.work.jobs import (
    BaselineJob,
    ClassifyJob,
    Decoded,
    DecodeJob,
    Encoded,
    EncodeJob,
    HeatJob,
    Job,
    LabelsJob,
    Measured,
    MeasureJob,
    ModelInfo,
    ShrinkJob,
)

if TYPE_CHECKING:
    from deepsic.refiner import Refiner

__all__ = ["CodecLike", "Loader", "Worker", "load_codec"]

R = TypeVar("R")


class CodecLike(Protocol):
    """What the service uses of `deepsic.Codec`."""

    name: str
    identity: bytes
    path: Path

    @property
    def tunings(self) -> tuple[str, ...]: ...
    @property
    def scales(self) -> tuple[float, ...]: ...
    @property
    def tuned(self) -> Callable[[str], CodecLike]: ...
    @property
    def encode(self) -> Callable[..., bytes]: ...
    @property
    def encode_batch(self) -> Callable[..., list[bytes]]: ...
    @property
    def decode(self) -> Callable[..., Image.Image]: ...
    @property
    def labels(self) -> Callable[..., Sequence[Label]]: ...


Loader = Callable[[str, ServeSettings], CodecLike]


def load_codec(name: str, settings: ServeSettings) -> CodecLike:
    """The real codec, by shipped name, path or place on s3://."""
    import torch

    import deepsic
    from deepsic.evaluation.metrics.distortion import compare

    torch.set_num_threads(max(1, int(settings.cpus_per_replica)))
    codec: CodecLike = deepsic.Codec.load(
        model_file(name), device=settings.device, limits=settings.limits
    )
    # The first image compiles the entropy coder and the measures; no user should wait for that.
    first = Image.linear_gradient("L").convert("RGB")
    compare(np.asarray(first), np.asarray(codec.decode(codec.encode(first, quality=50))))
    return codec


class Worker:
    """Codecs of one process. Not for several threads at once: each call wants the whole share."""

    def __init__(self, settings: ServeSettings, loader: Loader = load_codec) -> None:
        self.settings = settings
        self.loader = loader
        self.reader = ImageReader.load(settings.classifier)
        self.refiners: dict[tuple[bytes, tuple[str, ...]], Refiner] = {}
        self.verbs: dict[type[Job[Any]], Callable[[Any, Any], Any]] = {
            EncodeJob: self.encode,
            DecodeJob: self.decode,
            LabelsJob: self.labels,
            BaselineJob: self.baseline,
            ClassifyJob: self.classify,
            HeatJob: self.heat,
            ShrinkJob: self.shrink,
            MeasureJob: self.measure,
        }

    def load(self, name: str) -> CodecLike:
        """Load one of the offered models; raises `UnknownModelError` for another name."""
        for offered in self.settings.models:
            if name in (offered, Path(offered).stem):
                return self.loader(offered, self.settings)
        raise UnknownModelError(f"model {name!r} isn't offered here; see /v1/models")

    def describe(self, codec: CodecLike) -> ModelInfo:
        """What clients may know of a model."""
        return ModelInfo(name=codec.name, identity=codec.identity.hex(), tunings=codec.tunings)

    def do(self, codec: CodecLike | None, job: Job[R]) -> R:
        """Do a job; `codec` is the one that it names, if it names one."""
        result: R = self.verbs[type(job)](codec, job)
        return result

    def encode(self, codec: CodecLike, job: EncodeJob) -> Encoded:
        """Encode one image."""
        result = self.encode_many(codec, [job])[0]
        if isinstance(result, DeepsicError):
            raise result
        return result

    def encode_many(
        self, codec: CodecLike, jobs: Sequence[EncodeJob]
    ) -> list[Encoded | DeepsicError]:
        """Encode all jobs; an image that fails spoils only its own result."""
        results: dict[int, Encoded | DeepsicError] = {}
        groups: dict[Any, list[int]] = defaultdict(list)
        for index, job in enumerate(jobs):
            groups[job.together].append(index)
        for indices in groups.values():
            outcome = self._encode_group(codec, [jobs[index] for index in indices])
            results.update(zip(indices, outcome, strict=True))
        return [results[index] for index in range(len(jobs))]

    def _encode_group(
        self, codec: CodecLike, jobs: list[EncodeJob]
    ) -> list[Encoded | DeepsicError]:
        job, images = jobs[0], [job.data for job in jobs]
        size = vars(job.goal).items()
        options: dict[str, Any] = {key: value for key, value in size if value is not None}
        options["labels"] = job.labels
        if self.reader is not None:
            options["labeler"] = self.reader.labels
        if job.refine_for:
            options["refiner"] = self.refiner(codec, job)
        started = time.perf_counter()
        try:
            if job.tune is not None:
                codec = codec.tuned(job.tune)
            if len(images) > 1 and set(options) <= {"quality", "labels", "labeler"}:
                blobs = codec.encode_batch(images, **options)
            else:
                blobs = [codec.encode(image, **options) for image in images]
        except DeepsicError as error:
            if len(images) == 1:
                return [error]
            # Find the image at fault; the others still get their file.
            middle = len(jobs) // 2
            halves = (jobs[:middle], jobs[middle:])
            return [result for half in halves for result in self._encode_group(codec, half)]
        seconds = (time.perf_counter() - started) / len(images)
        return [Encoded(blob=blob, seconds=seconds, batch=len(images)) for blob in blobs]

    def refiner(self, codec: CodecLike, job: EncodeJob) -> Refiner:
        """What refines a job's files, within the time that it may take."""
        key = codec.identity, job.refine_for
        if key not in self.refiners:
            from deepsic.refiner import Refiner

            self.refiners.clear()  # one is 50 MB, and few ask
            path, device = codec.path, self.settings.device
            self.refiners[key] = Refiner.load(path, job.refine_for, device=device)
        found = self.refiners[key]
        found.seconds = self.settings.refine_s / job.refined
        return found

    def decode(self, codec: CodecLike, job: DecodeJob) -> Decoded:
        """Decode a `.sic` file and write it as an ordinary image."""
        started = time.perf_counter()
        header = Prefix.unpack(job.data).header
        width = min(job.width or header.width, header.width)
        # No larger than needed: the smaller scales read and decode less.
        enough = [scale for scale in codec.scales if math.ceil(scale * header.width) >= width]
        image = codec.decode(job.data, scale=min(enough))
        height = max(1, round(header.height * width / header.width))
        image = images.resized(image, (width, height))
        seconds = time.perf_counter() - started
        return decoded(image, job.media_type, seconds)

    def shrink(self, _: None, job: ShrinkJob) -> Decoded:
        """The image reduced, as PNG."""
        started = time.perf_counter()
        image = images.shrink(images.open_image(job.data, self.settings.limits), job.longest)
        return decoded(image, "image/png", time.perf_counter() - started)

    def labels(self, codec: CodecLike, job: LabelsJob) -> list[Label]:
        """Labels by the model's semantic head; a codec without one says so."""
        return list(codec.labels(job.data, top=job.top))

    def baseline(self, _: None, job: BaselineJob) -> Decoded:
        """The same image by an ordinary codec, within a number of bytes."""
        if job.format not in baselines.available():
            raise InputError(f"this service can't write {job.format}; see /v1/models")
        started = time.perf_counter()
        image = images.open_image(job.data, self.settings.limits)
        best = baselines.fit(image, job.format, job.max_bytes)
        return Decoded(
            data=best.data,
            media_type=baselines.MEDIA_TYPES[job.format],
            width=image.width,
            height=image.height,
            seconds=time.perf_counter() - started,
            headers={
                "X-Quality": f"{best.knob:.4g}",
                "X-Fits": "yes" if best.fits else "no",
                "X-Pixel-Bytes": str(best.pixel_bytes),
            },
        )

    def measure(self, codec: CodecLike | None, job: MeasureJob) -> Measured:
        """How close a file is to the image it was made from."""
        from deepsic.evaluation.metrics.distortion import IDENTICAL_DB, compare

        original = images.open_image(job.data, self.settings.limits)
        if codec is not None:
            made = codec.decode(job.file)
        else:
            made = images.open_image(job.file, self.settings.limits)
        if made.size != original.size:
            raise UsageError(
                f"the file has {made.width}x{made.height} pixels, the image "
                f"{original.width}x{original.height}: send a file that was made from it"
            )
        found = compare(*(np.asarray(images.on_white(image)) for image in (original, made)))
        return Measured(
            psnr=None if found.psnr_rgb >= IDENTICAL_DB else found.psnr_rgb,
            ms_ssim=found.ms_ssim_rgb,
            labels=None if self.reader is None else self.reader.labels(made),
        )

    def classify(self, _: None, job: ClassifyJob) -> list[Label]:
        """What the classifier sees in an image."""
        if self.reader is None:
            raise MissingClassifierError("the service was started without a classifier")
        return self.reader.labels(images.open_image(job.data, self.settings.limits))

    def heat(self, _: None, job: HeatJob) -> Decoded:
        """A gray PNG as large as the image's thumbnail: white is what the classifier weighs."""
        if self.reader is None:
            raise MissingClassifierError("the service was started without a classifier")
        started = time.perf_counter()
        image = images.open_image(job.data, self.settings.limits)
        heat, label = self.reader.heat(image, job.label)
        headers = {"X-Label": label.name.encode("ascii", "replace").decode(), "X-Wnid": label.wnid}
        return decoded(heat, "image/png", time.perf_counter() - started, headers)


def decoded(
    image: Image.Image, media_type: str, seconds: float, headers: dict[str, str] | None = None
) -> Decoded:
    """A finished image as an answer; `seconds` is what making it took, without writing it."""
    return Decoded(
        data=images.write(image, media_type),
        media_type=media_type,
        width=image.width,
        height=image.height,
        seconds=seconds,
        headers=headers or {},
    )
