"""What an optimizer is handed to search with: values and gradients of one function."""

import dataclasses
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.engine.objective import mean_loss
from experiments.engine.train import initialize, run_chunk
from experiments.methods.observe import state_of
from experiments.settings.method import ScheduledOptimizer
from experiments.settings.options import options
from tests.support.tiny import TASK, config_of

DATA = TASK.load()


class Seen(NamedTuple):
    """What the spy was handed, and what the handed function gives."""

    value: jax.Array
    again: jax.Array
    below: jax.Array
    grad: optax.Updates
    grad_of_value_fn: optax.Updates


def spy():
    def init_fn(params):
        nothing = jax.tree.map(jnp.zeros_like, params)
        return Seen(*(jnp.zeros([]) for _ in range(3)), nothing, nothing)

    def update_fn(updates, state, params, *, value, grad, value_fn, **_):
        del state
        below = jax.tree.map(lambda p, g: p - 0.01 * g, params, grad)
        own = jax.grad(value_fn)(params)
        return updates, Seen(value, value_fn(params), value_fn(below), grad, own)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


@options
class Spying(ScheduledOptimizer):
    """Plain descent that looks."""

    name: ClassVar[str] = "spying"

    def parts(self):
        return (spy(),)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "filter", [pytest.param("none", marks=pytest.mark.slow), "ema"]
)
def test_value_fn_gives_the_value(filter):
    """At the same parameters bit for bit, in every batch; less of it downhill."""
    config = dataclasses.replace(config_of(filter=filter), optimizer=Spying())
    config, values = config.traced(), []
    state = initialize(config, DATA)
    for _ in range(5):  # the fourth batch is smaller
        state, log = run_chunk(config, 1, DATA, state)
        seen = state_of(state.opt_state, Seen)
        assert seen.value == seen.again == log.loss[0]
        assert seen.below < seen.value
        scale = optax.tree.norm(seen.grad)
        assert scale > 0.1
        difference = optax.tree.sub(seen.grad, seen.grad_of_value_fn)
        assert optax.tree.norm(difference) < 1e-5 * scale
        values.append(float(seen.value))
    assert len(set(values)) == 5


@pytest.mark.thorough
def test_value_and_gradient_are_of_one_function():
    loss, key = mean_loss(TASK), jax.random.key(0)
    params, state = TASK.init(key, DATA)
    value, _ = loss.value(params, state, DATA, key)
    (same, _), gradient = loss.value_and_grad(params, state, DATA, key)
    assert value == same
    outputs, _ = TASK.forward(params, state, DATA, None, train=False)
    np.testing.assert_allclose(value, TASK.losses(outputs, DATA).mean(), rtol=1e-6)
    direction = jax.tree.map(
        lambda p: jnp.cos(jnp.arange(p.size)).reshape(p.shape), params
    )

    def along(t):
        moved = jax.tree.map(lambda p, d: p + t * d, params, direction)
        return loss.value(moved, state, DATA, key)[0]

    slope = optax.tree.vdot(gradient, direction)
    np.testing.assert_allclose(jax.grad(along)(0.0), slope, rtol=1e-4)
