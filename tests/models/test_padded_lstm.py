"""The LSTM that hardly reads padding, against one that reads everything."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.models import padding
from experiments.models.padded_lstm import Weights, last_outputs

SIZE, TOKENS = 3, 7


def some_weights(layers=2, scale=1.0, seed=0):
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return jnp.asarray(scale * rng.normal(size=shape), jnp.float32)

    above = range(layers - 1)
    return Weights(
        normal(TOKENS, 4 * SIZE),
        tuple(normal(SIZE, 4 * SIZE) for _ in above),
        tuple(normal(4 * SIZE) for _ in above),
        tuple(normal(SIZE, 4 * SIZE) for _ in range(layers)),
    )


def some_texts(words, length, seed=0):
    """Texts of so many words each, padded in front; a word may be 0 after the first."""
    rng = np.random.default_rng(seed)
    texts = np.zeros((len(words), length), np.int32)
    for text, count in zip(texts, words, strict=True):
        text[length - count :] = rng.integers(0, TOKENS, count)
        text[length - count : length - count + 1] = 1
    return jnp.asarray(texts)


def plain(weights, texts):
    """The same by the equations, step after step."""

    def step(states, tokens):
        x, new = weights.table[tokens], []
        for layer, (h, c) in enumerate(states):
            if layer:
                x = new[-1][0] @ weights.inputs[layer - 1]
                x = x + weights.biases[layer - 1][None]
            i, f, g, o = jnp.split(x + h @ weights.recurrent[layer], 4, axis=1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            new.append((jax.nn.sigmoid(o) * jnp.tanh(c), c))
        return new, None

    zeros = jnp.zeros((len(texts), SIZE), weights.table.dtype)
    states = [(zeros, zeros) for _ in weights.recurrent]
    return jax.lax.scan(step, states, texts.T)[0][-1][0]


def by_both(weights, texts, of=last_outputs):
    """Outputs and gradients of both, of a sum that tells the texts apart."""

    def loss(function, weights):
        outputs = function(weights, texts)
        factors = jnp.arange(1.0, 1 + outputs.size, dtype=outputs.dtype)
        return jnp.sum(outputs * factors.reshape(outputs.shape)), outputs

    def of_one(function):
        gradient = jax.jit(jax.grad(lambda w: loss(function, w), has_aux=True))
        return gradient(weights)

    return of_one(of), of_one(plain)


def assert_near(found, expected, tolerance):
    def near(a, b):
        np.testing.assert_allclose(
            a, b, rtol=tolerance, atol=tolerance * np.abs(b).max()
        )

    jax.tree.map(near, found, expected)


def test_numbers_and_gradients_are_those_of_reading_everything():
    """Thirteen texts are read in stages; one is padding alone, one has none."""
    words = [0, 4, 30, 1, 2, 2, 7, 9, 5, 12, 3, 3, 17]
    assert padding._rows_of_stages(len(words)) == (1, 8, 14)
    assert_near(*by_both(some_weights(), some_texts(words, 30)), 2e-5)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("words", "length", "layers"),
    [
        ([1], 1, 1),
        ([5, 0], 7, 3),
        ([3, 3, 3], 3, 2),
        ([0, 0], 6, 2),
        (list(range(26)), 34, 1),
    ],
)
def test_other_texts_and_layers(words, length, layers):
    weights = some_weights(layers, seed=1)
    assert_near(*by_both(weights, some_texts(words, length)), 2e-5)


@pytest.mark.thorough
def test_double_precision(x64):
    weights = jax.tree.map(lambda a: a.astype(jnp.float64), some_weights(scale=3.0))
    assert_near(*by_both(weights, some_texts([2, 9, 6, 1], 12)), 1e-11)


@pytest.mark.thorough
def test_rounded_factors():
    """Of bfloat16 the third digit is lost, and no more."""

    def rounded(weights, texts):
        return last_outputs(weights, texts, "bfloat16")

    texts = some_texts([2, 9, 6, 1], 12)
    found, expected = by_both(some_weights(), texts, rounded)
    assert_near(found, expected, 0.03)
    assert np.abs(found[1] - expected[1]).max() > 1e-4


@pytest.mark.thorough
def test_lanes_whose_texts_begin_elsewhere():
    """They share the loops' bounds: whatever they are, the numbers are the same."""
    texts = jnp.stack([some_texts([1, 2, 2], 12, 0), some_texts([3, 12, 7], 12, 1)] * 2)
    lanes = [some_weights(seed=seed) for seed in range(4)]
    together = jax.tree.map(lambda *a: jnp.stack(a), *lanes)

    def of_lane(weights, texts):
        return jax.value_and_grad(lambda w: last_outputs(w, texts).sum())(weights)

    found = jax.jit(jax.vmap(of_lane))(together, texts)
    for lane, weights in enumerate(lanes):
        own = jax.tree.map(lambda a, n=lane: a[n], found)
        assert_near(own, jax.jit(of_lane)(weights, texts[lane]), 1e-5)


def test_padding_is_not_read():
    """Texts of at most 4 words in 320: of 20 blocks, few rows but row 0 are read."""
    words = [1, 2, 3, 4] * 4
    plan = padding.schedule(some_texts(words, 320))
    rows, first, end = map(list, zip(*plan.stages(), strict=True))
    assert rows == [1, 9, 17]
    assert [int(n) for n in first] == [0, 19, 19]
    assert [int(n) for n in end] == [19, 19, 20]
    assert plan.tokens.shape == (20, 16, 17)
    assert not plan.tokens[:, :, 0].any()
    begins = np.argmax(np.asarray(plan.tokens).reshape(320, 17)[:, 1:] > 0, axis=0)
    assert (np.diff(begins) >= 0).all()


def test_the_least_of_lanes_is_for_all_of_them():
    numbers = jnp.array([[3, 5], [2, 7]])
    assert int(padding._least(numbers[0, 1])) == 5
    assert jax.vmap(padding._least)(numbers[0]).tolist() == [3, 3]
    nested = jax.vmap(jax.vmap(padding._least))(numbers)
    assert nested.tolist() == [[2, 2], [2, 2]]
