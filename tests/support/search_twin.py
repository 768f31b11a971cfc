"""A plain float64 NumPy twin of the line searches: one run, step after step."""

import dataclasses

import numpy as np


@dataclasses.dataclass
class Run:
    """What each step of a run was like; lists of equal length."""

    value: list
    slope: list
    step_size: list
    backtracks: list
    params: list


def adam_run(
    losses,
    gradients,
    x,
    *,
    c,
    smoothing,
    shrink,
    grow,
    step_size,
    most,
    b1=0.9,
    b2=0.999,
    eps=1e-8,
    momentum_tried=True,
    cadence=False,
):
    """Adam whose step size is searched along its direction, or that without momentum.

    ``losses`` and ``gradients`` are functions of the parameters, one a step. Every
    search is expected to find a step.
    """
    run = Run([], [], [], [], [])
    m = v = np.zeros_like(x)
    mean_slope = mean_decrease = 0.0
    fast = slow = 1e-8
    since = 0
    for t, (f, gradient) in enumerate(zip(losses, gradients, strict=True), start=1):
        g = gradient(x)
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        root = np.sqrt(v / (1 - b2**t)) + eps
        direction = m / (1 - b1**t) / root
        tried = direction if momentum_tried else g / root
        slope, k = float(g @ tried), -1
        ratio = max(fast / slow, slow / fast)
        longest = 10 if ratio == 1 else min(10, 1 / (ratio - 1))
        if not cadence or t <= 10 or since >= longest:
            mean_slope = smoothing * mean_slope + (1 - smoothing) * slope
            factor = c if mean_slope > 0 else 1 / c
            step_size *= grow
            for trial in range(most + 1):
                k, decrease = trial, f(x) - f(x - step_size * tried)
                mean = smoothing * mean_decrease + (1 - smoothing) * decrease
                if mean >= factor * step_size * mean_slope:
                    break
                step_size *= shrink
            else:
                raise AssertionError("no step found: another problem, please")
            mean_decrease = mean
            fast, slow = 0.9 * fast + 0.1 * step_size, 0.99 * slow + 0.01 * step_size
            since = 0
        run.value.append(f(x))
        x = x - step_size * direction
        since += 1
        for kept, new in [
            (run.slope, slope),
            (run.step_size, step_size),
            (run.backtracks, k),
            (run.params, x),
        ]:
            kept.append(new)
    return run
