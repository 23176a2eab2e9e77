"""A stand-in for the codec: real `.sic` containers with WebP inside, so that no net is needed."""

from __future__ import annotations

import io
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from deepsic.bitstream import Container, Header, Label, Semantics, pack, unpack
from deepsic.errors import UsageError
from deepsic.labels import label_set
from pipelines.archive.work.codec import ArchiveCodec

__all__ = ["IDENTITY", "WebpSource"]

IDENTITY = bytes.fromhex("00112233deadbeef")
#: An image whose first pixel is this kills, or stalls, the worker that encodes it.
KILL, STALL = (13, 37, 255), (37, 13, 255)


class _Webp:
    identity = IDENTITY

    def encode(self, image: Image.Image, **settings: Any) -> bytes:
        first = np.asarray(image.convert("RGB"))[0, 0].tolist()
        if tuple(first) == KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        if tuple(first) == STALL:
            time.sleep(30)
        quality = settings.get("quality") or 50
        if quality == 99:
            raise UsageError("no image at quality 99")
        buffer = io.BytesIO()
        image.save(buffer, "WEBP", quality=quality)
        names = label_set("imagenet1k").classes()
        best = names[sum(first) % 1000]
        header = Header(width=image.width, height=image.height, model_id=IDENTITY, quality=quality)
        labels = Semantics("imagenet1k", (Label(best.name, best.wnid, 0.75),))
        return pack(Container(header=header, tiles=(buffer.getvalue(),), semantics=labels))

    def encode_batch(self, images: Sequence[Image.Image], **settings: Any) -> list[bytes]:
        return [self.encode(image, **settings) for image in images]

    def decode(self, blob: bytes) -> Image.Image:
        return Image.open(io.BytesIO(unpack(blob).tiles[0])).convert("RGB")

    def labels(self, blob: bytes, top: int = 5) -> list[Label]:
        semantics = unpack(blob).semantics
        return list(semantics.labels[:top]) if semantics else []


@dataclass(frozen=True)
class WebpSource:
    """Recipe for the stand-in."""

    def identity(self) -> str:
        return IDENTITY.hex()

    def load(self) -> ArchiveCodec:
        return _Webp()
