"""The command `deepsic`: encode, decode, info, labels, index, verify, models, bench, completion.

    deepsic encode photos/ -o sic/ --quality 60        # folders, files, globs, or - for a pipe
    deepsic labels sic/*.sic --depth 8                 # what is in them, without torch
    deepsic decode sic/cat.sic -o cat.png

Exit codes: 0 ok, 1 some items failed, 2 usage, 3 input unreadable, 4 corrupt file, 5 unknown
version or model, 6 limit exceeded, 7 verification mismatch, 8 storage error, 130 interrupted.
Only the verbs that touch pixels import torch, numpy or Pillow. The parser is argparse because
`labels` needs Python alone and answers within 200 ms, of which importing typer would take half.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepsic import __version__
from deepsic.bitstream import PREFIX_BYTES, Info, Label, info, read_semantics, unpack
from deepsic.cli import files
from deepsic.cli.convert import convert
from deepsic.cli.index import index
from deepsic.cli.label_rows import at_depth, names_of, rows_of, text_of
from deepsic.cli.options import (
    NONE,
    SHELLS,
    add_verb,
    at_least,
    completes_files,
    decode_options,
    encode_options,
    index_options,
    model_options,
)
from deepsic.cli.report import Results, Row, run_verb
from deepsic.errors import PartialFailureError, UnknownModelError, UsageError, counted
from deepsic.labels import TOP
from deepsic.models.quality import coder_text

if TYPE_CHECKING:
    from deepsic.codec import Codec

__all__ = [
    "bench", "completion", "decode", "encode", "labels", "models", "run", "show_info", "verify",
]  # fmt: skip


def encode(
    *,
    sources: list[str],
    output: str | None,
    quality: int | None,
    bpp: float | None,
    max_bytes: int | None,
    model: str,
    tune: str | None,
    effort: int,
    streams: int | None,
    labeler: str | None,
    no_labels: bool,
    refine_for: list[str] | None,
    refine_steps: int | None,
    device: str,
    frame: int | None,
    white: int | None,
    strip: bool,
    json: bool,
    quiet: bool,
    **writing: bool,
) -> None:
    """Compress images to .sic files."""
    goals = {"quality": quality, "bpp": bpp, "max_bytes": max_bytes}
    chosen: dict[str, Any] = {name: value for name, value in goals.items() if value is not None}
    target = files.Target(output, ".sic", **writing)
    jobs = files.plan(files.found(sources, files.not_an_image), target)
    codec = _load_codec(model, device, tune=tune, effort=effort, streams=streams)
    if labeler is not None and labeler != NONE:
        from deepsic.models.semantic.labeler import load_labeler

        chosen["labeler"] = codec.read if labeler == "head" else load_labeler(labeler)
    if no_labels or labeler == NONE:
        chosen["labels"] = False
    if refine_steps is not None and not refine_for:
        raise UsageError("--refine-steps needs --refine-for: name the classifier to refine for")
    if refine_for:
        from deepsic import load_refiner

        chosen["refiner"] = load_refiner(model, refine_for, steps=refine_steps, device=device)
    from deepsic.image_io.load import load_image

    if strip:
        chosen["metadata"] = False

    def made(job: files.Conversion) -> Row:
        picture = files.read(job.source) if files.is_stream(job.source) else job.source
        image = load_image(picture, frame=frame, white=white)
        blob = codec.encode(image, **chosen)
        target.write(job, blob)
        return _facts(info(blob), str(job.target))

    convert(jobs, target, made, _encoded_line, json=json, quiet=quiet)


def decode(
    *,
    sources: list[str],
    output: str | None,
    format: str,
    region: tuple[int, int, int, int] | None,
    scale: float,
    model: str | None,
    device: str,
    strip: bool,
    keywords: bool,
    json: bool,
    quiet: bool,
    **writing: bool,
) -> None:
    """Decode .sic files to PNG, JPEG or another ordinary format."""
    suffix = "." + format.removeprefix(".")
    target = files.Target(output, suffix, **writing)
    jobs = files.plan(files.found(sources), target)
    codecs: dict[str, Codec] = {}

    def made(job: files.Conversion) -> Row:
        blob = files.read(job.source)
        facts = info(blob)
        codec = _codec_for(facts, model, device, codecs)
        image = codec.decode(blob, region=region, scale=scale)
        from deepsic.image_io.save import image_bytes

        if strip:
            image.info.clear()
        if keywords:
            from deepsic.labels.keywords import with_keywords

            xmp = with_keywords(image.info.get("xmp"), names_of(facts.labels))
            image.info |= {} if xmp is None else {"xmp": xmp}
        kind = job.target.suffix if job.target != files.STREAM else ""
        target.write(job, image_bytes(image, kind or suffix))
        row = _facts(facts, str(job.target))
        row["width"], row["height"] = image.size
        return row

    convert(jobs, target, made, _decoded_line, json=json, quiet=quiet)


def show_info(*, sources: list[str], json: bool) -> None:
    """Show size, model, quality and labels of .sic files, from their first bytes."""
    found = files.found(sources)
    with Results(len(found.files), json=json) as out:
        for source, _ in found.files:
            with out.item(str(source)) as item:
                facts = info(files.read(source) if files.is_stream(source) else source)
                item.done(_facts(facts), _info_text)


def labels(
    *,
    sources: list[str],
    top: int,
    depth: int | None,
    boxes: str | None,
    model: str | None,
    device: str,
    json: bool,
) -> None:
    """Show what images contain; a model is loaded only for files without stored labels."""
    found = files.found(sources)
    pictures = files.Target(boxes and boxes.rstrip("/") + "/", ".png", force=True)
    codecs: dict[str, Codec] = {}
    with Results(len(found.files), json=json) as out:
        for job in files.plan(found, pictures):
            with out.item(str(job.source)) as item:
                # Only the start of the file, so that damage behind it doesn't matter.
                start = files.read_start(job.source, PREFIX_BYTES)
                stored, read = read_semantics(start), "file"
                blob = b""
                if stored is None or boxes:
                    blob = start if files.is_stream(job.source) else files.read(job.source)
                    codec = _codec_for(info(blob), model, device, codecs)
                seen: Sequence[Label] = stored.labels if stored else ()
                if stored is None:
                    read = "model" if codec.reader else "none"
                    seen = codec.labels(blob, top=top) if codec.reader else ()
                if boxes:
                    from deepsic.image_io.boxes import draw_boxes
                    from deepsic.image_io.save import image_bytes

                    drawn = draw_boxes(codec.decode(blob), seen)
                    pictures.write(job, image_bytes(drawn, ".png"))
                shown = rows_of(at_depth(seen, depth)[:top])
                item.done({"read": read, **shown}, _labels_line)


def verify(*, sources: list[str], json: bool) -> None:
    """Check every checksum of .sic files, without a model."""
    found = files.found(sources)
    with Results(len(found.files), json=json) as out:
        for source, _ in found.files:
            with out.item(str(source)) as item:
                blob = files.read(source)
                unpack(blob)
                item.done({"bytes_total": len(blob)}, lambda row: f"{row['source']}: ok")


def models(*, json: bool) -> None:
    """List the models that ship."""
    from deepsic import zoo

    found = zoo.names()
    with Results(len(found), json=json) as out:
        for name in found:
            with out.item(name) as item:
                path = zoo.path_of(name)
                row = {"identity": zoo.identity_of(path).hex(), "bytes": path.stat().st_size}
                item.done(row, lambda r: f"{r['source']:16} {r['identity']}  {r['bytes']:>12,} B")


def bench(*, sources: list[str], model: str, output: Path | None) -> None:
    """Measure rate, distortion and speed on your images, beside JPEG, WebP and AVIF."""
    from importlib import import_module

    try:
        import_module("scipy")  # for BD-rates, at the end
        module = import_module("deepsic.evaluation.bench")
    except ModuleNotFoundError as error:
        raise UsageError(f"bench needs {error.name}; pip install 'deepsic[bench]'") from error
    paths = [path for path, _ in files.found(sources, files.not_an_image).files]

    def show(line: str) -> None:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()

    measured = module.run(paths, model=model, output=output, show=show)
    sys.stdout.write(f"{measured}\n")
    if measured.skipped:
        of = f"{len(measured.skipped)} of {counted(len(paths), 'image')}"
        raise PartialFailureError(f"{of} skipped")


def completion(*, shell: str) -> None:
    """Print a script that completes verbs, options and files in a shell."""
    import shtab

    sys.stdout.write(shtab.complete(_parser(), shell) + "\n")


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    return run_verb(_parser(), arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deepsic", description="Compress images to .sic files that say what they show."
    )
    parser.add_argument("--version", action="version", version=f"deepsic {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    encode_options(add_verb(verbs, "encode", encode))

    decode_options(add_verb(verbs, "decode", decode))

    add_verb(verbs, "info", show_info)

    verb = add_verb(verbs, "labels", labels)
    verb.add_argument(
        "--top",
        type=at_least(1),
        default=TOP,
        metavar="K",
        help=f"labels per image, at most [{TOP}]",
    )
    verb.add_argument(
        "--depth",
        type=at_least(0),
        metavar="N",
        help="name each label's ancestor at this depth of WordNet; 0 is the root",
    )
    verb.add_argument(
        "--boxes",
        metavar="DIR",
        help="write the images there, with the boxes of the objects that a detector stored",
    )
    model_options(verb)

    index_options(add_verb(verbs, "index", index))

    add_verb(verbs, "verify", verify)
    add_verb(verbs, "models", models, sources=False)

    verb = add_verb(verbs, "bench", bench, json=False)
    verb.add_argument(
        "--model", default="sic", help="name of a shipped model, or a model file [sic]"
    )
    output = verb.add_argument(
        "-o",
        "--out",
        dest="output",
        type=Path,
        metavar="JSON",
        help="write the figures to this file, too",
    )
    completes_files(output)

    verb = add_verb(verbs, "completion", completion, sources=False, json=False)
    verb.add_argument("shell", choices=SHELLS, help="the one that you use")
    return parser


def _load_codec(model: str, device: str, **settings: Any) -> Codec:
    from deepsic import Codec

    return Codec.load(model, device=device, **settings)


def _codec_for(facts: Info, model: str | None, device: str, loaded: dict[str, Codec]) -> Codec:
    """Return the codec for a file, by the model that the file names unless the user names one."""
    name = model or facts.model_name
    if name is None:
        raise UnknownModelError(
            f"the file was made with model {facts.model_id}, which doesn't ship; "
            "give its model file with --model"
        )
    if name not in loaded:
        loaded[name] = _load_codec(name, device)
    return loaded[name]


def _facts(facts: Info, target: str | None = None) -> dict[str, Any]:
    row = facts.to_dict()
    row["bpp"] = round(facts.bpp, 4)
    row |= rows_of(facts.labels)
    return row if target is None else {"target": target, **row}


def _labels_line(row: dict[str, Any]) -> str:
    shown = text_of(row) if row["read"] != "none" else "no labels stored, and its model reads none"
    return f"{row['source']}: {shown}"


def _encoded_line(row: dict[str, Any]) -> str:
    line = f"{row['source']} -> {row['target']}  {row['bytes_total']:,} B  {row['bpp']:.3f} bpp"
    return f"{line}  {text_of(row)}" if row["labels"] else line


def _decoded_line(row: dict[str, Any]) -> str:
    return f"{row['source']} -> {row['target']}  {row['width']}x{row['height']} {row['mode']}"


def _info_text(row: dict[str, Any]) -> str:
    tiles = f"{row['tiles']} of {row['tile_side']} px" if row["tile_side"] else "1"
    lines = (
        f"{row['source']}: .sic version {row['version']}, {row['bytes_total']:,} B, "
        f"{row['bpp']:.3f} bpp",
        f"  image     {row['width']}x{row['height']} {row['mode']}"
        + (" (16 bits reduced to 8)" if row["sixteen_bit"] else ""),
        f"  model     {row['model_name'] or 'not installed here'} ({row['model_id']}), "
        f"quality {row['quality']}, tiles {tiles}",
        f"  coder     {coder_text(row['coder'])}",
        f"  bytes     {row['bytes_semantics']:,} semantics, {row['bytes_picture']:,} image, "
        f"{row['bytes_metadata']:,} metadata and alpha",
        f"  labels    {text_of(row)}, of {row['label_set']}"
        if row["label_set"]
        else "  labels    none stored",
    )
    return "\n".join(lines)
