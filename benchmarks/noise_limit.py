# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
r"""
How near the error on a lone star is to the least that the noise allows.

The Cramer-Rao bound of an unbiased estimate of the target image: flux and place of the star are
unknown, and its PSF either known or to be found on the star itself (FWHM, beta, and with
``--psf real`` the share of the wings).  With the derivatives J of the input and G of the target
and the noise's covariance C, the least sum of squared errors is the trace of
G^T (J^T C^-1 J)^-1 G; C is that of a mean of three resampled exposures.  The flux, in units
of the noise of one pixel, is listed with its S/N.  A ratio near 1 says that more training has
nothing to gain there; below S/N 10 a biased estimate may stay under the bound.
"""

import numpy as np
from _common import make_enhancers, make_parser, parse, print_table, quiet
from astropy import units as u
from astropy.nddata import CCDData
from astropy.wcs import WCS
from scipy import fft

from splus_srgan.pixels.coadd_noise import correlated_noise
from splus_srgan.pixels.psf import TARGET_PSF, moffat_transfer, wing_transfer
from splus_srgan.splus import PIXEL_SCALE

SIZE, HALF = 64, 40  # input pixels of the frame; output pixels around the star that count
SEEINGS = {
    "real": {"fwhm": 1.3, "beta": 3.9, "share": 0.28},
    "moffat": {"fwhm": 1.3, "beta": 2.9, "share": 0.0},
}
FLUXES = (30.0, 100.0, 300.0, 1000.0)
STEP = 1e-3


def star(factor, y, x, fwhm, beta, share):
    """A star of unit flux at ``(y, x)`` arcsec from the middle, on the input's or the fine grid."""
    scale = PIXEL_SCALE / factor
    n = SIZE * factor
    fy, fx = fft.fftfreq(n, scale)[:, None], fft.rfftfreq(n, scale)[None]
    transfer = wing_transfer(fy, fx, moffat_transfer(fy, fx, fwhm, beta).astype(float), share)
    middle = (n - 1) / 2 * scale
    return fft.irfft2(transfer * np.exp(-2j * np.pi * (fy * (middle + y) + fx * (middle + x))))


def derivatives(make, parameters, names):
    """Numerical derivatives of an image by its parameters, one row each."""
    rows = []
    for name in names:
        low, high = (make(**parameters | {name: parameters[name] + d}) for d in (-STEP, STEP))
        rows.append((high - low) / (2 * STEP))
    return np.array(rows)


def bound(flux, y, x, seeing, power, *, psf_known):
    """Least sum of squared errors of the target, within ``HALF`` of the star."""
    shape = () if psf_known else tuple(name for name, value in seeing.items() if value)

    def coarse(**p):
        return star(1, **p)

    def fine(y, x, share, **_):
        return star(2, y, x, *TARGET_PSF, share)

    parameters = {"y": y, "x": x, **seeing}
    names = ("y", "x", *shape)
    seen = np.concatenate([[coarse(**parameters)], flux * derivatives(coarse, parameters, names)])
    made = np.concatenate([[fine(**parameters)], flux * derivatives(fine, parameters, names)])
    spectra = fft.fft2(seen) / np.sqrt(power)
    information = np.einsum("iyx,jyx->ij", spectra.conj(), spectra).real / SIZE**2
    window = np.s_[:, SIZE - HALF : SIZE + HALF, SIZE - HALF : SIZE + HALF]
    inside = made[window].reshape(len(made), -1)
    return float(np.trace(np.linalg.inv(information) @ (inside @ inside.T)))


def noise_power(rng, number=400):
    """Mean power spectrum of the noise, normalised to 1 for white noise of unit variance."""
    total = 0
    for _ in range(number):
        total = total + np.abs(fft.fft2(noise(rng))) ** 2
    return total / (number * SIZE**2)


def noise(rng):
    """Noise of a mean of three exposures."""
    return correlated_noise(rng, (SIZE, SIZE), rng.uniform(-0.5, 0.5, (3, 2)))


def wcs():
    """Any WCS of the right scale."""
    made = WCS(naxis=2)
    made.wcs.ctype, made.wcs.crval = ("RA---TAN", "DEC--TAN"), (10, -30)
    made.wcs.crpix = (SIZE / 2, SIZE / 2)
    made.wcs.cdelt = (-PIXEL_SCALE / 3600, PIXEL_SCALE / 3600)
    return made


def errors(enhancer, flux, seeing, power, draws):
    """Mean sum of squared errors, and both bounds."""
    rng = np.random.default_rng(2)
    window = np.s_[SIZE - HALF : SIZE + HALF, SIZE - HALF : SIZE + HALF]
    rows = []
    for _ in range(draws):
        y, x = rng.uniform(-0.3, 0.3, 2)
        image = flux * star(1, y, x, **seeing) + noise(rng)
        with quiet():
            made = enhancer(
                CCDData(image.astype(np.float32), unit=u.adu, wcs=wcs()), sky=0.0, sigma=1.0
            )
        truth = flux * star(2, y, x, *TARGET_PSF, seeing["share"])
        found = np.sum((made.data - truth)[window].astype(float) ** 2)
        least = [bound(flux, y, x, seeing, power, psf_known=known) for known in (True, False)]
        rows.append((found, *least))
    return np.mean(rows, axis=0)


def main():
    """Run."""
    parser = make_parser(__doc__)
    parser.set_defaults(weights=["splus-any"])
    parser.add_argument("--draws", type=int, default=60, help="per flux; default %(default)s")
    options = parse(parser)
    seeing = SEEINGS[options.psf]
    power = noise_power(np.random.default_rng(1))
    matched = np.sqrt(np.mean(np.abs(fft.fft2(star(1, 0, 0, **seeing))) ** 2 / power))
    for name, enhancer in make_enhancers(options).items():
        rows = []
        for flux in FLUXES:
            found, *least = errors(enhancer, flux, seeing, power, options.draws)
            above = (f"{10 * np.log10(found / one):+.2f}" for one in least)
            cells = (f"{value:.2f}" for value in (found, *least))
            rows.append((f"{flux:g}", f"{flux * matched:.0f}", *cells, *above))
        print_table(
            f"{name}: sum of squared errors, and dB above the bound",
            ("flux", "S/N", "found", "PSF known", "PSF unknown", "dB", "dB"),
            rows,
        )


if __name__ == "__main__":
    main()
