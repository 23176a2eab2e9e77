"""Images to `.sic` bytes: like sizes together, each within its time, one bad one alone."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from deepsic.bitstream import Label, read_semantics
from pipelines.archive.settings import JobSettings
from pipelines.archive.work.check import Check
from pipelines.archive.work.codec import ArchiveCodec
from pipelines.archive.work.images import SourceFacts, SourceImage
from pipelines.archive.work.timing import TimeLimit

__all__ = ["EncodedImage", "Encoder"]

BATCH_IMAGES = 8
#: Pixels of a batch that is handed to the codec together.
BATCH_PIXELS = 2_000_000
#: Decoded images that wait for company, pixels (3 bytes each).
WAITING_PIXELS = 16_000_000


@dataclass(frozen=True)
class EncodedImage:
    """An image's file, or the error in its place."""

    facts: SourceFacts
    blob: bytes = b""
    labels: list[Label] = field(default_factory=list)
    psnr: float | None = None
    """dB, where the file was decoded."""
    error: Exception | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Encoder:
    """A codec with one job's settings."""

    codec: ArchiveCodec
    settings: JobSettings
    limit: TimeLimit
    check: Check

    def encode(self, pictures: Iterable[SourceImage]) -> Iterator[EncodedImage]:
        """Encode a stream of images, not in its order. Holds a bounded number of pixels."""
        bins: dict[tuple[str, tuple[int, int]], list[SourceImage]] = defaultdict(list)
        waiting = 0
        for image in pictures:
            place = (image.image.mode, image.image.size)
            bins[place].append(image)
            waiting += image.facts.pixels
            full = len(bins[place]) >= self._batch_size(image)
            while full or waiting > WAITING_PIXELS:
                batch = bins.pop(place if full else max(bins, key=lambda p: _weight(bins[p])))
                waiting -= _weight(batch)
                yield from self._batch(batch)
                full = False
        for batch in bins.values():
            yield from self._batch(batch)

    def _batch_size(self, image: SourceImage) -> int:
        if self.settings.quality is None:
            return 1  # a byte target is searched for, image by image
        return max(1, min(BATCH_IMAGES, BATCH_PIXELS // image.facts.pixels))

    def _batch(self, batch: list[SourceImage]) -> Iterator[EncodedImage]:
        if len(batch) == 1:
            yield self._single(batch[0])
            return
        began = time.perf_counter()
        try:
            with self.limit.block(len(batch)):
                images = [image.image for image in batch]
                blobs = self.codec.encode_batch(images, **self.settings.target)
                made = [self._finish(*pair) for pair in zip(batch, blobs, strict=True)]
        except Exception:  # whichever of them it was: each alone tells
            made = [self._single(image) for image in batch]
        else:
            seconds = (time.perf_counter() - began) / len(batch)
            made = [replace(one, seconds=seconds) for one in made]
        yield from made

    def _single(self, image: SourceImage) -> EncodedImage:
        began = time.perf_counter()
        try:
            with self.limit.block():
                blob = self.codec.encode(image.image, **self.settings.target)
                made = self._finish(image, blob)
        except Exception as error:  # one image's trouble, whatever it is, is a row of its own
            made = EncodedImage(image.facts, error=error)
        return replace(made, seconds=time.perf_counter() - began)

    def _finish(self, image: SourceImage, blob: bytes) -> EncodedImage:
        labels = self._labels(blob)
        value = self.check.run(image.image, blob, labels, self.codec)
        return EncodedImage(image.facts, blob, labels, value)

    def _labels(self, blob: bytes) -> list[Label]:
        # Only what the file stores: asking a semantic head would decode every file once more.
        stored = read_semantics(blob)
        return list(stored.labels[: self.settings.top]) if stored else []


def _weight(pictures: list[SourceImage]) -> int:
    return sum(image.facts.pixels for image in pictures)
