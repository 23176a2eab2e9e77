"""The presets: what each is made of, and where.

A preset is one folder here and one entry of `PRESETS`. Entries are import strings, so that nothing
is loaded before it is used: reading a file's header needs no torch, coding with `sic` none of the
first paper's modules.

A net takes RGB (B, 3, H, W) in [0, 255], sides multiples of 32, and places on the quality scale
(B,), and gives an `Output`. `Net` lists what else the trainer asks of it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from deepsic.errors import UnknownModelError, UnknownVersionError, UsageError
from deepsic.models.quality import HALVES, HIDING

if TYPE_CHECKING:
    from torch import Tensor, nn

    from deepsic.bitstream import Label
    from deepsic.models.output import Output
    from deepsic.models.tiles.tiling import Latents, Tile

__all__ = [
    "F32",
    "PRESETS",
    "Engine",
    "LabelReader",
    "Net",
    "Preset",
    "Quick",
    "Scalable",
    "Tunable",
    "coder_of",
    "load",
    "preset",
    "tuned",
]


F32 = NDArray[np.float32]
LARGE = 1 << 18
"""Pixels of an image from which on its tiles have two streams: of photographs they cost some 0.1 %
there, at most 0.4."""


class Engine(Protocol):
    """What codes with a loaded model; stateless between calls."""

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels a side behind each vector of each of the arrays that `decode` gives."""

    def analyse(self, rgb: NDArray[np.uint8], quality: int) -> tuple[F32, F32, Any]:
        """Both latents in steps, (H/s, W/s, C), of a window (H, W, 3), and its float features."""

    def encode(self, v8: F32, v16: F32, quality: int, zone: float = 1.0) -> bytes:
        """Stream of a tile's latents; `zone` stretches the dead zones."""

    def decode(self, stream: bytes, height: int, width: int, quality: int) -> Latents:
        """Latents of a tile of height x width pixels; v8 and v16 are the first.

        Raises: `CorruptFileError`.
        """

    def synthesise(self, latents: Latents, quality: int) -> NDArray[np.uint8]:
        """Image (H, W, 3) of decoded latents."""


@runtime_checkable
class Scalable(Protocol):
    """What an engine has besides if it decodes smaller images from a part of a stream."""

    def decode_scaled(
        self, stream: bytes, height: int, width: int, quality: int, shift: int
    ) -> Latents:
        """As `decode`; what the scale doesn't need is neither read nor made, but 0."""

    def synthesise_scaled(self, latents: Latents, quality: int, shift: int) -> NDArray[np.uint8]:
        """Image (H >> shift, W >> shift, 3) of latents of a window H x W."""


@runtime_checkable
class Quick(Protocol):
    """What an engine has besides if it encodes without its analysis network."""

    def analyse_quickly(self, rgb: NDArray[np.uint8], quality: int) -> tuple[F32, F32]:
        """As `Engine.analyse`, in less time for larger files."""


@runtime_checkable
class Tunable(Protocol):
    """What an engine or a reader has besides if its model has several coders: tunings, each with
    and without hidden signs, in one stream or two."""

    @property
    def tunings(self) -> int:
        """How many ways there are to tune it."""

    @property
    def coders(self) -> tuple[int, ...]:
        """Their numbers, see `tuned`."""

    def tuned(self, coder: int) -> Any:
        """The same for files of one coder: a tuning by its number in `TUNINGS` of
        `deepsic.models.quality`, `HIDING` more where signs are hidden, `HALVES` more where each
        tile has two streams."""


class LabelReader(Protocol):
    """What reads labels from latents."""

    @property
    def stores(self) -> bool:
        """Whether encoding stores what is seen on its way, in a tile's latents."""

    @property
    def asked(self) -> bool:
        """Whether encoding asks for the labels of the image, and stores these."""

    def chances(self, v8: F32, v16: F32, quality: int) -> F32:
        """Probabilities (classes,) of a tile's latents, where encoding stores them on its way."""

    def named(self, chances: Sequence[F32], top: int) -> list[Label]:
        """The `top` best labels by the tiles' probabilities."""

    def image(
        self, rgb: NDArray[np.uint8], grid: list[Tile], quality: int, top: int
    ) -> list[Label]:
        """The `top` best classes of an image (H, W, 3) cut into `grid`; nothing is coded."""

    def file(
        self, stream: Callable[[int], bytes | memoryview], grid: list[Tile], quality: int, top: int
    ) -> list[Label]:
        """The `top` best classes of a file; no pixel is made. Raises `CorruptFileError`."""


class Net(Protocol):
    """What the trainer asks of a net, beside `torch.nn.Module`."""

    config: Any

    def __call__(self, x: Tensor, position: Tensor, look: bool = False) -> Output:
        """One pass; with `look` the output holds the logits of the net's semantic module."""

    def set_quantised(self, quantised: bool) -> None:
        """Switch the probability nets to their integer grid, or back.

        Raises:
            UsageError: the net has no such grid.
        """

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """Parameters by the name that a recipe gives a share of the learning rate by."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Import strings, MODULE:NAME, of a preset's parts."""

    net: str
    """Class of the trainable net; takes a `config`."""
    config: str
    """Dataclass of its sizes."""
    objective: str
    """Dataclass of the objective that its recipes train with."""
    engine: str
    """Class of what codes with a loaded model."""
    pack: str
    """(net, images, **fields of the file) -> `ModelFile`."""
    unpack: str
    """(ModelFile, device's name) -> engine."""
    reader: str
    """(ModelFile, engine) -> reader of labels, or None if the file has none."""
    restore: str
    """(ModelFile) -> trainable net."""
    begin: str = ""
    """(net, images, trained=...) -> what was done, for the log. Sets what training starts from,
    measured on training images (H, W, 3) with sides that are multiples of 32; `trained`: whether
    the net holds trained weights. "": the net's own random weights serve."""
    arrays: bool = False
    """Whether `unpack` takes a file of arrays, `weights.read_arrays`: without torch."""
    with_labels: str = ""
    """(ModelFile, net, label set, about) -> `ModelFile` with another semantic module, or ""."""


_FOURSTAGE = Preset(
    net="deepsic.models.fourstage.net:FourStageNet",
    config="deepsic.models.fourstage.config:FourStageConfig",
    objective="deepsic.training.objectives.joint:Joint",
    engine="deepsic.models.fourstage.engine:FourStageEngine",
    pack="deepsic.models.fourstage.file:pack_four_stage",
    unpack="deepsic.models.fourstage.file:unpack_four_stage",
    reader="deepsic.models.fourstage.reader:reader_of",
    restore="deepsic.models.fourstage.file:restore",
    begin="deepsic.models.fourstage.start:begin",
    with_labels="deepsic.models.fourstage.file:with_labels",
)

PRESETS: dict[str, Preset] = {
    "sic": Preset(
        net="deepsic.models.sic.net:SicNet",
        config="deepsic.models.sic.config:SicConfig",
        objective="deepsic.training.objectives.joint:Joint",
        engine="deepsic.models.sic.engine:SicEngine",
        pack="deepsic.models.sic.model_file.packing:pack",
        unpack="deepsic.models.sic.model_file.loading:unpack",
        reader="deepsic.models.semantic.reader:reader_of",
        restore="deepsic.models.sic.model_file.trainable:from_model_file",
        arrays=True,
        begin="deepsic.models.sic.dead_units:begin",
        with_labels="deepsic.models.semantic.head_file:with_labels",
    ),
    "saic": Preset(
        net="deepsic.models.saic.net:BinaryNet",
        config="deepsic.models.saic.net:BinaryConfig",
        objective="deepsic.training.objectives.joint:Joint",
        engine="deepsic.models.saic.engine:BinaryEngine",
        pack="deepsic.models.saic.engine:pack_binary",
        unpack="deepsic.models.saic.engine:unpack_binary",
        reader="deepsic.models.saic.engine:reader_of",
        restore="deepsic.models.saic.engine:restore",
    ),
    "deepsic-pre": _FOURSTAGE,
    "deepsic-post": _FOURSTAGE,
}


def preset(name: str) -> Preset:
    """A preset by its name.

    Raises:
        UnknownModelError: no such preset.
    """
    if name not in PRESETS:
        raise UnknownModelError(f"no preset {name!r}; this version knows {', '.join(PRESETS)}")
    return PRESETS[name]


def load(reference: str) -> Any:
    """What an import string, MODULE:NAME, names.

    Raises:
        UsageError: it needs torch, which isn't installed.
    """
    module, _, name = reference.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise UsageError("this needs torch; pip install 'deepsic[torch]'") from error


def tuned(part: Any, coder: int) -> Any:
    """An engine or reader for files of a coder.

    Raises:
        UnknownVersionError: the model hasn't that.
    """
    if coder == 0:
        return part
    if not isinstance(part, Tunable) or coder not in part.coders:
        raise UnknownVersionError(
            f"the file is of coder {coder}, which its model doesn't have: update deepsic"
        )
    return part.tuned(coder)


def coder_of(
    engine: Any, tuning: int, pixels: int = 0, streams: int | None = None, *, fitted: bool = False
) -> int:
    """The coder that serves a tuning best.

    Args:
        pixels: of the image.
        streams: of each tile, 1 or 2; None: 2 from `LARGE` pixels on, if the model has them.
        fitted: whether the latents are fitted to networks, which the symbols that hiding a sign
            moves would undo.
    """
    known = engine.coders if isinstance(engine, Tunable) else (0,)
    if streams is None:
        streams = 2 if HALVES in known and pixels >= LARGE else 1
    coder = tuning + (HALVES if streams == 2 else 0)
    return HIDING + coder if HIDING + coder in known and not fitted else coder
