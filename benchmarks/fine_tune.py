"""Fine-tune a model with any mix of distortions: the SAIC arms, and `sic-machine`.

    python benchmarks/fine_tune.py imagenette/train out/machine.safetensors \
        --start sic --mix machine --classifier efficientnet-lite0 --classifier efficientnet-lite1 \
        --augment --steps 2000 --exclude 'ILSVRC2012_val_*'
    python benchmarks/fine_tune.py imagenette/train out/saic-0.safetensors --mix saic --seed 0

SAIC's own fixed-rate preset in two stages, with the settings of its section 4.4:

    python benchmarks/fine_tune.py imagenette/train out/pixels.safetensors --start saic:0.125 \
        --mix tdic --steps 300000 --batch 32 --lr 1e-5 --no-decay
    python benchmarks/fine_tune.py imagenette/train out/fixed.safetensors \
        --start out/pixels.safetensors --mix saic --steps 20000 --batch 32 --lr 1e-5 --no-decay

One process; stops and goes on with the same command. Writes the model file, a checkpoint and a log
(JSON lines) beside it. Several classifiers take turns, a step each: what they agree on is what
networks that training never saw need as well. Several starts, fine-tuned from one before, give
their mean. The search over mixes is `pipelines/tune_saic.py`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from deepsic import atomic, weights
from deepsic.errors import DeepsicError
from deepsic.losses import Distortion, DistortionMix
from deepsic.models.saic.engine import pack_binary
from deepsic.models.saic.net import BinaryNet
from deepsic.models.sic.net import SicNet
from deepsic.tasks import load_classifier
from deepsic.training.fine_tune import FineTune, FineTuneConfig
from deepsic.training.start import load_fixed_rate, load_start, mean_of
from pipelines import console
from pipelines.tuning.pictures import read_folder

SAVE_SECONDS = 120.0
DEFAULT_START = "sic"
DEFAULT_CLASSIFIERS = ("efficientnet-lite0",)
#: Sides that augmented pictures have, all pictures of a step alike; multiples of 32.
SIDES = (192, 224, 224)
app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(help=__doc__)
def main(
    pictures: Annotated[Path, typer.Argument(help="Folder of training pictures")],
    out: Annotated[Path, typer.Argument(help="Model file to write (.safetensors)")],
    start: Annotated[
        list[str] | None,
        typer.Option(help="Model, file, checkpoint, or saic:BPP, new; repeat: mean [sic]"),
    ] = None,
    mix: Annotated[str, typer.Option(help="tdic, apic, saic, machine, or pixel=1,…")] = "saic",
    classifier: Annotated[
        list[str] | None, typer.Option(help="Downstream networks; repeat: one a step in turn")
    ] = None,
    steps: Annotated[int, typer.Option(min=1)] = 2000,
    batch: Annotated[int, typer.Option(min=1)] = 4,
    lr: Annotated[float, typer.Option(help="Peak learning rate")] = 2e-4,
    decay: Annotated[bool, typer.Option(help="Cosine decay to a twentieth")] = True,
    gain_rate: Annotated[float, typer.Option(help="Of the quantisation steps, times lr")] = 10.0,
    low: Annotated[float, typer.Option(help="Lowest quality trained, 0-1")] = 0.0,
    high: Annotated[float, typer.Option(help="Highest quality trained, 0-1")] = 0.5,
    exclude: Annotated[list[str] | None, typer.Option(help="File names to leave out")] = None,
    augment: Annotated[bool, typer.Option(help="Flips, and crops at scales down to 5/7")] = False,
    ema: Annotated[float, typer.Option(help="Decay of the running average of weights")] = 0.99,
    limit: Annotated[int, typer.Option(help="Most pictures to load")] = 4000,
    seed: Annotated[int, typer.Option(help="Of the order and the qualities")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Torch threads")] = 1,
) -> None:
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    try:
        config = FineTuneConfig(
            mix=DistortionMix.parse(mix),
            steps=steps,
            batch=batch,
            learning_rate=lr,
            gain_rate=gain_rate,
            decay=decay,
            low=low,
            high=high,
            ema=ema,
            seed=seed,
        )
        names = tuple(classifier or DEFAULT_CLASSIFIERS) if config.mix.needs_network else ()
        data = torch.from_numpy(read_folder(pictures, limit=limit, exclude=exclude or ()))
        networks = [load_classifier(name) for name in names]
        judges = [Distortion(config.mix, network) for network in networks or (None,)]
        starts = start or [DEFAULT_START]
        net = mean_of([load_fixed_rate(name) or load_start(name) for name in starts])
        run = FineTune(net, judges[0], config)
        _train(run, judges, data, out, augment=augment)
        begun = "+".join(Path(name).name for name in starts)
        _export(run, data, out, {"start": begun, "classifiers": names, "augment": augment})
    except DeepsicError as error:
        console.error(str(error))
        raise typer.Exit(error.exit_code) from None


def _batch(data: torch.Tensor, config: FineTuneConfig, step: int) -> torch.Tensor:
    """The same pictures at the same step of every arm."""
    per_epoch = max(1, len(data) // config.batch)
    epoch, at = divmod(step, per_epoch)
    order = np.random.default_rng([config.seed, epoch]).permutation(len(data))
    return data[order[at * config.batch : (at + 1) * config.batch]]


def _augmented(pictures: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Random squares of Bx3xHxW, flipped or not, made smaller to one of `SIDES` but never larger.

    Enlarging would show the net pictures smoother than any that it meets.
    """
    side, whole = int(rng.choice(SIDES)), pictures.shape[-1]
    made = []
    for picture in pictures:
        window = int(rng.integers(side, whole + 1))
        top, left = rng.integers(0, whole - window + 1, 2)
        view = picture[None, :, top : top + window, left : left + window]
        if rng.random() < 0.5:
            view = view.flip(3)
        if window != side:
            view = functional.interpolate(
                view.float(), (side, side), mode="bilinear", antialias=True, align_corners=False
            )
            view = view.round().clamp(0, 255).to(torch.uint8)
        made.append(view)
    return torch.cat(made)


def _train(
    run: FineTune[Any],
    judges: Sequence[Distortion],
    data: torch.Tensor,
    out: Path,
    *,
    augment: bool,
) -> None:
    checkpoint, log = out.with_suffix(".pt"), out.with_suffix(".jsonl")
    out.parent.mkdir(parents=True, exist_ok=True)
    if checkpoint.is_file():
        run.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True))
        console.say(f"going on at step {run.step_number}")
    out.with_suffix(".json").write_text(run.config.to_json() + "\n", "utf-8")
    saved, started, sums = time.monotonic(), time.monotonic(), dict[str, float]()
    with console.progress("fine-tune", run.config.steps) as counter:
        counter.advance(run.step_number)
        while run.step_number < run.config.steps:
            step = run.step_number
            pictures = _batch(data, run.config, step)
            if augment:
                pictures = _augmented(pictures, np.random.default_rng([run.config.seed, step]))
            run.distortion = judges[step % len(judges)]
            for name, value in run.step(pictures).items():
                sums[name] = sums.get(name, 0.0) + value / 50
            counter.advance()
            if run.step_number % 50 == 0:
                line = {"step": run.step_number, **{k: round(v, 4) for k, v in sums.items()}}
                line["seconds"] = round(time.monotonic() - started, 1)
                with log.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
                sums.clear()
            if time.monotonic() - saved > SAVE_SECONDS or run.step_number == run.config.steps:
                with atomic.writing(checkpoint) as file:
                    torch.save(run.state_dict(), file)
                saved = time.monotonic()


def _export(run: FineTune[Any], data: torch.Tensor, out: Path, about: dict[str, object]) -> None:
    provenance = {"recipe": "fine_tune", **about, **json.loads(run.config.to_json())}
    if isinstance(run.average, BinaryNet):
        model = pack_binary(run.average, provenance=provenance)
    else:
        model = _packed(run.average, data, provenance)
    console.say(f"model {weights.write(out, model).hex()}")
    print(out)


def _packed(net: SicNet, data: torch.Tensor, provenance: dict[str, object]) -> weights.ModelFile:
    from deepsic.models.sic.packing import pack

    net.context.set_quantised(True)
    measured = [picture.permute(1, 2, 0).numpy().copy() for picture in data[:: len(data) // 16]]
    return pack(net, measured, provenance=provenance)


if __name__ == "__main__":
    app()
