"""The layers, read from the imports: a module imports only from those above it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import smsc_status

PACKAGE = Path(smsc_status.__file__).parent

# From the top: each may import from those before it, and from itself.
LAYERS = [
    ["_texts", "_notation", "_lines", "_cells"],
    ["errors", "codes"],
    ["models", "_plain", "_arguments"],
    ["_core"],
    ["_loops", "_waiters"],
    ["limiter"],
    ["_sharing"],
    ["_runtime"],
    ["_operations"],
    ["telemetry"],
    ["_observed"],
    ["client"],
    ["blocking"],
    [""],
    ["tables"],
    ["report"],
    ["cli", "__main__"],
]
CORE_FOLDERS = {"scheduling", "tracking", "wire"}
SHARED_IN_THE_CORE = {"drafts", "stale"}
# Beside the client, not below it: what it may use of the library.
EMULATOR_MAY_USE = {"errors", "codes", "models", "_core", "_core.wire", "emulator"}

IMPURE = {
    "asyncio", "anyio", "trio", "httpx", "time", "random", "secrets", "socket", "threading", "selectors", "os",
    "logging", "sniffio",
}  # fmt: skip


@cache
def modules() -> dict[str, Path]:
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = path
    return found


@cache
def imports(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import does not name its module"
            names.add(node.module or "")
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


def layer_of(module: str) -> int | None:
    for number, layer in enumerate(LAYERS):
        for name in layer:
            if module == name or (name and module.startswith(f"{name}.")):
                return number
    return None


def own_imports(path: Path) -> set[str]:
    known = modules()
    ours = {name for name in imports(path) if name.partition(".")[0] == "smsc_status"}
    inside = {name.removeprefix("smsc_status").lstrip(".") for name in ours}
    return {name for name in inside if name in known}


def test_every_module_has_its_layer() -> None:
    """A new module is added to one of the layers first."""
    without_layer = [name for name in modules() if layer_of(name) is None and name.partition(".")[0] != "emulator"]
    assert not without_layer


def test_a_module_imports_only_from_above() -> None:
    """No module imports from a layer below its own."""
    for module, path in modules().items():
        if module.partition(".")[0] == "emulator":
            continue
        here = layer_of(module)
        for name in own_imports(path) - {module, ""}:
            there = layer_of(name)
            if name.partition(".")[0] == "emulator":
                assert module.partition(".")[0] == "cli", f"{module} imports the emulator"
            elif here is not None:
                assert there is not None, f"{module} imports {name}, which has no layer"
                assert there <= here, f"{module} imports {name}, which is below it"


def test_the_core_is_pure() -> None:
    """No clock, loop, socket or randomness in it, and nothing of the shell."""
    core = {module: path for module, path in modules().items() if module.partition(".")[0] == "_core"}
    assert len(core) > 30
    for module, path in core.items():
        assert not {name.partition(".")[0] for name in imports(path)} & IMPURE, module
        for name in own_imports(path):
            assert name.partition(".")[0] in ("_core", "errors", "codes", "models", ""), f"{module} imports {name}"


def test_the_core_imports_nothing_by_name() -> None:
    """The tests here would not see an import by a name that is made at run time."""
    for module, path in modules().items():
        if module.partition(".")[0] == "_core":
            assert not re.search(r"import_module|__import__", path.read_text(encoding="utf-8")), module


def test_the_parts_of_the_core_know_nothing_of_each_other() -> None:
    """What is sent, what goes next and what is tracked can each be read and changed alone."""
    for module, path in modules().items():
        if module.startswith("_core."):
            folder = module.split(".")[1]
            used = {name.split(".")[1] for name in own_imports(path) if name.startswith("_core.")}
            assert folder in CORE_FOLDERS | SHARED_IN_THE_CORE
            assert used <= {folder} | SHARED_IN_THE_CORE, f"{module} imports from {used - {folder}}"


@pytest.mark.parametrize("module", sorted(name for name in modules() if name.partition(".")[0] == "emulator"))
def test_the_emulator_shares_only_values_and_codecs(module: str) -> None:
    """Otherwise the emulator would share the mistakes of the client."""
    for name in own_imports(modules()[module]) - {""}:
        assert name in EMULATOR_MAY_USE or name.startswith(("emulator.", "_core.wire.")), name


@pytest.mark.slow
def test_httpx_is_imported_in_one_place() -> None:
    """Whoever wants to know what is sent reads one module."""
    users = {name for name, path in modules().items() if "httpx" in {n.partition(".")[0] for n in imports(path)}}
    assert users - {"client"} == {"_runtime.http"}  # client: for the type of an argument only
    assert "if TYPE_CHECKING:\n    import ssl\n\n    import httpx" in modules()["client"].read_text(encoding="utf-8")


def test_opentelemetry_is_imported_in_telemetry_alone() -> None:
    """By its API alone. The command line sets up the SDK and the exporter that a user of `--metrics` wants."""
    users: dict[str, set[str]] = {}
    for name, path in modules().items():
        found = {used for used in imports(path) if used.partition(".")[0] in ("opentelemetry", "prometheus_client")}
        if found:
            users[name] = found
    assert {name for name in users if name.partition(".")[0] != "telemetry"} == {"cli._metrics"}
    api = {".".join(used.split(".")[:2]) for name in users.keys() - {"cli._metrics"} for used in users[name]}
    assert api <= {f"opentelemetry{part}" for part in ("", ".context", ".metrics", ".trace")}


def test_loops_alone_knows_the_event_loop() -> None:
    """All else goes by anyio."""
    users = {
        name for name, path in modules().items() if {"asyncio", "trio"} & {n.partition(".")[0] for n in imports(path)}
    }
    assert {name for name in users if name.partition(".")[0] not in ("emulator", "cli")} == {"_loops"}


REPORT_FOLDERS = {"_reading": {"_counting"}, "_counting": set(), "_drawing": set(), "_page": {"_counting", "_drawing"}}
"""For each folder of `report`, the others that it may use. All may use `_rows`."""


@pytest.mark.parametrize("module", sorted(name for name in modules() if name.startswith("report._")))
def test_the_folders_of_reports_import_only_what_they_need(module: str) -> None:
    """Counting does no I/O and knows no page, and drawing knows no figures."""
    folder = module.split(".")[1]
    if folder not in REPORT_FOLDERS:
        return
    used = {name.split(".")[1] for name in own_imports(modules()[module]) if name.startswith("report._")}
    assert used <= REPORT_FOLDERS[folder] | {folder, "_rows"}
    if folder == "_counting":
        assert not {name.partition(".")[0] for name in imports(modules()[module])} & IMPURE


EXTRAS = "typer", "sqlalchemy", "uvicorn", "opentelemetry", "jinja2", "babel", "vl_convert"
HEAVY = *EXTRAS, "asyncio", "anyio", "trio", "httpx", "msgspec", "xml"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "loaded"),
    [
        ("from smsc_status import StatusClient, MessageRef, StatusRecord", []),
        (
            "from smsc_status import StatusClient; StatusClient(apikey='k')",
            ["asyncio", "anyio", "trio", "httpx", "msgspec"],  # trio: httpcore looks for it
        ),
        ("from smsc_status import *; assert OutcomeStream and TrackStream", ["asyncio", "anyio", "httpx", "msgspec"]),
        (
            "import smsc_status.cli._app",
            ["typer", "asyncio", "anyio", "httpx", "msgspec"],
        ),
    ],
)
def test_only_what_is_used_is_loaded(code: str, loaded: list[str]) -> None:
    """Users who need no command line and no emulator pay for neither; who needs only names, not for a loop or HTTP."""
    code += f"\nimport sys; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == repr(loaded)


@pytest.mark.slow
def test_the_benchmarks_extra_has_all_that_they_import() -> None:
    """Beside what the package itself needs."""
    root = Path(__file__).parents[1]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["bench"]]
    installed = {re.split(r"[<>=;\[]", name)[0].casefold() for name in wanted}
    paths = (root / "benchmarks").glob("*.py")
    names = {name.partition(".")[0] for path in paths for name in imports(path)} - {"benchmarks", "smsc_status"}
    packages = packages_distributions()
    missing = {
        name
        for name in names - sys.stdlib_module_names
        if not installed & {package.casefold() for package in packages[name]}
    }
    assert not missing


def test_the_package_shows_all_its_names_and_no_others() -> None:
    assert set(smsc_status.__all__) <= set(dir(smsc_status))
    assert all(hasattr(smsc_status, name) for name in smsc_status.__all__)
    assert not hasattr(smsc_status, "Emulator")
