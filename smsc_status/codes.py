"""The vendor's numbers and what they mean, in English and in Russian.

The numbers and their Russian names are those of https://smsc.ru/api/http/status_messages/check_status/. That page does
not say which statuses are final; this library decides it. An unknown number is never an error: it has no title and is
not final.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum, StrEnum
from types import MappingProxyType

import attrs


class Status(IntEnum):
    """How far a message has come."""

    NOT_FOUND = -3
    STOPPED = -2
    WAITING = -1
    ACCEPTED = 0
    DELIVERED = 1
    READ = 2
    EXPIRED = 3
    CLICKED = 4
    UNDELIVERABLE = 20
    WRONG_NUMBER = 22
    FORBIDDEN = 23
    NO_FUNDS = 24
    UNAVAILABLE = 25


class MessageType(IntEnum):
    """The kind of a message. There is no 9 and no 11."""

    SMS = 0
    FLASH_SMS = 1
    BINARY_SMS = 2
    WAP_PUSH = 3
    HLR = 4
    PING_SMS = 5
    MMS = 6
    CALL = 7
    EMAIL = 8
    VIBER = 10
    SOCIAL = 12


class Channel(StrEnum):
    """How a message travels. The meaning of its error numbers depends on it."""

    UNKNOWN = "unknown"
    SMS = "sms"
    HLR = "hlr"
    MMS = "mms"
    CALL = "call"
    EMAIL = "email"
    VIBER = "viber"
    SOCIAL = "social"


@attrs.frozen(slots=True)
class Title:
    """A text in two languages."""

    en: str
    ru: str


@attrs.frozen(slots=True)
class Meaning:
    """A number's short name, and a sentence about it."""

    title: Title
    description: Title


FINAL = frozenset({1, 2, 3, 4, 20, 22, 23, 24, 25})
"""The statuses that no longer change by themselves. `is_final` uses them."""

DELIVERED = frozenset({1, 2, 4})
"""The statuses of a message that reached its recipient."""


def channel_of(type: int) -> Channel:
    """The channel of a message type; `Channel.UNKNOWN` for a number that the vendor does not list."""
    return _CHANNELS.get(type, Channel.UNKNOWN)


def is_final(status: int) -> bool:
    """Whether the status will no longer change by itself; `False` for an unknown number."""
    return status in FINAL


def status_title(code: int) -> Title | None:
    """The name of a status; `None` for an unknown number."""
    return _title(STATUSES.get(code))


def error_title(channel: Channel, err: int) -> Title | None:
    """The name of an `err` number on this channel; `None` for an unknown number or channel."""
    return _title(error_meanings(channel).get(err))


def error_meanings(channel: Channel) -> Mapping[int, Meaning]:
    """The error numbers of a channel. E-mail has its own, an unknown channel has none, all others share one table."""
    return _ERRORS_OF.get(channel, SMS_ERRORS)


def reply_error_title(code: int) -> Title | None:
    """The name of an `error_code`, with which the vendor refuses a whole request; `None` for an unknown number."""
    return REPLY_ERRORS.get(code)


def type_title(type: int) -> Title | None:
    """The name of a message type; `None` for an unknown number."""
    return TYPES.get(type)


def _title(meaning: Meaning | None) -> Title | None:
    return meaning.title if meaning else None


def _meanings(rows: dict[int, tuple[str, str, str, str]]) -> Mapping[int, Meaning]:
    return MappingProxyType(
        {
            code: Meaning(Title(name, name_ru), Title(text, text_ru))
            for code, (name, name_ru, text, text_ru) in rows.items()
        }
    )


_CHANNELS = {
    0: Channel.SMS,
    1: Channel.SMS,
    2: Channel.SMS,
    3: Channel.SMS,
    4: Channel.HLR,
    5: Channel.SMS,
    6: Channel.MMS,
    7: Channel.CALL,
    8: Channel.EMAIL,
    10: Channel.VIBER,
    12: Channel.SOCIAL,
}

TYPES: Mapping[int, Title] = MappingProxyType(
    {
        0: Title("SMS", "SMS"),
        1: Title("Flash SMS", "Flash-SMS"),
        2: Title("Binary SMS", "Бинарное SMS"),
        3: Title("WAP push", "Wap-push"),
        4: Title("HLR look-up", "HLR-запрос"),
        5: Title("Ping SMS", "Ping-SMS"),
        6: Title("MMS", "MMS"),
        7: Title("Voice call", "Звонок"),
        8: Title("E-mail", "E-mail"),
        10: Title("Viber", "Viber"),
        12: Title("Social network", "Соцсети"),
    }
)

REPLY_ERRORS: Mapping[int, Title] = MappingProxyType(
    {
        1: Title("Wrong parameters", "Ошибка в параметрах"),
        2: Title("Wrong login or password, or an IP address not allowed", "Неверный логин или пароль"),
        4: Title("IP address temporarily blocked", "IP-адрес временно заблокирован"),
        5: Title("Message can't be deleted", "Ошибка удаления сообщения"),
        9: Title("Too many requests", "Слишком много запросов"),
    }
)

# fmt: off
STATUSES = _meanings({
    -3: ("Not found", "Сообщение не найдено",
         "No message with this id and phone, or it is in the archive.",
         "Для указанного номера телефона и ID сообщение не найдено или уже в архиве."),
    -2: ("Stopped", "Остановлено",
         "Its mailing was paused before the message went to the operator.",
         "Рассылка была приостановлена раньше, чем сообщение ушло оператору."),
    -1: ("Waiting to be sent", "Ожидает отправки",
         "Waiting for its delivery time, or about to be sent.",
         "Ждёт заданного времени получения либо вот-вот будет отправлено."),
    0: ("Handed to the operator", "Передано оператору",
        "The operator's message centre has it for delivery.",
        "Сообщение передано на SMS-центр оператора для доставки."),
    1: ("Delivered", "Доставлено",
        "The message reached its addressee.",
        "Сообщение было успешно доставлено абоненту."),
    2: ("Read", "Прочитано",
        "The addressee opened it; possible for e-mail in HTML.",
        "Сообщение открыто получателем; возможно для e-mail в формате html."),
    3: ("Expired", "Просрочено",
        "Its lifetime ended before it could be delivered.",
        "Время жизни сообщения истекло, а оно не было доставлено."),
    4: ("Link followed", "Нажата ссылка",
        "It was delivered, and the short link in it was followed.",
        "Сообщение доставлено, и абонент нажал короткую ссылку в нём."),
    20: ("Can't be delivered", "Невозможно доставить",
         "Delivery failed: the subscriber is blocked, absent, roaming or can't receive SMS.",
         "Попытка доставки закончилась неудачно: абонент заблокирован, не существует или не принимает SMS."),
    22: ("Wrong number", "Неверный номер",
         "The phone number has a wrong form.",
         "Неправильный формат номера телефона."),
    23: ("Forbidden", "Запрещено",
         "Stopped by the limits on duplicates and floods, the black list or the spam filter.",
         "Сработали ограничения на дубли, флуд, чёрный список или спам-фильтр."),
    24: ("Not enough money", "Недостаточно средств",
         "The account's balance does not cover the message.",
         "На счёте Клиента недостаточная сумма для отправки."),
    25: ("Number unavailable", "Недоступный номер",
         "The number takes no SMS, or there is no working route to its operator.",
         "Номер не принимает SMS, или на этого оператора нет рабочего маршрута."),
})

SMS_ERRORS = _meanings({
    0: ("No error", "Нет ошибки",
        "The subscriber exists and can be reached.", "Абонент существует и доступен."),
    1: ("No such subscriber", "Абонент не существует",
        "The phone number does not exist.", "Указанный номер телефона не существует."),
    6: ("Subscriber offline", "Абонент не в сети",
        "The phone is off or out of coverage.", "Телефон отключён или вне зоны действия сети."),
    11: ("Service not enabled", "Не подключена услуга",
         "The subscriber can't receive SMS: no such service, roaming without it, or a land line.",
         "Абонент не может принять SMS: нет услуги, роуминг без приёма сообщений или городской номер."),
    12: ("Fault in the phone", "Ошибка в телефоне абонента",
         "The handset or its SIM card failed to take the message.",
         "Ошибка в телефонном аппарате или SIM-карте абонента."),
    13: ("Subscriber blocked", "Абонент заблокирован",
         "Blocked by the operator or by the subscriber, or the SIM card is damaged or locked.",
         "Заблокирован оператором или самим абонентом, либо повреждена SIM-карта."),
    21: ("Service not supported", "Нет поддержки сервиса",
         "The handset does not support this service.", "Аппарат абонента не поддерживает этот сервис."),
    200: ("Virtual sending", "Виртуальная отправка",
          "The account is in test mode: nothing was sent, nothing was charged.",
          "Сообщение отправлено в режиме тестирования, без оплаты."),
    219: ("SIM card replaced", "Замена sim-карты",
          "After a new SIM card, messages from named senders are blocked for 24 hours.",
          "После замены sim-карты приём от буквенных имён заблокирован на 24 часа."),
    220: ("Operator's queue is full", "Переполнена очередь у оператора",
          "The operator holds too many messages for the subscriber; sending is tried again.",
          "Переполнилась очередь сообщений у оператора; отправка будет повторена."),
    237: ("No answer", "Абонент не отвечает",
          "The call was not picked up.", "Абонент не взял трубку."),
    238: ("No template", "Нет шаблона",
          "Only texts that fit a template may be sent, and this one does not.",
          "Отправка возможна только по шаблону, а сообщение ему не удовлетворяет."),
    239: ("IP address forbidden", "Запрещенный ip-адрес",
          "Sent from an address that the account does not allow, or that is new to it.",
          "Отправка с ip-адреса, не разрешённого Клиентом или не используемого ранее."),
    240: ("Line busy", "Абонент занят",
          "The line is busy, or the call was rejected.", "Линия занята, или абонент отменил вызов."),
    241: ("Conversion failed", "Ошибка конвертации",
          "The sound could not be converted, or the operator did not get all parts of an SMS.",
          "Не удалось преобразовать звук, или оператору переданы не все части SMS."),
    242: ("Answering machine", "Зафиксирован автоответчик",
          "An answering machine took the call.", "На стороне абонента зафиксирован автоответчик."),
    243: ("No contract", "Не заключен договор",
          "Advertising and mass mailings need a contract.",
          "Рекламные и массовые рассылки требуют заключённого договора."),
    244: ("Mailing forbidden", "Рассылка запрещена",
          "The account may not send mass mailings, or the text has a forbidden link.",
          "Массовые рассылки Клиенту запрещены, либо в тексте запрещённая ссылка."),
    245: ("No status received", "Статус не получен",
          "The operator gave no status within a day: it is not known whether it was delivered.",
          "В течение суток статус от оператора не получен; доставка неизвестна."),
    246: ("Outside the allowed hours", "Ограничение по времени",
          "The account's settings forbid sending at this time of day.",
          "Настройки запрещают отправку в это время."),
    247: ("Message limit reached", "Превышен лимит сообщений",
          "The account's daily limit of messages is used up.", "Превышен общий суточный лимит сообщений."),
    248: ("No route", "Нет маршрута",
          "The service can't send to this number, or has no gateway for this text.",
          "Отправка на данный номер недоступна, или нет рабочего SMS-шлюза."),
    249: ("Wrong number format", "Неверный формат номера",
          "The mobile code and the length of the number do not go together.",
          "Мобильный код и длина номера не соответствуют друг другу."),
    250: ("Number forbidden by settings", "Номер запрещен настройками",
          "The account's own settings exclude this number.", "Номер попал под ограничения в настройках Клиента."),
    251: ("Limit per number reached", "Превышен лимит на один номер",
          "The daily limit for one number is used up, or too many messages went to it in a row.",
          "Превышен суточный лимит на один номер, или сообщения шли слишком часто."),
    252: ("Number forbidden", "Номер запрещен",
          "The recipient may not be written to, for example one of the vendor's own numbers.",
          "Получатель запрещён, например федеральный номер самого сервиса."),
    253: ("Stopped by the spam filter", "Запрещено спам-фильтром",
          "The text or the sender's name is forbidden.", "Запрещённый текст или имя отправителя."),
    254: ("Sender not registered", "Незарегистрированный sender id",
          "The sender's name is not registered.", "Имя отправителя не зарегистрировано."),
    255: ("Rejected by the operator", "Отклонено оператором",
          "The operator refused it without an exact reason.",
          "Оператор отклонил сообщение без точного кода ошибки."),
})

EMAIL_ERRORS = _meanings({
    0: ("No error", "Нет ошибки",
        "The recipient exists and can be reached.", "Получатель существует и доступен."),
    1: ("No such recipient", "Адресат не существует",
        "The e-mail address does not exist.", "Указанный e-mail адрес не существует."),
    2: ("Mailbox full", "Переполнен почтовый ящик",
        "The recipient's server refused the message: the mailbox is full.",
        "Почтовый сервер получателя отклонил сообщение: ящик переполнен."),
    3: ("Recipient's server not found", "Сервер получателя не найден",
        "The mail server's domain was not found.", "Домен почтового сервера не найден."),
    4: ("Mailbox blocked", "Почтовый ящик заблокирован",
        "The recipient's server says that the mailbox is blocked.",
        "Почтовый сервер получателя сообщил о блокировке ящика."),
    239: ("IP address forbidden", "Запрещенный ip-адрес",
          "Sent from an address that the account does not allow, or that is new to it.",
          "Отправка с ip-адреса, не разрешённого Клиентом или не используемого ранее."),
    245: ("No status received", "Статус не получен",
          "The recipient's server gave no status within a day: it is not known whether it was delivered.",
          "В течение суток статус от почтового сервера не получен; доставка неизвестна."),
    248: ("No route", "Нет маршрута",
          "The service can't send to this address, or has no gateway for this text.",
          "Отправка на данный адрес недоступна, или нет рабочего e-mail шлюза."),
    249: ("Wrong address format", "Неверный формат адреса",
          "The e-mail address has a wrong form.", "Некорректный по формату e-mail адрес."),
    252: ("Address forbidden", "E-mail адрес запрещен",
          "The recipient is on a black list.", "E-mail адрес находится в чёрном списке."),
    253: ("Stopped by the spam filter", "Запрещено спам-фильтром",
          "The text or the sender's address is forbidden.", "Запрещённый текст или адрес отправителя."),
    254: ("Sender not registered", "Незарегистрированный отправитель",
          "The sender's e-mail address is not registered.", "E-mail адрес отправителя не зарегистрирован."),
    255: ("Rejected by the recipient's server", "Отклонено сервером получателя",
          "The recipient's server refused it without an exact reason.",
          "Почтовый сервер получателя отклонил сообщение без точного кода ошибки."),
})
# fmt: on

_ERRORS_OF: Mapping[Channel, Mapping[int, Meaning]] = {
    Channel.EMAIL: EMAIL_ERRORS,
    Channel.UNKNOWN: MappingProxyType({}),
}
