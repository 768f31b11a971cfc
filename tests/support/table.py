"""Every public transformation, in one table: a new one is one more row.

The contract tests run on each row. ``test_table_is_complete`` fails for a public
transformation that no row begins with.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from grokfast_jax import (
    amplify,
    exponential_moving_average,
    grokfast_adam,
    grokfast_adamw,
    grokfast_ema,
    grokfast_ma,
    linear_filter,
    moving_average,
    partition_by_path,
    skip_non_finite,
    sum_of,
)
from grokfast_jax.linesearch import adam_sls, alsals, salsa, scale_by_armijo, sls


@dataclasses.dataclass(frozen=True)
class Row:
    """A public transformation with some arguments.

    Attributes:
      factory: makes it.
      options: its arguments that may change while training: numbers or schedules.
      static: its other arguments.
      linear: whether its outputs are linear in the gradients.
      time_invariant: whether they depend on the past alone, not on the clock.
      filters: whether leaves that are not floating-point pass unchanged.
      any_names: whether it takes trees without a parameter named "w".
      searches: whether an update needs the loss; the row's own is given to it.
    """

    factory: Callable[..., Any]
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    static: dict[str, Any] = dataclasses.field(default_factory=dict)
    linear: bool = True
    time_invariant: bool = False
    filters: bool = True
    any_names: bool = True
    searches: bool = False

    def make(self, **changes: Any) -> optax.GradientTransformationExtraArgs:
        """The transformation, with some options changed."""
        return self.with_loss(self.factory(**self.options | self.static | changes))

    def with_loss(self, tx: Any) -> optax.GradientTransformationExtraArgs:
        """The transformation, given a loss if it needs one."""
        return _with_a_loss(tx) if self.searches else tx


def _with_a_loss(tx):
    """It gets a loss in place of any that is given: a straight one of that gradient."""

    def update(updates, state, params=None, **extra):
        def loss(at):
            products = jax.tree.map(lambda g, p: jnp.sum((g * p).real), updates, at)
            return sum(jnp.asarray(p, jnp.float32) for p in jax.tree.leaves(products))

        given = {"value": loss(params), "grad": updates, "value_fn": loss}
        return tx.update(updates, state, params, **extra | given)

    return optax.GradientTransformationExtraArgs(tx.init, update)


def _sum_of_two(fast, slow):
    return sum_of((exponential_moving_average(0.5), fast), (moving_average(3), slow))


def _amplified(lamb):
    return amplify(optax.ema(0.9, debias=False), lamb)


def _partitioned(alpha, lamb):
    return partition_by_path({"w": grokfast_ema(alpha, lamb)}, grokfast_ma(3, lamb))


def _partitioned_any(alpha, lamb):  # for trees of any names
    return partition_by_path({"": grokfast_ema(alpha, lamb)})


def _guarded(lamb):
    return skip_non_finite(grokfast_ma(3, lamb))


_SEARCH = {"linear": False, "filters": False, "searches": True}
ALPHA, LAMB = {"alpha": 0.9}, {"lamb": 2.0}
WINDOW = {"window_size": 3}
_FROM_ZERO = {"init": "zero"}
_ADAM = {"learning_rate": 0.01, **ALPHA, **LAMB}

ROWS = {
    "exponential_moving_average": Row(exponential_moving_average, ALPHA),
    "exponential_moving_average, zero": Row(
        exponential_moving_average, ALPHA, _FROM_ZERO, time_invariant=True
    ),
    "exponential_moving_average, debiased": Row(
        exponential_moving_average, ALPHA, {**_FROM_ZERO, "debias": True}
    ),
    "moving_average": Row(moving_average, {}, WINDOW, time_invariant=True),
    "moving_average, partial": Row(moving_average, {}, {**WINDOW, "start": "partial"}),
    "moving_average, float32": Row(
        moving_average,
        {},
        {**WINDOW, "accumulator_dtype": jnp.float32},
        time_invariant=True,
    ),
    "linear_filter": Row(
        linear_filter,
        {},
        {"b": (0.2, 0.1), "a": (1.0, -0.8, 0.1)},
        time_invariant=True,
    ),
    "linear_filter, sections": Row(
        linear_filter,
        {},
        {"sos": ((0.1, 0.2, 0.1, 1, -0.5, 0.1), (1, 1, 0, 1, -0.6, 0))},
        time_invariant=True,
    ),
    "sum_of": Row(_sum_of_two, {"fast": 2.0, "slow": -1.0}),
    "amplify": Row(_amplified, LAMB, time_invariant=True),
    "grokfast_ema": Row(grokfast_ema, {**ALPHA, **LAMB}),
    "grokfast_ema, zero": Row(
        grokfast_ema, {**ALPHA, **LAMB}, _FROM_ZERO, time_invariant=True
    ),
    "grokfast_ema, normalized": Row(
        grokfast_ema, {**ALPHA, **LAMB}, {"normalize": True, "start_step": 2}
    ),
    "grokfast_ma": Row(grokfast_ma, LAMB, WINDOW),
    "grokfast_ma, sum": Row(
        grokfast_ma, LAMB, {**WINDOW, "filter_type": "sum", "normalize": True}
    ),
    "grokfast_ma, at once": Row(grokfast_ma, LAMB, {**WINDOW, "warmup": False}),
    "partition_by_path": Row(_partitioned, {**ALPHA, **LAMB}, any_names=False),
    "partition_by_path, all": Row(_partitioned_any, {**ALPHA, **LAMB}),
    "skip_non_finite": Row(_guarded, LAMB),
    "grokfast_adam": Row(
        grokfast_adam, {**_ADAM, "l2": 0.01}, linear=False, filters=False
    ),
    "grokfast_adamw": Row(
        grokfast_adamw, {**_ADAM, "weight_decay": 0.01}, linear=False, filters=False
    ),
    "scale_by_armijo": Row(scale_by_armijo, {}, {"smoothing": 0.5}, **_SEARCH),
    "sls": Row(sls, {"weight_decay": 0.1}, **_SEARCH),
    "alsals": Row(alsals, {"weight_decay": 0.1}, **_SEARCH),
    "adam_sls": Row(adam_sls, {"weight_decay": 0.1}, **_SEARCH),
    "salsa": Row(salsa, {"weight_decay": 0.1}, **_SEARCH),
}
