"""Processes that share an account, and the server that counts what they do: real processes, sockets and time."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import httpx
from stopped_client import LIMITS

CLIENT, SERVER = (Path(__file__).with_name(name) for name in ("fleet_client.py", "fleet_server.py"))
LONGEST = 100.0
"""Seconds. No process takes longer, however busy the machine is."""
BUDGET, LINGER = 1.2, 1.0
QUARANTINE = 3.0 + 0.2 + LINGER + BUDGET
"""Seconds for which nothing may start after the log was lost."""


class Program:
    """A process that runs the program."""

    def __init__(self, program: Path, *arguments: str) -> None:
        command = [sys.executable, str(program), *arguments]
        paths = [str(program.parent), str(program.parents[1])]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def line(self) -> Any:
        """The next thing that it says."""
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def end(self) -> Any:
        """Wait for its end, or ask for it if it goes on until it is asked. Returns the last thing that it says."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        timer = threading.Timer(LONGEST, self.process.kill)
        timer.start()
        self.process.stdin.close()
        output = self.process.stdout.read()  # `communicate` would miss what was read together with the last line
        status = self.process.wait()
        timer.cancel()
        assert status == 0
        return json.loads(output.splitlines()[-1])

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait_until_stopped(self) -> None:
        _, status = os.waitpid(self.process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):  # what was not written yet is of no use any more
                stream.close()


@attrs.define
class Counted:
    """What the server has seen."""

    refusals: int
    most_open: int
    requests: dict[str, int]
    messages: int

    @classmethod
    def of(cls, stats: dict[str, Any]) -> Counted:
        refusals = sum(stats["refusals"].values())
        return cls(refusals, stats["peak_open"], stats["requests"], stats["messages"])


class Fleet:
    """A server, and processes that use the account."""

    def __init__(self, *, latency: float = 0.1, messages: int = 5000) -> None:
        self.programs: list[Program] = []
        options = {"latency": latency, "messages": messages, "period": LIMITS.period}
        self._server = Program(SERVER, json.dumps(options))
        self.url = self._server.line()

    def start(self, share: object, work: str, **options: Any) -> Program:
        program = Program(CLIENT, self.url, str(share), json.dumps({"work": work} | options))
        self.programs.append(program)
        return program

    def counted(self) -> Counted:
        """The server's counts, at its end."""
        return Counted.of(self._server.end())

    def wait_until(self, condition: Callable[[Counted], bool]) -> Counted:
        """Wait until the server's counts are so. Returns them."""
        deadline = time.monotonic() + LONGEST
        with httpx.Client(verify=False) as http:  # it loads no certificates, which takes long
            while not condition(counted := Counted.of(http.get(f"{self.url}/emulator/stats").json())):
                assert time.monotonic() < deadline, counted
                time.sleep(0.02)
        return counted

    def wait_for_bulk(self) -> Counted:
        """Wait until one more bulk request has arrived."""
        before = self.wait_until(lambda _: True).requests["bulk"]
        return self.wait_until(lambda counted: counted.requests["bulk"] > before)

    def end(self) -> None:
        for program in [*self.programs, self._server]:
            program.kill()


def longest_gap(instants: list[float]) -> float:
    return max(after - before for before, after in pairwise(instants))


def kill_for(fleet: Fleet, share: object, seconds: float, *, at_work: bool = True) -> list[dict[str, Any]]:
    """Kill one of three processes every half second, and start another one. Two more go on.

    With `at_work`, a process is not killed before it has had its first answer. If they do not share the account, that
    may take long, because they are refused.
    """
    numbers = iter(range(10**6))

    def start() -> Program:
        return fleet.start(share, "go_on", first=1 + 200 * (next(numbers) % 20), count=200)

    staying, killed = [start(), start()], deque([start(), start(), start()])
    for program in staying:
        assert program.line() == "at work"
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.5)
        victim = killed.popleft()
        assert not at_work or victim.line() == "at work"
        victim.kill()
        killed.append(start())
    found = [program.end() for program in staying]
    for program in fleet.programs:
        program.kill()
    return found
