"""Grokfast for JAX: amplify the slow part of the gradients, as Optax transformations.

Grokfast (arXiv 2405.20233) views each parameter's gradient over training steps as a
signal and adds its low-passed copy to it, ``ĝ = g + λ·(h ∗ g)``:

>>> import optax
>>> from grokfast_jax import grokfast_ema
>>> optimizer = optax.chain(grokfast_ema(alpha=0.98, lamb=2.0), optax.adamw(1e-3))
"""

from grokfast_jax._amplify import AmplifyState, amplify
from grokfast_jax._grokfast import grokfast_ema, grokfast_ma
from grokfast_jax._guard import SkipNonFiniteState, skip_non_finite
from grokfast_jax._linear import LinearFilterState, linear_filter
from grokfast_jax._lowpass import (
    ExponentialMovingAverageState,
    MovingAverageState,
    exponential_moving_average,
    moving_average,
)
from grokfast_jax._optimizers import grokfast_adam, grokfast_adamw
from grokfast_jax._response import (
    dc_gain,
    frequency_response,
    half_life,
    impulse_response,
)

__version__ = "0.1.0"

__all__ = [
    "AmplifyState",
    "ExponentialMovingAverageState",
    "LinearFilterState",
    "MovingAverageState",
    "SkipNonFiniteState",
    "amplify",
    "dc_gain",
    "exponential_moving_average",
    "frequency_response",
    "grokfast_adam",
    "grokfast_adamw",
    "grokfast_ema",
    "grokfast_ma",
    "half_life",
    "impulse_response",
    "linear_filter",
    "moving_average",
    "skip_non_finite",
]
