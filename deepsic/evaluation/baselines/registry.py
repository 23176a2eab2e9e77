"""Which codecs there are, and which of them can run on this machine."""

from __future__ import annotations

from collections.abc import Sequence

from deepsic.errors import UsageError
from deepsic.evaluation.baselines.base import MeasuredCodec
from deepsic.evaluation.baselines.jpeg import Jpeg, ProgressiveJpeg
from deepsic.evaluation.baselines.modern import Avif, Jpeg2000, JpegXL, WebP

__all__ = ["BASELINES", "find_codecs"]

_CLASSES: tuple[type[MeasuredCodec], ...] = (Jpeg, ProgressiveJpeg, Jpeg2000, WebP, Avif, JpegXL)
#: Names of all baselines that need no file of the user's.
BASELINES: tuple[str, ...] = tuple(made.name for made in _CLASSES)


def find_codecs(names: Sequence[str]) -> tuple[list[MeasuredCodec], dict[str, str]]:
    """Make the codecs called `names`; say why one can't run here.

    Names: those of `BASELINES`; `sic:NAME` or `sic:PATH` for a model of ours (`sic` alone for the
    shipped one), either with `@NETWORK+NETWORK` behind it for files refined for classifiers;
    `compressai:ARCHITECTURE=CHECKPOINT[,CHECKPOINT...]` for CompressAI's.

    Returns: the codecs in the order of `names`, and name → reason for those missing here.
    Raises: `UsageError` for a name that means nothing.
    """
    found: list[MeasuredCodec] = []
    missing: dict[str, str] = {}
    for name in dict.fromkeys(names):
        coder = _make(name)
        reason = coder.missing()
        if reason is None:
            found.append(coder)
        else:
            missing[name] = reason
    return found, missing


def _make(name: str) -> MeasuredCodec:
    kind, _, rest = name.partition(":")
    if kind == "compressai":
        from deepsic.evaluation.baselines.compressai import CompressAI

        return CompressAI.parse(rest)
    for made in _CLASSES:
        if name == made.name:
            return made()
    from deepsic.evaluation.baselines.sic import Sic

    if kind == "sic":
        return Sic.parse(rest or "sic")
    if name.partition("@")[0] in Sic.shipped():
        return Sic.parse(name)
    raise UsageError(
        f"no codec {name!r}; choose from {', '.join(BASELINES)}, sic, sic:MODEL.sicmodel, "
        "compressai:ARCHITECTURE=CHECKPOINT"
    )
