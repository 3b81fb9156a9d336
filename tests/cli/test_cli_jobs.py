"""What the commands that work through a file have in common."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from smsc_status.cli._exits import Exit
from smsc_status.cli._files import STDIN, Columns
from smsc_status.cli._jobs import Input, Job
from smsc_status.cli._meters import Quiet
from smsc_status.errors import AuthError, ConfigError
from smsc_status.models import MOSCOW, Detail, FailedCheck, MessageRef, StatusRecord


def input_of(path: Path | str) -> Input:
    return Input(str(path), Columns(), None, MOSCOW)


class Still(Job):
    """Does nothing."""

    def should_check(self, ref: MessageRef) -> bool:
        raise NotImplementedError

    def outcomes_of(self, refs: AsyncGenerator[MessageRef, None]) -> Any:
        raise NotImplementedError

    def take_in(self, outcome: StatusRecord | FailedCheck) -> None:
        raise NotImplementedError

    def show(self) -> None:
        raise NotImplementedError

    def result(self) -> Exit:
        return Exit.SOME_FAILED


def job() -> Still:
    parts: dict[str, Any] = {name: mock.Mock() for name in ("client", "messages", "reporter", "sink")}
    return Still(meter=Quiet(), detail=Detail.BASIC, **parts)


@pytest.mark.parametrize(("error", "status"), [(None, 1), (KeyboardInterrupt, 130)])
def test_a_run_ends_with_its_summary_however_it_ends(error: type[BaseException] | None, status: int) -> None:
    """Also what was said of bad lines."""
    still = job()
    with mock.patch("anyio.run", side_effect=error):
        assert still.carry_out() == status
    assert still.reporter.sum_up.called  # type: ignore[attr-defined]  # a mock
    assert still.seconds >= 0


def test_an_error_of_the_account_gives_the_exit_status() -> None:
    still = job()
    still.ended_by = AuthError(2)
    assert still.exit == Exit.REFUSED


def test_the_input_is_never_written_over(tmp_path: Path) -> None:
    """By whichever name it goes."""
    source, other = tmp_path / "in.csv", tmp_path / "other"
    source.write_text("id,phone\n")
    other.symlink_to(source)
    with pytest.raises(ConfigError, match="expected another file than the input"):
        input_of(source).require_other_file_than(other)
    input_of(source).require_other_file_than(tmp_path / "new")
    input_of(STDIN).require_other_file_than(source)
    assert input_of(source).size == 9
    assert input_of(STDIN).size is None


def test_errors_of_the_input_name_the_file(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text("number,phone\n")
    with ExitStack() as stack, pytest.raises(ConfigError, match=rf"^{source}: no column 'id'"):
        input_of(source).open(stack, print)
