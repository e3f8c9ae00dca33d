# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The way into the command ``splus-srgan``, also as ``python -m splus_srgan``."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> int:
    """
    Run the command line; Ctrl-C is no fault to be traced, also while it is being imported.

    Returns
    -------
    status : int
        As of `splus_srgan.cli.main.main`.
    """
    try:
        from splus_srgan.cli.main import main as run

        return run()
    except KeyboardInterrupt:
        if sys.stderr is not None:
            sys.stderr.write("splus-srgan: interrupted\n")
        return 130


if __name__ == "__main__":
    sys.exit(main())
