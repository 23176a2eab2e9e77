"""Writes golden files of the models that ship: those that aren't there. None is ever replaced.

    python -m tests.golden.make_shipped sic sic-machine

`shipped.json` holds the SHA-256 of each file's symbols and, if the model's pixels are exact, of its
pixels; `test_shipped_files.py` decodes them for ever.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
from pathlib import Path

import numpy as np

from deepsic.bitstream import unpack
from deepsic.codec import Codec
from deepsic.models.quality import HALVES, HIDING, TUNINGS
from deepsic.models.registry import Tunable
from tests.golden.make_codec import symbols_digest
from tests.support.small_model import photograph

HERE = Path(__file__).parent / "shipped"
FACTS = HERE / "shipped.json"


def pixels_digest(codec: Codec, blob: bytes) -> str:
    """SHA-256 of a file's pixels."""
    return hashlib.sha256(np.asarray(codec.decode(blob)).tobytes()).hexdigest()


def main(models: list[str]) -> None:
    """Write the files of some models."""
    HERE.mkdir(exist_ok=True)
    facts = json.loads(FACTS.read_text()) if FACTS.exists() else {}
    for model in models:
        codec = Codec.load(model, device="cpu")
        two = isinstance(codec.engine, Tunable) and HALVES in codec.engine.coders
        for tune in TUNINGS[: len(codec.tunings)]:
            for quality, streams in itertools.product((12, 70), (1, 2) if two else (1,)):
                tuned = Codec.load(model, device="cpu", tune=tune, streams=streams)
                blob = tuned.encode(photograph(140, 180, 5), quality=quality)
                hidden = "-hidden" if unpack(blob).header.coder % HALVES >= HIDING else ""
                halves = "-halves" if streams == 2 else ""
                name = f"{codec.identity.hex()}-{tune}-{quality}{hidden}{halves}.sic"
                if name in facts:
                    continue
                (HERE / name).write_bytes(blob)
                facts[name] = {"model": model, "symbols": symbols_digest(codec, blob)}
                if getattr(getattr(codec.engine, "transforms", None), "with_state", False):
                    # Revision 2 of `sic`; other nets' pixels are only nearly the same everywhere.
                    facts[name]["pixels"] = pixels_digest(codec, blob)
    FACTS.write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
