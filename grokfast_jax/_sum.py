"""Several filters side by side: a weighted sum of their outputs."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from grokfast_jax._checks import (
    Hyperparameter,
    check_hyperparameter,
    check_transformation,
    suggest_keywords,
    value_at,
)
from grokfast_jax._matching import check_length, check_match, check_params, check_state
from grokfast_jax._trees import at_least_float32, map_inexact


class SumOfState(NamedTuple):
    """State of :func:`sum_of`.

    Attributes:
      count: updates done so far, int32, saturating at 2³¹−1.
      parts: the state of each filter.
    """

    count: jax.Array  # type: ignore[assignment]  # shadows tuple.count, as in Optax
    parts: tuple[optax.OptState, ...]


@suggest_keywords
def sum_of(
    *parts: tuple[optax.GradientTransformation, Hyperparameter],
) -> optax.GradientTransformationExtraArgs:
    r"""Weighted sum of filters that all see the same gradient.

    .. math::
      y_t = \sum_i \lambda_i\, (h_i * g)_t, \qquad
      H(\omega) = \sum_i \lambda_i H_i(\omega)

    Filters one behind the other are ``optax.chain``; side by side they are this. Some
    arguments of :func:`amplify` made with it:

    * two time scales: ``sum_of((fast, 1.0), (slow, 2.0))``;
    * a high-pass: ``sum_of((optax.identity(), 1.0), (moving_average(100), -1.0))``;
    * a band-pass: ``sum_of((fast, 1.0), (slow, -1.0))``, with two exponential moving
      averages.

    Args:
      *parts: pairs of a gradient transformation and its weight λᵢ: a number of any
        sign, a scalar array (traced or not) or a schedule of the updates done.

    Returns:
      A transformation that maps g to y in the dtype of g and passes extra arguments on
      to every filter. State: the sum of the filters' states. Integer, ``None`` and
      masked leaves pass through unchanged.

    Raises:
      ValueError: no part, or a weight that is not finite.
      TypeError: a part that is no pair, or a member of it of the wrong type.

    Example:
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from grokfast_jax import amplify, exponential_moving_average, sum_of
      >>> slow, slower = map(exponential_moving_average, (0.9, 0.99))
      >>> tx = amplify(sum_of((slow, 2.0), (slower, 1.0)), lamb=1.0)
      >>> out, _ = tx.update(jnp.float32(1.0), tx.init(jnp.float32(0.0)))
      >>> print(out)  # 1 + 2 + 1
      4.0
    """
    if not parts:
        raise ValueError("sum_of needs at least one (filter, weight) pair, got none.")
    for index, part in enumerate(parts):
        is_filter = isinstance(part, optax.GradientTransformation)  # a tuple of two
        if is_filter or not isinstance(part, tuple) or len(part) != 2:
            raise TypeError(
                f"part {index} must be a (filter, weight) pair, as in "
                "sum_of((tx, 1.0), (other, 2.0)) or sum_of(*pairs), "
                f"got {type(part).__name__}."
            )
        check_transformation(f"filter {index}", part[0])
        check_hyperparameter(f"weight {index}", part[1], minimum=None)
    filters = [optax.with_extra_args_support(tx) for tx, _ in parts]
    weights = [weight for _, weight in parts]

    def init_fn(params: optax.Params) -> SumOfState:
        return SumOfState(
            jnp.zeros([], jnp.int32), tuple(tx.init(params) for tx in filters)
        )

    def update_fn(
        updates: optax.Updates,
        state: SumOfState,
        params: optax.Params | None = None,
        **extra_args: object,
    ) -> tuple[optax.Updates, SumOfState]:
        check_state("sum_of", state, SumOfState)
        check_length("sum_of", "filters", len(state.parts), len(filters))
        check_params(updates, params)
        # Wide, so that a small difference of two filters is not one of rounded outputs.
        wide = map_inexact(lambda g: g.astype(at_least_float32(g.dtype)), updates)
        results = [
            tx.update(wide, part, params, **extra_args)
            for tx, part in zip(filters, state.parts, strict=True)
        ]
        for output, _ in results:
            check_match(updates, output, "a filter's output", integers_pass=True)
        gains = [value_at(weight, state.count) for weight in weights]

        def add(g: jax.Array, *outputs: jax.Array) -> jax.Array:
            wide = at_least_float32(g.dtype)
            terms = (
                jnp.asarray(gain, wide) * jnp.asarray(y, wide)
                for gain, y in zip(gains, outputs, strict=True)
            )
            return jnp.astype(sum(terms), g.dtype)

        outputs = map_inexact(add, updates, *(output for output, _ in results))
        # A filter that keeps its inputs as they come would now keep wide ones.
        new_parts = tuple(
            optax.tree.cast_like(new, old)
            for (_, new), old in zip(results, state.parts, strict=True)
        )
        return outputs, SumOfState(optax.safe_increment(state.count), new_parts)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
