"""What the service is measured against: the same work done by the codec in this process."""

from __future__ import annotations

import io
import multiprocessing
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

__all__ = ["QUALITY", "InProcess", "Truth"]

QUALITY = 50


class Truth:
    """What right answers are: the same work done in this process."""

    def __init__(self, data: bytes) -> None:
        import torch

        import deepsic

        torch.set_num_threads(1)
        self.data = data
        self.codec = deepsic.Codec.load("sic")
        self.blob = self.codec.encode(data, quality=QUALITY, labels=False)
        self.pixels = np.asarray(self.codec.decode(self.blob))

    def second(self) -> float:
        """Time to encode once in this process with one thread, seconds."""
        started = time.perf_counter()
        self.codec.encode(self.data, quality=QUALITY, labels=False)
        return time.perf_counter() - started

    def check(self, status: int, headers: Mapping[str, str], content: bytes, verb: str) -> str:
        """The answer's status, or "wrong" for a 200 with a wrong byte."""
        if status == 200:
            if verb == "encode" and content != self.blob:
                return "wrong"
            if verb == "decode":
                image = np.asarray(Image.open(io.BytesIO(content)))
                if not np.array_equal(image, self.pixels):
                    return "wrong"
        elif headers.get("content-type") != "application/problem+json":
            return f"{status} without a problem document"
        return str(status)


def _work(data: bytes, orders: Any) -> None:
    """Encode for as many seconds as `orders` says, again and again."""
    truth = Truth(data)
    truth.second()
    orders.send(0.0)
    while (seconds := orders.recv()) > 0:
        started = time.perf_counter()
        done = 0
        while time.perf_counter() - started < seconds:
            truth.second()
            done += 1
        orders.send(done / (time.perf_counter() - started))


class InProcess:
    """Processes of one thread each that encode without a service."""

    def __init__(self, data: bytes, count: int) -> None:
        context = multiprocessing.get_context("spawn")
        pairs = [context.Pipe() for _ in range(count)]
        self.orders = [ours for ours, _ in pairs]
        self.workers = [
            context.Process(target=_work, args=(data, theirs), daemon=True) for _, theirs in pairs
        ]
        for worker in self.workers:
            worker.start()
        for order in self.orders:
            order.recv()

    def rate(self, seconds: float) -> float:
        """Images a second that all of them encode together."""
        for order in self.orders:
            order.send(seconds)
        return sum(float(order.recv()) for order in self.orders)

    def end(self) -> None:
        """Stop the processes."""
        for order in self.orders:
            order.send(0.0)
        for worker in self.workers:
            worker.join(10)
