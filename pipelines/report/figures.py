"""Curves as SVG: a label at each line, colours that the colour-blind tell apart, print in mind."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["STYLE", "Series", "draw_chart", "draw_curves", "svg_of"]

STYLE: dict[Any, Any] = {
    "font.size": 9, "svg.hashsalt": "deepsic", "axes.spines.top": False,
    "axes.spines.right": False, "axes.titlelocation": "left",
}  # fmt: skip
"""Matplotlib settings of all charts, for `rc_context`."""

#: Okabe and Ito's palette without its yellow, which is lost on white paper.
_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#E69F00", "#7A5195")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_GRAY = "#8A8A8A"
_SIZE = (6.4, 4.2)  # inches; half of a wide screen, or a page's width
_SMALL_ROW, _SMALL_IN_ROW = 1.5, 4  # inches; charts in a row of small multiples
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
    small: bool = False
    """Gets a small chart of its own below the large one."""


def svg_of(figure: Figure) -> str:
    """A figure as an SVG element, with the same bytes each time."""
    buffer = io.StringIO()
    import matplotlib as mpl

    with mpl.rc_context(STYLE):  # the salt of its identities
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def draw_chart(
    series: Sequence[Series],
    *,
    x_label: str,
    y_label: str,
    title: str,
    x_range: tuple[float, float] | None = None,
    level: tuple[str, float] | None = None,
) -> Figure:
    """A figure: one large chart, and below it a small one for each series that asks for it.

    A small chart shows its line over the first of our own, on the axes of the large one.

    Args:
        x_range: part of the x axis to show.
        level: a name and a y: a horizontal line to compare with, such as "uncompressed".
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    small = [line for line in series if line.small and len(line.x)]
    large = [line for line in series if not line.small]
    rows = -(-len(small) // _SMALL_IN_ROW)
    with mpl.rc_context(STYLE):
        width, height = _SIZE
        figure = Figure(figsize=(width, height + rows * _SMALL_ROW), layout="constrained")
        grid = figure.add_gridspec(
            1 + rows, _SMALL_IN_ROW, height_ratios=[height, *[_SMALL_ROW] * rows]
        )
        axes = figure.add_subplot(grid[0, :])
        axes.set(xlabel=x_label, ylabel=y_label, title=title)
        draw_curves(axes, large, x_range=x_range, level=level)
        reference = next((line for line in large if line.ours), None)
        for index, line in enumerate(small):
            row, column = divmod(index, _SMALL_IN_ROW)
            _draw_small(figure.add_subplot(grid[1 + row, column]), line, reference, axes)
    return figure


def draw_curves(
    axes: Any,
    series: Sequence[Series],
    *,
    x_range: tuple[float, float] | None = None,
    level: tuple[str, float] | None = None,
) -> None:
    """Draw a line for each of `series` into Matplotlib axes, its name at its right end.

    Measured lines take colours and markers in their order, published ones are gray. Lines that
    end at different x are cut where the first of them ends, so that all names stand in a row.
    """
    axes.grid(alpha=0.25, linewidth=0.6)
    ends = _draw(axes, [_clip(line, _common(series, x_range)) for line in series])
    if x_range is not None:
        axes.set_xlim(left=x_range[0])
    if level is not None:
        axes.axhline(level[1], color="#444444", linewidth=1, linestyle=(0, (1, 2)))
        ends.append((axes.get_xlim()[1], level[1], level[0], "#444444"))
    _label(axes, ends)


def _common(
    series: Sequence[Series], x_range: tuple[float, float] | None
) -> tuple[float, float] | None:
    """The x range that all lines can be shown in; all of it where that leaves less than half."""
    lasts = [max(line.x) for line in series if len(line.x)]
    if not lasts:
        return x_range
    low, high = x_range or (min(min(line.x) for line in series if len(line.x)), max(lasts))
    end = min(high, *lasts)
    return (low, end) if end - low >= (high - low) / 2 else (low, high)


def _clip(line: Series, x_range: tuple[float, float] | None) -> Series:
    """The part of a line inside `x_range`, with a point on its right edge."""
    points = sorted(zip(line.x, line.y, strict=True))
    if x_range is not None:
        low, high = x_range
        inside = [point for point in points if low <= point[0] <= high]
        beyond = next((point for point in points if point[0] > high), None)
        if inside and beyond and inside[-1][0] < high:
            (x0, y0), (x1, y1) = inside[-1], beyond
            inside.append((high, y0 + (y1 - y0) * (high - x0) / (x1 - x0)))
        points = inside
    return replace(line, x=[p[0] for p in points], y=[p[1] for p in points])


def _draw(axes: Any, series: Sequence[Series]) -> list[tuple[float, float, str, str]]:
    """Draw the lines; return the right end of each with its label and colour."""
    ends = []
    measured = 0
    for line in series:
        if not line.x:
            continue
        if line.published:
            colour = _GRAY
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


def _draw_small(axes: Any, line: Series, reference: Series | None, large: Any) -> None:
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.locator_params(nbins=4)
    axes.tick_params(labelsize=6.5)
    if reference is not None:
        axes.plot(reference.x, reference.y, color=_COLOURS[0], linewidth=2.4, alpha=0.5)
    style = {"linestyle": "--"} if line.published else {"marker": "o", "markersize": 2.5}
    axes.plot(line.x, line.y, color="#000000", linewidth=1.1, **style)
    axes.set(xlim=large.get_xlim(), ylim=large.get_ylim())
    axes.set_title(f"{line.title}\n(published)" if line.published else line.title, fontsize=7.5)


def _label(axes: Any, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Write each line's name at its end, moved up or down where two would touch."""
    if not ends:
        return
    low, high = axes.get_ylim()
    left, right = axes.get_xlim()
    order = sorted(ends, key=lambda end: end[1])
    heights = [(end[1] - low) / (high - low) for end in order]
    for end, height, placed in zip(order, heights, _apart(heights), strict=True):
        x, y, name, colour = end
        moved = abs(placed - height) > _LABEL_GAP / 2
        axes.annotate(
            name, xy=(x, y), xycoords="data", xytext=(x + 0.025 * (right - left), placed),
            textcoords=axes.get_xaxis_transform(), color=colour, va="center", fontsize=8,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "alpha": 0.6,
                        "shrinkA": 0, "shrinkB": 2} if moved else None,
        )  # fmt: skip
    axes.set(xlim=(left, right), ylim=(low, high))


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
