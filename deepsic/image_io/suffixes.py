"""Endings of image files, for those who list folders: what a file is, its content says."""

from __future__ import annotations

from pathlib import PurePath

__all__ = ["IMAGE_SUFFIXES", "is_image"]

IMAGE_SUFFIXES = frozenset(
    (
        ".avif", ".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".jxl", ".png", ".ppm", ".tif", ".tiff",
        ".webp",
    )
)  # fmt: skip


def is_image(name: str | PurePath) -> bool:
    """Whether a file's name ends as images do."""
    return PurePath(name).suffix.lower() in IMAGE_SUFFIXES
