"""Faults that happen to requests and answers. They are switched on by name."""

from __future__ import annotations

from collections import Counter
from random import Random

from smsc_status.errors import ConfigError
from smsc_status.models import StatusRecord

FAULTS = {
    "late_arrival": "the request arrives up to `seconds` late",
    "delay": "the answer is up to `seconds` late",
    "cut": "the connection is cut without an answer",
    "cut_halfway": "the connection is cut in the middle of the answer",
    "http_429": "HTTP 429, with an HTML page",
    "http_500": "HTTP 500, with an HTML page",
    "http_502": "HTTP 502, with an HTML page",
    "http_503": "HTTP 503, with an HTML page",
    "http_504": "HTTP 504, with an HTML page",
    "html": "HTTP 200, with an HTML page",
    "empty": "HTTP 200, with no body",
    "broken": "the body ends early, although the answer looks complete",
    "wrong_bytes": "letters in the body become bytes that the charset may not have",
    "spurious_9": "error 9, with no limit broken",
    "ip_blocked": "error 4 for `block_seconds`, once six requests within a minute were answered with error 9",
    "missing_records": "a bulk answer leaves messages out",
    "repeated_records": "a bulk answer gives messages twice",
    "reordered_records": "a bulk answer is in another order",
    "foreign_records": "a bulk answer has a message that was not asked for",
}
"""The name of each fault, and what it does."""

HTTP_ERRORS = {f"http_{status}": status for status in (429, 500, 502, 503, 504)}


FOREIGN = StatusRecord(
    status=1, last_date="01.01.2024 00:00:00", last_timestamp=1704056400, flag=0, id=1999999999, phone="70000000000"
)
"""The record of a message that was not asked."""


class ConnectionCut(ConnectionResetError):
    """The emulator cut the connection.

    In the same process the ASGI app raises it. On a port the socket is closed instead.
    """


class Faults:
    """Decides for each request which faults happen to it, by their probabilities (0 to 1) and random draws.

    ```python
    faults = Faults(seed=7, delay=0.1, http_503=0.05)
    faults.change(http_503=0.0)
    faults.enabled = False  # no faults, until it is true again
    ```

    Args:
        seed: the seed of the random draws.
        seconds: the longest `delay` and `late_arrival`, in seconds of the event loop.
        block_seconds: how long `ip_blocked` blocks the address, in emulated seconds.
        probabilities: the probability of each fault, by its name in `FAULTS`.

    Raises:
        ConfigError: an unknown name, or a probability outside 0 to 1.
    """

    def __init__(
        self, seed: int = 0, seconds: float = 2.0, *, block_seconds: float = 600.0, **probabilities: float
    ) -> None:
        self.enabled = True
        self.seconds = seconds
        self.block_seconds = block_seconds
        self.happened: Counter[str] = Counter()
        self._random = Random(seed)
        self._probabilities: dict[str, float] = {}
        self.change(**probabilities)

    def change(self, /, **probabilities: float) -> None:
        """Change some probabilities from now on.

        Raises:
            ConfigError: as from the constructor. Then none is changed.
        """
        for name, probability in probabilities.items():
            if name not in FAULTS:
                raise ConfigError(f"fault {name!r}: expected one of {', '.join(FAULTS)}")
            if not 0 <= probability <= 1:
                raise ConfigError(f"fault {name}={probability!r}: expected a probability from 0 to 1")
        self._probabilities.update(probabilities)

    def happens(self, name: str) -> bool:
        """Whether this fault happens to the present request. Each call draws again, and counts the fault if it does."""
        probability = self._probabilities.get(name, 0.0)
        if not self.enabled or not probability or self._random.random() >= probability:
            return False
        self.happened[name] += 1
        return True

    def wait(self, name: str) -> float:
        """By how many seconds this fault delays the present request; 0 if it does not happen."""
        return self._random.uniform(0, self.seconds) if self.happens(name) else 0.0

    def http_error(self) -> int | None:
        """The HTTP status that replaces the answer to the present request; `None` if no such fault happens."""
        return next((status for name, status in HTTP_ERRORS.items() if self.happens(name)), None)

    def spoil_records(self, records: list[StatusRecord]) -> list[StatusRecord]:
        """The records of a bulk answer after the faults that concern them."""
        records = list(records)
        if self.happens("missing_records"):
            gone = self._some(len(records))
            records = [record for index, record in enumerate(records) if index not in gone]
        if self.happens("repeated_records") and records:
            records += [records[index] for index in sorted(self._some(len(records)))]
        if self.happens("foreign_records"):
            records.insert(self._random.randint(0, len(records)), FOREIGN)
        if self.happens("reordered_records"):
            self._random.shuffle(records)
        return records

    def spoil_body(self, body: bytes) -> bytes:
        """The body of an answer after the faults that concern it."""
        if self.happens("broken"):
            body = body[: self._random.randrange(max(1, len(body)))]
        if self.happens("wrong_bytes"):
            # 0x98 is the only byte that windows-1251 does not have, and no character begins with it in UTF-8.
            body = bytes(0x98 if byte >= 0xC0 and self._random.random() < 0.2 else byte for byte in body)
        return body

    def _some(self, count: int) -> set[int]:
        return {self._random.randrange(count) for _ in range(1 + count // 4)}
