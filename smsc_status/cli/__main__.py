"""`python -m smsc_status.cli`."""

import sys

from smsc_status.cli import main

sys.exit(main())
