"""Time limits of pictures: an alarm for Python, the process's end for native code."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from pipelines.archive.timing import TimeLimitError, time_limits


def test_a_slow_block_is_stopped_and_the_next_has_its_own_time() -> None:
    with time_limits(0.1) as limit:
        for _ in range(2):
            with pytest.raises(TimeLimitError, match=r"0\.1 s"), limit.block():
                time.sleep(5)
        with limit.block(pictures=10):
            time.sleep(0.2)


def _ends(code: str) -> int:
    start = (
        "import time, collections, itertools\nfrom pipelines.archive.timing import time_limits\n"
    )
    return subprocess.run([sys.executable, "-c", start + code], timeout=60, check=False).returncode


def test_native_code_that_ignores_the_alarm_ends_the_process() -> None:
    forever = "collections.deque(itertools.repeat(0), maxlen=0)"
    assert _ends(f"with time_limits(0.05) as limit:\n with limit.block(): {forever}") != 0


def test_a_worker_that_waits_for_work_lives() -> None:
    watched = "with time_limits(0.01) as limit:\n with limit.block(): pass\n"
    assert _ends(watched + "time.sleep(0.5)") == 0
