"""What bytes are that no decoder of ours takes: an image of another format, or no image at all."""

from __future__ import annotations

import os

__all__ = ["camera_raw", "foreign_image", "no_image"]

#: Brands of ISO media files (bytes 8 to 12) that hold images.
_IMAGE_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), "HEIC"),
    **dict.fromkeys((b"mif1", b"msf1"), "HEIF"),
    b"crx ": "Canon raw (CR3)",
}
_READ_BRANDS = (b"avif", b"avis", b"jxl ")
_IMAGES = {
    b"8BPS": "Photoshop",
    b"FUJIFILMCCD-RAW": "Fuji raw",
    b"IIRO": "Olympus raw",
    b"IIU\0": "Panasonic raw",
    b"v/1\x01": "OpenEXR",
    b"#?RADIANCE": "Radiance HDR",
    b"DDS ": "DirectDraw",
    b"II\xbc": "JPEG XR",
}
#: Raw files are TIFF inside, and Pillow would take the thumbnail for the image.
_RAW_NAMES = (
    ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".iiq", ".kdc", ".mef", ".mos",
    ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw",
    ".x3f",
)  # fmt: skip
_OTHERS = {
    b"%PDF": "a PDF",
    b"\x1aE\xdf\xa3": "a video",
    b"\0\0\x01\xba": "a video",
    b"\0\0\x01\xb3": "a video",
    b"FLV": "a video",
    b"0&\xb2u\x8ef\xcf\x11": "a video",
    b"OggS": "a sound or video",
    b"ID3": "a sound",
    b"fLaC": "a sound",
    b"PK\x03\x04": "a zip file or document",
    b"\x1f\x8b": "a gzip file",
    b"7z\xbc\xaf": "a 7z file",
    b"Rar!": "a rar file",
    b"\x7fELF": "a program",
    b"SQLite format 3": "a database",
    b"\xd0\xcf\x11\xe0": "an office document",
}
_RIFF = {b"AVI ": "a video", b"WAVE": "a sound"}


def camera_raw(name: str) -> bool:
    """Whether a name is that of a camera's raw file."""
    return os.path.splitext(name)[1].lower() in _RAW_NAMES


def foreign_image(data: bytes) -> str | None:
    """The format of an image that no decoder took; None where the bytes don't tell."""
    if data[4:8] == b"ftyp":
        return _IMAGE_BRANDS.get(data[8:12])
    head = data[:1024].lstrip()
    if head.startswith((b"<svg", b"<?xml")) and b"<svg" in head:
        return "SVG"
    return next((kind for magic, kind in _IMAGES.items() if data.startswith(magic)), None)


def no_image(data: bytes) -> str | None:
    """What the bytes are when they are certainly no image, whatever their name says."""
    if data[4:8] == b"ftyp" and data[8:12] not in (*_READ_BRANDS, *_IMAGE_BRANDS):
        return "a video"
    if data[:4] == b"RIFF" and data[8:12] in _RIFF:
        return _RIFF[data[8:12]]
    return next((kind for magic, kind in _OTHERS.items() if data.startswith(magic)), None)
