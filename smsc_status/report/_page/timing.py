"""The sections that say how long delivery takes, and which deliveries took longest."""

from __future__ import annotations

from collections.abc import Sequence

from smsc_status.report._counting.histogram import Histogram
from smsc_status.report._drawing.plots import Axis, Series, curves, lines_by_period
from smsc_status.report._page.blocks import Block, Cell, Drawing, Entry, Figure, Figures, Paragraph, Section, Table
from smsc_status.report._page.context import Context
from smsc_status.report._page.groups import MOST_SHOWN, by_period, label, period_of, short_label

QUANTILES = (0.5, 0.9, 0.99)
MOST_CURVES = 5
MOST_POINTS = 150
LEAST = 20
"""An operator with fewer deliveries has no curve of its own."""

_MARKS = (1, 10, 60, 600, 3600, 6 * 3600, 86_400, 7 * 86_400)
_SHARES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.99)
_ALL = "var(--ink)"
_QUANTILE_COLOURS = {0.5: "var(--s1)", 0.9: "var(--s2)", 0.99: "var(--s4)"}


def times_section(context: Context) -> Section:
    """How long delivery takes: in all, by operator and by day."""
    times, write = context.figures.times, context.write
    blocks: list[Block]
    if not times.count:
        if context.figures.first_sent_at is None:
            blocks = [Paragraph(write.text("left_out_times", context.detail("detail_full", "sent_at")))]
        else:
            blocks = [Paragraph(write.text("no_times"))]
    else:
        blocks = [
            Figures(
                [
                    Figure(write.duration(times.quantile(share)), write.text(name))
                    for name, share in zip(("half", "ninety", "ninety_nine"), QUANTILES, strict=True)
                ]
            ),
            *_curves(context),
            *_by_day(context),
            Paragraph(write.text("times_note", write.counted("to_messages", times.count))),
        ]
    return Section("times", write.text("times"), blocks)


def _curves(context: Context) -> list[Block]:
    """The share that is delivered by a time, as curves, and their quantiles as a table."""
    figures, write = context.figures, context.write
    operators = sorted(figures.times_by_operator.items(), key=lambda item: -item[1].count)
    drawn = [(name, times) for name, times in operators if times.count >= LEAST][:MOST_CURVES]
    colours = {name: f"var(--s{number})" for number, (name, _) in enumerate(drawn, 1)}
    series = [Series(_ALL, _points(figures.times), width=2.5)]
    series += [Series(colours[name], _points(times)) for name, times in drawn]
    title = write.text("curve_by_operator" if drawn else "curve")
    plot = curves(series, _axis(context, [figures.times]), _share_axis(context), title=title)
    legend = [Entry(_ALL, write.text("all_operators"))] if drawn else []
    legend += [Entry(colours[name], context.name(name)) for name, _ in drawn]
    rows = [_row(context, write.text("all_operators"), figures.times, _ALL if drawn else "")]
    rows += [_row(context, context.name(name), times, colours.get(name, "")) for name, times in operators[:MOST_SHOWN]]
    return [Drawing(plot, legend, caption=title), _table(context, write.text("operator"), rows, caption=title)]


def _by_day(context: Context) -> list[Block]:
    """The quantiles of each day, as lines and as a table; nothing if there is only one day."""
    figures, write = context.figures, context.write
    if len(figures.times_by_day) < 2:
        return []
    period = period_of(figures.times_by_day)
    starts = period.all(figures.times_by_day)
    times = by_period(figures.times_by_day, period, Histogram.update, Histogram)
    known = [(at, found) for at, found in enumerate(times) if found.count]
    series = [
        Series(_QUANTILE_COLOURS[share], [(at, max(1.0, found.quantile(share))) for at, found in known])
        for share in QUANTILES
    ]
    title = write.text("times_by_day")
    labels = [short_label(context, period, start) for start in starts]
    plot = lines_by_period(labels, series, _axis(context, [found for _, found in known]), title=title)
    legend = [Entry(_QUANTILE_COLOURS[share], _name(context, share)) for share in QUANTILES]
    rows = [_row(context, label(context, period, starts[at]), found) for at, found in known]
    table = _table(context, write.text(period.value), rows, caption=title, summary=write.text("figures"))
    return [Drawing(plot, legend, caption=title), table]


def _name(context: Context, share: float) -> str:
    """The name of a quantile."""
    return context.write.text("median") if share == QUANTILES[0] else context.write.round_share(share)


def _points(times: Histogram) -> list[tuple[float, float]]:
    """The curve, from zero on, with about `MOST_POINTS` points at most. With more it would look the same."""
    points = [(max(1.0, seconds), share) for seconds, share in times.curve()]
    step = -(-len(points) // MOST_POINTS)
    return [(1.0, 0.0), *points[:-1:step], points[-1]]


def _axis(context: Context, times: Sequence[Histogram]) -> Axis:
    """Marks at round durations, as far as there are any so long."""
    longest = max(found.quantile(1.0) for found in times)
    marks = [mark for mark in _MARKS if mark <= longest]
    further = [mark for mark in _MARKS if mark > longest][:1]
    return Axis({mark: context.write.duration(mark) for mark in [*marks, *further]})


def _share_axis(context: Context) -> Axis:
    return Axis({share: context.write.round_share(share) for share in _SHARES})


def _row(context: Context, name: str, times: Histogram, colour: str = "") -> list[Cell]:
    write = context.write
    quantiles = (Cell(write.duration(times.quantile(share))) for share in QUANTILES)
    return [Cell(name, colour=colour), *quantiles, Cell(write.number(times.count))]


def _table(context: Context, head: str, rows: Sequence[Sequence[Cell]], *, caption: str, summary: str = "") -> Table:
    write = context.write
    names = [_name(context, share) for share in QUANTILES]
    return Table([head, *names, write.text("messages")], rows, caption=caption, summary=summary)


def slowest_section(context: Context) -> Section | None:
    """The deliveries that took longest; `None` if there are none."""
    slowest, write = context.figures.slowest, context.write
    if not slowest:
        return None
    has_operator = any(slow.row.operator for slow in slowest)
    has_sender = any(slow.row.sender_id for slow in slowest)
    head = ["phone", "id", *(["operator"] if has_operator else []), *(["sender"] if has_sender else []), "sent", "took"]
    rows = []
    for slow in slowest:
        row = slow.row
        cells = [Cell(context.recipient(row.phone)), Cell(context.beside(str(row.id), row.phone))]
        cells += [Cell(context.beside(row.operator or "", row.phone))] if has_operator else []
        cells += [Cell(context.beside(row.sender_id or "", row.phone))] if has_sender else []
        cells += [Cell(write.moment(row.sent_at))] if row.sent_at is not None else []
        rows.append([*cells, Cell(write.duration(slow.seconds))])
    texts = frozenset(range(1, len(head) - 1))
    table = Table([write.text(name) for name in head], rows, texts=texts, key=len(head) - 1)
    return Section("slowest", write.text("slowest"), [table])
