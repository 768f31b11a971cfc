"""The compiled engine: steps, batches, optimizers, and what recompiles."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.engine.train import Keys, evaluate, initialize, run_chunk
from experiments.methods.optimizers import build_optimizer
from experiments.settings.config import (
    Config,
    FilterOptions,
    OptimizerOptions,
    TrainingOptions,
)
from experiments.tasks.modular import ModularTask

TASK = ModularTask(prime=11, width=16, heads=2)  # 110 equations, 55 to train


def config(filter="ema", training=None, **optimizer):
    return Config(
        TASK,
        FilterOptions(filter=filter, window_size=5),
        OptimizerOptions(**optimizer),
        training or TrainingOptions(batch_size=16),
    )


def start(config):
    data = jax.device_put(config.task.load())
    static, hyper = config.static(), config.traced()
    state = initialize(static, hyper)
    return static, hyper, data, state, evaluate(static, hyper, data, state)


def assert_same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize("filter", ["none", "ema", "ma"])
def test_chunks_may_be_cut_anywhere(filter):
    """One chunk of 9 steps equals three of 3, bit for bit, across epochs' ends."""
    losses = []
    static, hyper, data, state, _ = start(config(filter))
    whole, chunk = run_chunk(static, 9, hyper, data, state)
    state = initialize(static, hyper)
    for _ in range(3):
        state, part = run_chunk(static, 3, hyper, data, state)
        losses.append(part.loss)
    assert_same(whole, state)
    np.testing.assert_array_equal(chunk.loss, np.concatenate(losses))


def test_one_compilation_serves_all_traced_hyperparameters():
    base = config()
    static, hyper, data, state, _ = start(base)
    run_chunk(static, 4, hyper, data, state)
    compiled = run_chunk._cache_size()
    other = dataclasses.replace(
        base,
        filter=FilterOptions(
            filter="ema", window_size=5, alpha=0.5, lamb=0.1, start_step=3
        ),
        optimizer=OptimizerOptions(learning_rate=3e-3, weight_decay=0.1),
        training=TrainingOptions(
            batch_size=16, seed=7, init_scale=2.0, steps=9, eval_every=3, stop_at=0.5
        ),
    )
    assert other.static() == static
    _, _, _, state, _ = start(other)
    run_chunk(other.static(), 4, other.traced(), data, state)
    assert run_chunk._cache_size() == compiled


def test_matmul_precision_reaches_the_products():
    """A CPU ignores it, so look at the programs: one-hot copies stay exact."""
    texts = {}
    for precision in ("float32", "bfloat16"):
        c = config(training=TrainingOptions(batch_size=16, matmul_precision=precision))
        static, hyper, data = c.static(), c.traced(), c.task.load()
        state = initialize(static, hyper)
        texts[precision] = [
            run_chunk.lower(static, 2, hyper, data, state).as_text(),
            evaluate.lower(static, hyper, data, state).as_text(),
        ]
    for exact, fast in zip(*texts.values(), strict=True):
        assert exact.count("HIGHEST") == 2 * exact.count("stablehlo.dot_general") > 0
        assert 0 < fast.count("HIGHEST") < exact.count("HIGHEST") / 2


def test_seeds_and_init_scale():
    _, _, _, state, metrics = start(config())
    _, _, _, again, _ = start(config())
    assert_same(state, again)
    scaled = config(training=TrainingOptions(batch_size=16, init_scale=3.0))
    _, _, _, larger, _ = start(scaled)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(3 * a, b, rtol=1e-6),
        state.params,
        larger.params,
    )
    _, _, _, _, other = start(config(training=TrainingOptions(batch_size=16, seed=1)))
    assert other["train_loss"] != metrics["train_loss"]


def test_every_epoch_shows_every_example_once():
    """The last batch of an epoch is smaller."""
    seen = []

    @dataclasses.dataclass(frozen=True)
    class Spy(ModularTask):
        def loss(self, params, model_state, examples, key):
            jax.debug.callback(seen.append, examples["tokens"])
            return super().loss(params, model_state, examples, key)

    spy = dataclasses.replace(config(), task=Spy(prime=11, width=16, heads=2))
    static, hyper, data, state, _ = start(spy)
    run_chunk(static, 8, hyper, data, state)
    jax.effects_barrier()
    assert [len(rows) for rows in seen] == [16, 16, 16, 7] * 2
    training, _ = spy.task.split(data, Keys.from_seed(hyper["seed"]).split)
    expected = sorted(map(tuple, training["tokens"].tolist()))
    epochs = [np.concatenate(seen[i : i + 4]) for i in (0, 4)]
    for epoch in epochs:
        assert sorted(map(tuple, epoch.tolist())) == expected
    assert (epochs[0] != epochs[1]).any()


def test_metrics_are_means_over_the_full_splits():
    c = config()
    _, hyper, data, state, metrics = start(c)
    parts = c.task.split(data, Keys.from_seed(hyper["seed"]).split)
    for name, part in zip(("train", "validation"), parts, strict=True):
        each = c.task.metrics(state.params, (), part)
        for key, values in each.items():
            np.testing.assert_allclose(
                metrics[f"{name}_{key}"], np.mean(np.asarray(values)), rtol=1e-6
            )


def test_e8_learning_rate_warm_up():
    c = config("none", optimizer="sgd", momentum=0.0, learning_rate=2.0)
    tx = build_optimizer(c.static(), c.traced())
    state, rates = tx.init(jnp.zeros(())), []
    for _ in range(13):
        update, state = tx.update(jnp.ones(()), state, jnp.zeros(()))
        rates.append(-float(update))
    expected = 2.0 * np.minimum(np.arange(13), 10) / 10
    np.testing.assert_allclose(rates, expected, rtol=1e-6)


def numpy_steps(options, gradients, theta):
    """Float64 twin of the optimizers behind no filter, without warm-up."""
    m = v = b = 0.0
    o = options
    for t, g in enumerate(gradients, start=1):
        if o.optimizer != "adamw":
            g = g + o.weight_decay * theta
        if o.optimizer == "sgd":
            b = o.momentum * b + g
            theta = theta - o.learning_rate * (g + o.momentum * b if o.nesterov else b)
            continue
        m = o.beta1 * m + (1 - o.beta1) * g
        v = o.beta2 * v + (1 - o.beta2) * g**2
        step = (m / (1 - o.beta1**t)) / (np.sqrt(v / (1 - o.beta2**t)) + o.epsilon)
        if o.optimizer == "adamw":
            step = step + o.weight_decay * theta
        theta = theta - o.learning_rate * step
    return theta


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "adam"},
        {"optimizer": "adamw"},
        {"optimizer": "sgd"},
        {"optimizer": "sgd", "nesterov": True},
    ],
    ids=str,
)
def test_optimizers_equal_numpy_twin(options):
    c = config("none", weight_decay=0.1, learning_rate=0.01, warmup_steps=0, **options)
    gradients = np.random.default_rng(0).normal(size=(30, 4))
    tx, theta = build_optimizer(c.static(), c.traced()), jnp.ones(4)
    state = tx.init(theta)
    for g in gradients:
        updates, state = tx.update(jnp.asarray(g, jnp.float32), state, theta)
        theta = optax.apply_updates(theta, updates)
    expected = numpy_steps(c.optimizer, gradients, np.ones(4))
    np.testing.assert_allclose(theta, expected, rtol=1e-5)


def test_weight_decay_is_not_filtered():
    """With zero gradients the filter has no part: Grokfast decays as plain SGD."""
    results = []
    for name in ("none", "ema"):
        c = config(name, optimizer="sgd", weight_decay=0.1, warmup_steps=0)
        tx, theta = build_optimizer(c.static(), c.traced()), jnp.ones(3)
        updates, _ = tx.update(jnp.zeros(3), tx.init(theta), theta)
        results.append(updates)
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize(("position", "norm"), [("before", 1.5), ("after", 0.5)])
def test_clipping_before_or_after_the_filter(position, norm):
    c = config(
        optimizer="sgd",
        momentum=0.0,
        learning_rate=1.0,
        warmup_steps=0,
        clip_norm=0.5,
        clip_position=position,
    )
    tx = build_optimizer(c.static(), c.traced())
    g = jnp.array([3.0, 4.0])  # the first filtered gradient is (1 + 2)·g
    updates, _ = tx.update(g, tx.init(g), g)
    np.testing.assert_allclose(jnp.linalg.norm(updates), norm, rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FilterOptions(alpha=1.0), "alpha must be < 1, got 1.0"),
        (lambda: FilterOptions(lamb=float("nan")), "lamb must be finite .*, got nan"),
        (lambda: FilterOptions(window_size=0), "window_size must be ≥ 1, got 0"),
        (lambda: FilterOptions(filter="fir"), "filter must be one of none, ema, ma"),
        (lambda: OptimizerOptions(clip_norm=0.0), "clip_norm must be > 0, got 0.0"),
        (lambda: TrainingOptions(stop_at=1.5), "stop_at must be ≤ 1, got 1.5"),
    ],
)
def test_settings_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_published_gains_are_the_defaults():
    assert config("ema").asdict()["lamb"] == 2.0
    assert config("ma").asdict()["lamb"] == 5.0
