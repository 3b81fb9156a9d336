"""Arguments that several commands share, and parts of their help."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from smsc_status.cli._report import LanguageName
from smsc_status.models import Detail


class DetailName(StrEnum):
    """How much to ask about a message."""

    BASIC = "basic"
    FULL = "full"
    EXTENDED = "extended"

    @property
    def level(self) -> Detail:
        """The library's name for it."""
        return Detail[self.name]


Id = Annotated[str, typer.Argument(metavar="ID", help="The message's id, as its sender gave it.")]
Phone = Annotated[str, typer.Argument(metavar="PHONE", help="The phone number or e-mail address it was sent to.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
DetailOption = Annotated[DetailName, typer.Option("--detail", help="How much to ask about each message.")]
Period = Annotated[
    float,
    typer.Option("--period", min=0.001, help="The vendor's minute, in seconds: 60, unless an emulator runs faster."),
]
Margin = Annotated[float, typer.Option("--margin", min=0, help="Seconds that are added to the period, for safety.")]
MaxBulk = Annotated[int, typer.Option("--max-bulk", min=1, help="The largest number of messages in a bulk request.")]
MaxWait = Annotated[
    float | None,
    typer.Option("--max-wait", min=0, help="Give up if the limits do not allow the request within this many seconds."),
]
Share = Annotated[
    str | None,
    typer.Option(
        "--share",
        metavar="WHO",
        help="Who keeps the account's limits together: process (this run alone), machine (all processes of this user "
        "on this machine), a path with a / (all who can write there), or redis://HOST (all who reach that server). By "
        "default what SMSC_SHARE says, otherwise machine; but process for a server on the loopback.",
    ),
]
InputFile = Annotated[str, typer.Argument(metavar="FILE", help="The messages; - is standard input.")]
IdColumn = Annotated[str, typer.Option("--id-column", help="The column of the ids.")]
PhoneColumn = Annotated[str, typer.Option("--phone-column", help="The column of the phones.")]
SentAtColumn = Annotated[
    str | None,
    typer.Option(
        "--sent-at-column",
        help='The column of the times of sending; by default sent_at, if it exists; "" means that it is not read.',
    ),
]
Encoding = Annotated[
    str | None,
    typer.Option(
        "--encoding",
        help="The charset of FILE; by default UTF-8, or windows-1251 if the bytes are not UTF-8. UTF-16 is recognised "
        "by its byte order mark.",
    ),
]
Timezone = Annotated[
    str,
    typer.Option(
        "--timezone", help="The zone of times of sending that have none: a name, UTC, or an offset such as +05:00."
    ),
]
Messages = Annotated[int, typer.Option("--messages", min=0, help="How many messages there are.")]
Speed = Annotated[float, typer.Option("--speed", help="Emulated seconds in a second.")]
Seed = Annotated[int, typer.Option("--seed", help="The seed of the random messages.")]

Lang = Annotated[LanguageName, typer.Option("--lang", help="The language of the report.")]

CREDENTIALS_HELP = (
    "The account comes from the environment: SMSC_APIKEY, or SMSC_LOGIN and SMSC_PASSWORD. SMSC_BASE_URL names another "
    "server than https://smsc.ru. On a terminal you are asked for what is missing."
)
LIMITS_HELP = (
    "All processes of this user on this machine keep an account's limits together. So runs may follow each other at "
    "once, or go on side by side. --share names others to share with. All must have the same --period and --margin."
)
TABLE_HELP = (
    "The table needs a primary key and columns for the id and the phone of each message; sent_at is used if it exists. "
    "Written are status, err, changed_at, checked_at and outcome (how the message ended; NULL until then). Columns "
    "named cost, sms_cnt, mccmnc, country, operator, operator_orig and region are filled, too. --column names columns "
    "that are called otherwise, and further fields of the record. It needs the extra sql and the database's driver: "
    "psycopg for PostgreSQL, pymysql for MySQL and MariaDB. A time without a zone is in --timezone."
)
REPORT_HELP = (
    "Of several records of a message, the last one counts, as in the results of track. What a report shows depends on "
    "the level of detail: days, senders and costs need full, operators need extended. It needs the extra report."
)
FILE_HELP = (
    "FILE is CSV with a header (comma, semicolon or tab) or JSON lines. Each message has an id and a phone, and may "
    "have sent_at (ISO 8601, 25.11.2026 22:05, or seconds since 1970). A time without a zone is in --timezone, by "
    "default Moscow's. Russian headers (ID, Телефон, Дата отправки) are known. A time that can't be read is reported "
    "and ignored. A line that can't be used is reported by its number and skipped: the first ten one by one, further "
    "ones counted by kind. A message that can't be checked is written with an error and its text instead of a status."
)
