"""Argument checks that name the argument, the value and the allowed range.

Traced values and schedules pass: comparing a tracer with a bound would break ``jit``,
``vmap`` over hyper-parameters and ``optax.inject_hyperparams``. All that is concrete is
checked, arrays included.
"""

import difflib
import functools
import inspect
import math
from collections.abc import Callable
from typing import ParamSpec, TypeVar

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


def value_at(hyperparameter: Hyperparameter, count: jax.Array) -> float | jax.Array:
    """The hyper-parameter's value at update ``count`` (0 for the first update).

    A float or a floating-point array. Where it meets a leaf it must be cast, by
    ``jnp.asarray``, to the dtype in which that leaf is computed: under strict promotion
    JAX does not. (A float stays one until then: 1 − α must not be of a rounded α.)
    """
    value = hyperparameter(count) if callable(hyperparameter) else hyperparameter
    if not isinstance(value, jax.Array):
        return float(value)  # type: ignore[arg-type]  # checked to be real
    if jnp.issubdtype(value.dtype, jnp.inexact):
        return value
    return value.astype(jnp.result_type(float))


def check_hyperparameter(
    name: str,
    value: object,
    *,
    minimum: float | None = 0.0,
    below: float = math.inf,
    schedule: bool = True,
) -> None:
    """Check that a number lies in [minimum, below); schedules pass, unless refused.

    Without a minimum it may be any finite number.
    """
    if callable(value) and schedule:
        return
    _check_scalar(name, value)
    if _is_unknown(value):
        return
    if not _is_number(value, jnp.integer, jnp.floating):
        allowed = "a number, a scalar array or a schedule" if schedule else "a number"
        hint = (
            " With optax.inject_hyperparams over complex parameters, pass "
            "hyperparam_dtype=jnp.float32."
            if isinstance(value, jax.Array) and jnp.iscomplexobj(value)
            else ""
        )
        raise TypeError(f"{name} must be {allowed}, got {value!r}.{hint}")
    try:
        number = float(value)  # type: ignore[arg-type]  # it is one, see above
    except OverflowError:  # an int beyond the floats
        number = math.inf
    if minimum is None:
        if not math.isfinite(number):
            raise ValueError(f"{name} must be finite, got {value!r}.")
    elif not minimum <= number < below:
        raise ValueError(f"{name} must be in [{minimum:g}, {below:g}), got {value!r}.")


def check_traceable_count(name: str, value: object) -> None:
    """Check that it is an integer ≥ 0, or a scalar integer array, traced or not."""
    _check_scalar(name, value)
    if isinstance(value, jax.Array) and not jnp.issubdtype(value.dtype, jnp.integer):
        raise TypeError(f"{name} must be an integer, got dtype {value.dtype}.")
    if _is_unknown(value):
        return
    if not _is_number(value, jnp.integer):
        raise TypeError(f"{name} must be an integer ≥ 0, got {value!r}.")
    if not 0 <= int(value) < 2**31:  # type: ignore[call-overload]
        raise ValueError(f"{name} must be in [0, 2³¹), got {value!r}.")


def check_window_size(value: object) -> None:
    """Check that ``window_size`` is a Python or NumPy integer in [1, 2³¹ − 1)."""
    if isinstance(value, jax.Array):
        raise TypeError(
            "window_size sets the shape of the filter's state, so it must be a Python "
            f"integer ≥ 1, got a JAX array: {value!r}. {_STATIC_HINT}"
        )
    check_count("window_size", value, 1)
    if value >= 2**31 - 1:  # type: ignore[operator]  # an axis of w + 1 int32 slots
        raise ValueError(f"window_size must be in [1, 2³¹ − 1), got {value!r}.")


def check_count(name: str, value: object, minimum: int) -> None:
    """Check that a number of updates is a Python or NumPy integer ≥ ``minimum``."""
    if isinstance(value, jax.Array) or not _is_number(value, jnp.integer):
        raise TypeError(f"{name} must be an integer ≥ {minimum}, got {value!r}.")
    if value < minimum:  # type: ignore[operator]
        raise ValueError(f"{name} must be an integer ≥ {minimum}, got {value!r}.")


def checked_reals(name: str, values: object) -> np.ndarray:
    """Numbers as a float64 array: concrete, real and finite, of any shape."""
    if any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(values)):
        raise TypeError(f"{name} must be concrete numbers, not traced ones.")
    try:
        array = np.asarray(values)
    except ValueError:  # rows of different lengths
        raise ValueError(f"{name} must be a regular array, got {values!r}.") from None
    kinds = jnp.integer, jnp.floating
    if not any(jnp.issubdtype(array.dtype, kind) for kind in kinds):
        raise TypeError(f"{name} must be real numbers, got {values!r}.")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {values!r}.")
    return array


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Check that an option is one of the names allowed."""
    if not isinstance(value, str) or value not in choices:
        allowed = " or ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} must be {allowed}, got {value!r}.")


def check_flag(name: str, value: object) -> None:
    """Check that an option is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {value!r}.")


def check_mask(value: object) -> None:
    """Check that a mask is None, a function, or a tree of bools."""
    if value is None or callable(value):
        return
    for leaf in jax.tree.leaves(value):
        if not isinstance(leaf, bool) and getattr(leaf, "dtype", None) != np.bool_:
            raise TypeError(
                f"mask must be a tree of bools or a function that makes one, got "
                f"{leaf!r} in it."
            )


def check_accumulator_dtype(
    value: jax.typing.DTypeLike | None, name: str = "accumulator_dtype"
) -> None:
    """Check that ``accumulator_dtype`` is None or a real floating-point dtype."""
    if value is None:
        return
    if isinstance(value, (jax.Array, np.ndarray)):
        raise TypeError(
            f"{name} must be None or a floating-point dtype, got an array: "
            f"{value!r}. {_STATIC_HINT}"
        )
    try:
        dtype = jnp.dtype(value)
    except TypeError:
        dtype = None
    if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(
            f"{name} must be None or a floating-point dtype, got {value!r}."
        )


def check_transformation(name: str, value: object) -> None:
    """Check that an argument is an Optax gradient transformation."""
    if not isinstance(value, optax.GradientTransformation):
        hint = (
            " Pass its .gradient_transformation()."
            if isinstance(value, optax.MultiSteps)
            else ""
        )
        raise TypeError(
            f"{name} must be an optax.GradientTransformation, got {value!r}.{hint}"
        )


def _check_scalar(name: str, value: object) -> None:
    if isinstance(value, (jax.Array, np.ndarray)) and value.ndim != 0:
        raise ValueError(
            f"{name} must be a scalar, got an array of shape {value.shape}."
        )


def _is_unknown(value: object) -> bool:
    """Whether an array's value cannot be read here: traced, or on other hosts."""
    if isinstance(value, jax.core.Tracer):
        return True
    return isinstance(value, jax.Array) and not value.is_fully_addressable


def _is_number(value: object, *kinds: type) -> bool:
    """Whether it is a Python, NumPy or JAX number of these kinds, bool excluded."""
    if isinstance(value, bool) or not isinstance(
        value, (int, float, np.generic, np.ndarray, jax.Array)
    ):
        return False
    dtype = value.dtype if hasattr(value, "dtype") else np.dtype(type(value))
    return any(jnp.issubdtype(dtype, kind) for kind in kinds)


_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")
_OTHER_NAMES = {
    "lr": ("learning_rate",),
    "decay": ("alpha",),
    "beta": ("alpha",),
    "momentum": ("alpha",),
    "betas": ("b1",),
    "weight_decay": ("l2",),
    "wd": ("weight_decay", "l2"),
    "window": ("window_size",),
    "w": ("window_size", "omega"),
    "length": ("n",),
    "sharding": ("param_shardings",),
}
"""What the same things are called elsewhere."""


def suggest_keywords(
    function: Callable[_Arguments, _Result],
) -> Callable[_Arguments, _Result]:
    """Let a misspelt keyword raise with the nearest name that there is."""
    names = tuple(
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is not parameter.VAR_POSITIONAL
    )
    arguments = f"Its arguments: {', '.join(names)}." if names else "It has none."

    def nearest(given: str) -> str | None:
        known = [name for name in _OTHER_NAMES.get(given, ()) if name in names]
        near = difflib.get_close_matches(given, names, n=1, cutoff=0.65)
        return next(iter([*known, *near]), None)

    @functools.wraps(function)
    def wrapper(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        for given in kwargs:
            if given not in names:
                near = nearest(given)
                hint = f": did you mean {near}?" if near else "."
                raise TypeError(
                    f"{function.__name__}() got an unexpected keyword argument "
                    f"{given!r}{hint} {arguments}"
                )
        return function(*args, **kwargs)

    return wrapper
