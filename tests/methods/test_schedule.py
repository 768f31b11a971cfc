"""Learning rates against a plain twin, and those of a published training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.methods.chain import build_optimizer
from experiments.methods.named import OPTIMIZERS
from experiments.methods.sgd import Sgd
from experiments.settings.method import ScheduledOptimizer
from tests.support.tiny import config_of

SHAPES = {
    "constant": lambda t: 1.0,
    "linear": lambda t: 1 - t,
    "cosine": lambda t: (1 + np.cos(np.pi * t)) / 2,
}


def twin(step, rate, warmup, schedule, length, end):
    """The learning rate at a step, from 0; float64."""
    if step < warmup:
        rate = rate * step / warmup
    t = (step - warmup - 1) / length  # it falls from the second step of full rate on
    return rate * (end + (1 - end) * SHAPES[schedule](min(max(t, 0.0), 1.0)))


@pytest.mark.parametrize("schedule", SHAPES)
@pytest.mark.parametrize("warmup", [0, 1, 10])
@pytest.mark.parametrize(("length", "end"), [(1, 0.0), (30, 0.0), (30, 0.25)])
def test_rates_equal_numpy_twin(schedule, warmup, length, end):
    optimizer = Sgd(
        learning_rate=0.4,
        warmup_steps=warmup,
        schedule=schedule,
        schedule_steps=length,
        schedule_end=end,
    )
    rate = jax.jit(optimizer.rate())
    steps = range(warmup + length + 20)
    expected = [twin(s, 0.4, warmup, schedule, length, end) for s in steps]
    found = [float(rate(jnp.int32(s))) for s in steps]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_rates_of_full_batch_training():
    """Geiping et al., arXiv 2109.14119: 400 steps of warm-up, then 4000 of a cosine.

    The run of 3000 steps is cut off on the way: it ends at 27 % of the largest rate.
    """
    optimizer = Sgd(
        learning_rate=0.4, warmup_steps=400, schedule="cosine", schedule_steps=4000
    )
    rate = optimizer.rate()
    parts = {0: 0.0, 1: 1 / 400, 200: 0.5, 400: 1.0, 401: 1.0}
    parts |= {1500: 0.82502, 2999: 0.27370}
    for step, part in parts.items():
        np.testing.assert_allclose(rate(jnp.int32(step)), 0.4 * part, atol=0.4 * 6e-6)


def test_counters_at_their_end_have_the_last_rate():
    largest = jnp.int32(2**31 - 1)
    optimizer = Sgd(schedule="linear", schedule_end=0.5, learning_rate=0.5)
    assert optimizer.rate()(largest) == 0.25
    assert Sgd(learning_rate=0.5).rate()(largest) == 0.5


@pytest.mark.thorough
@pytest.mark.parametrize(
    "name", [n for n, o in OPTIMIZERS.items() if issubclass(o, ScheduledOptimizer)]
)
def test_every_optimizer_keeps_to_it(name):
    """Updates over the learning rate are those of a constant one."""
    moves = {}
    for schedule, options in {
        "constant": {"warmup_steps": 0},
        "linear": {"warmup_steps": 3, "schedule_steps": 4, "schedule_end": 0.2},
    }.items():
        config = config_of(
            optimizer=name, schedule=schedule, learning_rate=0.5, **options
        )
        tx = build_optimizer(config.traced())
        params, rng = jnp.ones((3, 3)), np.random.default_rng(0)
        state, moves[schedule] = tx.init(params), []
        for _ in range(10):
            g = jnp.asarray(rng.normal(size=(3, 3)), jnp.float32)
            updates, state = tx.update(g, state, params)
            moves[schedule].append(updates)
    for step, (constant, linear) in enumerate(zip(*moves.values(), strict=True)):
        part = twin(step, 1.0, 3, "linear", 4, 0.2)
        np.testing.assert_allclose(linear, part * constant, rtol=1e-5, atol=1e-7)
