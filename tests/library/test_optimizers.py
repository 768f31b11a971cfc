"""``grokfast_adamw`` and ``grokfast_adam`` against a float64 twin, step by step."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from grokfast_jax import grokfast_adam, grokfast_adamw

STEPS = 25
OPTIONS = {"alpha": 0.9, "lamb": 3.0, "b1": 0.8, "b2": 0.95, "eps": 1e-6}


def twin(gradients, theta, coupled, decoupled, rate, alpha, lamb, b1, b2, eps):
    """θ after all steps, in NumPy."""
    average, m, v = gradients[0], 0.0, 0.0
    for t, g in enumerate(gradients, 1):
        average = alpha * average + (1 - alpha) * g
        filtered = g + lamb * average + coupled * theta
        m = b1 * m + (1 - b1) * filtered
        v = b2 * v + (1 - b2) * filtered**2
        adam = m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)
        theta = theta - rate * (adam + decoupled * theta)
    return theta


def train(optimizer, gradients, theta):
    """Two parameters alike."""
    params = dict.fromkeys(("decays", "does_not"), jnp.asarray(theta))
    state = optimizer.init(params)
    for g in gradients:
        both = dict.fromkeys(params, jnp.asarray(g))
        updates, state = optimizer.update(both, state, params)
        params = optax.apply_updates(params, updates)
    return params


@pytest.mark.parametrize(
    ("make", "name", "decays"),
    [(grokfast_adam, "l2", (0.3, 0)), (grokfast_adamw, "weight_decay", (0, 0.3))],
)
@pytest.mark.parametrize("masked", [False, True])
def test_equals_the_twin(make, name, decays, masked):
    rng = np.random.default_rng(0)
    gradients, theta = rng.normal(size=(STEPS, 4)), rng.normal(size=4)
    options = {name: 0.3, **OPTIONS}
    if masked:
        options["mask"] = {"decays": True, "does_not": False}
    with jax.enable_x64(True):
        ours = train(make(0.1, **options), gradients, theta)
    expected = twin(gradients, theta, *decays, 0.1, **OPTIONS)
    np.testing.assert_allclose(ours["decays"], expected, rtol=1e-10)
    if masked:
        expected = twin(gradients, theta, 0, 0, 0.1, **OPTIONS)
    np.testing.assert_allclose(ours["does_not"], expected, rtol=1e-10)


@pytest.mark.parametrize("make", [grokfast_adam, grokfast_adamw])
def test_arguments_are_checked_and_schedules_pass(make):
    with pytest.raises(ValueError, match="alpha must be in"):
        make(1e-3, alpha=1.0)
    with pytest.raises(ValueError, match="lamb must be in"):
        make(1e-3, lamb=-1.0)
    for decay in (-0.1, np.nan):
        with pytest.raises(ValueError, match=r"(weight_decay|l2) must be in"):
            make(1e-3, **{"l2" if make is grokfast_adam else "weight_decay": decay})
    rates = []
    optimizer = make(lambda count: jnp.where(count < 1, 0.0, 0.5))
    state, params = optimizer.init(jnp.zeros(2)), jnp.zeros(2)
    for _ in range(2):
        updates, state = optimizer.update(jnp.ones(2), state, params)
        rates.append(float(-updates[0]))
    np.testing.assert_allclose(rates, [0, 0.5], rtol=1e-4)
