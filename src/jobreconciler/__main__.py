"""`python -m jobreconciler`."""

import sys

from jobreconciler.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
