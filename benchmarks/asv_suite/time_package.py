# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""What each part of the work costs: import, WCS, sky, enhancing, matching, training."""

import subprocess
import sys
import warnings

import numpy as np


class Import:
    """A fresh interpreter that imports the package, and its enhancer."""

    params = ("import splus_srgan", "from splus_srgan import SRGANEnhancer")
    param_names = ("statement",)

    def time_import(self, statement):
        subprocess.run([sys.executable, "-c", statement], check=True)


class Images:
    """Steps around the generator, on one simulated field."""

    def setup(self):
        from splus_srgan import simulate_field

        self.field = simulate_field((3, 0), shape=(256, 256), kind="galaxy")
        self.image = self.field.observed["r"]
        self.stack = np.stack([image.data for image in self.field.observed.values()])

    def time_upsample_wcs(self):
        from splus_srgan import upsample_wcs

        upsample_wcs(self.image.wcs)

    def time_measure_background(self):
        from splus_srgan import measure_background

        measure_background(self.stack)


class Enhance:
    """The enhancer, set up beforehand."""

    params = (128, 1000)
    param_names = ("side",)
    timeout = 600

    def setup(self, side):
        from splus_srgan import SRGANEnhancer, simulate_field

        part = simulate_field((3, 0), shape=(125, 125), kind="galaxy").observed
        if side == 128:
            self.field = simulate_field((3, 0), shape=(128, 128), kind="galaxy").observed
        else:
            self.field = {band: _tiled(image, side) for band, image in part.items()}
        self.enhancer = SRGANEnhancer("splus-grz", device="cpu")
        self.run()

    def run(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.enhancer(self.field)

    def time_enhance(self, side):
        self.run()

    def peakmem_enhance(self, side):
        self.run()


def _tiled(image, side):
    """The same image over and over, as a larger one."""
    times = side // image.shape[0]
    larger = image.copy()
    larger.data = np.tile(image.data, (times, times))
    larger.mask = None if image.mask is None else np.tile(image.mask, (times, times))
    return larger


class Pairs:
    """A simulated pair, and its matching."""

    def setup(self):
        from splus_srgan import simulate_field

        field = simulate_field((3, 1), shape=(128, 128), kind="galaxy")
        self.pair = field.observed, field.target

    def time_simulate_pair(self):
        from splus_srgan import simulate_field

        simulate_field((3, 2), shape=(64, 64), kind="galaxy")

    def time_match_pair(self):
        from splus_srgan import match_pair

        match_pair(*self.pair)


class Training:
    """One step of a small generator, forwards and backwards."""

    def setup(self):
        import torch

        from splus_srgan.models.generator import SRResNet

        torch.manual_seed(0)
        self.generator = SRResNet(3, n_features=32, n_blocks=4)
        self.optimizer = torch.optim.Adam(self.generator.parameters())
        self.batch = torch.randn(4, 3, 48, 48)

    def time_step(self):
        self.optimizer.zero_grad()
        self.generator(self.batch).square().mean().backward()
        self.optimizer.step()
