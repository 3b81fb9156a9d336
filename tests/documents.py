"""The documents of the project: their code, what it prints, their links and the names that they mention."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest
from helpers import delivered

from smsc_status.emulator import Emulator, EmulatorServer

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
README_RU = ROOT / "README.ru.md"
PAGES = sorted((ROOT / "docs").rglob("*.md"))

_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_PROGRAM = re.compile(r"^```python\n([^`]*?)^```\n+```text\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")


def text_of(page: Path) -> str:
    """The page as it is written."""
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str = "python") -> list[str]:
    """The fenced blocks of a language."""
    return [code for kind, code in _FENCE.findall(text_of(page)) if kind == language]


def programs(page: Path) -> list[tuple[str, str]]:
    """Each block of Python that a block of text follows directly: a program, and what it prints."""
    return _PROGRAM.findall(text_of(page))


def outside_of_blocks(page: Path) -> str:
    """The page without its fenced blocks."""
    return _FENCE.sub("", text_of(page))


def links(page: Path) -> list[str]:
    """The targets of its links into this repository, without the places in them."""
    targets = (target.partition("#")[0] for target in _LINK.findall(outside_of_blocks(page)))
    return [target for target in targets if target and "://" not in target]


def names(page: Path) -> list[str]:
    """What stands in backticks outside of blocks."""
    return _CODE.findall(outside_of_blocks(page))


def module(page: Path, mark: str, folder: Path) -> ModuleType:
    """The one block of Python that contains `mark`, imported as a module."""
    (code,) = [text for text in blocks(page) if mark in text]
    path = folder / "block.py"
    path.write_text(code, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("block", path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@contextmanager
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmulatorServer]:
    """An emulator on a real port, with the messages 1 to 20, which the environment names."""
    emulator = Emulator()
    delivered(emulator, range(1, 21))
    with EmulatorServer(emulator) as server:
        monkeypatch.setenv("SMSC_APIKEY", "demo-key")
        monkeypatch.setenv("SMSC_BASE_URL", server.url)
        yield server
