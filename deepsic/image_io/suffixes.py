"""Endings of image files, for those who list folders: what a file is, its content says."""

from __future__ import annotations

from pathlib import PurePath

__all__ = ["IMAGE_SUFFIXES", "is_image"]

IMAGE_SUFFIXES = frozenset(
    (
        ".apng", ".avif", ".bmp", ".dib", ".gif", ".heic", ".heif", ".hif", ".j2k", ".jfif", ".jp2",
        ".jpe", ".jpeg", ".jpg", ".jxl", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".qoi", ".tga",
        ".tif", ".tiff", ".webp",
    )
)  # fmt: skip


def is_image(name: str | PurePath) -> bool:
    """Whether a file's name ends as images do."""
    return PurePath(name).suffix.lower() in IMAGE_SUFFIXES
