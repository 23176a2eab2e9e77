"""Speed and efficiency of the entropy coder on the real latents of real images.

    python benchmarks/rate/entropy.py PICTURES --model sic

Prints, for a few qualities: binary decisions a second each way (one thread, networks left out),
the streams' length and the whole files' (containers included) against the ideal code length of the
coder's own initial probabilities, which is the model's estimate of the rate, and
`constriction`'s range coder on the wavelet's symbols in the same run, with 64 static tables fitted
to each image (the tables themselves not counted in its bytes).
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks import options
from deepsic.bitstream import Layout
from deepsic.codec import Codec
from deepsic.coding import binarisation
from deepsic.coding.range_coder import POSITION
from deepsic.errors import UsageError
from deepsic.models.sic.engine import SicEngine
from deepsic.models.sic.int8.integer_net import I16, U8, Predict, known
from deepsic.models.sic.layout import F32
from deepsic.models.sic.model_file.calibration import CountingEncoder
from deepsic.models.sic.passes import PassPlan
from deepsic.models.sic.tile_coder.decoder import TileDecoder
from deepsic.models.sic.tile_coder.encoder import TileEncoder
from deepsic.models.sic.tile_coder.tables import EntropyTables
from deepsic.models.tiles.tiling import pad

Call = tuple[PassPlan, I16, U8]


@dataclass(frozen=True, kw_only=True)
class Recording:
    """An image's latents, and what the nets said of every pass."""

    tables: EntropyTables
    quality: int
    v8: F32
    v16: F32
    z: F32
    calls: list[Call]
    """Of every pass its plan, means and scale classes."""
    counts: NDArray[np.int64]
    """(contexts, 2) answers by context."""

    def encode(self) -> bytes:
        """Run the coder alone."""
        code = self.started()
        self.run(code)
        return code.finish()

    def run(self, code: TileEncoder | TileDecoder) -> None:
        """All passes, of which the coder alone is left to do."""
        for plan, means, classes in self.calls:
            y = code.y8 if plan.tensor == 8 else code.y16
            code.run(plan, known(means, classes, y.shape[1]))

    def started(self) -> TileEncoder:
        """An encoder that has coded the hyper-latent and the lowest band."""
        code = TileEncoder(self.tables, self.quality, (self.v8, self.v16, self.z))
        code.hyper()
        code.lowest()
        return code

    def decode(self, stream: bytes) -> TileDecoder:
        """Run the decoder alone."""
        height, width = (8 * side for side in self.v8.shape[:2])
        code = TileDecoder(self.tables, self.quality, stream, height, width)
        code.hyper()
        code.lowest()
        self.run(code)
        return code

    def bins(self) -> int:
        """Binary decisions: those with contexts, and the plain ones."""
        return int(self.counts.sum() + self._plain())

    def ideal_bits(self) -> float:
        """Code length under the initial probabilities, never adapted."""
        zero = self.tables.start / 65536.0
        length = -(self.counts * np.log2(np.stack((zero, 1 - zero), 1))).sum()
        return float(length + self._plain())

    def _plain(self) -> int:
        """Plain bits: signs, of all or of the wavelet's levels, and what large magnitudes end in,
        as many bits as their prefix has ones."""
        first = 0 if self.tables.serial is None else binarisation.group_start("4")
        grid = self.counts[first : binarisation.ESCAPE_AT, 1].reshape(-1, binarisation.PER_CLASS)
        prefix = self.counts[binarisation.ESCAPE_AT : binarisation.COUNT, 1]
        return int(grid[:, : binarisation.NEIGHBOURS].sum() + prefix.sum())

    def symbols(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """All coded wavelet symbols with their classes, for baselines."""
        code = self.started()
        values, classes = [], []
        for plan, means, index in self.calls:
            count = len(plan.channels)
            table = code.parts[0].symbols[plan.tensor]
            code.run(plan, known(means, index, table.shape[1] - 2))
            own = table[1:, 1:-1][:, :, plan.channels].reshape(-1, count)
            coded = index > binarisation.SKIP
            values.append(own[coded])
            classes.append(index[coded])
        return np.concatenate(values).astype(np.int32), np.concatenate(classes).astype(np.int32)


def record(codec: Codec, rgb: NDArray[np.uint8], quality: int) -> Recording:
    """Code an image once and keep what the coder was given."""
    engine = codec.engine
    if not isinstance(engine, SicEngine):
        raise UsageError(f"model {codec.name!r} isn't of the preset sic")
    tables = engine.probabilities.tables
    v8, v16, _ = engine.analyse(pad(rgb), quality)
    calls: list[Call] = []

    class Recorder(CountingEncoder):
        def run(self, plan: PassPlan, predict: Predict) -> U8:
            y = self.y8 if plan.tensor == 8 else self.y16
            means, classes = predict(0, len(y))
            calls.append((plan, means, classes))
            seen: U8 = super().run(plan, known(means, classes, y.shape[1]))
            return seen

    counts = np.zeros((len(tables.start), 2), np.int64)
    with torch.inference_mode():
        z = engine.transforms.hyper(v8, v16, quality)
        engine.probabilities.run(Recorder(tables, quality, (v8, v16, z), counts), quality)
    return Recording(
        tables=tables, quality=quality, v8=v8, v16=v16, z=z, calls=calls, counts=counts
    )


def fastest(call: Callable[[], object], repeats: int = 5) -> float:
    """Shortest of some runs, seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def constriction_rates(
    values: NDArray[np.int32], classes: NDArray[np.int32]
) -> tuple[float, float, int]:
    """Symbols a second each way, and bytes, of static tables by class."""
    import constriction

    order = np.argsort(classes, kind="stable")
    values = values[order]
    low = int(values.min())
    parts: list[tuple[NDArray[np.int32], Any]] = []
    for part in np.split(values, np.flatnonzero(np.diff(classes[order])) + 1):
        share = np.bincount(part - low, minlength=int(values.max()) - low + 1) + 1e-3
        model = constriction.stream.model.Categorical(
            (share / share.sum()).astype(np.float32), perfect=False
        )
        parts.append((part - low, model))

    def encode() -> Any:
        encoder = constriction.stream.queue.RangeEncoder()
        for part, model in parts:
            encoder.encode(part.astype(np.int32), model)
        return encoder.get_compressed()

    compressed = encode()

    def decode() -> None:
        decoder = constriction.stream.queue.RangeDecoder(compressed)
        for part, model in parts:
            decoder.decode(model, len(part))

    return len(values) / fastest(encode), len(values) / fastest(decode), 4 * len(compressed)


def main(
    folder: options.Images,
    model: options.Model = "sic",
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Images at most.")] = 6,
) -> None:
    """Time the coder on the images of a folder."""
    torch.set_num_threads(1)
    codec = Codec.load(model, device="cpu")
    paths = options.images_in(folder)[:limit]
    table = Table(title=f"entropy coder, {len(paths)} images, one thread")
    heads = (
        "quality",
        "bpp",
        "Mbin/s enc",
        "Mbin/s dec",
        "over ideal",
        "file",
        "Msym/s enc",
        "Msym/s dec",
    )
    for head in (*heads, "constriction enc", "dec", "its bytes"):
        table.add_column(head, justify="right")
    for quality in (20, 50, 80):
        bins = ideal = length = whole = pixels = symbols = baseline_bytes = wavelet = 0.0
        encode = decode = baseline_encode = baseline_decode = 0.0
        for path in paths:
            rgb = np.asarray(Image.open(path).convert("RGB"))
            recording = record(codec, rgb, quality)
            stream = recording.encode()
            bins += recording.bins()
            ideal += recording.ideal_bits()
            length += 8 * len(stream)
            # Whole files are of another coder: what is around a stream is the same.
            file = codec.encode(rgb, quality=quality, labels=False)
            whole += 8 * (len(file) - len(Layout.of(file).tile(file, 0)) + len(stream))
            wavelet += 8 * (len(stream) - int(recording.started().parts[0].state[POSITION]))
            pixels += rgb[..., 0].size
            encode += fastest(recording.encode)
            decode += fastest(functools.partial(recording.decode, stream))
            values, classes = recording.symbols()
            symbols += len(values)
            fast, slow, size = constriction_rates(values, classes)
            baseline_encode += len(values) / fast
            baseline_decode += len(values) / slow
            baseline_bytes += size
        table.add_row(
            str(quality), f"{length / pixels:.3f}", f"{bins / encode / 1e6:.0f}",
            f"{bins / decode / 1e6:.0f}", f"{100 * (length / ideal - 1):+.2f} %",
            f"{100 * (whole / ideal - 1):+.2f} %",
            f"{symbols / encode / 1e6:.1f}", f"{symbols / decode / 1e6:.1f}",
            f"{symbols / baseline_encode / 1e6:.0f}", f"{symbols / baseline_decode / 1e6:.0f}",
            f"{100 * (8 * baseline_bytes / wavelet - 1):+.1f} %",
        )  # fmt: skip
    Console(width=None if Console().is_terminal else 120).print(table)


if __name__ == "__main__":
    options.run(main)
