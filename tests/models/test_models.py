"""The transformers: sizes, causality, initial distribution, shared prefixes."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments.engine.objective import mean_loss
from experiments.models.layers import LayerNorm, gelu
from experiments.models.power_transformer import PowerTransformer, sinusoids
from experiments.models.transformer import Transformer
from experiments.tasks.modular import ModularTask

both = pytest.mark.parametrize("architecture", [Transformer, PowerTransformer])


def size(model):
    return sum(p.size for p in jax.tree.leaves(nnx.state(model)))


def tokens(batch=16, seed=0):
    return jnp.asarray(np.random.default_rng(seed).integers(0, 99, (batch, 4)))


def test_parameter_counts():
    assert size(Transformer(99, rngs=nnx.Rngs(0))) == 422_784
    assert size(PowerTransformer(239, rngs=nnx.Rngs(0))) == 455_424


@pytest.mark.thorough
@both
def test_causality(architecture):
    model = architecture(99, rngs=nnx.Rngs(0))
    base = tokens()
    logits = model(base, last_only=False)
    for position in range(4):
        changed = base.at[:, position].set((base[:, position] + 1) % 99)
        others = model(changed, last_only=False)
        np.testing.assert_array_equal(others[:, :position], logits[:, :position])
        moved = jnp.abs(others - logits)[:, position:].max(axis=(0, 2))
        assert (moved > 1e-3).all()


@both
def test_last_position_alone_gives_the_same_numbers(architecture):
    model = architecture(99, rngs=nnx.Rngs(0))
    last = model(tokens())
    assert last.shape == (16, 99)
    every = model(tokens(), last_only=False)
    np.testing.assert_allclose(last, every[:, -1], rtol=1e-5, atol=1e-5)


def test_initial_distribution_is_pytorchs():
    p = ModularTask(layers=3).init(jax.random.key(0), ())[0]
    attention = p["blocks"][1]["attention"]
    mlp_in, mlp_out = p["blocks"][2]["mlp_in"], p["blocks"][2]["mlp_out"]

    def uniform(a, bound):
        assert jnp.abs(a).max() <= bound
        np.testing.assert_allclose(jnp.std(a), bound / np.sqrt(3), rtol=0.1)
        np.testing.assert_allclose(jnp.mean(a), 0, atol=0.1 * bound)

    np.testing.assert_allclose(jnp.std(p["token_embedding"]["embedding"]), 1, rtol=0.05)
    uniform(attention["qkv"]["kernel"], np.sqrt(6 / (384 + 128)))
    uniform(attention["out"]["kernel"], 1 / np.sqrt(128))
    uniform(mlp_in["kernel"], 1 / np.sqrt(128))
    uniform(mlp_in["bias"], 1 / np.sqrt(128))
    uniform(mlp_out["kernel"], 1 / np.sqrt(512))
    uniform(mlp_out["bias"], 1 / np.sqrt(512))
    uniform(p["head"]["kernel"], 1 / np.sqrt(128))
    assert not attention["qkv"]["bias"].any()
    assert not attention["out"]["bias"].any()
    assert (p["norm"]["scale"] == 1).all()


@pytest.mark.thorough
def test_loss_looks_at_the_last_position_alone():
    task = ModularTask()
    params, state = task.init(jax.random.key(0), ())
    data = jax.tree.map(lambda a: jnp.asarray(a[:32]), task.load())
    loss, _ = mean_loss(task).value(params, state, data, jax.random.key(0))
    logits = task.apply(params, data["tokens"], last_only=False)
    # Whatever stands at the other positions, the loss is that of the last one.
    logp = jax.nn.log_softmax(logits[:, -1])
    expected = -logp[jnp.arange(32), data["answers"]].mean()
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


@pytest.mark.thorough
@both
@pytest.mark.parametrize("batch", [16, 300])
def test_shared_prefixes_change_nothing(architecture, batch):
    """Logits and gradients with and without columns shared by alike beginnings."""
    graph, params = nnx.split(architecture(13, width=32, rngs=nnx.Rngs(0)))
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 11, (2, batch))
    equations = jnp.stack([x, np.full(batch, 12), y, np.full(batch, 11)], axis=1)
    prefixes = jnp.stack([jnp.arange(11), jnp.full(11, 12)], axis=1)

    def outcome(prefixes_PxK):
        def loss(params):
            logits = nnx.merge(graph, params)(equations, prefixes_PxK=prefixes_PxK)
            return jnp.mean(jnp.sin(logits)), logits

        return jax.jit(jax.value_and_grad(loss, has_aux=True))(params)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        outcome(prefixes),
        outcome(None),
    )


@pytest.mark.thorough
@pytest.mark.parametrize(("operation", "width"), [("mul", 16), ("s5", 64)])
def test_task_shares_prefixes_in_large_batches(operation, width):
    """The whole table at once gives what small batches give, for fewer operations."""
    task = ModularTask(operation=operation, prime=11, width=width, heads=2)
    params, state = task.init(jax.random.key(0), ())
    data = jax.tree.map(lambda a: jnp.asarray(a[::-1][:660]), task.load())
    rows, small = len(data["answers"]), 10

    def loss(data):
        outputs, _ = task.forward(params, state, data, None, train=False)
        return task.values(outputs, data)["loss"]

    whole = jax.jit(loss)(data)
    parts = jax.tree.map(lambda a: a.reshape(-1, small, *a.shape[1:]), data)
    np.testing.assert_allclose(
        whole, jax.lax.map(loss, parts).ravel(), rtol=1e-4, atol=1e-5
    )

    def flops(data):
        return jax.jit(loss).lower(data).cost_analysis()["flops"]

    a_part = jax.tree.map(lambda a: a[:small], data)
    assert flops(data) < 0.9 * flops(a_part) * rows / small


def test_prefixes_need_the_last_position_alone():
    model = Transformer(99, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="last_only=True"):
        model(tokens(), last_only=False, prefixes_PxK=jnp.zeros((3, 2), jnp.int32))


def test_gelu_and_layer_norm():
    x = np.random.default_rng(0).normal(0, 2, (6, 5))
    expected = [v * 0.5 * (1 + math.erf(v / math.sqrt(2))) for v in x.ravel()]
    gelus = gelu(jnp.asarray(x)).ravel()
    np.testing.assert_allclose(gelus, expected, rtol=2e-5, atol=1e-6)
    norm = LayerNorm(6, rngs=nnx.Rngs(0))
    centred = x - x.mean(axis=0)
    expected = centred / np.sqrt((centred**2).mean(axis=0) + 1e-5)
    np.testing.assert_allclose(norm(jnp.asarray(x, jnp.float32)), expected, atol=1e-5)


@pytest.mark.thorough
def test_initial_loss():
    task = ModularTask()
    params, state = task.init(jax.random.key(0), ())
    data = task.load()
    outputs, _ = task.forward(params, state, data, None, train=False)
    assert 4.6 < task.losses(outputs, data).mean() < 5.0


def test_sinusoids():
    table = sinusoids(4, 6)
    assert table.shape == (4, 6)
    np.testing.assert_allclose(table[:, 0], np.sin(np.arange(4)), rtol=1e-5)
    np.testing.assert_allclose(table[:, 1], np.cos(np.arange(4)), rtol=1e-5)
    frequency = 10_000 ** (-2 / 6)
    np.testing.assert_allclose(table[3, 2], np.sin(3 * frequency), rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prime": 96}, "prime must be a prime number, got 96"),
        ({"heads": 3}, "heads must divide width = 128, got 3"),
        ({"operation": "pow"}, "operation must be one of"),
        ({"prime": 3, "train_fraction": 0.01}, "train_fraction must leave"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        ModularTask(**options)
