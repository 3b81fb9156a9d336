"""`python -m smsc_status`."""

import sys

from smsc_status.cli import main

sys.exit(main())
