"""Makes up the other fields of messages (text, price, network), in the forms that the vendor's server prints."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from smsc_status.emulator._lives import CALL, EMAIL, HLR, Draws

TEXTS = (
    "Ваш код: {n}",
    "Код подтверждения {n}. Никому его не сообщайте!",
    "Заказ №{n} передан в доставку, курьер позвонит за час",
    "Запись на приём: завтра в 10:30, кабинет {n}",
    "Скидка 20% до конца недели: https://example.ru/{n}",
    "Your order {n} is ready for pickup",
    "Баланс договора {n}: 1234,56 руб. Оплатите, пожалуйста, до 25 числа",
)
NASTY_TEXTS = (
    "итого, err = 255, type = 4",
    'кавычки "внутри" и \\обратная черта\\',
    "две\nстроки, и запятая,",
    "<b>жирный</b> & <sms><status>1</status></sms>",
    "-3,0,0,1,79990000000",
    "смайлик 😀 и знак €, ∞",
    "ERROR = 9 (duplicate request, wait a minute)",
    " пробелы по краям ",
    ",",
    '{"status": 1}',
)
NASTY_COMMENTS = ("a, b = c", "комментарий, с запятой", "1", "<comment>", "две\nстроки")


class Network(NamedTuple):
    """Where a number is registered."""

    country: str
    mcc: str
    operators: tuple[tuple[str, str], ...]  # (mnc, name)
    regions: tuple[str, ...]


RUSSIA = Network(
    "Россия",
    "250",
    (("01", "МТС"), ("02", "МегаФон"), ("99", "Билайн"), ("20", "Tele2")),
    (
        "Москва и Московская область",
        "Санкт-Петербург и Ленинградская область",
        "Новосибирская обл.",
        "Краснодарский край",
    ),
)
NETWORKS = {
    "77": Network("Казахстан", "401", (("01", "Beeline"), ("02", "Kcell")), ("Алматы, город",)),
    "375": Network("Беларусь", "257", (("01", "A1"), ("02", "МТС")), ("",)),
    "380": Network("Украина", "255", (("01", "Vodafone"), ("03", "Киевстар")), ("",)),
    "998": Network("Узбекистан", "434", (("04", "Beeline"), ("05", "Ucell")), ("",)),
}
PRICES: dict[int, str] = {HLR: "0.300", CALL: "1.50", EMAIL: "0.15", 10: "1.700", 12: "1.90"}
SENDERS: dict[int, str] = {HLR: "HLR", CALL: "79010000001", EMAIL: "news@example.ru"}


def network_of(phone: str) -> Network | None:
    """The network of the phone number's country; `None` for an e-mail address."""
    if "@" in phone:
        return None
    return next((network for prefix, network in NETWORKS.items() if phone.startswith(prefix)), RUSSIA)


def draw_text(kind: int, draws: Draws) -> str:
    """A random text of an ordinary message. A look-up has an empty one."""
    return "" if kind == HLR else draws.one_of(TEXTS).format(n=draws.whole(1000, 10000))


def draw_flag(kind: int, draws: Draws) -> int:
    """The `flag` of a message: its type, and for some messages the bits for the second balance or for a template."""
    flag = kind & 0xF
    if draws.chance() < 0.1:
        flag |= 0x20
    if draws.chance() < 0.2 and kind != HLR:
        flag |= 0x100 | draws.whole(0, 4) << 9
    return flag


def parts_of(kind: int, text: str) -> int:
    """How many parts a text is sent in; for a call, its length in seconds."""
    if kind == CALL:
        return 5 + len(text) // 12
    one, each = (160, 153) if text.isascii() else (70, 67)
    return 1 if len(text) <= one else -(-len(text) // each)


def price_of(kind: int, parts: int) -> Decimal:
    """The cost of the whole message, all its parts included, with two or three decimals."""
    return Decimal(PRICES[kind]) if kind in PRICES else Decimal("2.45") * parts
