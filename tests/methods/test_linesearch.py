"""Line searches as optimizers of runs: the library's own, recorded as they go."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.methods.linesearch import AdamSls, Alsals, Salsa, Sls
from grokfast_jax import linesearch
from tests.support.tiny import ONE_BLOCK, settings_of, train

DATA = ONE_BLOCK.load()
OWN = {"slope_rtol": 0.4, "decrease_factor": 0.7, "increase_factor": 1.5}
OWN |= {"initial_step_size": 3.0, "max_backtracking_steps": 50, "weight_decay": 0.1}
OF_ADAM = {"smoothing": 0.8, "beta1": 0.8, "beta2": 0.9, "epsilon": 1e-3}
THEIRS = {"smoothing": 0.8, "b1": 0.8, "b2": 0.9, "eps": 1e-3}
ROWS = {
    "sls": (Sls(**OWN), linesearch.sls(**OWN)),
    "adam_sls": (AdamSls(**OWN, **OF_ADAM), linesearch.adam_sls(**OWN, **THEIRS)),
    "alsals": (
        Alsals(**OWN, **OF_ADAM, slope="finite_difference", difference_step=1e-3),
        linesearch.alsals(
            **OWN, **THEIRS, slope="finite_difference", difference_step=1e-3
        ),
    ),
    "salsa": (
        Salsa(**OWN, **OF_ADAM, search_along="momentum"),
        linesearch.salsa(**OWN, **THEIRS, search_along="momentum"),
    ),
}
DEFAULTS = {
    "sls": (Sls(), linesearch.sls()),
    "adam_sls": (AdamSls(), linesearch.adam_sls()),
    "alsals": (Alsals(), linesearch.alsals()),
    "salsa": (Salsa(), linesearch.salsa()),
}


def descend(tx):
    """Parameters after ten updates of a bowl."""

    def loss(x):
        return jnp.sum(jnp.array([1.0, 4.0]) * x**2) + jnp.sum(jnp.cos(3 * x))

    x = jnp.array([1.0, -2.0])
    state = tx.init(x)
    for _ in range(10):
        value, grad = jax.value_and_grad(loss)(x)
        given = {"value": value, "grad": grad, "value_fn": loss}
        updates, state = tx.update(grad, state, x, **given)
        x = optax.apply_updates(x, updates)
    return x


@pytest.mark.parametrize(("row", "theirs"), ROWS.values(), ids=ROWS)
def test_options_are_the_librarys(row, theirs):
    np.testing.assert_array_equal(descend(optax.chain(*row.build())), descend(theirs))


@pytest.mark.parametrize(("row", "theirs"), DEFAULTS.values(), ids=DEFAULTS)
def test_defaults_are_the_librarys(row, theirs):
    np.testing.assert_array_equal(descend(optax.chain(*row.build())), descend(theirs))


def test_matrices_alone_may_decay():
    params = {"matrix": jnp.full((2, 3), 4.0), "gain": jnp.full(3, 4.0)}
    tx = optax.chain(*Alsals(weight_decay=0.25, decayed="matrices").build())
    zero = jax.tree.map(jnp.zeros_like, params)
    updates, _ = tx.update(
        zero,
        tx.init(params),
        params,
        value=1.0,
        grad=zero,
        value_fn=lambda params: 0.5,
    )
    assert np.all(updates["matrix"] < 0)
    assert np.all(updates["gain"] == 0)


@pytest.mark.thorough
def test_a_run_records_what_it_finds(tmp_path):
    common = {"steps": 40, "eval_every": 10, "measures": "step_size"}
    settings = settings_of(ONE_BLOCK, optimizer="alsals", filter="ema", **common)
    metrics = train(tmp_path / "alsals", settings, DATA).metrics()
    assert np.all(metrics["step_size"] > 0)
    assert metrics["evaluations"][0] == 0
    assert np.all(metrics["evaluations"][1:] >= 1)
    assert np.all(metrics["failures"] == 0)
    assert metrics["train_loss"][-1] < metrics["train_loss"][0]
    settings = settings_of(ONE_BLOCK, optimizer="adam", **common)
    metrics = train(tmp_path / "adam", settings, DATA).metrics()
    for name in ("step_size", "evaluations", "failures"):
        assert np.all(np.isnan(metrics[name]))
