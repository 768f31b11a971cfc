"""Plain float64 NumPy twins of the filters: slow, obvious, and independent."""

from collections.abc import Sequence

import numpy as np


def ema(gradients: np.ndarray, alpha, init="first_gradient", debias=False):
    """Exponential moving averages of ``gradients [T, ...]``; alpha number or [T]."""
    alphas = np.broadcast_to(np.asarray(alpha, np.float64), len(gradients))
    outputs, m, product = [], 0.0, 1.0
    for t, (a, g) in enumerate(zip(alphas, gradients.astype(np.float64), strict=True)):
        m = g if t == 0 and init == "first_gradient" else a * m + (1 - a) * g
        product *= a
        outputs.append(m / (1 - product) if debias else m)
    return np.stack(outputs)


def windowed(gradients: np.ndarray, window_size: int) -> list[np.ndarray]:
    """The gradients in the window at each update: a list of lists."""
    g = gradients.astype(np.float64)
    return [g[max(0, t - window_size + 1) : t + 1] for t in range(len(g))]


def ma(gradients: np.ndarray, window_size: int, start="zero"):
    """Moving averages of ``gradients [T, ...]``."""
    return np.stack(
        [
            w.sum(0) / (window_size if start == "zero" else len(w))
            for w in windowed(gradients, window_size)
        ]
    )


def amplify(gradients, slow, lamb, start_step=0, normalize=False):
    """g + λ·slow from ``start_step`` on; lamb number or [T]."""
    g = gradients.astype(np.float64)
    shape = (-1,) + (1,) * (g.ndim - 1)
    lambs = np.broadcast_to(np.asarray(lamb, np.float64), len(g)).reshape(shape)
    amplified = (g + lambs * slow) / ((1 + lambs) if normalize else 1)
    on = (np.arange(len(g)) >= start_step).reshape(shape)
    return np.where(on, amplified, g)


def grokfast_ema(gradients, alpha, lamb, init="first_gradient", **options):
    """Grokfast-EMA."""
    return amplify(gradients, ema(gradients, alpha, init), lamb, **options)


def grokfast_ma(
    gradients,
    window_size,
    lamb,
    filter_type="mean",
    warmup=True,
    start_step=0,
    normalize=False,
):
    """Grokfast-MA."""
    windows: Sequence[np.ndarray] = windowed(gradients, window_size)
    if filter_type == "sum":
        slow = np.stack([w.sum(0) for w in windows])
    else:
        slow = np.stack([w.mean(0) for w in windows])
    if warmup:
        start_step = max(start_step, window_size - 1)
    dc_lamb = lamb * (window_size if filter_type == "sum" else 1)
    out = amplify(gradients, slow, lamb, start_step)
    if normalize:
        out[start_step:] /= 1 + dc_lamb
    return out
