# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
The image service of S-PLUS data release 1, replayed; headers like those of its tiles.

The fixture `splus_service` is there for every test.
"""

from dataclasses import dataclass
from html import escape
from urllib.parse import urlencode

import numpy as np
import pytest
from astropy.io import fits
from replay import NATIVE, Replay, default_sky, tan_wcs, to_bytes
from werkzeug import Response

SCALE = 0.55
ZERO_POINT = {"U": 20.9, "G": 23.56, "R": 23.57, "I": 23.38, "Z": 22.81, "F660": 21.09}
_EXPOSURE = {"U": 681.0, "G": 99.0, "R": 120.0, "I": 138.0, "Z": 168.0, "F660": 870.0}

_VOTABLE = """<?xml version="1.0" encoding="UTF-8"?>
<VOTABLE version="1.2" xmlns="http://www.ivoa.net/xml/VOTable/v1.2">
<RESOURCE type="results">
<DESCRIPTION>DALServer SIAP Version 1.0 (generic)</DESCRIPTION>
<INFO name="QUERY_STATUS" value="{status}">{message}</INFO>
<INFO name="INPUT:POS" value="{pos}"/>
<TABLE>
<FIELD name="assoc_id" datatype="char" arraysize="*"/>
<FIELD name="access_url" ucd="VOX:Image_AccessReference" datatype="char" arraysize="*"/>
<FIELD name="access_format" ucd="VOX:Image_Format" datatype="char" arraysize="*"/>
<FIELD name="access_estsize" ucd="VOX:Image_FileSize" datatype="int"/>
<FIELD name="obs_title" ucd="VOX:Image_Title" datatype="char" arraysize="*"/>
<FIELD name="obs_bandpass" ucd="VOX:BandPass_ID" datatype="char" arraysize="*"/>
<FIELD name="s_ra" ucd="POS_EQ_RA_MAIN" datatype="double" unit="deg"/>
<FIELD name="s_dec" ucd="POS_EQ_DEC_MAIN" datatype="double" unit="deg"/>
<DATA><TABLEDATA>
{rows}
</TABLEDATA></DATA>
</TABLE></RESOURCE></VOTABLE>
"""


@dataclass
class Tile:
    """A tile of the survey: name, center (deg), side (pixels) and the bands it has."""

    name: str
    ra: float
    dec: float
    bands: tuple = ("U", "G", "R", "I", "Z", "F660")
    side: int = 11000

    @property
    def wcs(self):
        return tan_wcs(self.ra, self.dec, (self.side, self.side), SCALE)

    def holds(self, ra, dec):
        x, y = self.wcs.world_to_pixel_values(ra, dec)
        return -0.5 <= x <= self.side - 0.5 and -0.5 <= y <= self.side - 0.5


def splus_header(tile, band, wcs, shape, *, kind="swp"):
    """The header of an image: CD matrix, half-integer CRPIX, no BUNIT, no zero point."""
    header = fits.Header()
    header["EQUINOX"], header["MJD-OBS"], header["RADESYS"] = 2000.0, 57630.0, "ICRS"
    for i in (1, 2):
        header[f"CTYPE{i}"], header[f"CUNIT{i}"] = wcs.wcs.ctype[i - 1], "deg"
        header[f"CRVAL{i}"], header[f"CRPIX{i}"] = wcs.wcs.crval[i - 1], wcs.wcs.crpix[i - 1]
        for j in (1, 2):
            header[f"CD{i}_{j}"] = wcs.wcs.cd[i - 1, j - 1]
    header["EXPTIME"] = (1.0, "Normalized exposure time")
    header["GAIN"] = (2.06 * _EXPOSURE[band], "Maximum equivalent gain (e-/ADU)")
    header["SATURATE"] = (1605.485, "Saturation Level (ADU)")
    header["OBJECT"] = tile.name.replace("STRIPE82-", "STRIPE82_")
    header["TELESCOP"], header["INSTRUME"], header["FILTER"] = "T80", "T80Cam", band
    header["HIERARCH OAJ QC NCNOISE"] = (0.15, "Noise estim (ADU)")
    header["HIERARCH OAJ PRO FWHMMEAN"] = (1.32, "PSFex FWHM")
    header["HIERARCH OAJ PRO FWHMBETA"] = (2.75, "PSFex beta")
    header["PIXSCALE"] = SCALE
    header["FILENAME"] = f"{tile.name}_{band}_{kind}.fits"
    header["NCOMBINE"], header["TEXPOSED"] = 3, _EXPOSURE[band]
    header["X01TILE"], header["Y01TILE"] = (shape[1] - 1) / 2, (shape[0] - 1) / 2
    return header


def splus_stamp(sky, tile, band, ra, dec, size, *, weight=False, shift=(1, -1), sigma=0.15):
    """
    Cut an image, or its weight map, out of a tile.

    Pixels are those of the tile, so the target lies up to 1.4 pixels off the middle.
    Returns array and header; the array ends where the tile does.
    """
    whole = tile.wcs
    x, y = (int(np.rint(v)) for v in whole.world_to_pixel_values(ra, dec))
    x0, x1 = np.clip([x - size // 2 + shift[0], x + (size + 1) // 2 + shift[0]], 0, tile.side)
    y0, y1 = np.clip([y - size // 2 + shift[1], y + (size + 1) // 2 + shift[1]], 0, tile.side)
    wcs, shape = whole.deepcopy(), (y1 - y0, x1 - x0)
    wcs.wcs.crpix -= x0, y0
    header = splus_header(tile, band, wcs, shape, kind="swpweight" if weight else "swp")
    rng = np.random.default_rng([x0, y0, ord(band[0])])
    if weight:
        data = np.full(shape, sigma**-2)
        data[2, 3], data[5, 6] = -data[2, 3], 0
    else:
        adu = (SCALE / NATIVE) ** 2 * 10 ** (0.4 * (ZERO_POINT[band] - 22.5))
        data = adu * sky.image(
            wcs, shape, {"F660": "r", "U": "g"}.get(band, band.lower()), noise=False
        )
        data = data + rng.normal(0, sigma, shape)
    return data.astype(">f4"), header


class SplusReplay(Replay):
    """
    The service of data release 1 by Simple Image Access.

    Attributes
    ----------
    url : str
        To be given as ``service``.
    sky : replay.Sky
        What it shows.
    tiles : list of Tile
        What there is.
    """

    def __init__(self, server, sky, tiles):
        super().__init__(server)
        self.url = server.url_for("/sia/splus_dr1")
        self.sky, self.tiles = sky, tiles
        self.serve("/sia/splus_dr1", self._search)
        self.serve("/svc/cutout", self._cutout)

    def votable(self, rows, *, status="OK", message="", pos=""):
        cells = ["".join(f"<TD>{escape(str(v))}</TD>" for v in row) for row in rows]
        lines = "\n".join(f"<TR>{row}</TR>" for row in cells)
        text = _VOTABLE.format(status=status, message=message, pos=pos, rows=lines)
        return Response(text, content_type="text/xml;content=x-votable")

    def rows(self, ra, dec, size):
        """One row per image, preview and weight map of the tiles at a position."""
        rows = []
        for tile in self.tiles:
            for band in tile.bands if tile.holds(ra, dec) else ():
                for kind, form in (("swp", "image/jpeg"), ("swpweight", "image/fits")):
                    rows.append(self._row(tile, band, kind, form, ra, dec, size))
                rows.append(self._row(tile, band, "swp", "image/fits", ra, dec, size))
        return rows

    def _row(self, tile, band, kind, form, ra, dec, size):
        query = {"col": "splus_dr1", "siaRef": f"{tile.name}_{band}_{kind}.fz", "extn": 1}
        query |= {"POS": f"{ra},{dec}", "SIZE": size}
        query |= {} if "fits" in form else {"preview": 1}
        url = f"{self.server.url_for('/svc/cutout')}?{urlencode(query, safe=',')}"
        name = f"{tile.name}_{band}_{kind}"
        return name, url, form, 60000, name, band, tile.ra, tile.dec

    def _search(self, request):
        try:
            ra, dec = (float(v) for v in request.args["POS"].split(","))
        except (KeyError, ValueError):
            return self.votable([], status="ERROR", message="POS: no position")
        pos = request.args["POS"]
        return self.votable(self.rows(ra, dec, request.args["SIZE"]), pos=pos)

    def _cutout(self, request):
        name, band, kind = request.args["siaRef"].removesuffix(".fz").rsplit("_", 2)
        tile = next(tile for tile in self.tiles if tile.name == name)
        ra, dec = (float(v) for v in request.args["POS"].split(","))
        size = int(np.rint(float(request.args["SIZE"].split(",")[1]) * 3600 / SCALE))
        weight = kind == "swpweight"
        data, header = splus_stamp(self.sky, tile, band, ra, dec, size, weight=weight)
        return Response(to_bytes([fits.PrimaryHDU(data, header)]), content_type="image/fits")


@pytest.fixture
def splus_service(replay_server):
    """The image service of S-PLUS DR1, showing `default_sky` on one tile."""
    tiles = [Tile("STRIPE82-0059", 27.6, 0.0)]
    service = SplusReplay(replay_server, default_sky(), tiles)
    yield service
    service.over.set()
    service.server.check_handler_errors()
