"""The world answers any question about any moment, and keeps the archive's rules."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from smsc_status.codes import MessageType
from smsc_status.emulator import World, _details
from smsc_status.errors import ConfigError
from smsc_status.models import MOSCOW, HlrRecord, MessageRef, StatusRecord

PHONE = "79990000000"
NOON = datetime(2024, 3, 5, 12, tzinfo=MOSCOW).timestamp()
HOUR = 3600.0
DELIVERED_SOON = ((0, -1), (1, 0), (5, 1))


def moscow(text: str) -> float:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=MOSCOW).timestamp()


def test_a_message_has_every_field_of_the_extended_level() -> None:
    world = World()
    world.add("007", "+7 (999) 000-00-00", sent_at=NOON, text="привет", sender="Shop", flag=0, life=DELIVERED_SOON)
    record = world.record(7, PHONE, at=NOON + 60)
    assert record == StatusRecord(
        status=1,
        last_date="05.03.2024 12:00:05",
        last_timestamp=int(NOON) + 5,
        flag=0,
        send_date="05.03.2024 12:00:00",
        send_timestamp=int(NOON),
        phone=PHONE,
        cost=Decimal("2.45"),
        sender_id="Shop",
        status_name="Доставлено",
        message="привет",
        type=0,
        sms_cnt=1,
        mccmnc=record.mccmnc,
        country="Россия",
        operator=record.operator,
        operator_orig=record.operator_orig,
        region=record.region,
        id=7,
    )
    assert None not in (record.mccmnc, record.operator, record.operator_orig, record.region)


def test_an_id_of_letters_is_echoed_as_it_was_sent() -> None:
    world = World()
    world.add("Ab-1", PHONE, sent_at=NOON)
    assert world.record("aB-1", PHONE, at=NOON).id == "Ab-1"


def test_the_error_is_there_only_where_there_is_one() -> None:
    world = World()
    world.add(1, PHONE, sent_at=NOON, life=((0, -1), (10, 20, 6)))
    assert world.record(1, PHONE, at=NOON + 9).err is None
    assert world.record(1, PHONE, at=NOON + 10).err == 6


def test_an_unknown_status_has_an_empty_name() -> None:
    world = World()
    world.add(1, PHONE, sent_at=NOON, life=((0, 6),))
    assert (world.record(1, PHONE, at=NOON).status, world.record(1, PHONE, at=NOON).status_name) == (6, "")


@pytest.mark.parametrize("phone", ["79990000001", "89990000000"])
def test_a_message_that_is_not_found_has_only_its_status_id_and_phone(phone: str) -> None:
    world = World()
    world.add(1, PHONE, sent_at=NOON)
    assert world.record("1", f"+{phone}", at=NOON) == StatusRecord(status=-3, id=1, phone=phone)


def test_a_look_up_has_its_own_fields_and_none_of_the_messages() -> None:
    world = World()
    world.add(1, PHONE, sent_at=NOON, kind=MessageType.HLR, life=((0, 1), (5, 1, 0)))
    pending, done = world.record(1, PHONE, at=NOON), world.record(1, PHONE, at=NOON + 5)
    assert isinstance(pending, HlrRecord)
    assert isinstance(done, HlrRecord)
    assert (pending.err, pending.reachable, pending.imsi) == (None, None, "")
    assert (done.err, done.reachable, done.mcc, done.cn, done.sender_id) == (0, True, "250", "Россия", "HLR")
    assert done.imsi is not None
    assert len(done.imsi) == 15
    assert (done.comment, done.sms_cnt, done.mccmnc, done.operator_orig) == (None, None, None, None)
    assert (done.flag, done.type, done.cost) == (done.flag, 4, Decimal("0.300"))


def test_some_look_ups_are_abroad() -> None:
    world = World()
    refs = [world.add(n, PHONE, sent_at=NOON, kind=4, life=((0, 1, 0),)) for n in range(1, 300)]
    abroad = [world.record(ref.id, ref.phone, at=NOON) for ref in refs]
    assert {record.rcn for record in abroad if isinstance(record, HlrRecord)} == {"", "Турция"}


def test_an_address_with_an_at_sign_makes_an_e_mail_without_a_network() -> None:
    world = World()
    world.add(1, " User@example.ru ", sent_at=NOON)
    record = world.record(1, "user@EXAMPLE.ru", at=NOON)
    assert (record.type, record.phone, record.country, record.mccmnc) == (8, "User@example.ru", None, None)


def test_long_texts_have_parts_and_calls_have_seconds() -> None:
    assert [_details.parts_of(0, "я" * length) for length in (70, 71, 134, 135)] == [1, 2, 2, 3]
    assert [_details.parts_of(0, "a" * length) for length in (160, 161, 306, 307)] == [1, 2, 2, 3]
    assert _details.parts_of(7, "a" * 24) == 7
    assert _details.price_of(0, 3) == Decimal("7.35")


def test_numbers_belong_to_their_countries() -> None:
    found = [_details.network_of(phone) for phone in ("77011234567", "375291234567", "79001234567")]
    assert [network and network.country for network in found] == ["Казахстан", "Беларусь", "Россия"]


def test_a_message_sent_for_later_waits() -> None:
    world = World()
    ref = world.add(1, PHONE, sent_at=NOON + HOUR)
    assert world.status_at(ref, NOON) == -1


def test_a_message_s_details_do_not_depend_on_the_order_of_adding() -> None:
    numbers = range(1, 200)
    worlds = [World(5), World(5)]
    refs = [worlds[0].add(n, PHONE, sent_at=NOON) for n in numbers]
    for n in reversed(numbers):
        worlds[1].add(n, PHONE, sent_at=NOON)
    for ref in refs:
        assert worlds[0].life(ref) == worlds[1].life(ref)
        assert worlds[0].record(ref.id, PHONE, at=NOON + 9) == worlds[1].record(ref.id, PHONE, at=NOON + 9)


def test_another_seed_is_another_world() -> None:
    lives = []
    for seed in (1, 2):
        world = World(seed)
        lives.append([world.life(world.add(n, PHONE, sent_at=NOON)) for n in range(1, 50)])
    assert lives[0] != lives[1]


def test_an_added_message_replaces_the_one_of_its_id_and_phone() -> None:
    world = World()
    world.add(1, PHONE, sent_at=NOON, life=((0, 1),))
    world.add("1", "+" + PHONE, sent_at=NOON, life=((0, 20, 1),))
    assert len(world) == 1
    assert world.record(1, PHONE, at=NOON).status == 20


@pytest.mark.parametrize(
    ("age", "status"),
    [(24 * HOUR - 1, 0), (24 * HOUR, -3), (48 * HOUR, -3)],
)
def test_after_a_day_a_message_is_archived_whatever_its_status(age: float, status: int) -> None:
    world = World()
    ref = world.add(1, PHONE, sent_at=NOON, life=((0, 0),))
    assert world.status_at(ref, NOON + age) == status


@pytest.mark.parametrize(
    ("sent", "asked", "status"),
    [
        ("2024-03-05 17:59:59", "2024-03-06 02:59:59", 1),
        ("2024-03-05 17:59:59", "2024-03-06 03:00:00", -3),
        ("2024-03-05 18:00:00", "2024-03-06 03:00:00", 1),
        ("2024-03-05 18:00:00", "2024-03-06 17:59:59", 1),
        ("2024-03-05 18:00:00", "2024-03-06 18:00:00", -3),
        ("2024-03-06 02:59:00", "2024-03-06 03:00:00", 1),
        ("2024-03-05 04:00:00", "2024-03-06 03:00:00", -3),
    ],
)
def test_at_3_in_moscow_final_messages_sent_before_18_of_the_day_before_are_archived(
    sent: str, asked: str, status: int
) -> None:
    world = World()
    ref = world.add(1, PHONE, sent_at=moscow(sent), life=DELIVERED_SOON)
    assert world.status_at(ref, moscow(asked)) == status


@pytest.mark.parametrize(
    ("kind", "life", "status"),
    [
        (0, ((0, 0),), 0),
        (0, ((0, -2),), -2),
        (4, ((0, 1),), 1),
        (4, ((0, 1, 0),), -3),
        (0, ((0, 0), (20 * HOUR, 1)), 0),
        (0, ((0, 1), (20 * HOUR, 4)), -3),
        (0, ((0, 6),), 6),
    ],
)
def test_messages_that_were_not_final_at_3_in_moscow_stay(
    kind: int, life: tuple[tuple[float, ...], ...], status: int
) -> None:
    world = World()
    ref = world.add(1, PHONE, kind=kind, sent_at=moscow("2024-03-05 12:00:00"), life=life)
    assert world.status_at(ref, moscow("2024-03-06 03:30:00")) == status


def test_a_deleted_message_is_not_found_and_can_not_be_deleted_again() -> None:
    world = World()
    ref = world.add(1, PHONE, sent_at=NOON, life=DELIVERED_SOON)
    assert world.delete("001", "+7-999-000-00-00", at=NOON)
    assert world.status_at(ref, NOON) == -3
    assert not world.delete(1, PHONE, at=NOON)


def test_an_archived_message_can_not_be_deleted() -> None:
    world = World()
    world.add(1, PHONE, sent_at=NOON)
    assert not world.delete(1, PHONE, at=NOON + 25 * HOUR)


def test_several_messages_are_deleted_together_or_not_at_all() -> None:
    world = World()
    for id in (1, 2, 3):
        world.add(id, PHONE, sent_at=NOON)
    assert not world.delete_all([(1, PHONE), (4, PHONE)], at=NOON)
    assert len(world) == 3
    assert world.delete_all([(1, PHONE), ("02", PHONE), (1, PHONE)], at=NOON)
    assert [ref.id for ref in world] == [3]


@pytest.mark.slow
def test_a_populated_world_has_every_kind_flag_and_the_rare_statuses() -> None:
    world = World(3)
    refs = world.populate(5000, now=NOON, spread=4 * HOUR)
    assert len(world) == len(set(refs)) == 5000
    assert list(world) == refs
    records = [world.record(ref.id, ref.phone, at=NOON) for ref in refs]
    assert {record.type for record in records} == set(MessageType)
    assert {-2, -1, 0, 1, 2, 3, 4, 20, 22, 23, 24, 25} >= {record.status for record in records} >= {0, 1, 2, 3, 4, 20}
    flags = [record.flags for record in records if record.flags]
    assert {flag.second_balance for flag in flags} == {True, False}
    assert {flag.template_kind for flag in flags} == {None, 0, 1, 2, 3}
    assert all(record.type == flag.type for record, flag in zip(records, flags, strict=True))
    assert {"Россия", "Казахстан", None} < {record.country for record in records}


def test_a_paused_mailing_is_stopped_for_a_while() -> None:
    world = World(3)
    refs = world.populate(3000, now=NOON, kinds={0: 1})
    paused = [ref for ref in refs if any(step.status == -2 for step in world.life(ref))]
    assert 2 <= len(paused) <= 25
    assert all(world.life(ref)[-1].status == 1 for ref in paused)


def test_a_populated_world_spreads_its_sending_over_whole_seconds_up_to_now() -> None:
    world = World()
    refs = world.populate(5, now=NOON + 0.7, spread=10)
    sent = [ref.sent_at.timestamp() - NOON for ref in refs if ref.sent_at]
    assert sent == [-8, -6, -4, -2, 0]
    assert refs[0].sent_at == world.record(refs[0].id, refs[0].phone, at=NOON).sent_at


def test_a_mailing_has_one_id_and_many_phones() -> None:
    world = World()
    refs = world.populate(50, now=NOON, mailing="news")
    assert {ref.id for ref in refs} == {"news"}
    assert len(world) == 50


def test_the_mixture_of_a_message_depends_on_its_number_alone() -> None:
    world = World(9)
    whole = world.populate(20, now=NOON)
    assert World(9).populate(10, now=NOON, first_id=11) == whole[10:]


def test_nasty_texts_are_there_on_demand() -> None:
    world = World()
    refs = world.populate(400, now=NOON, nasty=1.0)
    texts = {world.record(ref.id, ref.phone, at=NOON).message for ref in refs}
    assert set(_details.NASTY_TEXTS) <= texts


def test_a_look_up_of_a_mail_address_is_still_a_look_up() -> None:
    world = World()
    world.add(1, "a@b.ru", kind=4, sent_at=NOON)
    assert isinstance(world.record(1, "a@b.ru", at=NOON), HlrRecord)


def test_a_ref_says_when_its_message_was_sent() -> None:
    ref = World().add(1, PHONE, sent_at=NOON)
    assert ref == MessageRef(1, PHONE)
    assert ref.sent_at == datetime.fromtimestamp(NOON, UTC)


def test_a_message_that_can_not_be_sent_is_refused() -> None:
    world = World()
    with pytest.raises(ConfigError):
        world.add("a b", PHONE, sent_at=NOON)
    with pytest.raises(KeyError):
        world.life(MessageRef(1, PHONE))
