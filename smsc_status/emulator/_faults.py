"""What goes wrong on the way, switched on by name."""

from __future__ import annotations

from collections import Counter
from random import Random

from smsc_status.errors import ConfigError
from smsc_status.models import StatusRecord

FAULTS = {
    "late_arrival": "the request is up to `seconds` on its way before it arrives",
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
    "broken": "the body ends early, the answer looks whole",
    "wrong_bytes": "letters in the body become bytes that the charset may not have",
    "spurious_9": "error 9, with no limit broken",
    "ip_blocked": "error 4 for `block_seconds`, once six requests within a minute were answered with error 9",
    "missing_records": "a bulk answer leaves messages out",
    "repeated_records": "a bulk answer gives messages twice",
    "reordered_records": "a bulk answer is in another order",
    "foreign_records": "a bulk answer has a message that was not asked for",
}
"""The faults by name, and what each does."""

HTTP_ERRORS = {f"http_{status}": status for status in (429, 500, 502, 503, 504)}


FOREIGN = StatusRecord(
    status=1, last_date="01.01.2024 00:00:00", last_timestamp=1704056400, flag=0, id=1999999999, phone="70000000000"
)
"""The record of a message that nobody asked for."""


class ConnectionCut(ConnectionResetError):
    """The emulator cut the connection. In process it comes out of the ASGI app; on a port the socket is closed."""


class Faults:
    """Each fault's probability, from 0 to 1, drawn for every request from one seed.

    ```python
    faults = Faults(seed=7, delay=0.1, http_503=0.05)
    faults.change(http_503=0.0)
    faults.enabled = False  # all is well, until switched on again
    ```

    Args:
        seed: of the draws.
        seconds: the longest `delay` and `late_arrival`, in the event loop's seconds.
        block_seconds: how long `ip_blocked` blocks the address, in the emulator's seconds.
        probabilities: the faults' names, see `FAULTS`.

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
            ConfigError: as when built; then none is changed.
        """
        for name, probability in probabilities.items():
            if name not in FAULTS:
                raise ConfigError(f"fault {name!r}: expected one of {', '.join(FAULTS)}")
            if not 0 <= probability <= 1:
                raise ConfigError(f"fault {name}={probability!r}: expected a probability from 0 to 1")
        self._probabilities.update(probabilities)

    def happens(self, name: str) -> bool:
        """Whether it happens to the present request; drawn anew each time."""
        probability = self._probabilities.get(name, 0.0)
        if not self.enabled or not probability or self._random.random() >= probability:
            return False
        self.happened[name] += 1
        return True

    def wait(self, name: str) -> float:
        """How many seconds the present request is late by this fault; usually 0."""
        return self._random.uniform(0, self.seconds) if self.happens(name) else 0.0

    def http_error(self) -> int | None:
        """The HTTP status that stands in for the answer to the present request, if one does."""
        return next((status for name, status in HTTP_ERRORS.items() if self.happens(name)), None)

    def spoil_records(self, records: list[StatusRecord]) -> list[StatusRecord]:
        """The records of a bulk answer, as they go out."""
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
        """The body of an answer, as it goes out."""
        if self.happens("broken"):
            body = body[: self._random.randrange(max(1, len(body)))]
        if self.happens("wrong_bytes"):
            # 0x98 is the one byte that windows-1251 lacks, and no character of UTF-8 starts with it.
            body = bytes(0x98 if byte >= 0xC0 and self._random.random() < 0.2 else byte for byte in body)
        return body

    def _some(self, count: int) -> set[int]:
        return {self._random.randrange(count) for _ in range(1 + count // 4)}
