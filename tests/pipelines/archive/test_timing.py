"""Time limits of images: an alarm for Python, the process's end for native code."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.archive.work.timing import TimeLimitError, time_limits


def test_a_slow_block_is_stopped_and_the_next_has_its_own_time() -> None:
    with time_limits(0.1) as limit:
        for _ in range(2):
            with pytest.raises(TimeLimitError, match=r"0\.1 s"), limit.block():
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

    def put(self, key, data, *, exclusive=False):
        time.sleep(1.5)
        super().put(key, data, exclusive=exclusive)

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
    print(tally.objects)
"""


def test_a_slow_store_ends_no_worker(tmp_path: Path) -> None:
    """Reads and writes of 1.5 s, where native code would get 0.5 to 1 s."""
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", SLOW_STORE, str(tmp_path)],
        cwd=root, timeout=120, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout.split()) == (0, ["12"]), done.stderr
