"""Grokfast for JAX: amplify the slow part of the gradients, as Optax transformations.

Grokfast (arXiv 2405.20233) views each parameter's gradient over training steps as a
signal and adds its low-passed copy to it, ``ĝ = g + λ·(h ∗ g)``:

>>> import optax
>>> from grokfast_jax import grokfast_ema
>>> optimizer = optax.chain(grokfast_ema(alpha=0.98, lamb=2.0), optax.adamw(1e-3))
"""

import contextlib

import jax.export

from grokfast_jax._amplify import AmplifyState, amplify
from grokfast_jax._closed_forms import ema_frequency_response, ma_frequency_response
from grokfast_jax._grokfast import grokfast_ema, grokfast_ma
from grokfast_jax._guard import SkipNonFiniteState, skip_non_finite
from grokfast_jax._linear import LinearFilterState, linear_filter
from grokfast_jax._linearity import Verdict, is_linear, is_time_invariant
from grokfast_jax._lowpass import (
    ExponentialMovingAverageState,
    MovingAverageState,
    exponential_moving_average,
    moving_average,
)
from grokfast_jax._optimizers import grokfast_adam, grokfast_adamw
from grokfast_jax._paths import partition_by_path
from grokfast_jax._response import (
    dc_gain,
    frequency_response,
    half_life,
    impulse_response,
)
from grokfast_jax._sharding import state_sharding
from grokfast_jax._sum import SumOfState, sum_of

__version__ = "0.1.0"

# So that compiled updates can be serialized with their states (jax.export). What is
# registered already was so before importlib.reload.
for _state in (
    AmplifyState,
    ExponentialMovingAverageState,
    LinearFilterState,
    MovingAverageState,
    SkipNonFiniteState,
    SumOfState,
):
    with contextlib.suppress(ValueError):
        jax.export.register_namedtuple_serialization(
            _state, serialized_name=f"grokfast_jax.{_state.__name__}"
        )

__all__ = [
    "AmplifyState",
    "ExponentialMovingAverageState",
    "LinearFilterState",
    "MovingAverageState",
    "SkipNonFiniteState",
    "SumOfState",
    "Verdict",
    "amplify",
    "dc_gain",
    "ema_frequency_response",
    "exponential_moving_average",
    "frequency_response",
    "grokfast_adam",
    "grokfast_adamw",
    "grokfast_ema",
    "grokfast_ma",
    "half_life",
    "impulse_response",
    "is_linear",
    "is_time_invariant",
    "linear_filter",
    "ma_frequency_response",
    "moving_average",
    "partition_by_path",
    "skip_non_finite",
    "state_sharding",
    "sum_of",
]
