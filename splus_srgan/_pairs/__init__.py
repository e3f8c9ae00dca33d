# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""What stands behind `splus_srgan.pair_quality` and `splus_srgan.pair_folder`."""
