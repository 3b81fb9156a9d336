"""What the page is made of: sections of paragraphs, figures, plots and tables. The template writes each as HTML."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from smsc_status.report._drawing.plots import Plot


@attrs.frozen
class Part:
    """A part of a bar: a CSS colour, and its width in per cent of the whole place."""

    colour: str
    width: float


@attrs.frozen
class Entry:
    """An entry of a legend: a CSS colour, a name, and perhaps a value."""

    colour: str
    name: str
    value: str = ""
    note: str = ""


@attrs.frozen
class Paragraph:
    """A sentence or two."""

    text: str
    kind: str = "paragraph"


@attrs.frozen
class Figure:
    """One large number, and what it is."""

    value: str
    name: str
    note: str = ""


@attrs.frozen
class Figures:
    """Large numbers beside each other."""

    items: Sequence[Figure]
    kind: str = "figures"


@attrs.frozen
class Bar:
    """A bar over the whole width, and its legend."""

    parts: Sequence[Part]
    legend: Sequence[Entry]
    kind: str = "bar"


@attrs.frozen
class Drawing:
    """A plot and its legend."""

    plot: Plot
    legend: Sequence[Entry]
    caption: str = ""
    kind: str = "drawing"


@attrs.frozen
class Cell:
    """A cell of a table: its text, a second line, a bar below, and a colour before the text."""

    text: str
    note: str = ""
    bar: Sequence[Part] = ()
    colour: str = ""


@attrs.frozen
class Table:
    """A table. The first column has names, further ones have numbers unless they are in `texts`.

    `key` is the column that matters most, which phones show beside the name; 0 for none. With a `summary`, the table is
    shown on demand, as the figures of a plot are.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    texts: frozenset[int] = frozenset()
    key: int = 0
    summary: str = ""
    kind: str = "table"


Block = Paragraph | Figures | Bar | Drawing | Table


@attrs.frozen
class Section:
    """A part of the page with a heading. `name` is the target of links to it."""

    name: str
    title: str
    blocks: Sequence[Block]
