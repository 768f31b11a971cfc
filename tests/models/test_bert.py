"""BERT against a float64 NumPy twin; its weights under other names; its dropout."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments.models.bert import Batch, Bert
from experiments.models.bert_sizes import BertSizes
from experiments.models.bert_weights import parameters_of
from experiments.models.dropout import Dropout, Mask, draw_mask
from tests.support.tiny_glue import SIZES, random_arrays, shapes

OF = BertSizes.of(SIZES)
ARRAYS = random_arrays()
LENGTHS, FIRST = np.array([6, 3, 9]), np.array([4, 3, 2])
TOKENS = np.random.default_rng(1).integers(0, OF.vocabulary, (3, 9))


MODEL = Bert(OF, 3, pooling="first", rngs=nnx.Rngs(0))
nnx.update(MODEL, parameters_of(ARRAYS, OF))
OF_MEANS = Bert(OF, 3, pooling="mean", rngs=nnx.Rngs(0))
nnx.update(
    OF_MEANS, {n: p for n, p in parameters_of(ARRAYS, OF).items() if n != "pooler"}
)
OF_MEANS.classifier = MODEL.classifier


@jax.jit
def logits(tokens, dropout=None):
    return MODEL(tokens, jnp.asarray(LENGTHS), jnp.asarray(FIRST), dropout)


@jax.jit
def logits_of_means(tokens, dropout=None):
    return OF_MEANS(tokens, jnp.asarray(LENGTHS), jnp.asarray(FIRST), dropout)


@jax.jit
def hidden(tokens):
    """Activations of all positions, ahead of the blocks and after each."""
    h = MODEL.embed(tokens, jnp.asarray(FIRST))
    found, batch = [h], Batch(jnp.asarray(LENGTHS), tokens.shape[1])
    for block in MODEL.blocks:
        found.append(h := block(h, batch))
    return [a.reshape(*tokens.shape, -1) for a in found]


def numpy_layer_norm(x, arrays, name):
    normal = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12)
    return (
        normal * arrays[f"{name}.LayerNorm.weight"] + arrays[f"{name}.LayerNorm.bias"]
    )


def numpy_hidden(arrays, tokens, first):
    """Float64 twin for one example without padding: activations after each block."""
    p = {name: a.astype(np.float64) for name, a in arrays.items()}

    def linear(x, name):
        return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    words, positions, types = (
        p[f"embeddings.{name}_embeddings.weight"]
        for name in ("word", "position", "token_type")
    )
    second = (np.arange(len(tokens)) >= first).astype(int)
    h = words[tokens] + positions[: len(tokens)] + types[second]
    h = numpy_layer_norm(h, p, "embeddings")
    found = [h]
    for number in range(OF.layers):
        own = f"encoder.layer.{number}"
        q, k, v = (
            linear(h, f"{own}.attention.self.{name}").reshape(len(h), OF.heads, -1)
            for name in ("query", "key", "value")
        )
        scores = np.einsum("qhd,khd->hqk", q, k) / math.sqrt(OF.width // OF.heads)
        weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
        mixed = np.einsum("hqk,khd->qhd", weights, v).reshape(len(h), -1)
        added = linear(mixed, f"{own}.attention.output.dense")
        h = numpy_layer_norm(h + added, p, f"{own}.attention.output")
        inner = linear(h, f"{own}.intermediate.dense")
        inner *= 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
        h = numpy_layer_norm(
            h + linear(inner, f"{own}.output.dense"), p, f"{own}.output"
        )
        found.append(h)
    return found, np.tanh(linear(h[0], "pooler.dense"))


def test_equals_numpy_twin():
    found, ours, means = hidden(TOKENS), logits(TOKENS), logits_of_means(TOKENS)
    assert not hasattr(OF_MEANS, "pooler")
    kernel, bias = MODEL.classifier.kernel[...], MODEL.classifier.bias[...]
    for i, (length, first) in enumerate(zip(LENGTHS, FIRST, strict=True)):
        expected, pooled = numpy_hidden(ARRAYS, TOKENS[i, :length], first)
        for activations, twin in zip(found, expected, strict=True):
            np.testing.assert_allclose(activations[i, :length], twin, atol=2e-5)
        np.testing.assert_allclose(ours[i], pooled @ kernel + bias, atol=1e-6)
        mean = expected[-1].mean(0)
        np.testing.assert_allclose(means[i], mean @ kernel + bias, atol=2e-6)


WIDER = np.pad(TOKENS, ((0, 0), (0, 5)))


@pytest.mark.parametrize("logits", [logits, logits_of_means])
def test_what_is_behind_the_end_has_no_effect(logits):
    """Other tokens there, or more of them: the same numbers."""
    others = TOKENS.copy()
    others[0, 6:], others[1, 3:] = 1, 7
    np.testing.assert_array_equal(logits(others), logits(TOKENS))
    np.testing.assert_allclose(logits(WIDER), logits(TOKENS), atol=2e-6)


@pytest.mark.parametrize("logits", [logits, logits_of_means])
def test_dropout(logits):
    """The same whatever the padding; of activations and of attention weights."""
    key, plain = jax.random.key(3), logits(TOKENS)
    found = logits(TOKENS, Dropout(0.3, 0.3, key))
    wider = logits(WIDER, Dropout(0.3, 0.3, key))
    np.testing.assert_allclose(wider, found, atol=1e-6)
    np.testing.assert_allclose(logits(TOKENS, Dropout(0.0, 0.0, key)), plain, atol=1e-6)
    for rates in ((0.3, 0.0), (0.0, 0.3)):
        one = logits(TOKENS, Dropout(*rates, key))
        assert np.abs(one - plain).max() > 1e-3
        assert np.abs(one - found).max() > 1e-3


def test_masks():
    numbers = jnp.arange(400).reshape(20, 20)
    mask = draw_mask(0.1, jax.random.key(0), numbers, 101)
    assert mask.shape == (20, 20, 101)
    rate = 1 - mask.mean()
    assert abs(rate - 0.1) < 4 * math.sqrt(0.1 * 0.9 / mask.size)
    rows = np.asarray(mask.reshape(400, -1), np.float64) - 0.9
    among = rows @ rows.T / mask.shape[-1] / 0.09  # correlations of rows
    np.fill_diagonal(among, 0)
    assert np.abs(among).max() < 6 / math.sqrt(mask.shape[-1])
    along = rows.T @ rows / len(rows) / 0.09  # and of columns
    np.fill_diagonal(along, 0)
    assert np.abs(along).max() < 6 / math.sqrt(len(rows))
    part = draw_mask(0.1, jax.random.key(0), numbers[7, 3:5], 64)
    np.testing.assert_array_equal(part, mask[7, 3:5, :64])
    assert (draw_mask(0.1, jax.random.key(1), numbers, 101) != mask).mean() > 0.1
    x = jnp.full(mask.shape, 0.9)
    np.testing.assert_allclose(Mask(mask, 0.1)(x), mask, rtol=1e-6)


def renamed(change):
    return {change(name): array for name, array in ARRAYS.items()}


def old_name(name):
    for new, old in (("weight", "gamma"), ("bias", "beta")):
        if name.endswith(f"LayerNorm.{new}"):
            return f"bert.{name.removesuffix(new)}{old}"
    return f"bert.{name}"


@pytest.mark.parametrize("change", [lambda name: f"bert.{name}", old_name])
def test_names_of_other_files(change):
    arrays = renamed(change) | {"cls.predictions.bias": np.zeros(3, np.float32)}
    jax.tree.map(
        np.testing.assert_array_equal,
        parameters_of(arrays, OF),
        parameters_of(ARRAYS, OF),
    )


def test_all_weights_are_used():
    """No array of the file is left out, and no parameter but the classifier's."""
    found = parameters_of(ARRAYS, OF)
    counted = sum(a.size for a in jax.tree.leaves(found))
    assert counted == sum(math.prod(shape) for shape in shapes().values())
    drawn = nnx.to_pure_dict(nnx.state(MODEL, nnx.Param))
    own = {name: part for name, part in drawn.items() if name != "classifier"}
    assert jax.tree.map(jnp.shape, own) == jax.tree.map(jnp.shape, found)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("encoder.layer.1.output.dense.weight", None, "it has no encoder.layer.1.out"),
        (
            "embeddings.LayerNorm.bias",
            np.zeros(3),
            r"has the shape \(3,\), not \(16,\)",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_told(name, array, message):
    arrays = {n: a for n, a in ARRAYS.items() if n != name}
    arrays |= {} if array is None else {name: array}
    with pytest.raises(ValueError, match=message):
        parameters_of(arrays, OF)


def test_sizes_that_do_not_fit_are_told():
    with pytest.raises(ValueError, match="must divide hidden_size = 16, got 3"):
        BertSizes.of(SIZES | {"num_attention_heads": 3})
    with pytest.raises(ValueError, match="must have vocab_size"):
        BertSizes.of({})
