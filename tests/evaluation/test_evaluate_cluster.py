# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""An evaluation whose fields are judged by the workers of a cluster."""

import pytest
from numpy.testing import assert_allclose, assert_array_equal

from splus_srgan import SRGANEnhancer, simulate_field
from splus_srgan.cli.main import main
from splus_srgan.evaluation.baselines.methods import Bicubic
from splus_srgan.evaluation.pairs import EvaluationPair
from splus_srgan.evaluation.run import evaluate

distributed = pytest.importorskip("distributed", reason="needs the extra 'distributed'")
from cluster_helpers import cluster_here  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::splus_srgan.exceptions.NoSkyWarning")


@pytest.fixture(scope="module")
def client():
    """Worker threads of this process, one at a time."""
    with cluster_here(1) as cluster, distributed.Client(cluster) as client:
        yield client


@pytest.fixture(scope="module")
def pairs():
    fields = [simulate_field((3, k), shape=(48, 48), bands=("r",)) for k in (1, 2)]
    return [EvaluationPair.from_simulation(field, name=f"n{k}") for k, field in enumerate(fields)]


def test_the_same_evaluation(client, pairs, one_thread):
    enhancer = SRGANEnhancer("splus-any", device="cpu", precision="float32")
    seen = []

    def bar(items):
        for item in items:
            seen.append(item.name)
            yield item

    options = {"baselines": {"bicubic": Bicubic()}, "trials": 0}
    here = evaluate(enhancer, pairs, **options)
    there = evaluate(enhancer, pairs, client=client, progress_bar=bar, **options)
    assert seen == ["n0", "n1"]
    assert [one.name for one in there.fields] == seen
    assert there.headline == here.headline
    assert [(c.name, c.band) for c in there.checks] == [(c.name, c.band) for c in here.checks]
    assert_allclose([c.value for c in there.checks], [c.value for c in here.checks], rtol=1e-12)
    for name in set(here.table.colnames) - {"seconds"}:
        same = assert_allclose if here.table[name].dtype.kind == "f" else assert_array_equal
        same(there.table[name], here.table[name])
    for mine, other in zip(there.fields, here.fields, strict=True):
        assert_array_equal(mine.output["r"].data, other.output["r"].data)
        assert mine.warnings == other.warnings


def test_what_an_enhancer_raises_ends_it(client, pairs):
    with pytest.raises(ZeroDivisionError):
        evaluate(_broken, pairs, client=client, trials=0)


def _broken(images):
    raise ZeroDivisionError


def test_a_closed_client_is_refused(client, pairs):
    closed = distributed.Client(client.scheduler.address)
    closed.close()
    with pytest.raises(ConnectionError, match="client must be connected"):
        evaluate(_broken, pairs, client=closed)


def test_on_the_command_line(client, tmp_path, capsys):
    address = client.scheduler.address
    typed = ["evaluate", "--simulate", "2", "--shape", "48", "48", "--bands", "r", "--trials", "0"]
    typed += ["--baselines", "none", "--scheduler", address, "-o", str(tmp_path / "report")]
    assert main(typed) == 0
    assert (tmp_path / "report" / "report.html").is_file()
    assert main(["evaluate", "a.fits", "--scheduler", address, "-o", str(tmp_path / "x")]) == 2
    assert (
        "--scheduler goes with --simulate or --pairs; got it with FILE" in capsys.readouterr().err
    )
    assert [path.name for path in tmp_path.iterdir()] == ["report"]
