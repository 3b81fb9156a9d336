"""`python -m tests.fuzz FORMAT [--seconds SECONDS]`: under atheris, from the seeds on, until something is found.

Needs `pip install atheris`. An input that breaks the guarantee is left in the working directory.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

atheris: Any = importlib.import_module("atheris")  # no dependency: whoever fuzzes installs it

with atheris.instrument_imports(include=["smsc_status"]):
    from fuzz.guarantee import try_reply
    from fuzz.seeds import TOKENS, seeds
    from smsc_status import Format
    from smsc_status._core.wire import codecs

    for format in Format:  # else they are loaded later, when nothing is instrumented any more
        codecs._form(format)


def main() -> None:
    """Fuzz one format."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("format", choices=[format.name for format in Format])
    parser.add_argument("--seconds", type=int, default=600)
    chosen = parser.parse_args()
    format = Format[chosen.format]
    with tempfile.TemporaryDirectory() as corpus:
        for place, seed in enumerate(seeds(format)):
            (Path(corpus) / f"seed-{place}").write_bytes(seed)
        words = Path(corpus) / "words.dict"
        words.write_text("".join(f'"{_escaped(token)}"\n' for token in TOKENS[format]), encoding="ascii")
        argv = [sys.argv[0], corpus, f"-dict={words}", "-max_len=6000", "-timeout=20", "-print_final_stats=1"]
        argv += [f"-max_total_time={chosen.seconds}", f"-artifact_prefix={format.name}-"]
        atheris.Setup(argv, lambda data: try_reply(format, data))
        atheris.Fuzz()


def _escaped(token: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in token.encode())


main()
