"""The `.sic` format: bytes in, parts out. Standard library only; `docs/FORMAT.md` is the law.

>>> from deepsic.bitstream import Container, Header, Label, Semantics, pack, unpack
>>> header = Header(width=768, height=512, model_id=bytes(8))
>>> labels = Semantics.of([Label("English springer", "n02102040", 0.97)])
>>> blob = pack(Container(header=header, tiles=(b"stream",), semantics=labels))
>>> len(blob), unpack(blob).semantics.labels[0].name
(39, 'English springer')
"""

from __future__ import annotations

from deepsic.bitstream.certain import certain
from deepsic.bitstream.container import (
    Container,
    Layout,
    pack,
    read_header,
    read_semantics,
    unpack,
    verify,
)
from deepsic.bitstream.facts import Info, info
from deepsic.bitstream.header import PREFIX_BYTES, VERSION, Header
from deepsic.bitstream.metadata import Metadata
from deepsic.bitstream.semantics import Box, Label, Semantics

__all__ = [
    "PREFIX_BYTES",
    "VERSION",
    "Box",
    "Container",
    "Header",
    "Info",
    "Label",
    "Layout",
    "Metadata",
    "Semantics",
    "certain",
    "info",
    "pack",
    "read_header",
    "read_semantics",
    "unpack",
    "verify",
]
