"""Time limits of images: an alarm for Python, the process's end for native code."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from deepsic.bitstream import VERSION, Label
from pipelines.archive.listing.chunks import Chunk, Item
from pipelines.archive.settings import JobSettings
from pipelines.archive.work.chunk import ArchiveJob, compress_chunk
from pipelines.archive.work.timing import OutOfTimeError, time_limits
from pipelines.storage import Fetched, LocalStorage, NewObject

from .conftest import save_image
from .fakes import IDENTITY, WebpSource


def test_a_slow_block_is_stopped_and_the_next_has_its_own_time() -> None:
    with time_limits(0.1) as limit:
        for _ in range(2):
            with pytest.raises(OutOfTimeError, match=r"0\.1 s"), limit.block():
                time.sleep(5)
        with limit.block(images=10):
            time.sleep(0.2)


def _ends(code: str) -> int:
    start = "import time, collections, itertools\n"
    start += "from pipelines.archive.work.timing import time_limits\n"
    return subprocess.run([sys.executable, "-c", start + code], timeout=60, check=False).returncode


def test_native_code_that_ignores_the_alarm_ends_the_process() -> None:
    forever = "collections.deque(itertools.repeat(0), maxlen=0)"
    assert _ends(f"with time_limits(0.05) as limit:\n with limit.block(): {forever}") != 0


def test_a_worker_that_waits_for_work_lives() -> None:
    watched = "with time_limits(0.01) as limit:\n with limit.block(): pass\n"
    assert _ends(watched + "time.sleep(0.5)") == 0


SLOW_STORE = """
import sys, time
from pathlib import Path
from deepsic.bitstream import VERSION
from pipelines.archive.listing.chunks import Chunk, Item
from pipelines.archive.settings import JobSettings
from pipelines.archive.work.chunk import ArchiveJob, compress_chunk
from pipelines.storage.local import LocalStorage
from tests.pipelines.archive.conftest import save_image
from tests.pipelines.archive.fakes import IDENTITY, WebpSource

class Slow(LocalStorage):
    def get(self, key):
        time.sleep(1.5)
        return super().get(key)

    def put_new(self, objects):
        time.sleep(1.5)
        return super().put_new(objects)

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for number in range(12):  # more than are read ahead
        save_image(folder / f"in/{number}.png", number)
    identity = IDENTITY.hex()
    job = ArchiveJob(
        source=Slow(str(folder / "in")), destination=Slow(str(folder / "out")), codec=WebpSource(),
        settings=JobSettings(model="x", model_id=identity, format_version=VERSION, quality=50),
        seconds_per_image=0.05,
    )
    job.destination.create()
    tally = compress_chunk(job, Chunk(tuple(Item(info) for info in job.source.list())))
    print(tally.ok)
"""


def test_a_slow_store_ends_no_worker(tmp_path: Path) -> None:
    """Reads and writes of 1.5 s, where native code would get 0.5 to 1 s."""
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", SLOW_STORE, str(tmp_path)],
        cwd=root, timeout=120, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout.split()) == (0, ["12"]), done.stderr


class FarStorage(LocalStorage):
    """Every object is waited for, as with S3."""

    def get(self, key: str) -> Fetched:
        time.sleep(0.05)
        return super().get(key)

    def put_new(self, objects: Sequence[NewObject]) -> Sequence[Exception | None]:
        time.sleep(0.05 * len(objects))
        return super().put_new(objects)


class TimedCodec:
    """Takes a while for each image, and notes when."""

    identity = IDENTITY

    def __init__(self) -> None:
        self._codec = WebpSource().load()
        self.times: list[tuple[float, float]] = []

    def encode(self, image: Image.Image, **settings: Any) -> bytes:
        began = time.perf_counter()
        time.sleep(0.02)
        blob = self._codec.encode(image, **settings)
        self.times.append((began, time.perf_counter()))
        return blob

    def encode_batch(self, images: Sequence[Image.Image], **settings: Any) -> list[bytes]:
        return [self.encode(image, **settings) for image in images]

    def decode(self, blob: bytes) -> Image.Image:
        return self._codec.decode(blob)

    def labels(self, blob: bytes, top: int = 5) -> list[Label]:
        return self._codec.labels(blob, top)


@dataclass(frozen=True)
class TimedSource:
    """Recipe for one, which stays at hand."""

    codec: TimedCodec = field(default_factory=TimedCodec)

    def identity(self) -> str:
        return IDENTITY.hex()

    def load(self) -> TimedCodec:
        return self.codec


def test_a_slow_store_keeps_no_core_waiting(tmp_path: Path) -> None:
    """Read 50 ms, encode 20, write 50, read back 50: one after the other 8 times the encoding."""
    for number in range(48):
        save_image(tmp_path / f"in/{number:02d}.png", number)
    source = TimedSource()
    job = ArchiveJob(
        source=FarStorage(str(tmp_path / "in")),
        destination=FarStorage(str(tmp_path / "out"), write_batch=1),
        codec=source,
        settings=JobSettings(
            model="x", model_id=IDENTITY.hex(), format_version=VERSION, quality=50
        ),
    )
    job.destination.create()
    chunk = Chunk(tuple(Item(info) for info in job.source.list()))
    assert compress_chunk(job, chunk).ok == 48
    times = source.codec.times[-48:]  # before them, the warm-up
    busy = sum(end - began for began, end in times)
    assert times[-1][1] - times[0][0] < 2 * busy
