"""Plots, as Vega really draws them."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from smsc_status.report._drawing import plots
from smsc_status.report._drawing.plots import NARROW, WIDE, Axis, Plot, Series, curves, lines_by_period, stacked_bars

SVG = "{http://www.w3.org/2000/svg}"
BARS = {"var(--delivered)": [10, 1200, 0], "var(--failed)": [1, 0, 0]}


def elements(svg: str) -> list[ET.Element]:
    return list(ET.fromstring(svg).iter())  # our own


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in elements(svg) if element.tag == "text"]


def filled(svg: str, colour: str) -> list[ET.Element]:
    return [element for element in elements(svg) if element.get("fill") == colour]


def stroked(svg: str, colour: str) -> list[ET.Element]:
    return [element for element in elements(svg) if element.get("stroke") == colour]


@pytest.fixture(scope="module")
def bars() -> Plot:
    return stacked_bars(["9 мар.", "10 мар.", "11 мар."], BARS, title='Messages <by> "day"', locale="ru-RU")


def test_a_bar_has_its_parts_in_the_colours_of_the_page(bars: Plot) -> None:
    for svg in (bars.wide, bars.narrow):
        assert len(filled(svg, "var(--delivered)")) == 2
        assert len(filled(svg, "var(--failed)")) == 1


def test_numbers_on_an_axis_are_of_the_language(bars: Plot) -> None:
    assert "1\N{NO-BREAK SPACE}000" in texts(bars.wide)
    assert {"9 мар.", "10 мар.", "11 мар."} < set(texts(bars.wide))


def test_a_plot_scales_and_has_a_title_and_no_script(bars: Plot) -> None:
    """Its size is that of its place, and it needs nothing from elsewhere."""
    for svg, (width, height) in ((bars.wide, WIDE), (bars.narrow, NARROW)):
        root, title = elements(svg)[:2]
        assert (root.get("viewBox"), root.get("role")) == (f"0 0 {width} {height}", "img")
        assert root.get("width") is None
        assert (title.tag, title.text) == ("title", 'Messages <by> "day"')
        assert not re.search(r"<script|href|url\(|<image|\bid=", svg)


@pytest.mark.slow
def test_every_colour_of_a_plot_is_one_of_the_page(bars: Plot) -> None:
    """Otherwise it would not follow light and dark."""
    series = [Series("var(--s1)", [(1, 0), (5, 1)])]
    axis = Axis({1: "1 s", 10: "10 s"})
    others = [
        curves(series, axis, Axis({0: "0", 1: "1"}), title="x"),
        lines_by_period(["a", "b"], [Series("var(--s2)", [(0, 1), (1, 5)])], axis, title="x"),
    ]
    for plot in (bars, *others):
        for svg in (plot.wide, plot.narrow):
            colours = {value for e in elements(svg) for name, value in e.attrib.items() if name in ("fill", "stroke")}
            assert all(colour == "none" or colour.startswith("var(--") for colour in colours)


def test_a_curve_goes_through_its_points() -> None:
    """A tenth of the way up a logarithmic axis of three powers of ten, for each power."""
    plot = curves(
        [Series("var(--s1)", [(1, 0.0), (10, 0.5), (1000, 1.0)], width=3), Series("var(--s2)", [(1, 0.0), (100, 1.0)])],
        Axis({1: "1 s", 10: "10 s", 1000: "17 min"}),
        Axis({0.0: "0%", 0.5: "50%", 1.0: "100%"}),
        title="x",
    )
    (line,) = stroked(plot.wide, "var(--s1)")
    numbers = [float(number) for number in re.findall(r"[\d.]+", line.get("d", ""))]
    xs, ys = numbers[::2], numbers[1::2]
    assert (xs[0], min(ys)) == (0, 0)
    assert xs[1] / xs[-1] == pytest.approx(1 / 3, abs=0.01)
    assert ys[2] / max(ys) == pytest.approx(0.5, abs=0.01)
    assert line.get("stroke-width") == "3"
    assert {"1 s", "10 s", "17 min", "0%", "50%", "100%"} <= set(texts(plot.wide))


def test_a_line_has_points_if_there_are_few() -> None:
    series = [Series("var(--s1)", [(at, 1.0 + at) for at in range(3)])]
    few = lines_by_period(["a", "b", "c"], series, Axis({1: "1 s", 10: "10 s"}), title="x")
    assert len(filled(few.wide, "var(--s1)")) == 3
    many = lines_by_period([f"day {at}" for at in range(40)], series, Axis({1: "1 s", 10: "10 s"}), title="x")
    assert not filled(many.wide, "var(--s1)")


@pytest.mark.parametrize("count", [1, 5, 62, 400])
def test_the_labels_of_an_axis_have_room(count: int) -> None:
    """However many days there are."""
    plot = stacked_bars([f"day {at}" for at in range(count)], {"var(--open)": [1] * count}, title="x", locale="en-US")
    for svg, size in ((plot.wide, WIDE), (plot.narrow, NARROW)):
        days = [text for text in texts(svg) if text.startswith("day")]
        assert days[0] == "day 0"
        assert 1 <= len(days) <= plots.MOST_LABELS[size]


DURATIONS: dict[float, str] = {
    1: "1 с",
    10: "10 с",
    60: "1 мин",
    600: "10 мин",
    3600: "1 ч",
    21_600: "6 ч",
    86_400: "1 дн",
}
SERIES = [Series("var(--s1)", [(1, 0.0), (3000, 1.0)])]


def shown(svg: str) -> list[str]:
    """The labels that Vega does not hide for want of room."""
    return [element.text or "" for element in elements(svg) if element.tag == "text" and element.get("opacity") == "1"]


def test_the_labels_of_an_axis_are_all_shown() -> None:
    """Also on a phone, and in Russian: Vega takes them for wider than they are."""
    times = {seconds: text for seconds, text in DURATIONS.items() if seconds <= 3600}
    plot = curves(SERIES, Axis(times), Axis({0.0: "0 %", 0.99: "99 %"}), title="x")
    for svg in (plot.wide, plot.narrow):
        assert shown(svg) == [*times.values(), "0 %", "99 %"]


def test_a_phone_shows_every_other_of_many_durations() -> None:
    plot = curves(SERIES, Axis(DURATIONS), Axis({0.0: "0 %"}), title="x")
    assert shown(plot.wide) == [*DURATIONS.values(), "0 %"]
    assert shown(plot.narrow) == ["1 с", "1 мин", "1 ч", "1 дн", "0 %"]
