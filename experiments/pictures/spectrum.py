"""Pictures of a gradient's power spectrum."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.pictures.axes import legend_below
from experiments.pictures.looks import in_legend, looks
from experiments.results.spectrum import Phase

_HEIGHT = 4.2  # inches, without the legend
_STYLES = looks(["before the filter", "after the filter"])


def figure_of(found: Sequence[Phase], cutoff: float, title: str) -> Figure:
    """The spectra of the phases beside each other."""
    figure = Figure(figsize=(10, _HEIGHT), layout="constrained")
    lines: dict[str, list[Line2D]] = {"before the filter": [], "after the filter": []}
    for axes, phase in zip(figure.subplots(1, 2, sharey=True), found, strict=True):
        powers = (phase.before, phase.after)
        for (label, drawn), power in zip(lines.items(), powers, strict=True):
            drawn += axes.plot(phase.omega, power, **_STYLES[label])
        corner = axes.axvline(cutoff, color="gray", linestyle=":")
        axes.set(
            yscale="log",
            xlabel="frequency, radians per update",
            title=f"{phase.name}, steps {phase.start:,} to {phase.end:,}",
        )
        axes.set_xscale("symlog", linthresh=phase.omega[1])  # DC has a place too
        axes.set_xlim(0, np.pi)
        axes.grid(alpha=0.25)
    figure.axes[0].set_ylabel("share of the power before the filter")
    handles = [*(drawn[0] for drawn in lines.values()), corner]
    texts = [
        *in_legend({label: {"power": drawn} for label, drawn in lines.items()}),
        "−3 dB of the low-pass",
    ]
    legend_below(figure, handles, texts, _HEIGHT)
    figure.suptitle(title)
    return figure
