"""What the worker asks of a codec, and how a worker process comes by one, once."""

from __future__ import annotations

import functools
import gc
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

from PIL import Image

from deepsic.bitstream import Label
from deepsic.errors import UnknownModelError, UsageError
from deepsic.labels import TOP
from deepsic.limits import DEFAULT_LIMITS, Limits
from deepsic.models.effort import DEFAULT_EFFORT
from deepsic.models.quality import TUNINGS
from pipelines.models import model_file, pinned

__all__ = ["ArchiveCodec", "CodecSource", "ModelSource", "checked_codec", "loaded_codec", "warm_up"]


class ArchiveCodec(Protocol):
    """The part of `deepsic.Codec` that an archive job uses."""

    @property
    def identity(self) -> bytes:
        """First 8 bytes of the SHA-256 of the model file."""

    def encode(self, image: Image.Image, **settings: Any) -> bytes:
        """One image to `.sic` bytes."""

    def encode_batch(self, images: Sequence[Image.Image], **settings: Any) -> list[bytes]:
        """Images of one size to `.sic` bytes."""

    def __hash__(self) -> int: ...

    def decode(self, blob: bytes) -> Image.Image:
        """`.sic` bytes to an image."""

    def labels(self, blob: bytes, top: int = TOP) -> list[Label]:
        """What is in the image, most probable first."""


class CodecSource(Protocol):
    """A recipe for a codec: small, hashable, travels to the workers in its place."""

    def identity(self) -> str:
        """The codec's identity in hex, without loading it."""

    def load(self) -> ArchiveCodec:
        """Load the codec in this process."""

    def __hash__(self) -> int: ...


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """A DeepSIC model by name, path or place on s3://."""

    model: str = "sic"
    device: str = "auto"
    tune: str | None = None
    """What files are encoded for: "psnr" or "ssim"; None: as `Codec.load` has it."""
    effort: int = DEFAULT_EFFORT
    """1 to 9, see `deepsic.models.effort`."""
    limits: Limits = DEFAULT_LIMITS
    labeler: str | None = None
    """Classifier whose labels are stored in the files; None: what the model gives by itself;
    "none": no labels."""
    top: int = TOP
    """Labels that the classifier gives."""
    refine_for: tuple[str, ...] = ()
    """Classifiers that every file is fitted to, slowly."""
    refine_steps: int | None = None
    """Gradient steps of it; 1: one look; None: as many as `Refiner` takes."""

    def on(self, device: str) -> ModelSource:
        """The same on a device, for any node: a model on s3:// is pinned to what it is now."""
        return replace(self, device=device, model=pinned(self.model), tune=self.tuned())

    def tuned(self) -> str:
        """What files are encoded for. Raises as `identity`."""
        from deepsic import weights

        tunings = weights.read_arrays(model_file(self.model)).config.get("tunings", 1)
        return self.tune or TUNINGS[tunings - 1]

    def check(self) -> None:
        """Raise `UsageError` for a refining classifier that there isn't, before Ray starts.

        A labeler is looked up by the first worker: to know them all takes torch, which the driver
        does without.
        """
        if self.refine_steps is not None and not self.refine_for:
            raise UsageError("--refine-steps needs --refine-for: name the classifier to refine for")
        if self.refine_for:
            from deepsic.tasks import check_classifier

            for name in self.refine_for:
                check_classifier(name)

    def identity(self) -> str:
        """Hash of the model file; raises `UnknownModelError` when there is none."""
        from deepsic import weights

        return weights.identity_of(model_file(self.model)).hex()

    def load(self) -> ArchiveCodec:
        """Load the model; raises `UnknownModelError` where this machine doesn't have it."""
        import deepsic

        path = model_file(self.model)
        codec = deepsic.Codec.load(
            path, device=self.device, limits=self.limits, tune=self.tune, effort=self.effort
        )
        helpers: dict[str, Any] = {}
        if self.labeler == "none":
            helpers["labels"] = False
        elif self.labeler == "head":
            helpers["labeler"] = functools.partial(codec.read, top=self.top)
        elif self.labeler is not None:
            from deepsic.models.semantic.labeler import load_labeler

            helpers["labeler"] = load_labeler(self.labeler, top=self.top)
        if self.refine_for:
            helpers["refiner"] = deepsic.load_refiner(
                path, self.refine_for, steps=self.refine_steps, device=self.device
            )
        return _Helped(codec, helpers) if helpers else cast(ArchiveCodec, codec)


class _Helped:
    """A codec that encodes every file with a labeler, a refiner, or both."""

    def __init__(self, codec: Any, helpers: dict[str, Any]) -> None:
        self.identity: bytes = codec.identity
        self.decode, self.labels = codec.decode, codec.labels
        self._codec, self._helpers = codec, helpers

    def encode(self, image: Image.Image, **settings: Any) -> bytes:
        blob: bytes = self._codec.encode(image, **self._helpers, **settings)
        return blob

    def encode_batch(self, images: Sequence[Image.Image], **settings: Any) -> list[bytes]:
        blobs: list[bytes] = self._codec.encode_batch(images, **self._helpers, **settings)
        return blobs


@functools.lru_cache(maxsize=1)
def loaded_codec(source: CodecSource) -> ArchiveCodec:
    """This process's codec: loaded with the first chunk, kept for all that follow."""
    codec = source.load()
    # What is there now stays: the collector needn't walk through it again and again.
    gc.collect()
    gc.freeze()
    return codec


def checked_codec(source: CodecSource, model_id: str) -> ArchiveCodec:
    """`loaded_codec`, and see that it is the model that the job began with.

    Raises: `UnknownModelError` on a machine with another file under the same name.
    """
    codec = loaded_codec(source)
    if codec.identity.hex() != model_id:
        raise UnknownModelError(
            f"this worker's model is {codec.identity.hex()}, the job's is {model_id}; install the "
            "same release on every node"
        )
    return codec


@functools.lru_cache(maxsize=1)
def warm_up(codec: ArchiveCodec, *, decodes: bool) -> None:
    """Encode, and decode where the job will, a small image, once in a process.

    The codec's first image on a machine waits for a compiler, up to a minute where that machine
    is busy: no source image should fail its time limit over that.
    """
    blob = codec.encode(Image.new("RGB", (64, 64)), quality=50)
    if decodes:
        codec.decode(blob)
