"""The messages that the emulator knows, and their lives.

A world has no clock: each method that depends on the time takes it as `at` (seconds since 1970, UTC).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import attrs

from smsc_status.codes import status_title
from smsc_status.emulator import _details, _lives
from smsc_status.emulator._lives import EMAIL, HLR, SMS, Draws, Life
from smsc_status.models import MOSCOW, HlrRecord, Identity, MessageRef, StatusRecord, id_key, phone_key

DAY = 24 * _lives.HOUR
SETTLED_BEFORE_SWEEP = 9 * _lives.HOUR
"""The time from 18:00 to the archive sweep at 03:00. Messages sent within it are not swept."""

MIXTURE: Mapping[int, float] = {
    0: 70, 1: 2, 2: 1, 3: 1, 4: 8, 5: 1, 6: 1, 7: 5, 8: 6, 10: 3, 12: 2,
}  # fmt: skip
"""The weight of each message type in a populated world."""

FOREIGN = ("77", "375", "380", "998")
PAUSED_SHARE = 0.003


@attrs.frozen(slots=True, kw_only=True)
class _Given:
    """The fields of a message that were given. One that is `None` is drawn, or the message does not have it."""

    text: str | None = None
    comment: str | None = None
    sender: str | None = None
    flag: int | None = None
    life: Life | None = None


_NOTHING_GIVEN = _Given()


@attrs.frozen(slots=True)
class _Message:
    ref: MessageRef
    sent_at: float
    kind: int
    given: _Given


class World:
    """Messages, and which status each has at any time.

    Fields that are not given are drawn from `seed` and the message's id and phone. They do not depend on the order in
    which messages are added, so two worlds with one seed agree about every message.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self._messages: dict[Identity, _Message] = {}

    def __len__(self) -> int:
        return len(self._messages)

    def __iter__(self) -> Iterator[MessageRef]:
        return (message.ref for message in self._messages.values())

    def add(
        self,
        id: int | str,
        phone: str,
        *,
        sent_at: float,
        kind: int | None = None,
        text: str | None = None,
        comment: str | None = None,
        sender: str | None = None,
        flag: int | None = None,
        life: Sequence[Sequence[Any]] | None = None,
    ) -> MessageRef:
        """Add a message that is sent at `sent_at`. It replaces one with the same id and phone.

        Args:
            id: as for `MessageRef`.
            phone: as for `MessageRef`.
            sent_at: seconds since 1970. A time in the future means that the message is scheduled for then.
            kind: the vendor's `type`, a `MessageType`; by default e-mail if the phone has an `@`, else SMS.
            text: the message's text; by default it is drawn.
            comment: the message's comment; by default it has none.
            sender: the vendor's `sender_id`.
            flag: the vendor's `flag`. Its type bits should be `kind`.
            life: steps `(after_seconds, status)` or `(after_seconds, status, err)` in the order of time. Before the
                first step the message is waiting (-1). By default the life is drawn.

        Raises:
            ConfigError: a value has another form.
        """
        if kind is None:
            kind = EMAIL if "@" in phone else SMS
        steps = None if life is None else _lives.explicit_life(life)
        given = _Given(text=text, comment=comment, sender=sender, flag=flag, life=steps)
        return self._put(id, phone, sent_at, int(kind), _NOTHING_GIVEN if given == _NOTHING_GIVEN else given)

    def _put(self, id: int | str, phone: str, sent_at: float, kind: int, given: _Given) -> MessageRef:
        ref = MessageRef(id, phone, datetime.fromtimestamp(sent_at, UTC))
        self._messages[ref.identity] = _Message(ref, sent_at, kind, given)
        return ref

    def populate(
        self,
        count: int,
        *,
        now: float,
        spread: float = 0.0,
        first_id: int = 1,
        mailing: int | str | None = None,
        kinds: Mapping[int, float] = MIXTURE,
        nasty: float = 0.0,
    ) -> list[MessageRef]:
        """Add `count` messages of every kind, sent at whole seconds within the last `spread` seconds before `now`.

        Args:
            count: how many messages.
            now: seconds since 1970.
            spread: the seconds over which the messages were sent, evenly.
            first_id: the first id. The ids count up from it, and so do the phones.
            mailing: one id for all messages instead, as in a mailing to many phones.
            kinds: the weight of each message type.
            nasty: the share of messages with a text and a comment that are hard to parse.
        """
        weights = [(weight, kind) for kind, weight in kinds.items()]
        refs = []
        for index in range(count):
            number = first_id + index
            draws = Draws(self.seed, "mixture", number)
            kind = draws.weighted(weights)
            sent_at = float(int(now - spread * (count - 1 - index) / count))
            id = number if mailing is None else mailing
            refs.append(self._put(id, _phone(number, kind, draws), sent_at, kind, _given(kind, draws, nasty)))
        return refs

    def life(self, ref: MessageRef) -> Life:
        """The whole life of a message of this world, as steps in seconds since it was sent.

        Raises:
            KeyError: there is no such message.
        """
        return self._life(self._messages[ref.identity])

    def status_at(self, ref: MessageRef, at: float) -> int:
        """The status that the server gives for a message at a moment; -3 for a message that it does not know."""
        return self.record(ref.id, ref.phone, at=at).status

    def record(self, id: int | str, phone: str, *, at: float) -> StatusRecord:
        """All that the server knows of a message at a moment, at the highest level of detail.

        It is an `HlrRecord` for a look-up. For a message that is not found, archived or deleted, it has only the status
        -3, the id and the phone.
        """
        message = self._found(id, phone, at)
        if message is None:
            return StatusRecord(status=-3, id=_echoed_id(id), phone=_echoed_phone(phone))
        return self._record(message, at)

    def delete(self, id: int | str, phone: str, *, at: float) -> bool:
        """Delete a message. Returns `False` if it is not found, or archived already."""
        return self.delete_all([(id, phone)], at=at)

    def delete_all(self, messages: Collection[tuple[int | str, str]], *, at: float) -> bool:
        """Delete these messages if all of them are found. If one is not, returns `False` and deletes none."""
        found = [message for id, phone in messages if (message := self._found(id, phone, at)) is not None]
        if len(found) < len(messages):
            return False
        for message in found:
            self._messages.pop(message.ref.identity, None)  # the default is for a message that is named twice
        return True

    def _found(self, id: int | str, phone: str, at: float) -> _Message | None:
        message = self._messages.get((id_key(id), phone_key(phone)))
        return None if message is None or self._is_archived(message, at) else message

    def _is_archived(self, message: _Message, at: float) -> bool:
        """Whether a message is archived, by the vendor's page.

        It is after a day, or after 03:00 Moscow time if it was final then and was sent before 18:00 of the day before.
        """
        if at - message.sent_at >= DAY:
            return True
        sweep = at // DAY * DAY  # 03:00 in Moscow is midnight UTC
        if message.sent_at >= sweep - SETTLED_BEFORE_SWEEP:
            return False
        return _lives.is_over(message.kind, _lives.step_at(self._life(message), sweep - message.sent_at))

    def _life(self, message: _Message) -> Life:
        if message.given.life is not None:
            return message.given.life
        return _lives.draw_life(message.kind, Draws(self.seed, "life", *message.ref.identity))

    def _record(self, message: _Message, at: float) -> StatusRecord:
        step = _lives.step_at(self._life(message), at - message.sent_at)
        kind, given = message.kind, message.given
        draws = Draws(self.seed, "details", *message.ref.identity)
        flag = _details.draw_flag(kind, draws)
        text = _details.draw_text(kind, draws)
        text = text if given.text is None else given.text
        parts = _details.parts_of(kind, text)
        phone = _echoed_phone(message.ref.phone)
        network = _details.network_of(phone)
        changed_at, sent_at = int(message.sent_at + step.after), int(message.sent_at)
        title = status_title(step.status)
        fields: dict[str, Any] = {
            "status": step.status,
            "last_date": _moscow(changed_at),
            "last_timestamp": changed_at,
            "flag": flag if given.flag is None else given.flag,
            "err": step.err,
            "send_date": _moscow(sent_at),
            "send_timestamp": sent_at,
            "phone": phone,
            "cost": _details.price_of(kind, parts),
            "sender_id": given.sender or _details.SENDERS.get(kind, "SMSC.RU"),
            "status_name": title.ru if title else "",
            "message": text,
            "type": kind,
            "id": _echoed_id(message.ref.id),
        }
        if kind in _lives.LOOK_UPS:
            return HlrRecord(**fields, **_look_up(phone, network or _details.RUSSIA, step, draws))
        return StatusRecord(**fields, comment=given.comment, sms_cnt=parts, **_registration(network, draws))


@lru_cache(maxsize=4096)
def _moscow(at: int) -> str:
    return datetime.fromtimestamp(at, MOSCOW).strftime("%d.%m.%Y %H:%M:%S")


def _echoed_id(id: int | str) -> int | str:
    key = id_key(id)
    return key if isinstance(key, int) else id


def _echoed_phone(phone: str) -> str:
    return phone.strip() if "@" in phone else phone_key(phone)


def _registration(network: _details.Network | None, draws: Draws) -> dict[str, Any]:
    if network is None:
        return {}
    mnc, operator = draws.one_of(network.operators)
    is_ported = draws.chance() < 0.1
    return {
        "mccmnc": network.mcc + mnc,
        "country": network.country,
        "operator": operator,
        "operator_orig": draws.one_of(network.operators)[1] if is_ported else operator,
        "region": draws.one_of(network.regions),
    }


def _look_up(phone: str, network: _details.Network, step: _lives.Step, draws: Draws) -> dict[str, Any]:
    """The fields that only a look-up has. Those about the number are empty until it succeeds with error 0."""
    mnc, operator = draws.one_of(network.operators)
    region, abroad = draws.one_of(network.regions), draws.chance() < 0.05
    place = {"country": network.country, "operator": operator, "region": region}
    if step.err != 0:
        return dict.fromkeys(("imsi", "msc", "mcc", "mnc", "cn", "net", "rcn", "rnet"), "") | place
    return place | {
        "imsi": f"{network.mcc}{mnc}{draws.whole(0, 10**10):010d}",
        "msc": phone[:4] + f"{draws.whole(0, 10**7):07d}",
        "mcc": network.mcc,
        "mnc": mnc,
        "cn": network.country,
        "net": operator,
        "rcn": "Турция" if abroad else "",
        "rnet": "Turkcell, Турция" if abroad else "",
    }


def _phone(number: int, kind: int, draws: Draws) -> str:
    if kind == EMAIL:
        return f"user{number}@example.ru"
    if draws.chance() < 0.1:
        return f"{draws.one_of(FOREIGN)}{number % 10**9:09d}"
    return f"79{number % 10**9:09d}"


def _given(kind: int, draws: Draws, nasty: float) -> _Given:
    """Special fields for a few messages: a text that is hard to parse, or a life in which the mailing was paused."""
    if draws.chance() < PAUSED_SHARE and kind != HLR:
        paused = draws.between(5 * _lives.MINUTE, _lives.HOUR)
        life = _lives.explicit_life(((0, -1), (1, -2), (paused, 0), (paused + 8, 1)))
        return _Given(life=life)
    if kind != HLR and draws.chance() < nasty:
        return _Given(text=draws.one_of(_details.NASTY_TEXTS), comment=draws.one_of(_details.NASTY_COMMENTS))
    return _NOTHING_GIVEN
