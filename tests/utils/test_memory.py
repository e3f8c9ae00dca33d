# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Memory that goes back to the system."""

import platform
import subprocess
import sys

import pytest

from splus_srgan.utils import memory

CODE = """
import numpy as np
from splus_srgan.utils.memory import give_back
size = lambda: int(open("/proc/self/statm").read().split()[1]) * 4096
np.empty(30_000_000, np.uint8)  # once freed, the like is taken from the heap
last = None
parts = [np.ones(1_000_000, np.uint8) for _ in range(60)]
last, parts = parts[-1], None
before = size()
give_back()
print(before - size())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other libraries keep nothing")
def test_freed_memory_goes_back():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 40_000_000


def test_nothing_happens_where_the_library_cannot(monkeypatch):
    class Other:
        """A C library without it."""

    memory._trim.cache_clear()
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: Other())
    memory.give_back()
    memory._trim.cache_clear()
