"""What the page says, in both languages. A figure or a name stands where a text has `{}`."""

from __future__ import annotations

from collections.abc import Mapping

from smsc_status.codes import Channel, Title

TEXTS: Mapping[str, Title] = {
    "title": Title("Delivery report", "Отчёт о доставке"),
    "made": Title("Made {}", "Составлен {}"),
    "from": Title("from {}", "по данным {}"),
    "delivered": Title("Delivered", "Доставлено"),
    "failed": Title("Not delivered", "Не доставлено"),
    "open": Title("On the way", "В пути"),
    "unknown": Title("Status unknown", "Статус неизвестен"),
    "total": Title("Total", "Всего"),
    "share_delivered": Title("of the messages were delivered", "сообщений доставлено"),
    "nothing": Title("There are no messages in the results.", "В результатах нет сообщений."),
    "share": Title("Share", "Доля"),
    "delivered_share": Title("Share delivered", "Доля доставленных"),
    "reachable_share": Title("Share reachable", "Доля доступных"),
    "messages": Title("Messages", "Сообщений"),
    "figures": Title("Show the figures", "Показать числа"),
    "others": Title("All others", "Все остальные"),
    "empty_name": Title("–", "–"),
    # By day.
    "by_day": Title("Day by day", "По дням"),
    "by_week": Title("Week by week", "По неделям"),
    "by_month": Title("Month by month", "По месяцам"),
    "day": Title("Sent on", "Отправлено"),
    "week": Title("Week from", "Неделя с"),
    "month": Title("Month", "Месяц"),
    "day_plot": Title(
        "Messages by the date of sending: delivered, not delivered, on the way, unknown",
        "Сообщения по дате отправки: доставлено, не доставлено, в пути, статус неизвестен",
    ),
    "day_partly": Title("The date of sending is known for {}.", "Дата отправки известна у {}."),
    "day_others": Title(
        "There are more than {} different days. Left out of further days: {}.",
        "Различных дней больше {}. За остальные дни не показано: {}.",
    ),
    # How long it takes.
    "times": Title("How long delivery takes", "Сколько идёт доставка"),
    "times_note": Title("From sending to delivery, over {}.", "От отправки до доставки, по {}."),
    "half": Title("Half arrive within", "Половина доходит за"),
    "ninety": Title("90 in 100 within", "90 из 100 за"),
    "ninety_nine": Title("99 in 100 within", "99 из 100 за"),
    "median": Title("Median", "Медиана"),
    "curve": Title("Share delivered, by the time since sending", "Доля доставленных, по времени с отправки"),
    "curve_by_operator": Title(
        "Share delivered, by the time since sending, for each operator",
        "Доля доставленных, по времени с отправки, для каждого оператора",
    ),
    "times_by_day": Title("The same, by the date of sending", "То же по дате отправки"),
    "all_operators": Title("All messages", "Все сообщения"),
    "operator": Title("Operator", "Оператор"),
    "no_times": Title(
        "No message is known to be delivered at a known time.",
        "Нет сообщений с известным временем доставки.",
    ),
    # Why.
    "reasons": Title("Why messages were not delivered", "Почему не доставлено"),
    "reason": Title("Reason", "Причина"),
    "error_number": Title("Error {}", "Ошибка {}"),
    "status_number": Title("Status {}", "Статус {}"),
    "checks_failed": Title("Why the status is not known", "Почему статус неизвестен"),
    "not_found": Title("Not found", "Не найдено"),
    "not_found_note": Title(
        "The server does not know the message, or has moved it to its archive.",
        "Сервер не знает этого сообщения или перенёс его в архив.",
    ),
    # Groups.
    "by_channel": Title("By channel", "По каналам"),
    "by_operator": Title("By operator", "По операторам"),
    "by_sender": Title("By sender", "По отправителям"),
    "channel": Title("Channel", "Канал"),
    "sender": Title("Sender", "Отправитель"),
    "operator_partly": Title("The operator is known for {}.", "Оператор известен у {}."),
    "sender_partly": Title("The sender is known for {}.", "Отправитель известен у {}."),
    # Cost.
    "cost": Title("Cost", "Стоимость"),
    "cost_note": Title("In the currency of the account.", "В валюте счёта."),
    "cost_total": Title("All messages", "Все сообщения"),
    "cost_delivered": Title("What was delivered", "Доставленные"),
    "cost_each": Title("For each delivered message", "На одно доставленное"),
    "cost_look_ups": Title("Number look-ups", "Проверки номеров"),
    "cost_partly": Title("The cost is known for {}.", "Стоимость известна у {}."),
    # The slowest.
    "slowest": Title("The slowest deliveries", "Самые долгие доставки"),
    "id": Title("Id", "ID"),
    "phone": Title("Recipient", "Получатель"),
    "sent": Title("Sent", "Отправлено"),
    "took": Title("Took", "Шло"),
    # Look-ups.
    "look_ups": Title("Number look-ups", "Проверки номеров"),
    "look_ups_note": Title("They are not counted among the messages.", "Они не входят в число сообщений."),
    "reachable": Title("Reachable", "Доступны"),
    "unreachable": Title("Not reachable", "Недоступны"),
    "look_ups_open": Title("Not known yet", "Пока неизвестно"),
    # What is left out.
    "left_out_day": Title(
        "The days are left out: the results have no times of sending. {}",
        "По дням не показано: в результатах нет времени отправки. {}",
    ),
    "left_out_times": Title(
        "How long delivery takes is left out: the results have no times of sending. {}",
        "Время доставки не показано: в результатах нет времени отправки. {}",
    ),
    "left_out_operator": Title(
        "The operators are left out: the results do not name them. {}",
        "По операторам не показано: в результатах их нет. {}",
    ),
    "left_out_sender": Title(
        "The senders are left out: the results do not name them. {}",
        "По отправителям не показано: в результатах их нет. {}",
    ),
    "left_out_cost": Title(
        "The cost is left out: the results do not have it. {}",
        "Стоимость не показана: в результатах её нет. {}",
    ),
    "detail_full": Title("The level of detail full gives them.", "Их даёт уровень подробности full."),
    "detail_extended": Title("The level of detail extended gives them.", "Их даёт уровень подробности extended."),
    "detail_full_it": Title("The level of detail full gives it.", "Её даёт уровень подробности full."),
    "column": Title("A column of the table may be named by --column {}=…", "Столбец таблицы называет --column {}=…"),
    # About.
    "about": Title("How it was counted", "Как это посчитано"),
    "about_last": Title(
        "Of several records of a message, the last one counts. Records: {}; messages and look-ups: {}.",
        "Из нескольких записей о сообщении считается последняя. Записей: {}, сообщений и проверок номеров: {}.",
    ),
    "about_rows": Title("Each row of the table is one message.", "Каждая строка таблицы — одно сообщение."),
    "about_zone": Title("Days and times are in the zone {}.", "Дни и время — в часовом поясе {}."),
    "about_times": Title(
        "A message's time of delivery is known if the results have its status Delivered. Times up to {} are exact to "
        "the second; longer medians and percentiles may be off by {}.",
        "Время доставки известно, если в результатах есть статус «Доставлено». До {} время точно до секунды; более "
        "долгие медианы и процентили могут отличаться на {}.",
    ),
    "about_bad": Title("Left out, because they can't be read: {}.", "Пропущено, потому что не прочитано: {}."),
    "about_names": Title(
        "There are more than {} different names; all further ones are counted together.",
        "Различных имён больше {}; все последующие посчитаны вместе.",
    ),
    "statuses": Title("All statuses", "Все статусы"),
    "status": Title("Status", "Статус"),
    "not_asked": Title("Not asked yet", "Ещё не запрошен"),
}

COUNTED: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "messages": {
        "en": {"one": "message", "other": "messages"},
        "ru": {"one": "сообщение", "few": "сообщения", "many": "сообщений", "other": "сообщения"},
    },
    "of_messages": {
        "en": {"one": "message", "other": "messages"},
        "ru": {"one": "сообщения", "few": "сообщений", "many": "сообщений", "other": "сообщения"},
    },
    "to_messages": {
        "en": {"one": "message", "other": "messages"},
        "ru": {"one": "сообщению", "few": "сообщениям", "many": "сообщениям", "other": "сообщения"},
    },
    "look_ups": {
        "en": {"one": "look-up", "other": "look-ups"},
        "ru": {"one": "проверка номера", "few": "проверки номеров", "many": "проверок номеров", "other": "проверки"},
    },
    "lines": {
        "en": {"one": "line", "other": "lines"},
        "ru": {"one": "строка", "few": "строки", "many": "строк", "other": "строки"},
    },
}
"""Nouns beside a number, in each form that the language's plurals have. In Russian `of_` is the genitive, `to_` the
dative case."""

CHANNELS: Mapping[Channel, Title] = {
    Channel.UNKNOWN: Title("Unknown", "Неизвестен"),
    Channel.SMS: Title("SMS", "SMS"),
    Channel.HLR: Title("HLR look-up", "HLR-запрос"),
    Channel.MMS: Title("MMS", "MMS"),
    Channel.CALL: Title("Voice call", "Звонок"),
    Channel.EMAIL: Title("E-mail", "E-mail"),
    Channel.VIBER: Title("Viber", "Viber"),
    Channel.SOCIAL: Title("Social network", "Соцсети"),
}

CHECK_ERRORS: Mapping[str, Title] = {
    "ConfigError": Title("The id or phone can't be used", "ID или телефон непригоден"),
    "Archived": Title("The vendor moved it to its archive too early", "Сервер перенёс его в архив раньше времени"),
    "TrackingTimeout": Title("It did not end in time", "Не завершилось в срок"),
    "RequestTimeout": Title("The server did not answer in time", "Сервер не ответил вовремя"),
    "TransportError": Title("The server could not be reached", "Сервер недоступен"),
    "ProtocolError": Title("The answer could not be read", "Ответ не удалось прочитать"),
    "ParametersError": Title("The server refused the request", "Сервер отклонил запрос"),
    "RateLimited": Title("Too many requests", "Слишком много запросов"),
}
"""The errors that end the checks of a message, by the names of their classes."""
