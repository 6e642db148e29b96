"""`python -m evosearch` is the `evolve` command."""

from __future__ import annotations

import sys

from evosearch.cli import main

if __name__ == "__main__":
    sys.exit(main())
