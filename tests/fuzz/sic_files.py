"""Hostile `.sic` files behind correct checksums, and what is wrong with how they are met."""

from __future__ import annotations

import contextlib
import random
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import cache

from PIL import Image

from deepsic.bitstream import Container, Label, info, pack, unpack, verify
from deepsic.codec import Codec
from deepsic.errors import DeepsicError
from deepsic.models.quality import HALVES
from deepsic.models.registry import Tunable
from tests.fuzz.damage import damaged, measured
from tests.image_io.strange import SRGB, XMP
from tests.support.small_model import photograph

__all__ = ["SECONDS", "faults_of"]

SECONDS, BYTES = 1.0, 1 << 30
"""What any file may cost."""
LARGE = 512
"""Side of the sound image whose price a pixel is asked."""


def faults_of(codec: Codec, count: int, *, largest: int) -> list[str]:
    """Everything that is wrong with how a codec meets `count` mutations of its own files.

    One claim in ten is of up to `largest` pixels a side, the others are small.
    """
    warnings.simplefilter("ignore")
    sound = [unpack(blob) for blob in _sound_files(codec)]
    price = cache(lambda: _price(codec))
    faults = []
    for seed in range(count):
        dice = random.Random(seed)
        blob = _mutation(dice.choice(sound), dice, largest)
        faults += [f"seed {seed}: {fault}" for fault in _faults(codec, blob, price)]
    return faults


def _sound_files(codec: Codec) -> list[bytes]:
    labels = [Label("English springer", "n02102040", 0.64), Label("Lhasa", "n02098413", 0.16)]
    rich = Image.fromarray(photograph(50, 70))
    rich.putalpha(7)
    rich.info.update(exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0", icc_profile=SRGB, xmp=XMP)
    return [
        codec.encode(photograph(33, 47), quality=20),
        codec.encode(photograph(40, 30)[..., 0], quality=95, labels=labels),
        codec.encode(rich, quality=60, labels=labels),
        _in_two_streams(codec).encode(photograph(70, 40), quality=80),
    ]


def _in_two_streams(codec: Codec) -> Codec:
    """The same model, for files of two streams if it has them."""
    has = isinstance(codec.engine, Tunable) and HALVES in codec.engine.coders
    return Codec.load(codec.path, device="cpu", streams=2 if has else 1)


def _mutation(whole: Container, dice: random.Random, largest: int) -> bytes:
    """One part is damaged; checksums are right, but where the whole file is hit."""

    def hurt(data: bytes) -> bytes:
        return damaged(data, dice.randrange(1 << 30))

    match dice.randrange(6):
        case 0:
            return hurt(pack(whole))
        case 1:
            return pack(replace(whole, tiles=tuple(hurt(tile) for tile in whole.tiles)))
        case 2:
            noise = dice.randbytes(dice.choice((0, 1, 10, 500, 5000)))
            return _claiming(replace(whole, tiles=(noise,)), dice, largest)
        case 3 if whole.alpha is not None:
            return pack(replace(whole, alpha=hurt(whole.alpha)))
        case 4 if whole.exif is not None and whole.icc is not None:
            return pack(replace(whole, exif=hurt(whole.exif), icc=hurt(whole.icc)))
        case _:
            return _claiming(whole, dice, largest)


def _claiming(whole: Container, dice: random.Random, largest: int) -> bytes:
    """With another size, quality, coder or tiling."""
    most = largest if dice.random() < 0.1 else 100
    header = replace(
        whole.header,
        width=dice.choice((1, dice.randint(1, most), 65535 if dice.random() < 0.05 else most)),
        height=dice.choice((1, dice.randint(1, most), most)),
        quality=dice.choice((1, 36, 60, 100)),
        coder=dice.choice((whole.header.coder,) * 9 + (7,)),
        tile_log2=dice.choice((0, 0, 0, 6, 8, 10, 15)),
        gray=dice.random() < 0.5,
    )
    count = header.tile_count
    tiles = (whole.tiles * count)[:count] if count < 2000 else ()
    return pack(replace(whole, header=header, tiles=tiles)) if tiles else b"SIC"


def _faults(codec: Codec, blob: bytes, price: Callable[[], float]) -> list[str]:
    faults: list[str] = []

    def meet() -> None:
        try:
            facts = info(blob)
            image = codec.decode(blob)
            if (image.width, image.height, image.mode) != (facts.width, facts.height, facts.mode):
                faults.append(f"{image} of {facts.width}x{facts.height} {facts.mode}")
        except DeepsicError:
            pass
        except BaseException as error:
            faults.append(f"{type(error).__name__} in decoding: {error}")

    cost = measured(meet)
    if cost.seconds > SECONDS or cost.bytes > BYTES:
        cost = measured(meet)  # the first time may have compiled or loaded something
        facts = info(blob)
        # Tiles are coded with both sides rounded up to 32.
        pixels = (-(-facts.width // 32) * 32) * (-(-facts.height // 32) * 32)
        if cost.seconds > max(SECONDS, 1.5 * price() * pixels) or cost.bytes > BYTES:
            size = f"{facts.width}x{facts.height}, {facts.tiles} tiles"
            faults.append(f"{cost.seconds:.1f} s, {cost.bytes >> 20} MiB for {size}")
    for reading in (verify, codec.labels):
        try:
            with contextlib.suppress(DeepsicError):
                reading(blob)
        except BaseException as error:
            faults.append(f"{type(error).__name__} in {reading.__name__}: {error}")
    return faults


def _price(codec: Codec) -> float:
    """Seconds a pixel of decoding a large sound image."""
    blob = codec.encode(photograph(LARGE, LARGE), quality=80)
    codec.decode(blob)
    return measured(lambda: codec.decode(blob)).seconds / LARGE**2
