"""The arguments that several commands have."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from smsc_status.models import Detail


class DetailName(StrEnum):
    """How much is asked about a message."""

    BASIC = "basic"
    FULL = "full"
    EXTENDED = "extended"

    @property
    def level(self) -> Detail:
        """As the library calls it."""
        return Detail[self.name]


Id = Annotated[str, typer.Argument(metavar="ID", help="The message's id, as its sender gave it.")]
Phone = Annotated[str, typer.Argument(metavar="PHONE", help="The phone number or e-mail address it was sent to.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON, for machines.")]
DetailOption = Annotated[DetailName, typer.Option("--detail", help="How much is asked.")]
Period = Annotated[
    float, typer.Option("--period", min=0.001, help="The vendor's minute, in seconds: 60, but for a sped-up emulator.")
]
Margin = Annotated[float, typer.Option("--margin", min=0, help="Seconds of safety added to it.")]
MaxBulk = Annotated[int, typer.Option("--max-bulk", min=1, help="The most messages in a bulk request.")]
MaxWait = Annotated[
    float | None, typer.Option("--max-wait", min=0, help="Give up if the limits leave no slot in so many seconds.")
]
InputFile = Annotated[str, typer.Argument(metavar="FILE", help="The messages; - is standard input.")]
IdColumn = Annotated[str, typer.Option("--id-column", help="The column of the ids.")]
PhoneColumn = Annotated[str, typer.Option("--phone-column", help="The column of the phones.")]
SentAtColumn = Annotated[
    str | None,
    typer.Option(
        "--sent-at-column",
        help='The column of the times of sending; by default sent_at, if it is there; "" leaves it unread.',
    ),
]
Encoding = Annotated[
    str | None,
    typer.Option(
        "--encoding",
        help="The charset of FILE; by default UTF-8, and where the bytes are not that, windows-1251. A byte order mark "
        "tells UTF-16.",
    ),
]
Timezone = Annotated[
    str,
    typer.Option(
        "--timezone", help="Where times of sending without a zone are read: a name, UTC, or an offset such as +05:00."
    ),
]
Messages = Annotated[int, typer.Option("--messages", min=0, help="How many messages there are.")]
Speed = Annotated[float, typer.Option("--speed", help="Emulated seconds in a second.")]
Seed = Annotated[int, typer.Option("--seed", help="Another seed, other messages.")]

CREDENTIALS_HELP = (
    "The account comes from the environment: SMSC_APIKEY, or SMSC_LOGIN and SMSC_PASSWORD, and SMSC_BASE_URL for "
    "another server than https://smsc.ru. On a terminal, what is missing is asked for."
)
LIMITS_HELP = "The limits are kept within one run: one run at a time, and a minute between two, on an account."
FILE_HELP = (
    "FILE is CSV with a header (comma, semicolon or tab) or JSON lines. Each message has an id and a phone, and may "
    "have sent_at (ISO 8601, 25.11.2026 22:05, or seconds since 1970); without a zone, it is in --timezone, by default "
    "Moscow's. Russian headers (ID, Телефон, Дата отправки) are known. A time that can't be read is left out, with a "
    "note. A line that can't be used is reported by its number and does not stop the rest: ten one by one, then one "
    "line a kind. What can't be checked is written with an error and its text in place of a status."
)
