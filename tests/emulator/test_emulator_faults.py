"""Faults are switched on by name, drawn from a seed, and do what their names say."""

import pytest

from smsc_status.emulator import FAULTS, Faults
from smsc_status.errors import ConfigError
from smsc_status.models import StatusRecord

RECORDS = [StatusRecord(status=1, id=n, phone=f"7999{n}") for n in range(20)]


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="'dealy'") as caught:
        Faults(dealy=0.5)
    assert all(name in str(caught.value) for name in FAULTS)
    with pytest.raises(ConfigError, match="'self'"):
        Faults().change(self=0.5)


@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan")])
def test_what_is_no_probability_is_refused_and_nothing_is_changed(probability: float) -> None:
    faults = Faults(cut=1)
    with pytest.raises(ConfigError, match="probability"):
        faults.change(cut=0, delay=probability)
    assert faults.happens("cut")


def test_a_fault_happens_as_often_as_it_is_set_to() -> None:
    faults = Faults(seed=1, cut=0.25)
    happened = sum(faults.happens("cut") for _ in range(4000))
    assert 900 < happened < 1100
    assert faults.happened == {"cut": happened}
    assert not any(faults.happens("html") for _ in range(100))


def test_the_same_seed_makes_the_same_faults() -> None:
    rows = [[faults.happens("cut") for _ in range(50)] for faults in (Faults(3, cut=0.5), Faults(3, cut=0.5))]
    assert rows[0] == rows[1]


def test_faults_can_be_switched_off_and_on() -> None:
    faults = Faults(empty=1)
    faults.enabled = False
    assert not faults.happens("empty")
    faults.enabled = True
    assert faults.happens("empty")


def test_a_fault_s_wait_is_bounded() -> None:
    faults = Faults(seconds=3, delay=1)
    waits = [faults.wait("delay") for _ in range(100)]
    assert 2.5 < max(waits) <= 3
    assert faults.wait("late_arrival") == 0


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_an_http_error_is_the_one_named(status: int) -> None:
    faults = Faults()
    assert faults.http_error() is None
    faults.change(**{f"http_{status}": 1.0})
    assert faults.http_error() == status


def test_missing_records_are_at_least_one() -> None:
    left = Faults(missing_records=1).spoil_records(RECORDS)
    assert 0 < len(left) < len(RECORDS)
    assert [record for record in RECORDS if record in left] == left


def test_repeated_records_come_twice() -> None:
    assert len(Faults(repeated_records=1).spoil_records(RECORDS)) > len(RECORDS)


def test_a_reply_without_records_repeats_none() -> None:
    assert Faults(missing_records=1, repeated_records=1).spoil_records(RECORDS[:1]) == []


def test_reordered_records_come_in_another_order() -> None:
    spoilt = Faults(reordered_records=1).spoil_records(RECORDS)
    assert spoilt != RECORDS
    assert sorted(spoilt, key=lambda record: str(record.phone)) == sorted(RECORDS, key=lambda record: str(record.phone))


def test_a_foreign_record_is_one_that_nobody_asked_for() -> None:
    spoilt = Faults(foreign_records=1).spoil_records(RECORDS)
    assert [record.id for record in spoilt if record not in RECORDS] == [1999999999]


def test_without_faults_nothing_is_changed() -> None:
    assert Faults().spoil_records(RECORDS) == RECORDS
    assert Faults().spoil_body(b"body") == b"body"


def test_a_broken_body_ends_early() -> None:
    body = b"0123456789"
    spoilt = Faults(broken=1).spoil_body(body)
    assert len(spoilt) < len(body)
    assert body.startswith(spoilt)
    assert Faults(broken=1).spoil_body(b"") == b""


@pytest.mark.parametrize("charset", ["windows-1251", "utf-8"])
def test_wrong_bytes_are_none_of_the_charset_s(charset: str) -> None:
    body = ("Доставлено " * 20).encode(charset)
    spoilt = Faults(wrong_bytes=1).spoil_body(body)
    assert len(spoilt) == len(body)
    with pytest.raises(UnicodeDecodeError):
        spoilt.decode(charset)
