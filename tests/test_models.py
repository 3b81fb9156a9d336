"""The values that go in and come out."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

import attrs
import pytest

from smsc_status import ConfigError, Detail, FailedCheck, Format, HlrRecord, Limits, MessageRef, StatusRecord
from smsc_status._core.drafts import bind
from smsc_status.codes import Channel, Title
from smsc_status.models import MOSCOW, Flags, id_key, phone_key

PHONE = "79990000000"
SENT_AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class TestMessageRef:
    @pytest.mark.parametrize(
        "id", [0, 1, 2147483647, 10**40 - 1, "1", "0" * 40, "a", "A-b_c.9", "x" * 40], ids=lambda value: str(value)[:12]
    )
    def test_valid_ids_are_kept_to_the_letter(self, id: int | str) -> None:
        """As they are, to the letter."""
        assert MessageRef(id, PHONE).id == id

    @pytest.mark.parametrize(
        "id",
        [True, False, -1, 10**40, 10**5000, 1.0, None, b"1", "", "x" * 41, "a b", "a,b", "7\n", "ё", "٣", "a/b", [1]],
        ids=lambda value: "huge" if isinstance(value, int) and value > 10**40 else repr(value)[:12],
    )
    def test_an_invalid_id_is_refused_by_an_error_that_names_it(self, id: Any) -> None:
        """The error names the value, shortened if it is long."""
        with pytest.raises(ConfigError, match=r"^id ") as caught:
            MessageRef(id, PHONE)
        assert len(str(caught.value)) < 200

    @pytest.mark.parametrize("phone", [PHONE, "+7 (999) 000-00-00", "1", "me@example.com", "я@example.com"])
    def test_phones_are_taken_in_any_notation(self, phone: str) -> None:
        """In any notation."""
        assert MessageRef(1, phone).phone == phone

    @pytest.mark.parametrize(
        "phone", ["", "+", "phone", "7999,7998", "a@b.ru,c@d.ru", "7\n9", "٣٣", "\ud800", "x" * 1000, None, 79990000000]
    )
    def test_an_invalid_phone_is_refused(self, phone: Any) -> None:
        """Several, none, or none at all."""
        with pytest.raises(ConfigError, match=r"^phone ") as caught:
            MessageRef(1, phone)
        assert len(str(caught.value)) < 200

    @pytest.mark.parametrize("sent_at", [datetime(2026, 3, 1), 1700000000, "2026-03-01", SENT_AT.date()])
    def test_a_date_without_a_zone_is_refused(self, sent_at: Any) -> None:
        """Nothing is guessed of when that was."""
        with pytest.raises(ConfigError, match=r"^sent_at "):
            MessageRef(1, PHONE, sent_at)

    @pytest.mark.parametrize(
        "other",
        [
            MessageRef(7, PHONE),
            MessageRef("7", PHONE),
            MessageRef("007", "+7 (999) 000-00-00"),
            MessageRef(7, PHONE, SENT_AT),
        ],
    )
    def test_refs_of_one_message_are_equal(self, other: MessageRef) -> None:
        """By its number and the digits of its phone, whenever it was sent."""
        ref = MessageRef(7, PHONE)
        assert ref == other
        assert hash(ref) == hash(other)
        assert ref.identity == other.identity == (7, PHONE)

    @pytest.mark.parametrize("other", [MessageRef(8, PHONE), MessageRef(7, "79990000001"), (7, PHONE), None])
    def test_refs_of_two_messages_differ(self, other: object) -> None:
        """Another id, another phone, or no message at all."""
        assert MessageRef(7, PHONE) != other

    def test_letters_are_compared_without_regard_to_case(self) -> None:
        """In ids and in e-mail addresses."""
        assert MessageRef("Ab-1", "Me@Example.com") == MessageRef("aB-1", " me@example.COM ")
        assert MessageRef("a7", PHONE) != MessageRef("7", PHONE)

    def test_a_ref_is_frozen_and_may_be_a_key(self) -> None:
        """It may be a key."""
        ref = MessageRef(7, PHONE)
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            ref.id = 8  # type: ignore[misc]  # frozen: what is tested
        assert {ref: 1}[MessageRef("7", PHONE)] == 1

    def test_of_takes_a_ref_a_tuple_or_a_list(self) -> None:
        """A ref itself, and tuples or lists of two or three."""
        ref = MessageRef(7, PHONE)
        assert MessageRef.of(ref) is ref
        assert MessageRef.of((7, PHONE)) == MessageRef.of([7, PHONE]) == ref
        assert MessageRef.of((7, PHONE, SENT_AT)).sent_at == SENT_AT

    @pytest.mark.parametrize("value", [7, "7", None, (7,), (7, PHONE, SENT_AT, 1), {"id": 7}, "x" * 1000, {7, PHONE}])
    def test_of_refuses_anything_else_and_shows_it(self, value: object) -> None:
        """The error shows it, shortened if it is long."""
        with pytest.raises(ConfigError, match=r"^message ") as caught:
            MessageRef.of(value)
        assert len(str(caught.value)) < 200
        with pytest.raises(ConfigError, match=r"^id "):
            MessageRef.of((True, PHONE))


def test_keys_are_ids_as_the_limits_count_them_and_phones_as_they_are_compared() -> None:
    assert [id_key(id) for id in (7, "7", "007", "X", "x.7", "7-")] == [7, 7, 7, "x", "x.7", "7-"]
    assert [phone_key(phone) for phone in ("8 (999) 1", "+7.9", " A@B.ru ", "", "x")] == [
        "89991",
        "79",
        "a@b.ru",
        "",
        "",
    ]


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        (0, Flags(0, second_balance=False, template=False, template_kind=None)),
        (8, Flags(8, second_balance=False, template=False, template_kind=None)),
        (0x20 | 12, Flags(12, second_balance=True, template=False, template_kind=None)),
        (0x100, Flags(0, second_balance=False, template=True, template_kind=0)),
        (0x100 | 0x200, Flags(0, second_balance=False, template=True, template_kind=1)),
        (0x100 | 0x400 | 10, Flags(10, second_balance=False, template=True, template_kind=2)),
        (0x100 | 0x600, Flags(0, second_balance=False, template=True, template_kind=3)),
        (0x600, Flags(0, second_balance=False, template=False, template_kind=None)),
        (0xD0D0, Flags(0, second_balance=False, template=False, template_kind=None)),
    ],
)
def test_each_bit_of_a_flag_has_its_meaning(flag: int, expected: Flags) -> None:
    """Each bit has its meaning, and the others none."""
    assert Flags.of(flag) == expected
    assert StatusRecord(status=1, flag=flag).flags == expected


class TestStatusRecord:
    def test_what_was_not_sent_is_none(self) -> None:
        """In every field and in every view."""
        record = StatusRecord(status=-3)
        sent = {field.name: getattr(record, field.name) for field in attrs.fields(StatusRecord)}
        assert {name for name, value in sent.items() if value is not None} == {"status", "timezone", "unclear"}
        assert record.unclear == ()
        views = [record.changed_at, record.sent_at, record.flags, record.error_title]
        assert views == [None] * 4
        assert record.channel is Channel.UNKNOWN

    def test_final_statuses_are_1_to_4_and_20_to_25_without_21(self) -> None:
        """1 to 4 and 20 to 25 without 21; an unknown one is not."""
        for status in range(-5, 30):
            record = StatusRecord(status=status)
            assert record.is_final == (status in {1, 2, 3, 4, 20, 22, 23, 24, 25}), status
            assert record.is_delivered == (status in {1, 2, 4}), status
            assert record.is_found == (status != -3), status

    @pytest.mark.parametrize(
        ("known", "channel"),
        [
            ({"type": 8}, Channel.EMAIL),
            ({"type": 0, "flag": 8}, Channel.SMS),
            ({"type": 9, "flag": 8}, Channel.UNKNOWN),
            ({"flag": 0x128}, Channel.EMAIL),
            ({"flag": 7}, Channel.CALL),
            ({"flag": 0, "phone": "me@example.com"}, Channel.SMS),
            ({"phone": "me@example.com"}, Channel.EMAIL),
            ({"phone": PHONE}, Channel.UNKNOWN),
            ({"ref": MessageRef(1, "me@example.com")}, Channel.EMAIL),
            ({"ref": MessageRef(1, PHONE)}, Channel.UNKNOWN),
        ],
    )
    def test_the_channel_follows_from_the_type_the_flag_or_an_e_mail_address(
        self, known: dict[str, Any], channel: Channel
    ) -> None:
        """From the type, else the flag, else an e-mail address."""
        assert StatusRecord(status=1, **known).channel is channel

    def test_the_title_of_an_error_depends_on_the_channel(self) -> None:
        """An error's by channel, since a number means another thing for e-mail; none for what is not known."""
        assert StatusRecord(status=1).status_title == Title("Delivered", "Доставлено")
        assert StatusRecord(status=6).status_title is None
        titles = [StatusRecord(status=20, err=1, type=type).error_title for type in (0, 8, 9, None)]
        assert [title and title.en for title in titles] == ["No such subscriber", "No such recipient", None, None]
        assert StatusRecord(status=20, type=0).error_title is None
        assert StatusRecord(status=20, type=0, err=7777).error_title is None
        title = HlrRecord(status=20, err=1).error_title
        assert title is not None
        assert title.en == "No such subscriber"

    @pytest.mark.parametrize(
        ("timestamp", "date", "zone", "expected"),
        [
            (1700000000, None, MOSCOW, datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
            (1700000000, "01.01.2000 00:00:00", MOSCOW, datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
            (None, "15.11.2023 01:13:20", MOSCOW, datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
            (None, "15.11.2023 04:13:20", timezone(timedelta(hours=6)), datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
            (0, None, MOSCOW, None),
            (0, "15.11.2023 01:13:20", MOSCOW, None),
            (None, "", MOSCOW, None),
            (None, None, MOSCOW, None),
            (None, "yesterday", MOSCOW, None),
            (None, "31.02.2023 01:13:20", MOSCOW, None),
            (10**17, None, MOSCOW, None),
            (-(10**17), None, MOSCOW, None),
        ],
    )
    def test_an_instant_is_the_timestamp_or_the_date_in_the_zone(
        self, timestamp: int | None, date: str | None, zone: tzinfo, expected: datetime | None
    ) -> None:
        """The timestamp; where there is none the date in the zone given; what is no date is none."""
        record = StatusRecord(
            status=1, last_timestamp=timestamp, last_date=date, send_timestamp=timestamp, send_date=date, timezone=zone
        )
        for instant in (record.changed_at, record.sent_at):
            assert instant == expected
            assert instant is None or instant.tzinfo is not None

    def test_records_without_doubts_share_one_empty_tuple(self) -> None:
        """It costs a record nothing but the slot."""
        assert StatusRecord(status=1).unclear is HlrRecord(status=1).unclear
        assert StatusRecord(status=1).unclear == ()
        assert StatusRecord(status=1) != StatusRecord(status=1, unclear=("err",))

    def test_the_default_zone_is_three_hours_ahead_of_utc(self) -> None:
        """Three hours before UTC, summer and winter."""
        assert [datetime(2026, month, 1, tzinfo=MOSCOW).utcoffset() for month in (1, 7)] == [timedelta(hours=3)] * 2

    def test_binding_completes_a_record_in_place(self) -> None:
        """With the caller's own object."""
        record, ref = StatusRecord(status=1, last_date="15.11.2023 01:13:20"), MessageRef("007", PHONE)
        assert bind(record, ref, SENT_AT, UTC) is record
        assert record.ref is ref
        assert record.checked_at is SENT_AT
        assert record.changed_at == datetime(2023, 11, 15, 1, 13, 20, tzinfo=UTC)

    def test_a_record_is_frozen_slotted_and_equal_by_its_fields(self) -> None:
        """Frozen, slotted, equal by its fields."""
        record = StatusRecord(status=1, err=0)
        assert record == StatusRecord(status=1, err=0)
        assert record != HlrRecord(status=1, err=0)
        assert not hasattr(record, "__dict__")
        assert len({record, StatusRecord(status=1, err=0)}) == 1
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            record.status = 2  # type: ignore[misc]  # frozen: what is tested


class TestHlrRecord:
    @pytest.mark.parametrize(
        ("status", "err", "is_final", "reachable"),
        [
            (1, None, False, None),
            (2, None, False, None),
            (1, 0, True, True),
            (2, 0, True, True),
            (1, 6, True, False),
            (2, 11, True, False),
            (3, None, True, False),
            (20, 1, True, False),
            (25, None, True, False),
            (6, None, False, False),
            (0, None, False, None),
            (-1, 0, False, None),
            (-2, None, False, None),
            (-3, None, False, None),
        ],
    )
    def test_reachable_follows_from_the_status_and_the_error(
        self, status: int, err: int | None, is_final: bool, reachable: bool | None
    ) -> None:
        """Known with the error number of a 1 or 2, or with a status beyond."""
        record = HlrRecord(status=status, err=err)
        assert record.is_final is is_final
        assert record.reachable is reachable

    def test_a_look_up_is_a_status_record_with_more_fields(self) -> None:
        """The channel is always the same, whatever the type says."""
        record = HlrRecord(status=1, imsi="250", type=0)
        assert isinstance(record, StatusRecord)
        assert record.channel is Channel.HLR
        assert not record.is_delivered
        assert HlrRecord(status=1, err=0).is_delivered

    @pytest.mark.parametrize(
        ("known", "channel"),
        [
            ({"type": 5}, Channel.SMS),
            ({"flag": 0x25}, Channel.SMS),
            ({"type": 4, "flag": 5}, Channel.HLR),
            ({}, Channel.HLR),
        ],
    )
    def test_a_ping_travels_as_an_sms(self, known: dict[str, Any], channel: Channel) -> None:
        """By its type, or by its flag where there is none."""
        assert HlrRecord(status=1, **known).channel is channel


class TestLimits:
    def test_the_defaults_are_the_vendor_s_limits_and_a_margin(self) -> None:
        """What the page says, and a margin of ours."""
        assert attrs.asdict(Limits()) == {
            "checks_per_id": 5,
            "bulk_requests": 1,
            "period": 60.0,
            "connections": 4,
            "margin": 1.0,
            "linger": 10.0,
            "max_bulk": 1000,
            "singles_per_minute": None,
        }

    @pytest.mark.parametrize(
        "name", ["checks_per_id", "bulk_requests", "connections", "max_bulk", "singles_per_minute"]
    )
    @pytest.mark.parametrize("value", [0, -1, 1.0, True, "1"])
    def test_counts_are_whole_numbers_of_at_least_1(self, name: str, value: object) -> None:
        """Whole numbers, at least 1."""
        with pytest.raises(ConfigError, match=f"^{name} .*: expected a whole number, at least 1"):
            Limits(**{name: value})  # type: ignore[arg-type]  # bad values: what is tested
        assert getattr(Limits(**{name: 1}), name) == 1

    @pytest.mark.parametrize("value", [0, 0.0, -60.0, math.inf, math.nan, False, "1", None])
    def test_a_period_is_more_than_0(self, value: object) -> None:
        """Without one, whatever waits would be asked for ever, and no limit kept."""
        with pytest.raises(ConfigError, match=r"^period .*: expected seconds, more than 0"):
            Limits(period=value)  # type: ignore[arg-type]  # bad values: what is tested

    @pytest.mark.parametrize("name", ["margin", "linger"])
    @pytest.mark.parametrize("value", [-0.1, math.inf, math.nan, False, "1", None])
    def test_seconds_are_finite_and_not_negative(self, name: str, value: object) -> None:
        """Any finite number, not negative."""
        with pytest.raises(ConfigError, match=f"^{name} .*: expected seconds, at least 0"):
            Limits(**{name: value})  # type: ignore[arg-type]  # bad values: what is tested
        assert getattr(Limits(**{name: 2}), name) == 2

    def test_limits_are_equal_by_their_values(self) -> None:
        """Clients of one account may each bring their own."""
        assert Limits(period=30) == Limits(period=30.0)
        assert Limits() != Limits(linger=0)


def test_levels_and_formats_are_the_wire_s_numbers() -> None:
    """Levels of detail and formats are what is sent for them."""
    assert [int(detail) for detail in (Detail.BASIC, Detail.FULL, Detail.EXTENDED)] == [0, 1, 2]
    assert [int(format) for format in (Format.PLAIN, Format.CSV, Format.XML, Format.JSON)] == [0, 1, 2, 3]


def test_a_failed_check_carries_what_was_put_in() -> None:
    """Whatever it was."""
    error = ConfigError("id True: expected an int or a str")
    given: Any = (True, PHONE)
    assert FailedCheck(given, error).ref is given
    assert FailedCheck(given, error).error is error
