"""Options that several verbs share, and the types of their values. Standard library only."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from typing import Any

from deepsic.models.effort import DEFAULT_EFFORT, EFFORTS
from deepsic.models.quality import TUNINGS

__all__ = [
    "NONE",
    "SHELLS",
    "add_verb",
    "at_least",
    "bits_per_pixel",
    "completes_files",
    "decode_options",
    "encode_options",
    "index_options",
    "model_options",
    "output_options",
    "region",
    "scale",
    "size_in_bytes",
]


NONE = "none"
"""How what can be left out is spelled, here and in every stage."""
SHELLS = ("bash", "zsh", "fish", "tcsh")
"""For which `deepsic completion` makes a script."""
_FILES = {
    "bash": "_shtab_compgen_files",
    "zsh": "_files",
    "tcsh": "f",
    "fish": "(__fish_complete_path (commandline -ct))",
}
"""shtab's own `FILE`, which isn't imported from there: that would slow every command."""


def completes_files(action: argparse.Action) -> None:
    """Let shells offer files for an option's value."""
    action.complete = _FILES  # type: ignore[attr-defined]


def add_verb(
    verbs: Any, name: str, function: Any, *, sources: bool = True, json: bool = True
) -> argparse.ArgumentParser:
    """A verb whose help is its function's docstring."""
    text = function.__doc__.strip()
    verb: argparse.ArgumentParser = verbs.add_parser(name, help=text, description=text)
    verb.set_defaults(verb=function)
    if sources:
        files = "files, folders, globs, or - for standard input"
        completes_files(verb.add_argument("sources", nargs="+", help=files))
    if json:
        verb.add_argument(
            "--json", action="store_true", help="print one JSON object a line, failures included"
        )
    return verb


def output_options(verb: argparse.ArgumentParser) -> None:
    """Where results go, and which are made."""
    output = verb.add_argument(
        "-o",
        "--out",
        dest="output",
        metavar="PATH",
        help="file, or folder for several sources [beside each source]",
    )
    completes_files(output)
    verb.add_argument("-f", "--force", action="store_true", help="replace files that exist")
    verb.add_argument(
        "--skip-existing", action="store_true", help="leave files that exist, and call them done"
    )
    verb.add_argument(
        "--keep-suffix", action="store_true", help="x.jpg becomes x.jpg.sic, not x.sic"
    )
    verb.add_argument(
        "--preserve", action="store_true", help="give each file the times of its source"
    )
    verb.add_argument("-q", "--quiet", action="store_true", help="print failures only")
    verb.add_argument("--strip", action="store_true", help="leave EXIF, ICC profile and XMP out")


def encode_options(verb: argparse.ArgumentParser) -> None:
    """How an image is compressed."""
    output_options(verb)
    verb.add_argument(
        "--frame", type=at_least(0), metavar="N", help="of animations and documents, from 0"
    )
    verb.add_argument(
        "--white",
        type=at_least(0xFF, 0xFFFF),
        metavar="N",
        help="value of white in images of more than 8 bits, such as 4095 [as the file says]",
    )
    goal = verb.add_mutually_exclusive_group()
    goal.add_argument(
        "--quality", type=at_least(1, 100), metavar="1..100", help="1 is smallest, 100 best [50]"
    )
    goal.add_argument(
        "--bpp",
        type=bits_per_pixel,
        help="best quality within so many bits per pixel, the whole file counted",
    )
    goal.add_argument(
        "--max-bytes",
        type=size_in_bytes,
        metavar="N",
        help="best quality within so many bytes a file, such as 20000 or 20KB",
    )
    verb.add_argument(
        "--model", default="sic", help="name of a shipped model, or a model file [sic]"
    )
    verb.add_argument(
        "--tune", choices=TUNINGS,
        help="psnr: least squared error; ssim: most structural similarity, which people see as "
        "better [ssim if the model has it]",
    )  # fmt: skip
    verb.add_argument(
        "--effort", type=int, choices=EFFORTS, metavar="1-9", default=DEFAULT_EFFORT,
        help="1: fastest; 9: smallest, some hundred times slower; from 6 on it needs torch [5]",
    )  # fmt: skip
    verb.add_argument(
        "--streams", type=int, choices=(1, 2),
        help="streams of each tile: several threads code 2 faster, for some 0.1 %% more bytes "
        "[2 from 262,144 pixels on, 512x512, if the model has them]",
    )  # fmt: skip
    seen = verb.add_mutually_exclusive_group()
    seen.add_argument(
        "--labeler",
        metavar="NAME",
        help="store labels from efficientnet-lite0 or another classifier or detector, as "
        "NAME=WEIGHTS with weights of its own, or from your module:function; none: store no labels "
        "[the model's head]",
    )
    seen.add_argument("--no-labels", action="store_true", help="the same as --labeler none")
    verb.add_argument(
        "--refine-for",
        action="append",
        metavar="NETWORK",
        help="refine each file for a classifier, such as efficientnet-lite0, or a detector, "
        "fastestdet=WEIGHTS: about 100 times slower; repeat for several [none]",
    )
    verb.add_argument(
        "--refine-steps",
        type=at_least(1),
        metavar="N",
        help="gradient steps per image; 1: one look, about 3 times slower than plain [16]",
    )
    verb.add_argument("--device", default="auto", help="cpu, cuda or auto [auto]")


def decode_options(verb: argparse.ArgumentParser) -> None:
    """How, and how much of, an image is decoded."""
    output_options(verb)
    verb.add_argument("--format", default="png", metavar="SUFFIX", help="png, jpg, webp, ... [png]")
    verb.add_argument(
        "--region",
        type=region,
        metavar="L,T,R,B",
        help="decode only this box: left, top, right, bottom in pixels",
    )
    verb.add_argument(
        "--scale",
        type=scale,
        default=1.0,
        metavar="S",
        help="1, 1/2, 1/4 or 1/8 of both sides; the less, the faster [1]",
    )
    verb.add_argument(
        "--keywords", action="store_true",
        help="add the names that are certain, or have boxes, to the keywords in XMP (dc:subject)",
    )  # fmt: skip
    model_options(verb)


def index_options(verb: argparse.ArgumentParser) -> None:
    """Where an index goes."""
    output = verb.add_argument(
        "-o", "--out", dest="output", required=True, metavar="FILE",
        help="its ending says the form: .parquet, .jsonl, or .json for COCO's boxes",
    )  # fmt: skip
    completes_files(output)
    verb.add_argument("-f", "--force", action="store_true", help="replace a file that exists")


def model_options(verb: argparse.ArgumentParser) -> None:
    """Which model decodes, and where."""
    verb.add_argument("--model", help="model file, for files whose model doesn't ship")
    verb.add_argument("--device", default="auto", help="cpu, cuda or auto [auto]")


def at_least(low: int, most: int | None = None) -> Callable[[str], int]:
    """A type of whole numbers from `low` on, to `most`."""

    def number(text: str) -> int:
        value = int(text)
        if value < low:
            raise argparse.ArgumentTypeError(f"{value} is less than {low}")
        if most is not None and value > most:
            raise argparse.ArgumentTypeError(f"{value} is more than {most}")
        return value

    return number


def region(text: str) -> tuple[int, int, int, int]:
    """A type of boxes: left,top,right,bottom."""
    try:
        left, top, right, bottom = (int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError("give four whole numbers: left,top,right,bottom") from None
    return left, top, right, bottom


def scale(text: str) -> float:
    """A type of scales: 1, 1/2, 1/4, 1/8."""
    named = {"1": 1.0, "1/2": 0.5, "1/4": 0.25, "1/8": 0.125}
    if text not in named:
        raise argparse.ArgumentTypeError(f"{text} is not a scale: give {', '.join(named)}")
    return named[text]


def bits_per_pixel(text: str) -> float:
    """A type of sizes in bits a pixel: finite, more than 0."""
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a size: give bits a pixel, such as 0.25")
    return value


def size_in_bytes(text: str) -> int:
    """A type of sizes with or without a unit: 20000, 20KB (of 1000), 20KiB (of 1024), 1.5MB."""
    found = re.fullmatch(r"([0-9.]+) *([kmg]?)(i?)b?", text.strip().lower())
    try:
        number = float(found[1]) if found else -1.0
    except ValueError:
        number = -1.0
    if not found or number <= 0 or (found[3] and not found[2]):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size: give 20000, 20KB or 1.5MiB")
    return int(
        number * (1024 if found[3] else 1000) ** ("kmg".index(found[2]) + 1 if found[2] else 0)
    )
