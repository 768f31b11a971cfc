"""Optax's own tests of its contributed optimizers, run on ours.

The suite is parametrized over lists of optimizers when it is imported; a fresh import
of it gets ours instead.
"""

import importlib.util
from unittest import mock

import optax
import pytest
from absl.testing import parameterized

from grokfast_jax import (
    amplify,
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


def _before_adam(make):
    """An optimizer from a filter with the gain ``lamb``."""

    def factory(learning_rate: optax.ScalarOrSchedule, lamb=2.0):
        return optax.chain(make(lamb), optax.adam(learning_rate))

    return factory


FACTORIES = {
    "ema": _before_adam(lambda lamb: grokfast_ema(0.9, lamb)),
    "ma": _before_adam(lambda lamb: grokfast_ma(10, lamb)),
    "linear": _before_adam(lambda lamb: amplify(linear_filter([0.1], [1, -0.9]), lamb)),
    "sum": _before_adam(lambda lamb: amplify(sum_of((moving_average(5), lamb)), 1.0)),
    "by_path": _before_adam(lambda lamb: partition_by_path({"": grokfast_ema(0.9)})),
    "guarded": _before_adam(lambda lamb: skip_non_finite(grokfast_ma(10, lamb))),
    "grokfast_adam": grokfast_adam,
    "grokfast_adamw": grokfast_adamw,
}
OPTIMIZERS = tuple(
    {
        "opt_name": name,
        "opt_kwargs": {"learning_rate": 1e-3},
        "wrapper_name": None,
        "wrapper_kwargs": None,
    }
    for name in FACTORIES
)


def suite_for_ours():
    spec = importlib.util.find_spec("optax.contrib._common_test")
    if spec is None:
        pytest.skip("this Optax comes without its tests", allow_module_level=True)
    product = parameterized.product

    def ours(*groups, **axes):
        return product(*(OPTIMIZERS for _ in groups), **axes)

    suite = importlib.util.module_from_spec(spec)
    with mock.patch.object(parameterized, "product", ours):
        spec.loader.exec_module(suite)
    suite._get_opt_factory = FACTORIES.__getitem__
    return suite


class TestContributed(suite_for_ours().ContribTest):
    """All of Optax's tests; each name ends with a number of :data:`OPTIMIZERS`."""
