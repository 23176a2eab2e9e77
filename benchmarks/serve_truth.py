"""What the service is measured against: the same work done by the codec in this process."""

from __future__ import annotations

import io
import multiprocessing
import time
from typing import Any

import httpx
import numpy as np
from PIL import Image

__all__ = ["QUALITY", "Truth", "in_process"]

QUALITY = 50


class Truth:
    """What right answers are: the same work done in this process."""

    def __init__(self, data: bytes) -> None:
        import torch

        import deepsic

        torch.set_num_threads(1)
        self.data = data
        self.codec = deepsic.Codec.load("sic")
        self.blob = self.codec.encode(data, quality=QUALITY)
        self.pixels = np.asarray(self.codec.decode(self.blob))

    def seconds(self, times: int = 15) -> list[float]:
        """Encoding times in this process, one thread."""
        taken = []
        for _ in range(times):
            started = time.perf_counter()
            self.codec.encode(self.data, quality=QUALITY)
            taken.append(time.perf_counter() - started)
        return taken

    def check(self, answer: httpx.Response, verb: str) -> str:
        """The answer's status, or "wrong" for a 200 with a wrong byte."""
        if answer.status_code == 200:
            if verb == "encode" and answer.content != self.blob:
                return "wrong"
            if verb == "decode":
                image = np.asarray(Image.open(io.BytesIO(answer.content)))
                if not np.array_equal(image, self.pixels):
                    return "wrong"
        elif answer.headers.get("content-type") != "application/problem+json":
            return f"{answer.status_code} without a problem document"
        return str(answer.status_code)


def _encode_until(data: bytes, seconds: float, ready: Any, rates: Any) -> None:
    truth = Truth(data)
    truth.seconds(2)
    ready.wait()
    started = time.perf_counter()
    done = 0
    while time.perf_counter() - started < seconds:
        truth.codec.encode(data, quality=QUALITY)
        done += 1
    rates.put(done / (time.perf_counter() - started))


def in_process(data: bytes, processes: int, seconds: float) -> float:
    """Pictures a second that `processes` processes of one thread each encode together."""
    context = multiprocessing.get_context("spawn")
    ready, rates = context.Barrier(processes), context.Queue()
    workers = [
        context.Process(target=_encode_until, args=(data, seconds, ready, rates), daemon=True)
        for _ in range(processes)
    ]
    for worker in workers:
        worker.start()
    total = sum(rates.get(timeout=seconds + 120) for _ in workers)
    for worker in workers:
        worker.join()
    return float(total)
