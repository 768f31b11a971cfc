"""The compiled engine: steps, batches, optimizers, and what recompiles."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.engine.evaluate import evaluate
from experiments.engine.state import Keys, numerics_of
from experiments.engine.train import initialize, run_chunk
from experiments.methods.adam import Adam
from experiments.methods.chain import build_optimizer
from experiments.methods.ema import Ema
from experiments.methods.ma import Ma
from experiments.methods.named import settings_of
from experiments.settings.config import Budget
from experiments.settings.flat import values_of
from experiments.settings.options import options
from experiments.tasks.modular import ModularTask
from tests.support.tiny import TASK, config_of, due, row_of


def start(config):
    """Traced settings, data, the initial state and its metrics."""
    data = jax.device_put(config.task.load())
    state = initialize(config.traced(), data)
    return config.traced(), data, state, row_of(config, data, state)


def assert_same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "filter",
    [
        pytest.param("none", marks=pytest.mark.slow),
        pytest.param("ema", marks=pytest.mark.slow),
        "ma",
    ],
)
def test_chunks_may_be_cut_anywhere(filter):
    """One chunk of 9 steps equals three of 3, bit for bit, across epochs' ends."""
    losses = []
    config, data, state, _ = start(config_of(filter=filter, window_size=5))
    whole, chunk = run_chunk(config, 9, data, state)
    state = initialize(config, data)
    for _ in range(3):
        state, part = run_chunk(config, 3, data, state)
        losses.append(part.loss)
    assert_same(whole, state)
    np.testing.assert_array_equal(chunk.loss, np.concatenate(losses))


@pytest.mark.thorough
def test_one_compilation_serves_all_traced_hyperparameters():
    base = config_of(filter="ema")
    config, data, state, _ = start(base)
    run_chunk(config, 4, data, state)
    compiled = [f._cache_size() for f in (initialize, run_chunk, evaluate)]
    other = settings_of(
        TASK,
        filter="ema",
        alpha=0.5,
        lamb=0.1,
        start_step=3,
        learning_rate=3e-3,
        weight_decay=0.1,
        batch_size=16,
        seed=7,
        init_scale=2.0,
        steps=9,
        eval_every=3,
        stop_at=0.5,
    ).config
    assert jax.tree.structure(other) == jax.tree.structure(base)
    config, data, state, _ = start(other)
    run_chunk(config, 4, data, state)
    assert [f._cache_size() for f in (initialize, run_chunk, evaluate)] == compiled


@pytest.mark.thorough
def test_matmul_precision_reaches_the_products():
    """A CPU ignores it, so look at the programs: one-hot copies stay exact."""
    texts = {}
    for precision in ("float32", "bfloat16"):
        made = config_of(filter="ema", matmul_precision=precision)
        config, data = made.traced(), made.task.load()
        state = initialize(config, data)
        texts[precision] = [
            run_chunk.lower(config, 2, data, state).as_text(),
            evaluate.lower(config, data, state, due(config)).as_text(),
        ]
    for exact, fast in zip(*texts.values(), strict=True):
        exact, fast = (
            [
                "HIGHEST" in line
                for line in text.splitlines()
                if ".dot_general" in line and not line.endswith("-> tensor<f32>")
            ]
            for text in (exact, fast)
        )  # the measures' scalar products are always exact
        assert exact
        assert all(exact)
        assert 0 < sum(fast) < len(fast) / 2


def test_seeds_and_init_scale():
    _, _, state, metrics = start(config_of(filter="ema"))
    _, _, again, _ = start(config_of(filter="ema"))
    assert_same(state, again)
    _, _, larger, _ = start(config_of(filter="ema", init_scale=3.0))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(3 * a, b, rtol=1e-6),
        state.params,
        larger.params,
    )
    _, _, _, other = start(config_of(filter="ema", seed=1))
    assert other["train_loss"] != metrics["train_loss"]


def test_random_numbers_do_not_follow_the_settings_of_the_process():
    """Else a run would go on with another split."""

    def drawn():
        with numerics_of(config_of()):
            return jax.random.permutation(Keys.from_seed(0).split, 20)

    expected = drawn()
    for setting in jax.threefry_partitionable(False), jax.default_prng_impl("rbg"):
        with setting:
            assert_same(drawn(), expected)


@pytest.mark.thorough
def test_every_epoch_shows_every_example_once():
    """The last batch of an epoch is smaller."""
    seen = []

    @options
    class Spy(ModularTask):
        def forward(self, params, model_state, examples, key, *, train):
            if train:
                jax.debug.callback(seen.append, examples["tokens"])
            return super().forward(params, model_state, examples, key, train=train)

    spy = config_of(Spy(prime=11, width=16, heads=2), filter="ema")
    config, data, state, _ = start(spy)
    run_chunk(config, 8, data, state)
    jax.effects_barrier()
    assert [len(rows) for rows in seen] == [16, 16, 16, 7] * 2
    keys = Keys.from_seed(config.training.seed)
    training = spy.task.take(data, spy.task.splits(data, keys.split)["train"])
    expected = sorted(map(tuple, training["tokens"].tolist()))
    epochs = [np.concatenate(seen[i : i + 4]) for i in (0, 4)]
    for epoch in epochs:
        assert sorted(map(tuple, epoch.tolist())) == expected
    assert (epochs[0] != epochs[1]).any()


@pytest.mark.thorough
def test_metrics_are_means_over_the_full_splits():
    config, data, state, metrics = start(config_of(filter="ema"))
    task = config.task
    splits = task.splits(data, Keys.from_seed(config.training.seed).split)
    assert {name: len(rows) for name, rows in splits.items()} == {
        "train": 55,
        "validation": 55,
    }
    for name, rows in splits.items():
        part = task.take(data, rows)
        outputs, _ = task.forward(state.params, (), part, None, train=False)
        each = task.values(outputs, part)
        assert each.keys() == {"loss", "accuracy"}
        for key, values in each.items():
            np.testing.assert_allclose(
                metrics[f"{name}_{key}"], np.mean(np.asarray(values)), rtol=1e-6
            )


def test_learning_rate_warm_up():
    config = config_of(optimizer="sgd", momentum=0.0, learning_rate=2.0)
    tx = build_optimizer(config.traced())
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
        if o.name != "adamw":
            g = g + o.weight_decay * theta
        if o.name == "sgd":
            b = o.momentum * b + g
            theta = theta - o.learning_rate * (g + o.momentum * b if o.nesterov else b)
            continue
        m = o.beta1 * m + (1 - o.beta1) * g
        v = o.beta2 * v + (1 - o.beta2) * g**2
        step = (m / (1 - o.beta1**t)) / (np.sqrt(v / (1 - o.beta2**t)) + o.epsilon)
        if o.name == "adamw":
            step = step + o.weight_decay * theta
        theta = theta - o.learning_rate * step
    return theta


@pytest.mark.thorough
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
    config = config_of(weight_decay=0.1, learning_rate=0.01, warmup_steps=0, **options)
    gradients = np.random.default_rng(0).normal(size=(30, 4))
    tx, theta = build_optimizer(config.traced()), jnp.ones(4)
    state = tx.init(theta)
    for g in gradients:
        updates, state = tx.update(jnp.asarray(g, jnp.float32), state, theta)
        theta = optax.apply_updates(theta, updates)
    expected = numpy_steps(config.optimizer, gradients, np.ones(4))
    np.testing.assert_allclose(theta, expected, rtol=1e-5)


def test_weight_decay_is_not_filtered():
    """With zero gradients the filter has no part: Grokfast decays as plain SGD."""
    results = []
    for name in ("none", "ema"):
        config = config_of(
            filter=name, optimizer="sgd", weight_decay=0.1, warmup_steps=0
        )
        tx, theta = build_optimizer(config.traced()), jnp.ones(3)
        updates, _ = tx.update(jnp.zeros(3), tx.init(theta), theta)
        results.append(updates)
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize(("position", "norm"), [("before", 1.5), ("after", 0.5)])
def test_clipping_before_or_after_the_filter(position, norm):
    config = config_of(
        filter="ema",
        optimizer="sgd",
        momentum=0.0,
        learning_rate=1.0,
        warmup_steps=0,
        clip_norm=0.5,
        clip_position=position,
    )
    tx = build_optimizer(config.traced())
    g = jnp.array([3.0, 4.0])  # the first filtered gradient is (1 + 2)·g
    updates, _ = tx.update(g, tx.init(g), g)
    np.testing.assert_allclose(jnp.linalg.norm(updates), norm, rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Ema(alpha=1.0), "alpha must be < 1, got 1.0"),
        (lambda: Ema(lamb=float("nan")), "lamb must be finite .*, got nan"),
        (lambda: Ma(window_size=0), "window_size must be ≥ 1, got 0"),
        (
            lambda: settings_of(TASK, filter="fir"),
            "filter must be one of none, ema, ma, got 'fir'",
        ),
        (lambda: Adam(clip_norm=0.0), "clip_norm must be > 0, got 0.0"),
        (
            lambda: Budget(stop_at=1.5),
            "stop_at, an accuracy, must be > 0 and ≤ 1, got 1.5",
        ),
    ],
)
def test_settings_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_published_gains_are_the_defaults():
    for filter, gain in (("ema", 2.0), ("ma", 5.0)):
        settings = settings_of(TASK, filter=filter)
        assert settings.config.filters[0].lamb == gain
        assert values_of(settings)["lamb"] == gain
