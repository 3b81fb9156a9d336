"""The plots of a report, as specifications for Vega-Lite.

Each plot is drawn twice: for wide screens, and for phones, where a wide plot's texts would be too small to read. No
text of the results is in a plot. Names of operators stand in the legend, which the page writes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import attrs
import vl_convert

WIDE, NARROW = (936, 280), (343, 230)
"""Width and height in pixels, with axes and labels."""

MOST_LABELS = {WIDE: 12, NARROW: 4}
"""How many labels stand on an axis of days."""

MOST_DURATIONS = 6
"""A phone has room for so many durations on an axis. If there are more, every other one is left out."""

# The root element that Vega writes. What it says is replaced.
_ROOT = re.compile(r"<svg [^>]*>")

_CONFIG = {
    "aria": False,  # the whole plot has one description, and a table of its figures
    "background": None,
    "font": "inherit",
    "padding": 0,
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--muted)",
        "labelFontSize": 12,
        "gridColor": "var(--line)",
        "domainColor": "var(--line)",
        "tickColor": "var(--line)",
        "labelPadding": 6,
        # Vega does not know the page's font, takes labels for nearly twice as wide, and would leave out some that fit.
        "labelOverlap": False,
        "title": None,
    },
    "line": {"strokeCap": "round", "strokeJoin": "round"},
}


@attrs.frozen
class Plot:
    """A plot as two elements `svg`, one for wide screens and one for phones."""

    wide: str
    narrow: str


@attrs.frozen
class Series:
    """One curve: a CSS colour, its points, and the width of its line in pixels."""

    colour: str
    points: Sequence[tuple[float, float]]
    width: float = 1.75


@attrs.frozen
class Axis:
    """Where an axis has its marks, and what stands there. `labels` are no texts of the results."""

    labels: Mapping[float, str]

    def spec(self) -> dict[str, Any]:
        """The axis for Vega-Lite."""
        texts = json.dumps({f"{value:g}": label for value, label in self.labels.items()}, ensure_ascii=False)
        return {"values": list(self.labels), "labelExpr": f"({texts})[format(datum.value, '~g')]"}

    def thinned(self) -> Axis:
        """The axis with every other mark, from the first one on."""
        return Axis(dict(list(self.labels.items())[::2]))


def stacked_bars(periods: Sequence[str], parts: Mapping[str, Sequence[int]], *, title: str, locale: str) -> Plot:
    """A bar for each period, made of parts one above the other.

    Args:
        periods: the periods as they are labelled.
        parts: for each part its CSS colour, and its number in each period.
        title: what the plot shows, for those who can't see it.
        locale: the name by which Vega knows how numbers are written, such as `ru-RU`.
    """
    values = [
        {"at": at, "part": part, "count": counts[at]}
        for part, counts in enumerate(parts.values())
        for at in range(len(periods))
        if counts[at]
    ]

    def spec(size: tuple[int, int]) -> dict[str, Any]:
        return {
            "data": {"values": values},
            "mark": {"type": "bar", "width": {"band": 0.72}},
            "encoding": {
                "x": {**_days(periods, size), "axis": {**_day_axis(periods, size), "grid": False, "ticks": False}},
                "y": {
                    "field": "count",
                    "type": "quantitative",
                    "axis": {"domain": False, "ticks": False, "tickCount": 4, "tickMinStep": 1, "format": ",d"},
                },
                "color": _colours([*parts]),
                "order": {"field": "part"},
            },
        }

    return _plot(spec, title, locale)


def curves(series: Sequence[Series], x: Axis, y: Axis, *, title: str) -> Plot:
    """For each series, which share (0 to 1) is done after how many seconds. The seconds have a logarithmic scale.

    Args:
        series: the points are pairs of seconds and shares.
        x: the marks at which seconds.
        y: the marks at which shares.
        title: what the plot shows, for those who can't see it.
    """
    first = min(x.labels)
    last = max([*x.labels, *(seconds for one in series for seconds, _ in one.points)])

    def spec(size: tuple[int, int]) -> dict[str, Any]:
        durations = x.thinned() if size == NARROW and len(x.labels) > MOST_DURATIONS else x
        return _lines(
            series,
            {
                "field": "x",
                "type": "quantitative",
                "scale": {"type": "log", "domain": [first, last], "nice": False},
                "axis": {**durations.spec(), "grid": False},
            },
            {
                "field": "y",
                "type": "quantitative",
                "scale": {"domain": [0, 1], "nice": False},
                "axis": {**y.spec(), "domain": False, "ticks": False},
            },
            interpolate="step-after",
        )

    return _plot(spec, title, "en-US")


def lines_by_period(periods: Sequence[str], series: Sequence[Series], y: Axis, *, title: str) -> Plot:
    """For each series, a value above 0 in each period, on a logarithmic scale.

    Args:
        periods: the periods as they are labelled.
        series: the points are pairs of a period's index and a value.
        y: the marks at which values.
        title: what the plot shows, for those who can't see it.
    """
    values = [value for one in series for _, value in one.points]
    domain = [min([*y.labels, *values]), max([*y.labels, *values])]

    def spec(size: tuple[int, int]) -> dict[str, Any]:
        return _lines(
            series,
            {**_days(periods, size, field="x"), "axis": {**_day_axis(periods, size), "grid": False, "ticks": False}},
            {
                "field": "y",
                "type": "quantitative",
                "scale": {"type": "log", "domain": domain, "nice": False},
                "axis": {**y.spec(), "domain": False, "ticks": False},
            },
            interpolate="linear",
            points=len(periods) <= MOST_LABELS[WIDE],
        )

    return _plot(spec, title, "en-US")


def _lines(
    series: Sequence[Series], x: dict[str, Any], y: dict[str, Any], *, interpolate: str, points: bool = False
) -> dict[str, Any]:
    values = [{"x": at, "y": value, "part": part} for part, one in enumerate(series) for at, value in one.points]
    marks: list[dict[str, Any]] = [
        {
            "mark": {"type": "line", "interpolate": interpolate, "strokeWidth": one.width},
            "transform": [{"filter": f"datum.part == {part}"}],
        }
        for part, one in enumerate(series)
    ]
    if points:
        marks.append({"mark": {"type": "point", "filled": True, "size": 30, "opacity": 1}})
    colours = _colours([one.colour for one in series])
    return {"data": {"values": values}, "encoding": {"x": x, "y": y, "color": colours}, "layer": marks}


def _colours(colours: Sequence[str]) -> dict[str, Any]:
    scale = {"domain": list(range(len(colours))), "range": list(colours)}
    return {"field": "part", "type": "nominal", "scale": scale, "legend": None}


def _days(periods: Sequence[str], size: tuple[int, int], *, field: str = "at") -> dict[str, Any]:
    # A few bars would otherwise be as broad as a hand.
    padding = max(0.0, (size[0] / 90 - len(periods)) / 2)
    return {
        "field": field,
        "type": "ordinal",
        "scale": {"domain": list(range(len(periods))), "paddingInner": 0, "paddingOuter": padding},
    }


def _day_axis(periods: Sequence[str], size: tuple[int, int]) -> dict[str, Any]:
    step = -(-len(periods) // MOST_LABELS[size])
    return {**Axis({at: periods[at] for at in range(0, len(periods), step)}).spec(), "labelAngle": 0}


def _plot(spec: Any, title: str, locale: str) -> Plot:
    return Plot(*(_svg(spec(size), size, title, locale) for size in (WIDE, NARROW)))


def _svg(spec: dict[str, Any], size: tuple[int, int], title: str, locale: Any) -> str:
    width, height = size
    whole = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "width": width,
        "height": height,
        "autosize": {"type": "fit", "contains": "padding"},
        "config": _CONFIG,
        **spec,
    }
    svg = vl_convert.vegalite_to_svg(whole, vl_version="5.20", allowed_base_urls=[], format_locale=locale)
    root = f'<svg viewBox="0 0 {width} {height}" role="img"><title>{escape(title)}</title>'
    return _ROOT.sub(lambda _: root, svg, count=1)
