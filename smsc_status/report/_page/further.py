"""The sections about reasons, costs and look-ups, and how everything was counted."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

from smsc_status import codes
from smsc_status.codes import Channel, Status
from smsc_status.report._counting.figures import LookUps, Reason
from smsc_status.report._counting.histogram import EXACT, MAX_ERROR
from smsc_status.report._counting.tallies import MOST_NAMES, Costs, Group, Sums, Tally
from smsc_status.report._page.blocks import Bar, Block, Cell, Entry, Figure, Figures, Paragraph, Part, Section, Table
from smsc_status.report._page.context import Context
from smsc_status.report._page.groups import COLOURS, MOST_SHOWN, largest, named
from smsc_status.report._page.words import CHANNELS, CHECK_ERRORS

_LOOK_UP_COLOURS = {
    "reachable": "var(--delivered)",
    "unreachable": "var(--failed)",
    "open": "var(--open)",
    "unknown": "var(--unknown)",
}
_LOOK_UP_WORDS = {"open": "look_ups_open"}


def reasons_section(context: Context) -> Section | None:
    """Why messages failed, and why the status of others is not known; `None` if there are no such messages."""
    figures, write = context.figures, context.write
    failed, unknown = figures.messages.of(Group.FAILED), figures.messages.of(Group.UNKNOWN)
    blocks: list[Block] = []
    if failed:
        reasons = _merged(figures.reasons).most_common(MOST_SHOWN)
        rows = [(*_reason(context, reason), count) for reason, count in reasons]
        rest = failed - sum(count for _, count in reasons)
        blocks.append(
            _share_table(context, write.text("reason"), rows, failed, colour=COLOURS[Group.FAILED], others=rest)
        )
    not_found = figures.statuses[Status.NOT_FOUND]
    errors, rest = _errors(context)
    checks = [(*_check_error(context, name), sums.count) for name, sums in errors]
    if not_found:
        checks.insert(0, (write.text("not_found"), write.text("not_found_note"), not_found))
    if checks:
        blocks.append(
            _share_table(
                context, write.text("checks_failed"), checks, unknown, colour=COLOURS[Group.UNKNOWN], others=rest
            )
        )
    return Section("reasons", write.text("reasons"), blocks) if blocks else None


def _merged(reasons: Counter[Reason]) -> Counter[Reason]:
    """The reasons without regard to the status, where the error says more."""
    merged: Counter[Reason] = Counter()
    for reason, count in reasons.items():
        has_error = bool(reason.err)
        merged[Reason(None if has_error else reason.status, reason.err or None, has_error and reason.is_email)] += count
    return merged


def _errors(context: Context) -> tuple[list[tuple[str, Sums]], int]:
    """The most frequent errors that ended the checks of messages, and how many messages ended by another one."""
    errors = context.figures.errors
    found = sorted(errors.items(), key=lambda item: -item[1].count)
    others = 0 if errors.others is None else errors.others.count
    return found[:MOST_SHOWN], others + sum(sums.count for _, sums in found[MOST_SHOWN:])


def _reason(context: Context, reason: Reason) -> tuple[str, str]:
    """The vendor's name of a reason, and a sentence about it."""
    write = context.write
    if reason.err is None:
        status = codes.STATUSES[Status.UNDELIVERABLE if reason.status is None else reason.status]
        return write.of(status.title), write.of(status.description)
    number = write.text("error_number", str(reason.err))
    meaning = codes.error_meanings(Channel.EMAIL if reason.is_email else Channel.SMS).get(reason.err)
    if meaning is None:
        return number, ""
    return write.of(meaning.title), f"{number}. {write.of(meaning.description)}"


def _check_error(context: Context, name: str) -> tuple[str, str]:
    title = CHECK_ERRORS.get(name)
    return (context.write.of(title), name) if title is not None else (context.name(name), "")


def _share_table(
    context: Context, head: str, rows: list[tuple[str, str, int]], whole: int, *, colour: str, others: int = 0
) -> Table:
    """A table of counts, their shares of `whole`, and a bar for each. `others` are in a last row, without a bar."""
    write = context.write
    longest = max(count for *_, count in rows)
    cells = [(Cell(name, note, bar=[Part(colour, 100 * count / longest)]), count) for name, note, count in rows]
    cells += [(Cell(write.text("others")), others)] if others else []
    return Table(
        [head, write.text("messages"), write.text("share")],
        [[cell, Cell(write.number(count)), Cell(write.share(count, whole))] for cell, count in cells],
        key=2,
    )


def cost_section(context: Context) -> Section:
    """What the messages cost, and what was delivered of them."""
    figures, write = context.figures, context.write
    costs, look_ups = figures.messages.costs, figures.look_ups.costs
    title = write.text("cost")
    if not costs.messages and not look_ups.messages:
        text = write.text("left_out_cost", context.detail("detail_full_it", "cost"))
        return Section("cost", title, [Paragraph(text)])
    items = [Figure(write.money(costs.total), write.text("cost_total"))]
    items.append(Figure(write.money(costs.of_delivered), write.text("cost_delivered"), _cost_share(context, costs)))
    if costs.delivered:
        each = costs.total / costs.delivered
        items.append(Figure(write.rounded_money(each), write.text("cost_each")))
    if look_ups.messages:
        items.append(Figure(write.money(look_ups.total), write.text("cost_look_ups")))
    blocks: list[Block] = [Figures(items)]
    rows = [(write.of(CHANNELS[name]), tally) for name, tally in largest(figures.by_channel, len(CHANNELS))]
    blocks.append(_cost_table(context, write.text("channel"), rows))
    if len(figures.by_operator):
        rows = named(context, figures.by_operator, Tally.add, Tally)
        blocks.append(_cost_table(context, write.text("operator"), rows, summary=write.text("by_operator")))
    note = write.text("cost_note")
    if costs.messages < figures.messages.total:
        note += f" {write.text('cost_partly', write.counted('of_messages', costs.messages))}"
    return Section("cost", title, [*blocks, Paragraph(note)])


def _cost_share(context: Context, costs: Costs) -> str:
    if not costs.total:
        return ""
    if not 0 <= costs.of_delivered <= costs.total:  # some costs are negative
        return ""
    thousandths = int(costs.of_delivered / costs.total * 1000 + Decimal("0.5"))
    if 0 < costs.of_delivered < costs.total:
        thousandths = min(max(thousandths, 1), 999)
    return context.write.share(thousandths, 1000)


def _cost_table(context: Context, head: str, rows: list[tuple[str, Tally]], *, summary: str = "") -> Table:
    write = context.write
    known = [(name, tally.costs) for name, tally in rows if tally.costs.messages]
    longest = max((costs.total for _, costs in known), default=Decimal(0)) or Decimal(1)
    return Table(
        [head, write.text("cost_total"), write.text("cost_delivered"), write.text("cost_each")],
        [
            [
                Cell(name, bar=[Part("var(--s1)", float(max(Decimal(0), 100 * costs.total / longest)))]),
                Cell(write.money(costs.total)),
                Cell(write.money(costs.of_delivered)),
                Cell(write.rounded_money(costs.total / costs.delivered) if costs.delivered else "–"),
            ]
            for name, costs in known
        ],
        key=1,
        summary=summary,
    )


def look_ups_section(context: Context) -> Section | None:
    """Which numbers can be reached; `None` if there are no look-ups."""
    figures, write = context.figures, context.write
    found = figures.look_ups
    if not found.total:
        return None
    shown = [name for name in _LOOK_UP_COLOURS if getattr(found, name) or name in ("reachable", "unreachable")]
    words = {name: write.text(_LOOK_UP_WORDS.get(name, name)) for name in shown}
    legend = [
        Entry(_LOOK_UP_COLOURS[name], words[name], write.number(count), write.share(count, found.total))
        for name in shown
        for count in [getattr(found, name)]
    ]
    blocks: list[Block] = [Bar(_look_up_parts(found, found.total), legend)]
    if len(figures.look_ups_by_operator):
        rows = named(context, figures.look_ups_by_operator, LookUps.add, LookUps)
        longest = max(look_ups.total for _, look_ups in rows)
        blocks.append(
            Table(
                [write.text("operator"), write.text("total"), *words.values(), write.text("reachable_share")],
                [
                    [
                        Cell(name, bar=_look_up_parts(look_ups, longest)),
                        Cell(write.number(look_ups.total)),
                        *(Cell(write.number(getattr(look_ups, field))) for field in shown),
                        Cell(write.share(look_ups.reachable, look_ups.total)),
                    ]
                    for name, look_ups in rows
                ],
                key=len(shown) + 2,
            )
        )
    blocks.append(Paragraph(write.text("look_ups_note")))
    return Section("look-ups", write.text("look_ups"), blocks)


def _look_up_parts(found: LookUps, longest: int) -> list[Part]:
    return [
        Part(colour, 100 * getattr(found, name) / longest)
        for name, colour in _LOOK_UP_COLOURS.items()
        if getattr(found, name)
    ]


def about_section(context: Context) -> Section:
    """How it was counted, and all statuses."""
    figures, write = context.figures, context.write
    if context.is_table:
        sentences = [write.text("about_rows")]
    else:
        sentences = [write.text("about_last", write.number(figures.rows), write.number(figures.counted))]
    sentences.append(write.text("about_zone", write.zone_name()))
    if figures.times.count:
        sentences.append(write.text("about_times", write.duration(EXACT - 1), write.round_share(MAX_ERROR)))
    if figures.bad_rows:
        sentences.append(write.text("about_bad", write.counted("lines", figures.bad_rows)))
    if any(found.others is not None for found in (figures.by_operator, figures.by_sender)):
        sentences.append(write.text("about_names", write.number(MOST_NAMES)))
    blocks: list[Block] = [Paragraph(sentence) for sentence in sentences]
    if figures.statuses:
        blocks.append(_status_table(context))
    return Section("about", write.text("about"), blocks)


def _status_table(context: Context) -> Table:
    write, figures = context.write, context.figures
    rows = []
    for status, count in figures.statuses.most_common():
        meaning = codes.STATUSES.get(status) if status is not None else None
        name = write.text("not_asked") if status is None else write.text("status_number", str(status))
        name = write.of(meaning.title) if meaning else name
        number = "" if status is None else str(status)
        share = write.share(count, figures.messages.total)
        rows.append([Cell(name, note=number), Cell(write.number(count)), Cell(share)])
    head = [write.text("status"), write.text("messages"), write.text("share")]
    return Table(head, rows, key=2, summary=write.text("statuses"))
