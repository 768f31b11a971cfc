"""Power spectrum of a run's gradient, while it memorises and while it generalises.

The premise of Grokfast (arXiv 2405.20233): the slow part of the gradient generalises,
the fast part over-fits. Here it is looked at in the recorded projections of a run's own
gradients (see :mod:`experiments.methods.projections`), before and after its filter.
"""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.signal

from experiments.methods.chain import build_filter
from experiments.methods.ema import Ema
from experiments.methods.named import filters_of
from experiments.records.run import RecordError, RunDirectory
from experiments.results.milestones import first_step
from experiments.results.response import measure
from experiments.settings.method import Filter

THRESHOLD = 0.95  # of the accuracies that end the two phases
_NEVER = "after fitting"  # the second phase of a run that never generalised
_SHORTEST = 32  # steps of a phase
_SEGMENT = 1024  # steps of a segment of Welch's method, or more for slow filters


@dataclasses.dataclass(frozen=True)
class Phase:
    """Spectra of one phase of a run.

    Attributes:
      name: "memorising"; "generalising", or "after fitting" in a run that never
        generalised.
      start: its first step.
      end: the step after its last.
      segment: steps of the segments that the spectra were estimated from.
      omega: frequencies, radians per update, ``[F]``.
      before: power at each frequency before the filter; sums to 1.
      after: the same after the filter, in the same unit.
    """

    name: str
    start: int
    end: int
    segment: int
    omega: np.ndarray
    before: np.ndarray
    after: np.ndarray

    def slow_share(self, cutoff: float) -> tuple[float, float]:
        """Share of the power up to a frequency, before and after the filter."""
        before, after = (
            _share_below(cutoff, self.omega, power)
            for power in (self.before, self.after)
        )
        return before, after


def _share_below(cutoff: float, omega: np.ndarray, power: np.ndarray) -> float:
    """A power belongs to the frequencies up to half-way to its neighbours."""
    edges = np.concatenate([[0.0], (omega[1:] + omega[:-1]) / 2, [np.pi]])
    below = np.append(0.0, np.cumsum(power))
    return float(np.interp(cutoff, edges, below) / below[-1])


def references(segment: int, cutoff: float) -> dict[str, float]:
    """The slow share that signals without and with a direction are estimated to have.

    Of white noise, and of a constant: the most that any signal can have at this
    length of the segments, as the window spreads power over its neighbours.
    """
    omega, constant = _power(np.ones((segment, 1)), segment)
    return {
        "white_noise": cutoff / np.pi,
        "a_constant": _share_below(cutoff, omega, constant),
    }


def cutoff_of(filters: Sequence[Filter]) -> float:
    """−3 dB frequency of a run's filter; of the default EMA for a run without.

    Raises:
      ValueError: several filters have no one low-pass.
    """
    if len(filters) > 1:
        raise ValueError("a chain of filters has no one low-pass to measure.")
    (only,) = filters or (Ema(),)
    return measure(only).measures["cutoff"] or np.pi


def filtered(projections: np.ndarray, filters: Sequence[Filter]) -> np.ndarray:
    """What the filters make of the projections, from step 0 on, ``[steps, K]``.

    Linear and alike for all parameters, they make of the projected gradient the
    projection of the filtered one.
    """
    tx = optax.with_extra_args_support(build_filter(filters))

    def step(state: optax.OptState, g: jax.Array) -> tuple[optax.OptState, jax.Array]:
        output, state = tx.update(g, state)
        return state, output

    gradients = jnp.asarray(projections)
    return np.asarray(jax.lax.scan(step, tx.init(gradients[0]), gradients)[1])


def phases(run: RunDirectory, cutoff: float) -> list[Phase]:
    """Spectra of a run's phases.

    Memorising: from step 0 until the training accuracy first reaches 95 %.
    Generalising: from there until the validation accuracy does; or, to the last step
    of a run in which it never did, after fitting.
    Both are cut into segments of one length, at most that of the shorter phase: they
    could not be compared at different resolutions. Else it is long enough to tell
    what is slower than the cut-off: the window blurs over 4π/segment to either side.

    Raises:
      RecordError: no projections, no accuracy, never fitted, or a phase too short.
    """
    projections, metrics = run.projections(), run.metrics()
    if "train_accuracy" not in metrics:
        raise RecordError(f"{run.path} has no accuracies to tell the phases by.")
    steps = metrics["step"]
    fit = first_step(steps, metrics["train_accuracy"], THRESHOLD)
    if fit is None:
        raise RecordError(
            f"{run.path} never reached {THRESHOLD:.0%} training accuracy."
        )
    end = first_step(steps, metrics["validation_accuracy"], THRESHOLD)
    bounds = {"memorising": (0, fit)}
    if end is None:
        bounds[_NEVER] = (fit, len(projections))
    else:
        bounds["generalising"] = (fit, end)
    for name, (start, stop) in bounds.items():
        if stop - start < _SHORTEST:
            phase = f"phase {name}" if name == _NEVER else f"{name} phase"
            raise RecordError(
                f"the {phase} has {stop - start} steps, {start} to {stop}; a "
                f"spectrum needs {_SHORTEST}."
            )
    wanted = max(_SEGMENT, int(np.ceil(8 * np.pi / cutoff)))
    segment = min(wanted, *(stop - start for start, stop in bounds.values()))
    after = filtered(projections, filters_of(run.config()))
    return [
        _phase(name, slice(*steps), segment, projections, after)
        for name, steps in bounds.items()
    ]


def _phase(
    name: str, steps: slice, segment: int, before: np.ndarray, after: np.ndarray
) -> Phase:
    omega, power_before = _power(before[steps], segment)
    _, power_after = _power(after[steps], segment)
    whole = power_before.sum()
    return Phase(
        name,
        steps.start,
        steps.stop,
        segment,
        omega,
        power_before / whole,
        power_after / whole,
    )


def _power(signal: np.ndarray, segment: int) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies, and the mean power of signals ``[steps, K]`` at each, by Welch."""
    omega, density = scipy.signal.welch(
        signal.astype(np.float64),
        fs=2 * np.pi,
        nperseg=segment,
        detrend=False,  # the mean is the slowest part of all
        axis=0,
    )
    return omega, density.mean(axis=1)
