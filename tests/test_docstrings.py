"""What the docstrings show runs as it stands."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import re
import textwrap
from pathlib import Path

import anyio
import httpx
import pytest
from helpers import PHONE, delivered

import smsc_status
from smsc_status import StatusClient
from smsc_status.emulator import Emulator

PACKAGE = Path(smsc_status.__file__).parent
MODULES = sorted(
    ".".join(("smsc_status", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if path.name != "__main__.py"
)


def source_of(name: str) -> str:
    """The source of a module, which may be empty."""
    return inspect.getsource(importlib.import_module(name)) or ""


def blocks_of(name: str) -> list[str]:
    """The fenced blocks of Python in the docstrings of a module."""
    source = source_of(name)
    tree = ast.parse(source if "```python" in source else "")
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docs = [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, kinds)]
    return [block for doc in docs for block in re.findall(r"```python\n(.*?)```", doc, re.DOTALL)]


@pytest.mark.parametrize("name", [name for name in MODULES if ">>>" in source_of(name)])
def test_the_examples_give_what_they_show(name: str) -> None:
    """A prompt's lines give what stands below them."""
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize(("name", "least"), [("smsc_status.models", 4), ("smsc_status._core.tracking.archive", 2)])
def test_examples_are_found(name: str, least: int) -> None:
    """Those above are found."""
    assert name in MODULES
    assert doctest.testmod(importlib.import_module(name)).attempted >= least


@pytest.mark.parametrize(
    ("module", "block"),
    [(name, block) for name in MODULES for block in blocks_of(name)],
)
def test_each_block_of_code_runs(module: str, block: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block runs, given the names that it does not make itself."""
    emulator = Emulator(apikey="...")
    messages = delivered(emulator, [12345, 2, 3], PHONE)
    names: dict[str, object] = {
        **vars(importlib.import_module("smsc_status")),
        **vars(importlib.import_module("smsc_status.emulator")),
        "emulator": emulator,
        "httpx": httpx,
        "messages": messages,
    }

    def client(**options: object) -> StatusClient:
        options = {"transport": httpx.ASGITransport(app=emulator), "base_url": "http://localhost"} | options
        return StatusClient(**options)  # type: ignore[arg-type]  # whatever the block says

    names["StatusClient"] = client
    code = f"async def block():\n{textwrap.indent(block, '    ')}"
    exec(compile(code, f"<a docstring of {module}>", "exec"), names)
    main = names["block"]
    assert callable(main)
    anyio.run(main)


def test_blocks_of_code_are_found() -> None:
    """In the packages' own docstrings, at least."""
    assert len(blocks_of("smsc_status")) == 1
    assert len(blocks_of("smsc_status.emulator")) == 3
