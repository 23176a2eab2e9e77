"""What the endpoints answer in JSON, as the OpenAPI document describes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, Field

from deepsic.bitstream.certain import certain
from deepsic.bitstream.container import Layout
from deepsic.bitstream.header import Prefix
from deepsic.bitstream.semantics import Label
from deepsic.labels import label_set

__all__ = [
    "Classified",
    "FileHeader",
    "FileInfo",
    "FileLabels",
    "LabelOut",
    "Measures",
    "ModelOut",
    "Service",
    "ServiceLimits",
    "UploadOut",
    "header_of",
    "label_of",
    "labels_of",
]

NODE = "n02102040"


class LabelOut(BaseModel):
    """Something that an image shows."""

    name: str = Field(examples=["English springer"])
    wnid: str = Field(description="WordNet's number", examples=[NODE])
    probability: float = Field(ge=0, le=1, examples=[0.91])
    box: list[float] | None = Field(
        None, description="Left, top, right, bottom, as shares of the image", examples=[None]
    )
    path: list[str] = Field(
        description="From WordNet's root to the label", examples=[["animal", "dog", "springer"]]
    )


class FileHeader(BaseModel):
    """What the first bytes of a `.sic` file say, without its labels."""

    width: int = Field(examples=[768])
    height: int = Field(examples=[512])
    mode: str = Field(examples=["RGB"])
    quality: int = Field(examples=[50])
    model_id: str = Field(examples=["9f86d081884c7d65"])
    tiles: int = Field(examples=[1])
    bytes_prefix: int = Field(examples=[34])
    bytes_semantics: int = Field(examples=[9])
    bytes_picture: int = Field(examples=[41230])
    bytes_metadata: int | None = Field(
        description="EXIF, ICC profile and XMP; null: only the file's first bytes were sent",
        examples=[3485],
    )


class FileLabels(FileHeader):
    """Labels, and where they come from."""

    labels: list[LabelOut]
    certain: LabelOut | None = Field(None, description="The most exact name without much doubt")
    source: Literal["file", "model", "none"]
    reason: str | None = Field(
        None, description="Why there are none", examples=["no labels are stored in this file"]
    )


class FileInfo(FileHeader):
    """A file's header and stored labels."""

    model_name: str | None = Field(description="null: not offered here", examples=["sic"])
    labels: list[LabelOut]
    certain: LabelOut | None = Field(None, description="The most exact name without much doubt")


class ModelOut(BaseModel):
    """A model that this service offers."""

    name: str = Field(examples=["sic"])
    identity: str = Field(description="Files carry it", examples=["9f86d081884c7d65"])
    tunings: list[str] = Field(description="What `tune` may be", examples=[["psnr", "ssim"]])


class ServiceLimits(BaseModel):
    """What a request may cost."""

    max_body_bytes: int = Field(examples=[20_000_000])
    max_pixels: int = Field(examples=[50_000_000])


class Service(BaseModel):
    """Models, classifier, baselines and limits."""

    models: list[ModelOut]
    default: str = Field(examples=["sic"])
    classifier: str | None = Field(examples=["efficientnet-lite0"])
    refine_for: list[str] = Field(description="What `refine_for` may name", examples=[[]])
    baselines: dict[str, str] = Field(
        description="Name and settings", examples=[{"avif": "libaom, speed 6, 4:2:0"}]
    )
    limits: ServiceLimits


class UploadOut(BaseModel):
    """A file that was kept for further requests."""

    handle: str = Field(examples=["q3Zk0b9WQ0u5dT1mXy7c2A8f"])
    expires_in_s: float = Field(description="After its last use", examples=[900])
    width: int = Field(examples=[1600])
    height: int = Field(examples=[1067])
    given_width: int = Field(description="Before it was reduced", examples=[4032])
    given_height: int = Field(examples=[2688])


class Classified(BaseModel):
    """What the classifier sees."""

    labels: list[LabelOut]


class Measures(BaseModel):
    """How close a file is to the image it was made from."""

    psnr: float | None = Field(description="dB over RGB; null: equal", examples=[34.2])
    ms_ssim: float | None = Field(description="null: the image is too small", examples=[0.981])
    labels: list[LabelOut] | None = Field(description="null: no classifier here", examples=[None])


def label_of(label: Label) -> LabelOut:
    """A label with its path down the WordNet tree, coarse to fine."""
    names = label_set("imagenet1k")
    known = bool(label.wnid) and label.wnid in names
    return LabelOut(
        name=label.name,
        wnid=label.wnid,
        probability=round(label.probability, 4),
        box=None if label.box is None else list(label.box),
        path=[node.name for node in names.path(label.wnid)] if known else [],
    )


def labels_of(labels: Sequence[Label]) -> dict[str, Any]:
    """The fields `labels` and `certain` of an answer."""
    sure = certain(labels)
    return {
        "labels": [label_of(label) for label in labels],
        "certain": None if sure is None else label_of(sure),
    }


def header_of(prefix: Prefix, data: bytes) -> dict[str, Any]:
    """The fields of `FileHeader`; `data` is what was sent of the file."""
    header = prefix.header
    image_end = prefix.size + prefix.image_bytes
    whole = len(data) >= image_end
    metadata = Layout.of(data).metadata if whole else None
    return {
        "width": header.width,
        "height": header.height,
        "mode": header.mode,
        "quality": header.quality,
        "model_id": header.model_id.hex(),
        "tiles": header.tile_count,
        "bytes_prefix": prefix.size,
        "bytes_semantics": len(prefix.semantics or b""),
        "bytes_picture": prefix.image_bytes,
        "bytes_metadata": len(data) - metadata if metadata is not None else (0 if whole else None),
    }
