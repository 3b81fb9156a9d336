"""How values of columns are read and written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql

from smsc_status import ConfigError
from smsc_status.tables._values import Kind, id_of, instant_reader, kind_of, phone_of, written_column

POSTGRESQL, MYSQL, SQLITE = (
    sa.make_url(f"{name}://").get_dialect()() for name in ("postgresql+psycopg", "mysql+pymysql", "sqlite")
)
MOMENT = datetime(2026, 3, 10, 6, 0, 0, 123456, tzinfo=UTC)
EAST = timezone(timedelta(hours=5))


@pytest.mark.parametrize(
    ("stored", "id", "phone"),
    [
        (79990000000, 79990000000, "79990000000"),
        (Decimal(79990000000), 79990000000, "79990000000"),
        (Decimal("79990000000.00"), 79990000000, "79990000000"),
        (79990000000.0, 79990000000, "79990000000"),
        ("007", "007", "007"),
        (None, None, None),
        (True, True, True),
        (1.5, 1.5, 1.5),
        (1e300, 1e300, 1e300),
        (Decimal("NaN"), Decimal("NaN"), Decimal("NaN")),
        (Decimal("1.5"), Decimal("1.5"), Decimal("1.5")),
    ],
)
def test_ids_and_phones_are_read_from_numbers(stored: Any, id: Any, phone: Any) -> None:
    assert repr(id_of(stored)) == repr(id)
    assert repr(phone_of(stored)) == repr(phone)


def test_a_uuid_is_an_id() -> None:
    assert id_of(UUID(int=7)) == "00000000-0000-0000-0000-000000000007"


@pytest.mark.parametrize(
    ("stored", "at"),
    [
        (None, None),
        ("", None),
        (MOMENT, MOMENT),
        (datetime(2026, 3, 10, 11, 0), datetime(2026, 3, 10, 6, 0, tzinfo=UTC)),
        ("2026-03-10 11:00", datetime(2026, 3, 10, 6, 0, tzinfo=UTC)),
        ("2026-03-10T06:00:00Z", datetime(2026, 3, 10, 6, 0, tzinfo=UTC)),
        (1773122400, datetime(2026, 3, 10, 6, 0, tzinfo=UTC)),
        ("1773122400", datetime(2026, 3, 10, 6, 0, tzinfo=UTC)),
        (Decimal(1773122400), datetime(2026, 3, 10, 6, 0, tzinfo=UTC)),
    ],
)
def test_a_naive_time_of_sending_is_of_the_zone(stored: Any, at: datetime | None) -> None:
    assert instant_reader(EAST)(stored) == at


@pytest.mark.parametrize("stored", ["yesterday", 1e30, b"2026", object()])
def test_what_is_no_time_of_sending_is_refused(stored: Any) -> None:
    with pytest.raises(ConfigError, match=r"sent_at .*: expected a date and time, or seconds since 1970"):
        instant_reader(EAST)(stored)


@pytest.mark.parametrize(
    ("dialect", "type", "written"),
    [
        (POSTGRESQL, sa.DateTime(timezone=True), MOMENT),
        (POSTGRESQL, sa.DateTime(), datetime(2026, 3, 10, 11, 0, 0, 123456)),
        (POSTGRESQL, postgresql.TIMESTAMP(precision=2), datetime(2026, 3, 10, 11, 0, 0, 120000)),
        (MYSQL, mysql.DATETIME(), datetime(2026, 3, 10, 11, 0)),
        (MYSQL, mysql.DATETIME(fsp=6), datetime(2026, 3, 10, 11, 0, 0, 123456)),
        (POSTGRESQL, sa.BigInteger(), 1773122400),
        (POSTGRESQL, sa.Numeric(), Decimal("1773122400.123456")),
        (SQLITE, sa.Float(), 1773122400.123456),
        (SQLITE, sa.DateTime(), "2026-03-10 11:00:00.123456"),
        (POSTGRESQL, sa.Text(), "2026-03-10 06:00:00.123456+00:00"),
    ],
)
def test_an_instant_is_written_as_the_column_keeps_it(dialect: Any, type: Any, written: Any) -> None:
    """Cut to its precision, and never rounded up: a later answer must not look older than an earlier one."""
    assert written_column(type, dialect, EAST).of(MOMENT) == written


def test_other_values_are_written_in_the_columns_type() -> None:
    assert written_column(sa.Text(), POSTGRESQL, UTC).of(20) == "20"
    assert written_column(sa.Integer(), POSTGRESQL, UTC).of(20) == 20
    assert written_column(sa.Integer(), POSTGRESQL, UTC).of(None) is None
    assert written_column(sa.Numeric(), POSTGRESQL, UTC).of(Decimal("1.5")) == Decimal("1.5")
    assert repr(written_column(sa.Numeric(), SQLITE, UTC).of(Decimal("1.5"))) == "1.5"


@pytest.mark.parametrize(
    ("type", "kind"),
    [(sa.Boolean(), Kind.OTHER), (sa.JSON(), Kind.OTHER), (sa.Uuid(), Kind.UUID), (sa.types.NullType(), Kind.TEXT)],
)
def test_each_type_of_column_has_its_kind(type: Any, kind: Kind) -> None:
    assert kind_of(type) is kind
