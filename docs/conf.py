"""Sphinx builds the documentation: `sphinx-build -W -n -q docs build/docs`. It needs no network."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent.parent))

import smsc_status

project = "smsc-status"
author = "the smsc-status authors"
release = version = smsc_status.__version__
language = "en"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"smsc-status {release}"

maximum_signature_line_length = 100
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

# Types of other packages, private types and type variables are named in signatures and documented elsewhere: looking
# them up would need the network.
nitpick_ignore_regex = [
    (
        r"py:.*",
        r"(anyio|attrs?|collections|datetime|decimal|enum|httpx|ssl|trio|types|typing|inspect|opentelemetry|os|sqlalchemy|sa)(\..*)?",
    ),
    (r"py:.*", r"(smsc_status\.)?(.*\.)?_.*"),
    (r"py:.*", r"smsc_status\.(emulator|limiter)\.[a-z]+\..*"),  # documented under the package's name
    (
        r"py:.*",
        r"([A-Za-z_.]*\.)?(WantedT|WantedT_co|DataT|DataT_co|Self|Key|Life|Until|Messages|Refs|Identity|Secret)",
    ),
    (r"py:.*", r"(Any|Callable|Path|Decimal|datetime|tzinfo|timedelta|Scope|Receive|Send|Counter|Mapping|Sequence)"),
    (r"py:.*", r"(TracerProvider|MeterProvider)"),
]

_FENCE = re.compile(r"^( *)```(\w*)$")
_CODE = re.compile(r"(?<![`:\w])`([^`\n]+)`(?!`)(\w?)")


def markdown_to_rst(*arguments: Any) -> None:
    """The docstrings are written in Markdown: fences and `code` become what Sphinx reads."""
    what, lines = arguments[1], arguments[-1]
    # An empty comment first: else napoleon takes what stands before an attribute's first colon for its type.
    written: list[str] = ["..", ""] if what in {"attribute", "data", "property"} else []
    indent: str | None = None  # of the fence that is open
    for line in lines:
        fence = _FENCE.match(line)
        if fence and indent is None:
            indent = fence[1]
            written += ["", f"{indent}.. code-block:: {fence[2] or 'text'}", ""]
        elif fence:
            indent = None
            written.append("")
        elif indent is not None:
            written.append(f"    {line}" if line.strip() else "")
        else:
            written.append(_CODE.sub(lambda code: f"``{code[1]}``" + (f"\\ {code[2]}" if code[2] else ""), line))
    lines[:] = written


def setup(app: Sphinx) -> None:
    """Before napoleon, which reads the sections."""
    app.connect("autodoc-process-docstring", markdown_to_rst, priority=400)
