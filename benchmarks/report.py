# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
How long the whole report takes: 25 simulated fields, simpler methods and trials included.

Prints the seconds of each step and the size of the page, and says whether the goal, three
minutes on two cores, is met.  Seeds (3, k), the test fields of the other benchmarks.
"""

import tempfile
import time
from pathlib import Path

from _common import BANDS, busy_note, fields, make_parser, parse, print_table, quiet

from splus_srgan import SRGANEnhancer
from splus_srgan.evaluation.baselines.methods import default_baselines
from splus_srgan.evaluation.pairs import EvaluationPair
from splus_srgan.evaluation.run import evaluate

_QUICK = ("bicubic", "Gaussian", "NL-means")
_GOAL = 180.0  # seconds


def main():
    """Run."""
    parser = make_parser(__doc__, fields=25)
    parser.add_argument("--folder", type=Path, metavar="DIR", help="keep the report there")
    parser.add_argument("--baselines", nargs="*", default=_QUICK, metavar="NAME")
    options = parse(parser)
    clock = [time.perf_counter()]

    def lap():
        clock.append(time.perf_counter())
        return f"{clock[-1] - clock[-2]:.1f}"

    pairs = [
        EvaluationPair.from_simulation(field, name=f"field {k + 1}")
        for k, field in fields(options.fields)
    ]
    rows = [("simulate the fields", lap())]
    known = default_baselines(len(BANDS))
    enhancer = SRGANEnhancer(options.weights[0], precision=options.precision, engine=options.engine)
    with quiet():
        evaluation = evaluate(
            enhancer, pairs, baselines={name: known[name] for name in options.baselines}
        )
    rows.append(("enhance, measure, judge", lap()))
    with tempfile.TemporaryDirectory() as folder:
        paths = evaluation.write(options.folder or folder, overwrite=True)
        rows.append(("write the report", lap()))
        size = paths["report"].stat().st_size / 1e6
    total = clock[-1] - clock[0]
    rows.append(("all together", f"{total:.1f}"))
    print_table(f"The report on {len(pairs)} fields", ("step", "seconds"), rows)
    print(f"  report.html {size:.1f} MB; goal {_GOAL:.0f} s on 2 cores: ", end="")
    print("reached" if total < _GOAL else "NOT reached", f"({busy_note()})")
    print("\n" + evaluation.summary())


if __name__ == "__main__":
    main()
