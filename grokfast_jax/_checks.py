"""Argument checks that name the argument, the value and the allowed range.

Only Python and NumPy numbers are checked. JAX arrays, traced or not, and schedules
pass: comparing a tracer with a bound would break ``jit``, ``vmap`` over
hyper-parameters and ``optax.inject_hyperparams``.
"""

import math
import numbers
from collections.abc import Callable
from typing import TypeGuard

import jax
import jax.numpy as jnp
import jax.typing
import numpy as np
import optax

_STATIC_HINT = (
    "With optax.inject_hyperparams, pass "
    'static_args=("window_size", "accumulator_dtype").'
)

Hyperparameter = (
    jax.typing.ArrayLike | Callable[[jax.typing.ArrayLike], jax.typing.ArrayLike]
)
"""A number, a scalar array (traced or not) or an Optax schedule."""


def value_at(hyperparameter: Hyperparameter, count: jax.Array) -> jax.typing.ArrayLike:
    """The hyper-parameter's value at update ``count`` (0 for the first update)."""
    return hyperparameter(count) if callable(hyperparameter) else hyperparameter


def check_hyperparameter(
    name: str, value: object, *, minimum: float | None = 0.0, below: float = math.inf
) -> None:
    """Check that a number lies in [minimum, below); arrays and schedules pass.

    Without a minimum it may be any finite number.
    """
    if callable(value):
        return
    _check_scalar(name, value)
    if isinstance(value, jax.Array):
        return
    if not _is_number(value, (float, int, np.floating, np.integer)):
        raise TypeError(
            f"{name} must be a number, a scalar array or a schedule, got {value!r}."
        )
    if minimum is None:
        if not math.isfinite(value):
            raise ValueError(f"{name} must be finite, got {value!r}.")
    elif not minimum <= value < below:
        raise ValueError(f"{name} must be in [{minimum:g}, {below:g}), got {value!r}.")


def check_start_step(value: object) -> None:
    """Check that ``start_step`` is an integer ≥ 0, or a scalar integer array."""
    _check_scalar("start_step", value)
    if isinstance(value, jax.Array):
        if not jnp.issubdtype(value.dtype, jnp.integer):
            raise TypeError(f"start_step must be an integer, got dtype {value.dtype}.")
    elif not _is_number(value, numbers.Integral):
        raise TypeError(f"start_step must be an integer ≥ 0, got {value!r}.")
    elif not 0 <= value < 2**31:
        raise ValueError(f"start_step must be in [0, 2³¹), got {value!r}.")


def check_window_size(value: object) -> None:
    """Check that ``window_size`` is a Python or NumPy integer ≥ 1."""
    if isinstance(value, jax.Array):
        raise TypeError(
            "window_size sets the shape of the filter's state, so it must be a Python "
            f"integer ≥ 1, got a JAX array: {value!r}. {_STATIC_HINT}"
        )
    if not _is_number(value, numbers.Integral):
        raise TypeError(f"window_size must be an integer ≥ 1, got {value!r}.")
    if value < 1:
        raise ValueError(f"window_size must be an integer ≥ 1, got {value!r}.")


def check_count(name: str, value: object, minimum: int) -> None:
    """Check that a number of updates is a Python or NumPy integer ≥ ``minimum``."""
    if not _is_number(value, numbers.Integral):
        raise TypeError(f"{name} must be an integer ≥ {minimum}, got {value!r}.")
    if value < minimum:
        raise ValueError(f"{name} must be an integer ≥ {minimum}, got {value!r}.")


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Check that an option is one of the names allowed."""
    if not isinstance(value, str) or value not in choices:
        allowed = " or ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} must be {allowed}, got {value!r}.")


def check_flag(name: str, value: object) -> None:
    """Check that an option is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {value!r}.")


def check_accumulator_dtype(value: jax.typing.DTypeLike | None) -> None:
    """Check that ``accumulator_dtype`` is None or a floating-point dtype."""
    if value is None:
        return
    if isinstance(value, (jax.Array, np.ndarray)):
        raise TypeError(
            "accumulator_dtype must be None or a floating-point dtype, got an array: "
            f"{value!r}. {_STATIC_HINT}"
        )
    try:
        dtype = jnp.dtype(value)
    except TypeError:
        dtype = None
    if dtype is None or not jnp.issubdtype(dtype, jnp.inexact):
        raise TypeError(
            f"accumulator_dtype must be None or a floating-point dtype, got {value!r}."
        )


def check_transformation(name: str, value: object) -> None:
    """Check that an argument is an Optax gradient transformation."""
    if not isinstance(value, optax.GradientTransformation):
        raise TypeError(
            f"{name} must be an optax.GradientTransformation, got {value!r}."
        )


def _check_scalar(name: str, value: object) -> None:
    if isinstance(value, (jax.Array, np.ndarray)) and value.ndim != 0:
        raise ValueError(
            f"{name} must be a scalar, got an array of shape {value.shape}."
        )


def _is_number(value: object, kind: type | tuple[type, ...]) -> TypeGuard[float]:
    if isinstance(value, np.ndarray):  # zero-dimensional, see _check_scalar
        value = value[()]
    return isinstance(value, kind) and not isinstance(value, bool)
