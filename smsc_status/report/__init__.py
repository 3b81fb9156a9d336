"""Reports to look at: how many messages were delivered, how fast, and why others were not (the extra `report`).

`write` makes one HTML file of results. Reading order: `_rows` says what a row is, `_reading` reads rows, `_counting`
counts them, `_drawing` draws plots, and `_page` puts the page together.
"""

from __future__ import annotations

from smsc_status.errors import ConfigError

try:
    import babel as _babel  # noqa: F401 (whether the extra is installed)
    import jinja2 as _jinja2  # noqa: F401 (likewise)
    import vl_convert as _vl_convert  # noqa: F401 (likewise)
except ImportError as _error:  # with an underscore, as type checkers count it among the names of this module
    raise ConfigError("smsc_status.report needs more packages: pip install 'smsc-status[report]'") from _error

from smsc_status.report._page.language import Language
from smsc_status.report._reading.table import Table
from smsc_status.report._writing import Summary, write

__all__ = ["Language", "Summary", "Table", "write"]
