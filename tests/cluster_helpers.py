# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""A cluster for tests."""

import distributed


def cluster_here(n_workers):
    """A cluster whose workers are threads of this process."""
    return distributed.LocalCluster(
        n_workers=n_workers,
        threads_per_worker=2,
        processes=False,
        host="127.0.0.1",
        protocol="tcp://",
        dashboard_address="127.0.0.1:0",
        worker_dashboard_address="127.0.0.1:0",
    )
