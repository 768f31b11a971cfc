"""Optax's own tests of its contributed optimizers, run on ours.

The suite is parametrized over lists of optimizers when it is imported; a fresh import
of it gets ours instead.
"""

import importlib.util
from unittest import mock

import optax
import pytest
from absl.testing import parameterized

from tests.support.table import ROWS


def _optimizer(row):
    """The row before Adam, or alone where it is a whole optimizer."""
    if "learning_rate" in row.options:
        return row.factory

    def factory(learning_rate: optax.ScalarOrSchedule):
        return optax.chain(row.make(), optax.adam(learning_rate))

    return factory


# The first row of each transformation that takes trees of any names, and no loss.
FIRST = {
    row.factory: name
    for name, row in reversed(ROWS.items())
    if row.any_names and not row.searches
}
FACTORIES = {name: _optimizer(ROWS[name]) for name in FIRST.values()}
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
