"""To be imported before httpx by a program that tests start: httpx then does not load its own command line.

With it come Click and Rich, which take a third of the CPU time in which such a program starts.
"""

from __future__ import annotations

import sys
from typing import Any

modules: dict[str, Any] = sys.modules  # `None` is no module: it says that there is none to import
modules.setdefault("httpx._main", None)
