# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""What stands behind `splus_srgan.match` and `splus_srgan.registration`."""
