"""`python -m smsc_status.cli`."""

import sys

from smsc_status.cli import main

if __name__ == "__main__":
    sys.exit(main())
