"""WebDataset tars, and tars of folders: read as a stream, never held whole.

Members of one name up to the first dot are a sample: an image, and its class in NAME.cls (a
number or a name) or as "label", "cls" or "class" in NAME.json. Without either the class is the
image's folder in the tar; without a folder, the tar's own name where that is a WordNet id, as in
ImageNet's tars.
"""

from __future__ import annotations

import json
import lzma
import re
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from typing import IO

from deepsic.errors import InputError, LimitError
from deepsic.image_io.suffixes import is_image
from deepsic.limits import Limits
from pipelines.preparing.samples import Sample, class_name

__all__ = ["TAR_SUFFIXES", "tar_samples"]

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_WORDNET_ID = re.compile(r"n\d{8}")
_DAMAGED = (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError)


def tar_samples(
    file: IO[bytes], key: str, names: Sequence[str], limits: Limits
) -> Iterator[Sample | Exception]:
    """Samples of a tar in its order; errors that concern one sample in its place.

    Args:
        key: the tar's own, which the samples' keys begin with.
        names: of the classes that come as numbers.

    Raises:
        InputError: the tar is damaged, from there on; or it holds tars.
    """
    stem = key.rpartition("/")[2].partition(".")[0]
    own = stem if _WORDNET_ID.fullmatch(stem) else ""
    group: dict[str, bytes] = {}
    current = ""
    read = 0
    try:
        with tarfile.open(fileobj=file, mode="r|*") as tar:
            for member in tar:
                folder, _, name = member.name.rpartition("/")
                if not member.isfile() or name.startswith("."):
                    continue
                if name.endswith(TAR_SUFFIXES):
                    raise InputError(f"{key} holds tars ({name}): unpack it one level first")
                sample = f"{folder}/{name.partition('.')[0]}"
                if sample != current:
                    yield from _samples(group, key, own, names)
                    group, current = {}, sample
                if member.size > limits.max_input_bytes:
                    yield LimitError(f"{key}/{member.name} has {member.size:,} bytes")
                elif is_image(name) or name.endswith((".cls", ".json")):
                    group[member.name] = _bytes(tar, member)
                    read += 1
    except _DAMAGED as error:
        yield from _samples(group, key, own, names)
        raise InputError(f"{key} is damaged after {read} files ({error}): copy it anew") from None
    yield from _samples(group, key, own, names)


def _bytes(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    return b"" if file is None else file.read()


def _samples(
    group: dict[str, bytes], key: str, own: str, names: Sequence[str]
) -> Iterator[Sample | Exception]:
    """The images of members that belong together; usually one."""
    for name, data in group.items():
        if not is_image(name):
            continue
        try:
            found = _label(group, names)
        except InputError as error:
            yield InputError(f"{key}/{name}: {error}")
            continue
        if found is None:
            found = name.rpartition("/")[0].rpartition("/")[2] or own
        yield Sample(key=f"{key}/{name.removeprefix('./')}", data=data, class_name=found)


def _label(group: dict[str, bytes], names: Sequence[str]) -> str | None:
    """Class by .cls or .json; None where neither says one."""
    for name, data in group.items():
        if name.endswith(".cls"):
            return class_name(data, names)
        if name.endswith(".json"):
            try:
                stated = json.loads(data)
            except ValueError as error:
                raise InputError(f"{name} is no JSON ({error})") from None
            for field in ("label", "cls", "class"):
                if isinstance(stated, dict) and field in stated:
                    return class_name(stated[field], names)
    return None
