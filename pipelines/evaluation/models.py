"""Models on s3:// among the codecs of an evaluation: fetched once a node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deepsic import weights
from deepsic.evaluation.baselines import MeasuredCodec
from pipelines.models import model_file, pinned

__all__ = ["local_codecs", "on_this_node"]

_REMOTE = "sic:s3://"


def local_codecs(names: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Names of codecs with every place on s3:// fetched and replaced by its file here.

    Returns: the names, and file here → pinned place, for `on_this_node`.

    Raises: as `pipelines.models.model_file`.
    """
    local, places = [], {}
    for name in names:
        if name.startswith(_REMOTE):
            key, at, networks = name.removeprefix("sic:").rpartition("@")
            # A key may hold an @ of its own.
            if not at or "/" in networks or networks.endswith(weights.SUFFIX):
                key, at, networks = name.removeprefix("sic:"), "", ""
            place = pinned(key)
            path = str(model_file(place))
            places[path] = place
            name = f"sic:{path}{at}{networks}"
        local.append(name)
    return local, places


def on_this_node(coders: Sequence[MeasuredCodec], places: Mapping[str, str]) -> None:
    """Point coders at this node's files of the models that the driver has at `places`."""
    for coder in coders:
        place = places.get(vars(coder).get("model", ""))
        if place is not None:
            vars(coder)["model"] = str(model_file(place))
