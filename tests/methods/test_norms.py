"""Norms, shares and cosines of gradients of any size, beside float64 NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.methods.norms import clip, cosine, norm
from experiments.methods.observe import observe
from experiments.settings.measure import UNDEFINED
from grokfast_jax import grokfast_ema

RNG = np.random.default_rng(0)
FIRST, SECOND = (
    {name: RNG.normal(size=shape) for name, shape in (("w", (40, 30)), ("b", (7,)))}
    for _ in range(2)
)
SIZES = [1e-33, 1e-20, 1e-16, 1.0, 1e16, 1e20, 1e30, 1e34]
TX, CLIP = observe(grokfast_ema(alpha=0.9, lamb=2.0)), clip(3.0)
OBSERVED, CLIPPED = jax.jit(TX.update), jax.jit(CLIP.update)  # compiled once
NORM, COSINE = jax.jit(norm), jax.jit(cosine)
of_every_size = pytest.mark.parametrize("size", SIZES)


def tree_of(vector, size):
    return {name: jnp.asarray(a * size, jnp.float32) for name, a in vector.items()}


def flat(tree):
    leaves = [np.asarray(a, np.float64).ravel() for a in jax.tree.leaves(tree)]
    return np.concatenate(leaves)


@of_every_size
def test_effect_of_a_filter_on_gradients_of_every_size(size):
    g = tree_of(FIRST, size)
    _, state = OBSERVED(g, TX.init(g))
    found = [float(state.filter_share), float(state.filter_cosine)]
    np.testing.assert_allclose(found, [2 / 3, 1.0], rtol=1e-6)
    g = tree_of(SECOND, size)
    filtered, state = OBSERVED(g, state)
    before, after = flat(g), flat(filtered)
    sizes = np.linalg.norm(before), np.linalg.norm(after)
    expected = {
        "gradient_norm": sizes[0],
        "filter_share": np.linalg.norm(after - before) / sizes[1],
        "filter_cosine": before @ after / np.prod(sizes),
    }
    assert 0.5 < expected["filter_cosine"] < 0.99
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(state, name), value, rtol=2e-6)


@pytest.mark.parametrize("sizes", [(1.0, 1e-30), (1e20, 1e-20), (1e-25, 1e-3)])
def test_cosine_of_vectors_of_different_sizes(sizes):
    """As of a gradient that fell and a filter that remembers."""
    a, b = (tree_of(v, s) for v, s in zip((FIRST, FIRST), sizes, strict=True))
    b["b"] = -b["b"] * 30
    u, v = flat(a), flat(b)
    expected = u @ v / np.linalg.norm(u) / np.linalg.norm(v)
    np.testing.assert_allclose(COSINE(a, b), expected, rtol=1e-5)


@pytest.mark.parametrize("size", [1e-12, 1.0, 1e12])
def test_ordinary_norms_have_the_bits_of_optax(size):
    tree = tree_of(FIRST, size)
    assert NORM(tree) == jax.jit(optax.tree.norm)(tree)


@of_every_size
def test_gradients_of_every_size_are_clipped_to_the_norm(size):
    g = tree_of(FIRST, size)
    clipped, _ = CLIPPED(g, CLIP.init(g))
    vector = flat(g)
    expected = vector * min(1.0, 3.0 / np.linalg.norm(vector))
    np.testing.assert_allclose(flat(clipped), expected, rtol=1e-5)


def test_what_is_not_finite_stays_so():
    for number in (jnp.inf, jnp.nan, 0.0):
        found = NORM({"w": jnp.array([number, 0.0])})
        np.testing.assert_array_equal(found, np.float32(number))


def test_what_divides_by_zero_is_undefined():
    tx = observe(optax.identity())
    g = {"w": jnp.zeros(3)}
    with jax.debug_nans(True):
        _, state = tx.update(g, tx.init(g))
    assert state.gradient_norm == 0.0
    assert state.filter_share == state.filter_cosine == UNDEFINED


def test_norms_of_large_gradients_do_not_stop_the_debugger_of_infinities():
    """What overflows on the way is not among the results; Adam's squares are."""
    g = tree_of(FIRST, 1e20)
    adam = optax.scale_by_adam()
    with jax.debug_infs(True):
        assert np.isfinite(NORM(g))
        assert np.isfinite(COSINE(g, g))
        with pytest.raises(FloatingPointError):
            jax.jit(adam.update)(g, adam.init(g))
