"""The commands that concern one message or none, as a user types them."""

from __future__ import annotations

import json
import os
import runpy
import socket
import sys
from pathlib import Path
from unittest import mock

import httpx
import pytest
import typer
from cli_support import FAST, Stream, account_of, run, serving

import smsc_status
from smsc_status import codes
from smsc_status.cli import _account, _app, _exits, _meters, _serve, main
from smsc_status.cli._output import OutputFormat, Sink, columns, csv_line, json_line
from smsc_status.emulator import FAULTS, EmulatorServer
from smsc_status.errors import (
    AddressBlocked,
    ApiError,
    AuthError,
    ConfigError,
    DeleteError,
    LimitExceeded,
    ParametersError,
    ProtocolError,
    RateLimited,
    RequestTimeout,
    SmscError,
    TransportError,
)
from smsc_status.models import Detail, FailedCheck, MessageRef, StatusRecord

KEY = {"SMSC_APIKEY": "s3cret-key"}


# One message.


def test_check_shows_the_fields_that_were_sent() -> None:
    """Readable, one thing a line, and nothing that was not sent."""
    with serving() as server:
        server.emulator.world.add(7, "79990000007", sent_at=server.emulator.now() - 60, life=[(0, 20, 6)])
        ended = run("check", "7", "79990000007", *FAST, env=account_of(server))
    assert ended.status == 0
    assert not ended.err
    shown = dict(line.split(None, 1) for line in ended.out.splitlines())
    assert shown["status"] == "20"
    assert shown["status_title"] == "Can't be delivered"
    assert shown["error_title"] == "Subscriber offline"
    assert "cost" not in shown


def test_check_prints_one_json_object_for_machines() -> None:
    """One JSON object, with the details that were asked for; the login and password will do too."""
    with serving() as server:
        server.emulator.world.add("ab-7", "a@b.ru", sent_at=server.emulator.now() - 60, life=[(0, 1)], text="x\x1b[2J")
        env = {"SMSC_BASE_URL": server.url, "SMSC_LOGIN": "demo", "SMSC_PASSWORD": "demo"}
        ended = run("check", "ab-7", "a@b.ru", "--detail", "extended", "--json", env=env)
        shown = run("check", "ab-7", "a@b.ru", "--detail", "full", env=env)
    record = json.loads(ended.out)
    assert record["id"] == "ab-7"
    assert record["channel"] == "email"
    assert record["is_final"] is True
    assert record["message"] == "x\x1b[2J"
    assert record["cost"] == "0.15"
    assert "\x1b" not in ended.out + shown.out


def test_check_of_an_unknown_message_is_an_answer() -> None:
    """-3 is a status like another."""
    with serving() as server:
        ended = run("check", "7", "79", "--json", env=account_of(server))
    assert ended.status == 0
    assert json.loads(ended.out)["status"] == -3


def test_delete_is_silent_when_done() -> None:
    """Silent when done; a message that is not there is refused by the vendor."""
    with serving(messages=1) as server:
        phone = next(iter(server.emulator.world)).phone
        done = run("delete", "1", phone, env=account_of(server))
        again = run("delete", "1", phone, env=account_of(server))
    assert (done.status, done.out, done.err) == (0, "", "")
    assert again.status == 3
    assert again.err.startswith("smsc-status: error 5")
    assert again.err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("command", ["check", "delete"])
def test_wrong_credentials_are_told_in_one_line(command: str) -> None:
    """One line that says what to do, and the status of a refusal."""
    with serving() as server:
        ended = run(command, "7", "79", env={**KEY, "SMSC_BASE_URL": server.url})
    assert ended.status == 3
    assert "SMSC_APIKEY" in ended.err
    assert ended.err.count("\n") == 1


def test_an_id_or_phone_of_a_wrong_form_is_refused_before_any_request() -> None:
    """Usage, in one line."""
    with serving() as server:
        for arguments in (["check", "a,b", "79"], ["check", "7", "none"], ["delete", "x" * 41, "79"]):
            ended = run(*arguments, env=account_of(server))
            assert ended.status == 2
            assert "expected" in ended.err
            assert ended.err.count("\n") == 1
        assert not server.emulator.referee.requests


def test_http_without_tls_is_refused() -> None:
    """As credentials would travel there."""
    ended = run("check", "7", "79", env={**KEY, "SMSC_BASE_URL": "http://example.com"})
    assert ended.status == 2
    assert "https" in ended.err


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ConfigError("x"), 2),
        (LimitExceeded("x"), 1),
        (AuthError(2), 3),
        (AddressBlocked(4), 3),
        (ParametersError(1), 3),
        (DeleteError(5), 3),
        (RateLimited(9), 3),
        (ApiError(77, "a\nb\x1b"), 3),
        (TransportError("x"), 4),
        (RequestTimeout("x"), 4),
        (ProtocolError("x", excerpt="<html>\n"), 4),
        (SmscError("x"), 1),
    ],
)
def test_every_error_has_its_exit_status_and_one_line(error: SmscError, status: int) -> None:
    """Whatever the server wrote, the terminal is safe."""
    assert _exits.exit_of(error) == status
    assert _exits.explained(error).isprintable()
    is_usage = isinstance(error, ConfigError)
    assert _exits.explained(error, "fetch").endswith("; see smsc-status fetch --help") is is_usage


# Credentials.


@pytest.mark.parametrize(
    ("env", "what"),
    [
        ({}, "set SMSC_APIKEY"),
        ({"SMSC_LOGIN": "me"}, "set SMSC_APIKEY"),
        ({"SMSC_APIKEY": "s3cret-key", "SMSC_LOGIN": "me"}, "unset one"),
        ({"SMSC_APIKEY": " "}, "apikey"),
    ],
)
def test_missing_or_surplus_credentials_are_an_error_without_a_terminal(env: dict[str, str], what: str) -> None:
    """Without a terminal nobody is asked."""
    ended = run("check", "7", "79", env=env)
    assert ended.status == 2
    assert what in ended.err


@pytest.mark.slow
@pytest.mark.measured
@pytest.mark.parametrize(
    ("env", "answers"),
    [
        ({}, ["demo-key"]),
        ({}, ["", "demo", "demo"]),
        ({"SMSC_LOGIN": "demo"}, ["demo"]),
        ({"SMSC_PASSWORD": "demo"}, ["demo"]),
    ],
)
def test_on_a_terminal_missing_credentials_are_asked_for(env: dict[str, str], answers: list[str]) -> None:
    """Without showing what is typed."""
    with serving() as server, mock.patch.object(_account, "getpass", side_effect=answers) as asked:
        ended = run("check", "7", "79", env={**env, "SMSC_BASE_URL": server.url}, terminals=("stdin",))
    assert ended.status == 0
    assert asked.call_count == len(answers)


def test_the_end_of_input_at_the_prompt_ends_the_command() -> None:
    """Ctrl-D at the prompt."""
    with mock.patch.object(_account, "getpass", side_effect=EOFError):
        ended = run("check", "7", "79", terminals=("stdin",))
    assert ended.status == 2
    assert "set SMSC_APIKEY" in ended.err


def test_ctrl_c_at_the_prompt_ends_as_the_shell_expects() -> None:
    """Ends as the shell expects it."""
    with mock.patch.object(_account, "getpass", side_effect=KeyboardInterrupt):
        assert run("check", "7", "79", terminals=("stdin",)).status == 130


def test_an_abort_ends_like_ctrl_c() -> None:
    """In whichever way Typer reports it."""
    with mock.patch.object(_app, "_parser", side_effect=typer.Abort):
        assert run("explain", "1").status == 130


@pytest.mark.parametrize("package", ["smsc_status", "smsc_status.cli"])
def test_the_package_is_a_command_too(package: str) -> None:
    """`python -m smsc_status`, or its command line."""
    out = Stream()
    argv = ["smsc-status", "--version"]
    with (
        mock.patch.object(sys, "argv", argv),
        mock.patch.object(sys, "stdout", out),
        pytest.raises(SystemExit) as ended,
    ):
        runpy.run_module(package, run_name="__main__")
    assert ended.value.code == 0
    assert out.text() == f"{smsc_status.__version__}\n"


def test_no_argument_takes_credentials() -> None:
    """Other users of a machine see arguments."""
    for command in ("check", "fetch", "delete"):
        shown = run(command, "--help").out.casefold()
        for word in ("--login", "--password", "--apikey", "--api-key", "--psw"):
            assert word not in shown


# Offline.


@pytest.mark.slow
@pytest.mark.parametrize("code", sorted({*codes.STATUSES, *codes.SMS_ERRORS, *codes.EMAIL_ERRORS, *codes.REPLY_ERRORS}))
def test_explain_knows_every_number(code: int) -> None:
    """In every table that has it, in both languages, negative ones too."""
    shown = run("explain", str(code))
    found = json.loads(run("explain", str(code), "--json").out)
    assert shown.status == 0
    assert found["code"] == code
    tables = (codes.STATUSES, codes.SMS_ERRORS, codes.EMAIL_ERRORS)
    for title in [table[code].title for table in tables if code in table] + [
        codes.REPLY_ERRORS[code] for _ in range(code in codes.REPLY_ERRORS)
    ]:
        assert title.en in shown.out
        assert title.ru in shown.out
    assert ("status" in found) == (code in codes.STATUSES)
    assert ("sms" in found.get("err", {})) == (code in codes.SMS_ERRORS)
    assert ("email" in found.get("err", {})) == (code in codes.EMAIL_ERRORS)
    assert ("reply_error" in found) == (code in codes.REPLY_ERRORS)


def test_explain_says_what_is_final() -> None:
    """Whether a status ends a message's life."""
    assert "final" in run("explain", "1").out
    assert "not final" in run("explain", "-3").out


@pytest.mark.parametrize("code", ["777", "-77", "x", ""])
def test_explain_refuses_what_is_no_code(code: str) -> None:
    """Usage, in one line."""
    ended = run("explain", code)
    assert ended.status == 2
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["check"], "smsc-status check"),
        (["fetch"], "smsc-status fetch"),
        (["nonsense"], "smsc-status"),
        (["check", "1", "2", "--foo"], "smsc-status check"),
        (["demo", "-x"], "smsc-status demo"),
        (["check", "1.0", "2"], "smsc-status check"),
        (["fetch", "missing.csv"], "smsc-status fetch"),
    ],
)
def test_wrong_usage_is_told_in_one_line(arguments: list[str], command: str) -> None:
    """One line, which names the command's help."""
    ended = run(*arguments, env=KEY)
    assert ended.status == 2
    assert ended.err.endswith(f"; see {command} --help\n")
    assert ended.err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.measured
def test_help_says_the_exit_statuses() -> None:
    """For the program and for each command; nothing typed is a wrong usage."""
    for arguments in (
        ["--help"],
        *([command, "--help"] for command in ("check", "fetch", "delete", "demo", "emulator")),
    ):
        ended = run(*arguments)
        assert ended.status == 0
        assert "Exit statuses: 0 done" in " ".join(ended.out.split())
    nothing = run()
    assert nothing.status == 2
    assert "Commands" in nothing.err


def test_version_is_the_package_s() -> None:
    """The package's."""
    assert run("--version").out == f"{smsc_status.__version__}\n"


def test_without_the_extra_the_command_says_what_to_install() -> None:
    """In one line."""
    err = Stream()
    with mock.patch.dict(sys.modules, {"typer": None}), mock.patch.object(sys, "stderr", err):
        assert main() == 2
    assert err.text().endswith('pip install "smsc-status[cli]"\n')
    assert err.text().count("\n") == 1


# Pipes and files.


def test_a_closed_pipe_ends_the_command_quietly(capfd: pytest.CaptureFixture[str]) -> None:
    """As `head` closes one."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe, mock.patch.object(sys, "stdout", pipe):
        assert _app.run(["explain", "1"]) == 141
    assert not capfd.readouterr().err


def test_a_closed_pipe_that_is_no_file_ends_the_command_quietly() -> None:
    """There is no file to let go of."""
    with mock.patch.object(_app, "write_stdout", side_effect=BrokenPipeError):
        assert run("explain", "1").status == 141


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OSError("odd")])
def test_other_errors_of_files_are_told_in_one_line(error: OSError) -> None:
    """A full disk, for one, is not a bug."""
    with mock.patch.object(_app, "write_stdout", side_effect=error):
        ended = run("explain", "1")
    assert ended.status == 2
    assert ended.err == f"smsc-status: input or output: {error.strerror or error}\n"


# The emulator's own command.


def test_emulator_serves_the_messages_that_it_wrote(tmp_path: Path) -> None:
    """The file and the greeting are what `fetch` and the shell need."""
    out = tmp_path / "messages.csv"
    with mock.patch.object(_serve, "serve") as served:
        ended = run("emulator", "--messages", "20", "--speed", "60", "--port", "0", "--out", str(out))
        served.call_args.kwargs["started"]
    assert ended.status == 0
    emulator, host, port = served.call_args.args
    assert (host, port) == ("127.0.0.1", 0)
    assert len(emulator.world) == 20
    assert len(out.read_text().splitlines()) == 21
    with EmulatorServer(emulator) as server:
        env = {"SMSC_BASE_URL": server.url, "SMSC_APIKEY": "demo-key"}
        fetched = run("fetch", str(out), "--format", "csv", *FAST, env=env)
        assert httpx.get(f"{server.url}/emulator/stats").status_code == 200
    assert fetched.status == 0
    assert len(fetched.out.splitlines()) == 21


@pytest.mark.parametrize(
    ("out", "speed", "expected"),
    [(None, 1.0, "smsc-status check 1 PHONE\n"), (Path("m.csv"), 60.0, "smsc-status fetch m.csv --period 1\n")],
)
def test_emulator_says_how_to_use_it(out: Path | None, speed: float, expected: str) -> None:
    """The address, the account, and a line to copy."""
    out_stream = Stream()
    with mock.patch.object(_serve, "serve") as served, mock.patch.object(sys, "stdout", out_stream):
        _serve.serve_emulator("::1", 1, allow_remote=False, speed=speed, seed=1, messages=0, out=None)
        served.call_args.kwargs["started"]("http://[::1]:1")
    assert "SMSC_BASE_URL=http://[::1]:1 SMSC_APIKEY=demo-key" in out_stream.text()
    # The greeting alone: the command would serve until Ctrl-C.
    assert _serve._greeting("u", speed, 3, out).endswith(expected)


def test_emulator_takes_faults_and_a_charset_of_its_header() -> None:
    """As the constructor takes them; by default there are no faults, and the charset is the vendor's."""
    with mock.patch.object(_serve, "serve") as served:
        run("emulator", "--faults", " cut=0.25, ip_blocked=1,", "--header-charset", "koi8-r")
        run("emulator", "--header-charset", "requested")
        run("emulator")
    odd, requested, usual = (call.args[0] for call in served.call_args_list)
    assert odd.faults.happens("ip_blocked")
    assert sum(odd.faults.happens("cut") for _ in range(400)) in range(70, 130)
    assert not any(odd.faults.happens(name) for name in FAULTS if name not in ("cut", "ip_blocked"))
    assert not any(usual.faults.happens(name) for name in FAULTS)
    assert [emulator.header_charset for emulator in (odd, requested, usual)] == ["koi8-r", None, "windows-1251"]


def test_emulator_names_its_faults() -> None:
    """All of them, in its help."""
    said = run("emulator", "--help").out
    assert all(f"{name}:" in said for name in FAULTS)


def test_emulator_says_that_its_port_is_taken() -> None:
    """Said in one line, with the address."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run("emulator", "--port", str(port), "--messages", "0")
    assert ended.status == 2
    assert f"127.0.0.1:{port}" in ended.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--host", "0.0.0.0"],
        ["--speed", "0"],
        ["--speed", "nan"],
        ["--messages", "-1"],
        ["--faults", "cut"],
        ["--faults", "cut=often"],
        ["--faults", "cut=2"],
        ["--faults", "cuts=0.5"],
        ["--header-charset", "a b"],
    ],
)
def test_emulator_refuses_values_that_can_not_be(arguments: list[str]) -> None:
    """Usage, in one line."""
    ended = run("emulator", *arguments)
    assert ended.status == 2
    assert ended.err.count("\n") == 1
    assert "allow_remote" not in ended.err


# What is written.


def test_a_failure_carries_its_reason() -> None:
    """The error's class and text in place of a status."""
    failure = FailedCheck(MessageRef("7", "79"), TransportError("cut"))
    assert failure.to_dict() == {"id": "7", "phone": "79", "error": "TransportError", "text": "cut"}


@pytest.mark.parametrize("detail", Detail)
def test_a_csv_file_has_the_same_columns_throughout(detail: Detail, tmp_path: Path) -> None:
    """Failures and look-ups included."""
    path = tmp_path / "out.csv"
    with path.open("wb") as file:
        Sink(file, OutputFormat.CSV, detail).write(FailedCheck(MessageRef("7", "79"), TransportError("a,\nb")))
    header, row = path.read_text().split("\n", 1)
    assert header.split(",") == columns(detail)
    assert row == "7,79," + "," * (len(columns(detail)) - 4) + 'TransportError,"a,\\nb"\n'


def test_a_cell_of_csv_can_not_run() -> None:
    """A text that begins as a formula has an apostrophe before it; numbers stay numbers, and phones readable."""
    cells = ["=cmd", "+7 (999) 0", "+79990000000", -3, "-3", "@x", "a=b"]
    assert csv_line(cells) == b"'=cmd,'+7 (999) 0,+79990000000,-3,-3,'@x,a=b\n"
    assert csv_line(cells, guard=False) == b"=cmd,+7 (999) 0,+79990000000,-3,-3,@x,a=b\n"


def test_written_text_moves_no_cursor() -> None:
    """Nor is what is said beside it."""
    text = "a\x1b[2J\r\x9b\u202e"
    for written in (json_line(text).decode(), csv_line([text]).decode()):
        assert written.rstrip("\n").isprintable()
    assert json.loads(json_line(text)) == text
    for kind in (_meters.Quiet, _meters.Live):
        err = Stream(is_terminal=True)
        with mock.patch.object(sys, "stderr", err):
            kind().say(text)
        assert "\x1b[2J" not in err.text()


def test_half_a_surrogate_pair_can_be_written() -> None:
    """As an escape, which JSON reads as what it was."""
    assert json.loads(json_line("\ud83d")) == "\ud83d"
    assert csv_line(["\ud83d", True, None]) == b"\\ud83d,true,\n"


def test_unclear_fields_are_shown() -> None:
    """As a list in JSON, its names parted by spaces in CSV; nowhere if all is clear."""
    ref = MessageRef(7, "79")
    clear = StatusRecord(status=1, ref=ref)
    doubtful = StatusRecord(status=1, ref=ref, unclear=("message", "comment"))
    assert "unclear" not in clear.to_dict()
    assert doubtful.to_dict()["unclear"] == ["message", "comment"]
    assert csv_line([doubtful.to_dict()["unclear"], None]) == b"message comment,\n"
    assert "unclear" in columns(Detail.BASIC)
