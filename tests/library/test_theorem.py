"""Theorem A.1: for a linear optimizer, filtering gradients is filtering updates.

Every condition is tried from both sides: where it holds to 1e-12, and where it does
not by more than 1e-3, so that no equality is a tautology.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from grokfast_jax import (
    amplify,
    exponential_moving_average,
    grokfast_ema,
    grokfast_ma,
    moving_average,
)
from tests.support.running import run_scan

FILTERS = {
    "ema": grokfast_ema(0.98, 2.0, init="zero"),
    "ma": amplify(moving_average(100), 5.0),
}
LINEAR = {
    "sgd": optax.identity(),
    "momentum": optax.trace(0.9),
    "nesterov": optax.trace(0.9, nesterov=True),
}
GRADIENTS = np.random.default_rng(0).normal(size=(400, 6))
pytestmark = pytest.mark.usefixtures("x64")


def difference(optimizer, filter, gradients=GRADIENTS, after=None):
    """Filter before or behind the optimizer: largest difference, relative.

    ``after`` follows both, as a scaling by the learning rate does.
    """
    tail = [] if after is None else [after]
    of_gradients = run_scan(optax.chain(filter, optimizer, *tail), gradients)
    of_updates = run_scan(optax.chain(optimizer, filter, *tail), gradients)
    error = np.abs(np.asarray(of_gradients) - np.asarray(of_updates)).max()
    return error / np.abs(np.asarray(of_gradients)).max()


def closed_loop(transformation):
    """Parameters on a quadratic bowl: the gradients depend on where one is."""
    curvature = np.linspace(0.1, 1.0, 6)

    def step(carry, t):
        params, state = carry
        g = curvature * params + jnp.asarray(GRADIENTS)[t] * 0.1
        updates, state = transformation.update(g, state, params)
        return (optax.apply_updates(params, updates), state), params

    start = jnp.ones(6)
    carry = (start, transformation.init(start))
    return np.asarray(jax.lax.scan(step, carry, jnp.arange(400))[1])


def relative(a, b):
    return np.abs(a - b).max() / np.abs(a).max()


@pytest.mark.parametrize("filter", FILTERS)
@pytest.mark.parametrize("optimizer", LINEAR)
def test_yes_zero_state_and_linear(optimizer, filter):
    assert difference(LINEAR[optimizer], FILTERS[filter]) < 1e-12


@pytest.mark.parametrize("filter", FILTERS)
@pytest.mark.parametrize("optimizer", LINEAR)
def test_yes_closed_loop(optimizer, filter):
    rate = optax.scale(-0.01)
    a = closed_loop(optax.chain(FILTERS[filter], LINEAR[optimizer], rate))
    b = closed_loop(optax.chain(LINEAR[optimizer], FILTERS[filter], rate))
    assert relative(a, b) < 1e-12


@pytest.mark.parametrize("filter", FILTERS)
def test_yes_rate_behind_the_filter(filter):
    warmup = optax.scale_by_learning_rate(optax.linear_schedule(0.0, 0.1, 100))
    assert difference(LINEAR["momentum"], FILTERS[filter], after=warmup) < 1e-12


@pytest.mark.parametrize("filter", FILTERS)
def test_yes_decoupled_decay_behind_both(filter):
    tail = (optax.add_decayed_weights(0.1), optax.scale(-0.01))
    a = closed_loop(optax.chain(FILTERS[filter], LINEAR["momentum"], *tail))
    b = closed_loop(optax.chain(LINEAR["momentum"], FILTERS[filter], *tail))
    assert relative(a, b) < 1e-12


@pytest.mark.parametrize(
    "filter",
    [
        grokfast_ema(0.98, 2.0),
        amplify(exponential_moving_average(0.98, init="zero", debias=True), 2.0),
        grokfast_ma(100, 5.0, warmup=True),
    ],
    ids=["first gradient", "debiased", "window that warms up"],
)
def test_no_filter_that_depends_on_its_start(filter):
    assert difference(LINEAR["momentum"], filter) > 1e-3


@pytest.mark.parametrize("filter", FILTERS)
def test_no_rate_before_the_filter(filter):
    warmup = optax.scale_by_learning_rate(optax.linear_schedule(0.0, 0.1, 100))
    optimizer = optax.chain(LINEAR["momentum"], warmup)
    assert difference(optimizer, FILTERS[filter]) > 1e-3


@pytest.mark.parametrize("filter", FILTERS)
def test_no_coupled_decay(filter):
    def runs(decay):
        tail = (
            optax.add_decayed_weights(decay),
            LINEAR["momentum"],
        )
        rate = optax.scale(-0.01)
        a = closed_loop(optax.chain(FILTERS[filter], *tail, rate))
        b = closed_loop(optax.chain(*tail, FILTERS[filter], rate))
        return relative(a, b)

    assert runs(0.01) > 1e-3
    assert runs(0.0) < 1e-12


@pytest.mark.parametrize("filter", FILTERS)
@pytest.mark.parametrize(
    "optimizer",
    [optax.clip(1.0), optax.scale_by_adam(), optax.normalize_by_update_norm()],
    ids=["clip", "adam", "normalized"],
)
def test_no_optimizer_that_is_not_linear(optimizer, filter):
    assert difference(optimizer, FILTERS[filter]) > 1e-3


def test_adam_feels_the_shape_of_the_filter_not_its_size():
    """Adam with ε = 0 on g + λm is Adam on (1 − ν)g + νm, ν = λ/(1 + λ)."""
    adam = optax.scale_by_adam(eps=0.0)
    a = run_scan(optax.chain(grokfast_ema(0.98, 2.0), adam), GRADIENTS)
    b = run_scan(optax.chain(grokfast_ema(0.98, 2.0, normalize=True), adam), GRADIENTS)
    np.testing.assert_allclose(a, b, rtol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("filter", FILTERS)
@pytest.mark.parametrize(
    ("momentum", "nesterov", "dampening"),
    [(0.0, False, 0.0), (0.9, False, 0.0), (0.9, True, 0.0), (0.9, False, 0.3)],
)
def test_witness_sgd_of_pytorch(filter, momentum, nesterov, dampening):
    """PyTorch's SGD on filtered gradients moves by the filtered moves."""
    torch = pytest.importorskip("torch")

    def moves(gradients):
        # Its first momentum buffer takes the gradient undamped: a zero comes first.
        param = torch.nn.Parameter(torch.zeros(6, dtype=torch.float64))
        sgd = torch.optim.SGD(
            [param], 0.1, momentum=momentum, nesterov=nesterov, dampening=dampening
        )
        positions = [param.detach().numpy().copy()]
        for g in np.concatenate([np.zeros((1, 6)), gradients]):
            param.grad = torch.tensor(g)
            sgd.step()
            positions.append(param.detach().numpy().copy())
        return np.diff(positions, axis=0)[1:]

    of_gradients = moves(np.asarray(run_scan(FILTERS[filter], GRADIENTS)))
    of_updates = run_scan(FILTERS[filter], moves(GRADIENTS))
    np.testing.assert_allclose(of_gradients, of_updates, rtol=1e-10, atol=1e-12)
    if dampening == 0:  # and it is Optax's optimizer
        trace = optax.trace(momentum, nesterov) if momentum else optax.identity()
        ours = -0.1 * np.asarray(
            run_scan(optax.chain(FILTERS[filter], trace), GRADIENTS)
        )
        np.testing.assert_allclose(of_gradients, ours, rtol=1e-10, atol=1e-12)
