# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
A folder of matched pairs: training reads it, and a run that was killed resumes in it.

``<folder>/<name>/input.fits`` and ``target.fits`` hold a pair as
`~splus_srgan.images.io.fields.write_bands` writes it, ``record.json`` beside them the
measurements, and ``<folder>/index.ecsv`` is the table of all records, rejected and failed ones
included.
"""

from splus_srgan.pairs.folder.fetch import fetch_pairs, match_files
from splus_srgan.pairs.folder.store import PairFolder

__all__ = ["PairFolder", "fetch_pairs", "match_files"]
