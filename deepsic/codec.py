"""The codec: images to `.sic` files and back, by one loaded model.

>>> from deepsic import Codec
>>> codec = Codec.load("sic")
>>> blob = codec.encode("photo.jpg", bpp=0.25)
>>> codec.decode(blob).save("photo.png")
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from deepsic import weights
from deepsic.bitstream import Container, Header, Label, Layout, Metadata, Semantics, pack
from deepsic.bitstream.container import read_semantics
from deepsic.bitstream.facts import SicFile, read_file
from deepsic.errors import UnknownModelError, UsageError
from deepsic.image_io.alpha import pack_alpha, unpack_alpha
from deepsic.image_io.load import ImageSource, LoadedImage, load_image, to_pil
from deepsic.labels import TOP
from deepsic.limits import DEFAULT_LIMITS, Limits
from deepsic.models import effort as efforts
from deepsic.models import registry
from deepsic.models.device import device_named
from deepsic.models.effort import DEFAULT_EFFORT
from deepsic.models.encoder_settings import EncoderSettings, tunings_of
from deepsic.models.registry import F32, Engine, LabelReader, Scalable
from deepsic.models.semantic.labeler import Labeler, labels_by
from deepsic.models.tiles import tiling
from deepsic.models.tiles.drawing import SCALES, Drawing, box_of, halvings
from deepsic.models.tiles.encoding import Encoding
from deepsic.models.tiles.tiling import tiles
from deepsic.targets import Goal, smallest_loss
from deepsic.threads import each, several

if TYPE_CHECKING:
    from deepsic.refiner import Look, Refiner
    from deepsic.refiner.feedback import Feedback

__all__ = ["Codec"]

Region = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels, ends exclusive, as Pillow's `crop` takes it."""

STORED = 5
"""Labels that a model's semantic module gives to each file."""


class Codec:
    """One model, ready to encode and decode. Make it with `Codec.load`."""

    def __init__(
        self,
        engine: Engine,
        *,
        path: Path,
        device: str,
        label_set: str | None,
        limits: Limits,
        reader: LabelReader | None = None,
        settings: EncoderSettings,
    ) -> None:
        self.engine, self.path, self.device, self.name = engine, path, device, path.stem
        self.identity = weights.identity_of(path)
        self.label_set, self.limits = label_set, limits
        self.reader, self.settings = reader, settings

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled and copied by name: the copy loads the same model again."""
        return _load_again, (self.path, self.identity, self.device, self.limits, self.settings)

    @classmethod
    def load(
        cls,
        model: str | os.PathLike[str] = "sic",
        *,
        device: str = "auto",
        limits: Limits = DEFAULT_LIMITS,
        tune: str | None = None,
        effort: int = DEFAULT_EFFORT,
        streams: int | None = None,
    ) -> Codec:
        """Load a model by shipped name or path.

        Args:
            model: name of a shipped model, or path of a model file.
            device: where the transforms run: "auto", "cpu" or "cuda" (untested on a GPU). Entropy
                coding always runs on the CPU, in integers.
            limits: bounds on what is encoded and decoded.
            tune: what files are encoded for: "psnr", the least squared error, or "ssim", the most
                structural similarity. None: "ssim", which people see as better, if the model has
                it. Files of either decode alike.
            effort: 1, the fastest encoding, to 9, the smallest files: see `deepsic.models.effort`.
            streams: of each tile, 1 or 2: several threads code two faster, for some 0.1 % more
                bytes. None: 2 from 262,144 pixels on (512x512), if the model has them.

        Raises:
            UsageError: a tuning, an effort or a number of streams that the model hasn't.
            UnknownModelError: no such model, or not a model file.
        """
        path = weights.resolve(model)
        file = weights.read_arrays(path)
        preset = registry.preset(file.preset)
        unpack = registry.load(preset.unpack)
        if not preset.arrays:
            file = weights.read(path)
        engine: Engine = unpack(file, device_named(device))
        reader: LabelReader | None = registry.load(preset.reader)(file, engine)
        settings = EncoderSettings.of(engine, path.stem, tune=tune, effort=effort, streams=streams)
        return cls(
            engine, reader=reader, path=path, device=device,
            label_set=file.label_set, limits=limits, settings=settings,
        )  # fmt: skip

    def encode(
        self,
        image: ImageSource,
        *,
        quality: int | None = None,
        bpp: float | None = None,
        max_bytes: int | None = None,
        labels: Sequence[Label] | bool = True,
        labeler: Labeler | None = None,
        refiner: Refiner | Look | None = None,
        metadata: bool = True,
    ) -> bytes:
        """Return the `.sic` file of an image.

        Args:
            image: whatever holds one, see `deepsic.image_io.load.load_image`.
            quality: 1 (smallest) to 100 (best); 50 if no target is given.
            bpp: target for the whole file in bits per pixel, not exceeded.
            max_bytes: target for the whole file in bytes, not exceeded.
            labels: True: what the labeler, or else the model's semantic module if it has one, sees
                in the image; False: none; or the labels to store.
            labeler: called on the image for labels.
            refiner: of the same model; fits the latents to networks that will look at the image:
                a `Look` in some three times the time, a `Refiner` in about a hundred times.
            metadata: whether EXIF, ICC and XMP are kept.

        Raises:
            UsageError: more than one target, one that can't be met, another model's refiner, or a
                labeler that fails.
            InputError, LimitError: as `deepsic.image_io.load.load_image`.
        """
        goal = Goal(quality=quality, bpp=bpp, max_bytes=max_bytes)
        tuning, fitted = self.tunings.index(self.tune), refiner is not None
        fitting = refiner or self._feedback
        if fitted and getattr(refiner, "identity", None) != self.identity:
            raise UsageError(
                f"no refiner of this model: deepsic.load_refiner({self.name!r}, NETWORKS) gives one"
            )
        picture = load_image(image, self.limits)
        if not metadata:
            picture = replace(picture, exif=None, icc=None, xmp=None)
        pixels = picture.size[0] * picture.size[1]
        coder = registry.coder_of(self.engine, tuning, pixels, self.settings.streams, fitted=fitted)
        semantics = self._seen(picture, labels, labeler)

        def plain(quality: int, zone: float) -> bytes:
            return self._encode_at(picture, quality, zone, semantics, coder)

        @cache
        def latents(quality: int) -> tuple[F32, F32] | None:
            return None if fitting is None else fitting.latents(picture.rgb, quality, tuning)

        def refined(quality: int, zone: float) -> bytes:
            own = zone if fitting is None else zone * fitting.zone
            return self._encode_at(picture, quality, own, semantics, coder, latents(quality))

        if (target := goal.target(pixels)) is None:
            return refined(50 if quality is None else int(quality), 1.0)
        found = smallest_loss(plain, target)
        if fitting is None:
            return found
        # Refined files have about the size of plain ones, which are found in no time.
        near = Layout.of(found, self.limits).prefix.header.quality
        try:
            return smallest_loss(refined, target, near=near)
        except UsageError:  # the smallest doesn't fit, where the smallest plain one does
            if fitted:  # that one isn't what was asked for
                raise
            return found

    def encode_batch(
        self,
        images: Iterable[ImageSource],
        *,
        quality: int | None = None,
        bpp: float | None = None,
        max_bytes: int | None = None,
        labels: bool = True,
        labeler: Labeler | None = None,
        refiner: Refiner | Look | None = None,
        metadata: bool = True,
    ) -> list[bytes]:
        """Return the files of several images, in order; as many at once as there are threads, one
        by one with a labeler, a refiner, or efforts from 6 on. Arguments and errors as `encode`."""
        Goal(quality=quality, bpp=bpp, max_bytes=max_bytes)
        images = several(images, "images")
        one = partial(
            self.encode, quality=quality, bpp=bpp, max_bytes=max_bytes, metadata=metadata,
            labels=labels, labeler=labeler, refiner=refiner,
        )  # fmt: skip
        return [*map(one, images)] if labeler or refiner or self._feedback else each(one, images)

    def decode(
        self, blob: SicFile, *, region: Region | None = None, scale: float = 1
    ) -> Image.Image:
        """Return the image of a `.sic` file: original size and kind, EXIF, ICC and XMP in `info`.

        Args:
            blob: the whole file's bytes, its path, or the file open as binary.
            region: left, top, right, bottom; only tiles that it touches are decoded.
            scale: 1, 1/2, 1/4 or 1/8 of both sides, rounded up. Less is read and decoded: the
                wavelet levels that a smaller image has.

        Raises:
            CorruptFileError, UnknownVersionError, LimitError: as `deepsic.bitstream.unpack`.
            UnknownModelError: the file was written by another model.
            UsageError: the region isn't inside the image, or a scale that the model hasn't.
        """
        shift = halvings(scale)
        blob = read_file(blob, self.limits)
        layout = self._layout(blob)
        header = layout.prefix.header
        box = box_of(region, header)
        view = memoryview(blob)
        drawing = Drawing(
            engine=registry.tuned(self.engine, header.coder),
            header=header,
            grid=tiles(header.height, header.width, tiling.side_of(header.tile_log2)),
            stream=lambda k: layout.tile(view, k),
            shift=shift,
        )
        left, top, right, bottom = drawing.scaled(box)
        alpha = None  # small parts first: their damage is found before the costly work
        if layout.alpha is not None:
            plane = unpack_alpha(blob[slice(*layout.alpha)], header)
            if shift:
                plane = np.asarray(Image.fromarray(plane).reduce(1 << shift))
            alpha = plane[top:bottom, left:right]
        metadata = Metadata()
        if layout.metadata is not None:
            metadata = Metadata.unpack(view, layout.metadata, self.limits)
        rgb, kept = drawing.pixels(box), vars(metadata)
        return to_pil(LoadedImage(rgb=rgb, alpha=alpha, gray=header.gray, **kept))

    def decode_batch(self, blobs: Iterable[SicFile]) -> list[Image.Image]:
        """Return the images of several files, in order; as many at once as there are threads.

        Errors as `decode`.
        """
        return each(self.decode, several(blobs, ".sic files"))

    def labels(self, blob: SicFile, *, top: int = TOP) -> list[Label]:
        """Return what is in the image, most probable first.

        Stored labels (pre-semantic) are read without a network; the rest of the file may be
        missing. Without stored labels, the model's post-semantic head reads the decoded latents:
        no pixels are made.

        Raises:
            UnknownModelError: nothing is stored, and the model has no head or is another.
        """
        blob = read_file(blob, self.limits)
        stored = read_semantics(blob)
        if stored is not None:
            return list(stored.labels[:top])
        layout = self._layout(blob)
        header = layout.prefix.header
        grid = tiles(header.height, header.width, tiling.side_of(header.tile_log2))
        view = memoryview(blob)
        reader: LabelReader = registry.tuned(self._head(), header.coder)
        return reader.file(lambda k: layout.tile(view, k), grid, header.quality, top)

    def read(self, image: ImageSource, *, quality: int = 50, top: int = TOP) -> list[Label]:
        """Return what the model's semantic module sees in an image, before anything is rounded.

        `encode` stores the first of it, unless told otherwise.

        Raises:
            UnknownModelError: the model has no head.
            InputError, LimitError: as `encode`.
        """
        reader = self._head()
        rgb = load_image(image, self.limits).rgb
        height, width = rgb.shape[:2]
        grid = tiles(height, width, tiling.side_of(tiling.log2_of(height, width)))
        return reader.image(rgb, grid, quality, top)

    @property
    def tune(self) -> str:
        """What its files are tuned for."""
        return self.settings.tune

    @property
    def effort(self) -> int:
        """How much work goes into a file, 1 to 9."""
        return self.settings.effort

    @property
    def tunings(self) -> tuple[str, ...]:
        """What the model's files may be tuned for."""
        return tunings_of(self.engine)

    @property
    def scales(self) -> tuple[float, ...]:
        """What `decode`'s scale may be, largest first."""
        return SCALES if isinstance(self.engine, Scalable) else SCALES[:1]

    def tuned(self, tune: str) -> Codec:
        """The same model, for files of a tuning; nothing is loaded again. Raises: `UsageError`."""
        settings = EncoderSettings.of(
            self.engine, self.name, **vars(self.settings) | {"tune": tune}
        )
        return Codec(
            self.engine, reader=self.reader, path=self.path, device=self.device,
            label_set=self.label_set, limits=self.limits, settings=settings,
        )  # fmt: skip

    @cached_property
    def _feedback(self) -> Feedback | None:
        """What fits latents to an image at the higher efforts."""
        if not (rounds := efforts.rounds_of(self.effort)):
            return None
        made = registry.load("deepsic.refiner.feedback:Feedback")
        found: Feedback = made(self.engine, self.path, rounds=rounds, device=self.device)
        return found

    def _seen(
        self, picture: LoadedImage, labels: Sequence[Label] | bool, labeler: Labeler | None
    ) -> Semantics | bool:
        """What is stored of a picture; True: what the encoder sees on its way."""
        if labels is True and labeler is not None:
            labels = labels_by(labeler, Image.fromarray(picture.rgb))
        elif labels is True and self.reader is not None and self.reader.asked:
            labels = self.read(picture.rgb, top=STORED)
        return labels if isinstance(labels, bool) else Semantics.of(labels)

    def _head(self) -> LabelReader:
        if self.reader is None:
            raise UnknownModelError(
                f"model {self.name!r} has no semantic head; encode with labels or a labeler"
            )
        return self.reader

    def _layout(self, blob: bytes) -> Layout:
        """Where the parts lie of a file that this model wrote. Raises as `decode`."""
        layout = Layout.of(blob, self.limits)
        header = layout.prefix.header
        weights.check_identity(header.model_id, self.identity, self.name)
        tiling.check_tiles(header.width, header.height, header.tile_log2)
        return layout

    def _encode_at(
        self, picture: LoadedImage, quality: int, zone: float, semantics: Semantics | bool,
        coder: int, refined: tuple[F32, F32] | None = None,
    ) -> bytes:  # fmt: skip
        width, height = picture.size
        tile_log2 = tiling.log2_of(height, width)
        header = Header(
            width=width, height=height, model_id=self.identity, quality=quality,
            tile_log2=tile_log2, gray=picture.gray, alpha=picture.alpha is not None,
            sixteen_bit=picture.sixteen_bit, coder=coder,
        )  # fmt: skip
        grid = tiles(height, width, tiling.side_of(tile_log2))
        encoding = Encoding(
            engine=registry.tuned(self.engine, coder), reader=self.reader,
            quick=efforts.is_quick(self.effort), refined=refined,
        )  # fmt: skip
        coded = encoding.tiles(picture.rgb, grid, quality, zone)
        if semantics is True and self.reader is not None and self.reader.stores:
            semantics = Semantics.of(self.reader.named([seen for _, seen in coded], STORED))
        container = Container(
            header=header,
            tiles=tuple(stream for stream, _ in coded),
            semantics=None if isinstance(semantics, bool) else semantics,
            alpha=None if picture.alpha is None else pack_alpha(picture.alpha),
            exif=picture.exif, icc=picture.icc, xmp=picture.xmp,
        )  # fmt: skip
        return pack(container)


def _load_again(
    path: Path, identity: bytes, device: str, limits: Limits, settings: EncoderSettings
) -> Codec:
    """The codec that was pickled: of the shipped model, wherever it is installed, or of a file."""
    found = weights.find(identity) or path
    codec = Codec.load(found, device=device, limits=limits, **vars(settings))
    weights.check_identity(identity, codec.identity, codec.name)
    return codec
