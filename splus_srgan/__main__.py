# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Let ``python -m splus_srgan`` be the command ``splus-srgan``."""

import sys

from splus_srgan.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
