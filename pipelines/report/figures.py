"""Curves as SVG: a label at each line, colours that the colour-blind tell apart, print in mind."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["STYLE", "Series", "curves_svg", "draw_curves"]

STYLE: dict[Any, Any] = {
    "font.size": 9, "svg.hashsalt": "deepsic", "axes.spines.top": False,
    "axes.spines.right": False, "axes.titlelocation": "left",
}  # fmt: skip
"""Matplotlib settings of all charts, for `rc_context`."""

#: Okabe and Ito's palette without its yellow, which is lost on white paper.
_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#E69F00", "#7A5195")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_PUBLISHED = "#8A8A8A"
_SIZE = (6.4, 4.2)  # inches; half of a wide screen, or a page's width
_LABEL_GAP = 0.05  # of the axes' height between two labels


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line of a chart."""

    title: str
    x: Sequence[float]
    y: Sequence[float]
    published: bool = False
    """Not measured here: drawn thin, gray and dashed."""
    ours: bool = False
    """Drawn thicker."""


def curves_svg(
    series: Sequence[Series],
    *,
    x_label: str,
    y_label: str,
    title: str,
    x_range: tuple[float, float] | None = None,
    level: tuple[str, float] | None = None,
) -> str:
    """An SVG element with one line for each of `series`.

    Args:
        x_range: part of the x axis to show.
        level: a name and a y: a horizontal line to compare with, such as "uncompressed".
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=_SIZE, layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        axes.set(xlabel=x_label, ylabel=y_label, title=title)
        draw_curves(axes, series, x_range=x_range, level=level)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def draw_curves(
    axes: Any,
    series: Sequence[Series],
    *,
    x_range: tuple[float, float] | None = None,
    level: tuple[str, float] | None = None,
) -> None:
    """Draw a line for each of `series` into Matplotlib axes, its name at its right end.

    Measured lines take colours and markers in their order, published ones are gray.
    """
    axes.grid(alpha=0.25, linewidth=0.6)
    ends = _draw(axes, [_clip(line, x_range) for line in series])
    if x_range is not None:
        axes.set_xlim(*x_range)
    if level is not None:
        axes.axhline(level[1], color="#444444", linewidth=1, linestyle=(0, (1, 2)))
        ends.append((axes.get_xlim()[1], level[1], level[0], "#444444"))
    _label(axes, ends)


def _clip(line: Series, x_range: tuple[float, float] | None) -> Series:
    points = sorted(zip(line.x, line.y, strict=True))
    if x_range is not None:
        points = [point for point in points if x_range[0] <= point[0] <= x_range[1]]
    return Series(
        title=line.title, x=[p[0] for p in points], y=[p[1] for p in points],
        published=line.published, ours=line.ours,
    )  # fmt: skip


def _draw(axes: Any, series: Sequence[Series]) -> list[tuple[float, float, str, str]]:
    """Draw the lines; return the right end of each with its label and colour."""
    ends = []
    measured = 0
    for line in series:
        if not line.x:
            continue
        if line.published:
            colour = _PUBLISHED
            axes.plot(line.x, line.y, color=colour, linewidth=0.9, linestyle="--", zorder=1)
        else:
            colour = _COLOURS[measured % len(_COLOURS)]
            marker = _MARKERS[measured % len(_MARKERS)]
            width = 2.4 if line.ours else 1.3
            axes.plot(line.x, line.y, color=colour, linewidth=width, marker=marker,
                      markersize=4.5, zorder=3 if line.ours else 2)  # fmt: skip
            measured += 1
        name = f"{line.title} (published)" if line.published else line.title
        ends.append((line.x[-1], line.y[-1], name, colour))
    return ends


def _label(axes: Any, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Write each line's name right of the axes, moved apart, with a thin line to its end."""
    if not ends:
        return
    low, high = axes.get_ylim()
    right = axes.get_xlim()[1]
    order = sorted(ends, key=lambda end: end[1])
    heights = [(end[1] - low) / (high - low) for end in order]
    for index, height in enumerate(_apart(heights)):
        x, y, name, colour = order[index]
        axes.annotate(
            name, xy=(x, y), xycoords="data", xytext=(1.03, height), textcoords="axes fraction",
            color=colour, va="center", fontsize=8, annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "alpha": 0.6,
                        "shrinkA": 1, "shrinkB": 3},
        )  # fmt: skip
    axes.set_xlim(right=right)


def _apart(heights: Sequence[float], gap: float = _LABEL_GAP) -> list[float]:
    """Ascending heights moved as little as is simple, so that neighbours keep `gap`.

    >>> [round(h, 2) for h in _apart([0.5, 0.5, 0.9], gap=0.1)]
    [0.5, 0.6, 0.9]
    """
    placed: list[float] = []
    for height in heights:
        placed.append(height if not placed else max(height, placed[-1] + gap))
    over = placed[-1] - 1.0 if placed else 0.0
    if over > 0:  # push the top ones back down
        limit = 1.0
        for index in range(len(placed) - 1, -1, -1):
            placed[index] = min(placed[index], limit)
            limit = placed[index] - gap
    return placed
