"""Puts the page together."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from importlib import resources

from jinja2 import Environment, StrictUndefined, Template

from smsc_status.report._counting.tallies import Group
from smsc_status.report._page.blocks import Section
from smsc_status.report._page.context import Context
from smsc_status.report._page.further import about_section, cost_section, look_ups_section, reasons_section
from smsc_status.report._page.groups import day_section, group_sections, overview
from smsc_status.report._page.timing import slowest_section, times_section


def page(context: Context, *, made_at: datetime) -> str:
    """The whole page as HTML. It needs no other file, no script and no network.

    Args:
        context: the figures, and how they are shown.
        made_at: when the report was made.
    """
    write, messages = context.write, context.figures.messages
    return _template().render(
        language=write.language.value,
        title=context.title or write.text("title"),
        facts=_facts(context),
        origin=_origin(context, made_at),
        share=write.share(messages.of(Group.DELIVERED), messages.total) if messages.total else "",
        share_text=write.text("share_delivered"),
        overview=overview(context),
        nothing=write.text("nothing"),
        sections=_sections(context),
        style=_file("report.css"),
    )


def _facts(context: Context) -> list[str]:
    """What the report is about, in a few words each."""
    figures, write = context.figures, context.write
    facts = [write.counted("messages", figures.messages.total)]
    if figures.look_ups.total:
        facts.append(write.counted("look_ups", figures.look_ups.total))
    if figures.first_sent_at is not None and figures.last_sent_at is not None:
        first, last = write.moment(figures.first_sent_at), write.moment(figures.last_sent_at)
        facts.append(first if first == last else f"{first}\N{NO-BREAK SPACE}– {last}")
    return facts


def _origin(context: Context, made_at: datetime) -> list[str]:
    """What the report was made of, and when."""
    write = context.write
    source = [write.text("from", context.name(context.source))] if context.source else []
    return [write.text("made", write.moment(made_at)), *source]


def _sections(context: Context) -> list[Section]:
    sections: list[Section | None] = []
    if context.figures.messages.total:
        sections += [day_section(context), times_section(context), reasons_section(context)]
        sections += group_sections(context)
    if context.figures.counted:
        sections += [cost_section(context), slowest_section(context), look_ups_section(context)]
    sections.append(about_section(context))
    return [section for section in sections if section is not None]


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_file("report.html.jinja"))


def _file(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")
