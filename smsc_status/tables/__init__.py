"""Keeps the statuses of a database table current: `TableSync` (the extra `sql`).

Reading order: `_columns` says which column is what, `_values` how a value is read and written, `_rows` and `_gaps` how
open rows are found, `_writing` how changes are written, and `_lock` who does it if several could. `_following` does it
as long as it has the lock, and `_sync` is what users hold.
"""

from __future__ import annotations

from smsc_status.errors import ConfigError

try:
    import sqlalchemy as _sqlalchemy  # noqa: F401 (whether the extra is installed)
except ImportError as _error:  # with an underscore, as type checkers count it among the names of this module
    raise ConfigError("smsc_status.tables needs SQLAlchemy: pip install 'smsc-status[sql]'") from _error

from smsc_status.tables._columns import Columns
from smsc_status.tables._sync import TableSync
from smsc_status.tables._tally import SyncStats

__all__ = ["Columns", "SyncStats", "TableSync"]
