"""The sections that say how many messages were delivered: in all, by day, by channel, by operator and by sender."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from datetime import date, timedelta
from enum import Enum
from typing import Protocol, TypeVar

from smsc_status.report._counting.tallies import GROUPS, MOST_NAMES, ByName, Group, Tally
from smsc_status.report._drawing.plots import stacked_bars
from smsc_status.report._page.blocks import Bar, Block, Cell, Drawing, Entry, Paragraph, Part, Section, Table
from smsc_status.report._page.context import Context
from smsc_status.report._page.words import CHANNELS

T = TypeVar("T")


class Counts(Protocol):
    """What has a total."""

    @property
    def total(self) -> int:
        """How many there are."""


CountsT = TypeVar("CountsT", bound=Counts)
KeyT = TypeVar("KeyT", bound=Hashable)

MOST_SHOWN = 8
"""Rows of a table of names. All other names are in one further row."""

MOST_DAYS, MOST_WEEKS = 62, 62
"""If there are more days, weeks are shown; if there are more weeks, months."""

COLOURS = {group: f"var(--{group.value})" for group in GROUPS}


class Period(Enum):
    """What a bar of the plot stands for."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"

    def start(self, day: date) -> date:
        """The first day of the period of a day."""
        if self is Period.WEEK:
            return day - timedelta(days=day.weekday())
        return day.replace(day=1) if self is Period.MONTH else day

    def next(self, start: date) -> date:
        """The first day of the period after the one that begins so."""
        if self is Period.MONTH:
            return self.start(start + timedelta(days=31))
        return start + timedelta(days=7 if self is Period.WEEK else 1)

    def all(self, days: Iterable[date]) -> list[date]:
        """The first days of all periods from the first to the last of these days, also of those between them."""
        days = list(days)
        starts, last = [self.start(min(days))], self.start(max(days))
        while starts[-1] < last:
            starts.append(self.next(starts[-1]))
        return starts


def period_of(days: Iterable[date]) -> Period:
    """Which period is shown, so that there are not too many."""
    days = list(days)
    span = (max(days) - min(days)).days + 1
    if span <= MOST_DAYS:
        return Period.DAY
    return Period.WEEK if span <= 7 * MOST_WEEKS else Period.MONTH


def by_period(by_day: ByName[date, T], period: Period, add: Callable[[T, T], None], make: Callable[[], T]) -> list[T]:
    """What each period has, the periods without anything included."""
    parts = {start: make() for start in period.all(by_day)}
    for day, part in by_day.items():
        add(parts[period.start(day)], part)
    return list(parts.values())


def shown_groups(tally: Tally) -> list[Group]:
    """The groups that are shown: those that occur, and always the first."""
    return [group for group in GROUPS if tally.of(group) or group is Group.DELIVERED]


def overview(context: Context) -> Bar:
    """How many messages are in each group."""
    tally, write = context.figures.messages, context.write
    legend = [
        Entry(
            COLOURS[group],
            write.text(group.value),
            write.number(tally.of(group)),
            write.share(tally.of(group), tally.total),
        )
        for group in GROUPS
        if tally.of(group) or group is not Group.UNKNOWN
    ]
    return Bar(parts_of(tally, tally.total), legend)


def parts_of(tally: Tally, longest: int) -> list[Part]:
    """The parts of a bar, whose whole width stands for `longest` messages."""
    return [Part(COLOURS[group], 100 * tally.of(group) / longest) for group in GROUPS if tally.of(group)]


def day_section(context: Context) -> Section:
    """Messages by the date of sending."""
    figures, write = context.figures, context.write
    if not len(figures.by_day):
        text = write.text("left_out_day", context.detail("detail_full", "sent_at"))
        return Section("days", write.text("by_day"), [Paragraph(text)])
    period = period_of(figures.by_day)
    starts = period.all(figures.by_day)
    tallies = by_period(figures.by_day, period, Tally.add, Tally)
    groups = shown_groups(figures.messages)
    title = write.text("day_plot")
    plot = stacked_bars(
        [short_label(context, period, start) for start in starts],
        {COLOURS[group]: [tally.of(group) for tally in tallies] for group in groups},
        title=title,
        locale=write.vega_locale,
    )
    legend = [Entry(COLOURS[group], write.text(group.value)) for group in groups]
    rows = [(label(context, period, start), tally) for start, tally in zip(starts, tallies, strict=True) if tally.total]
    table = group_table(context, write.text(period.value), rows, summary=write.text("figures"), caption=title)
    blocks: list[Block] = [Drawing(plot, legend), table, *_partly(context, "day", figures.by_day)]
    if figures.by_day.others is not None:
        left_out = write.counted("messages", figures.by_day.others.total)
        blocks.append(Paragraph(write.text("day_others", write.number(MOST_NAMES), left_out)))
    return Section("days", write.text(f"by_{period.value}"), blocks)


def _partly(context: Context, field: str, found: ByName[KeyT, Tally]) -> list[Block]:
    """For how many messages a field is known, if it is not known for all: so a table need not add up to all of them."""
    others = 0 if found.others is None else found.others.total
    known = others + sum(tally.total for _, tally in found.items())
    if known == context.figures.messages.total:
        return []
    write = context.write
    return [Paragraph(write.text(f"{field}_partly", write.counted("of_messages", known)))]


def label(context: Context, period: Period, start: date) -> str:
    """A period in a table."""
    return context.write.month(start) if period is Period.MONTH else context.write.day(start)


def short_label(context: Context, period: Period, start: date) -> str:
    """A period on an axis."""
    return context.write.month(start) if period is Period.MONTH else context.write.short_day(start)


def group_sections(context: Context) -> list[Section]:
    """By channel, by operator and by sender."""
    figures, write = context.figures, context.write
    channels = [(write.of(CHANNELS[channel]), tally) for channel, tally in largest(figures.by_channel, len(CHANNELS))]
    sections = [Section("channels", write.text("by_channel"), [group_table(context, write.text("channel"), channels)])]
    for field, found, level in (
        ("operator", figures.by_operator, "detail_extended"),
        ("sender", figures.by_sender, "detail_full"),
    ):
        blocks: list[Block] = (
            [
                group_table(context, write.text(field), named(context, found, Tally.add, Tally)),
                *_partly(context, field, found),
            ]
            if len(found)
            else [Paragraph(write.text(f"left_out_{field}", context.detail(level, _FIELDS[field])))]
        )
        sections.append(Section(f"{field}s", write.text(f"by_{field}"), blocks))
    return sections


_FIELDS = {"operator": "operator", "sender": "sender_id"}


def largest(found: ByName[KeyT, Tally], count: int) -> list[tuple[KeyT, Tally]]:
    """The names with the most messages, in that order."""
    return sorted(found.items(), key=lambda item: -item[1].total)[:count]


def named(
    context: Context, found: ByName[str, CountsT], add: Callable[[CountsT, CountsT], None], make: Callable[[], CountsT]
) -> list[tuple[str, CountsT]]:
    """The largest of what names have, with the names as they are shown, and all others together."""
    ordered = sorted(found.items(), key=lambda item: -item[1].total)
    rows = [(context.name(name), tally) for name, tally in ordered[:MOST_SHOWN]]
    others = [tally for _, tally in ordered[MOST_SHOWN:]] + ([found.others] if found.others is not None else [])
    if others:
        together = make()
        for tally in others:
            add(together, tally)
        rows.append((context.write.text("others"), together))
    return rows


def group_table(
    context: Context, head: str, rows: Sequence[tuple[str, Tally]], *, summary: str = "", caption: str = ""
) -> Table:
    """A table of names: how many messages each has in each group, with a bar."""
    write, whole = context.write, context.figures.messages
    groups = shown_groups(whole)
    longest = max((tally.total for _, tally in rows), default=1)
    return Table(
        [head, write.text("total"), *(write.text(group.value) for group in groups), write.text("delivered_share")],
        [
            [
                Cell(name, bar=() if summary else parts_of(tally, longest)),
                Cell(write.number(tally.total)),
                *(Cell(write.number(tally.of(group))) for group in groups),
                Cell(write.share(tally.of(Group.DELIVERED), tally.total)),
            ]
            for name, tally in rows
        ],
        caption=caption,
        key=len(groups) + 2,
        summary=summary,
    )
