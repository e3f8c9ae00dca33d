# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""One input pixel and the four output pixels that it becomes."""

import matplotlib.pyplot as plt

figure, (before, after) = plt.subplots(1, 2, figsize=(7, 3.3))
for ax, step in ((before, 1), (after, 2)):
    n = 3 * step
    for k in range(n + 1):
        ax.plot([k - 0.5, k - 0.5], [-0.5, n - 0.5], color="0.6", lw=1)
        ax.plot([-0.5, n - 0.5], [k - 0.5, k - 0.5], color="0.6", lw=1)
    ax.set(xlim=(-0.6, n - 0.4), ylim=(-0.6, n - 0.4), aspect="equal", xlabel="column, 0-based")
    ax.set_xticks(range(n))
    ax.set_yticks(range(n))
    ax.add_patch(plt.Rectangle((step - 0.5, step - 0.5), step, step, color="C0", alpha=0.25))
before.plot(1, 1, "o", color="C3")
before.text(1, 1.15, "(1, 1)", ha="center", color="C3")
after.plot(2.5, 2.5, "o", color="C3")
after.text(2.5, 2.75, "(2.5, 2.5)", ha="center", color="C3")
before.set(title="input: 3 x 3 pixels", ylabel="row, 0-based")
after.set(title="output: 6 x 6 pixels of half the side")
