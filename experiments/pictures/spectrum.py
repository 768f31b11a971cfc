"""Pictures of a gradient's power spectrum."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from experiments.results.spectrum import Phase


def figure_of(found: Sequence[Phase], cutoff: float, title: str) -> Figure:
    """The spectra of the phases beside each other."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    for axes, phase in zip(figure.subplots(1, 2, sharey=True), found, strict=True):
        axes.plot(phase.omega, phase.before, label="before the filter")
        axes.plot(phase.omega, phase.after, "--", label="after the filter")
        axes.axvline(cutoff, color="gray", linestyle=":", label="−3 dB of the low-pass")
        axes.set(
            yscale="log",
            xlabel="frequency, radians per update",
            title=f"{phase.name}, steps {phase.start} to {phase.end}",
        )
        axes.set_xscale("symlog", linthresh=phase.omega[1])  # DC has a place too
        axes.set_xlim(0, np.pi)
        axes.grid(alpha=0.25)
    figure.axes[0].set_ylabel("share of the power before the filter")
    figure.axes[0].legend(fontsize=8)
    figure.suptitle(title)
    return figure
