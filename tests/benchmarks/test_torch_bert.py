"""BERT beside the same weights in PyTorch: our plain twin, and transformers."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from benchmarks import torch_bert  # noqa: E402
from experiments.data.encoder import PACKAGE, encoder_folder, read_weights  # noqa: E402
from experiments.data.source import DataError  # noqa: E402
from experiments.models.bert import Batch, Bert  # noqa: E402
from experiments.models.bert_sizes import BertSizes  # noqa: E402
from experiments.models.bert_weights import parameters_of  # noqa: E402
from tests.support.tiny_glue import write_encoder  # noqa: E402


@pytest.fixture(params=["tiny", PACKAGE])
def folder(request, tmp_path):
    if request.param == "tiny":
        return write_encoder(tmp_path)
    try:
        return encoder_folder(PACKAGE)
    except DataError:
        pytest.skip(f"{PACKAGE} is not installed")


def sizes_in(folder):
    text = (folder / "config.json").read_text(encoding="utf-8")
    return BertSizes.of(json.loads(text))


def some_examples(sizes, count=4, longest=11):
    rng = np.random.default_rng(0)
    lengths = np.append(rng.integers(4, longest, count - 1), longest)
    return {
        "tokens": rng.integers(1, sizes.vocabulary, (count, longest)),
        "lengths": lengths,
        "first_lengths": rng.integers(2, 5, count),
        "labels": rng.integers(0, 3, count),
    }


def ours(folder, examples, pooling="first"):
    """Activations after each block, loss, and gradient of our model."""
    sizes = sizes_in(folder)
    model = Bert(sizes, 3, pooling=pooling, rngs=nnx.Rngs(0))
    weights = parameters_of(read_weights(folder), sizes)
    if pooling == "mean":
        del weights["pooler"]
    nnx.update(model, weights)
    graph, params = nnx.split(model)
    tokens, lengths, first, labels = (jnp.asarray(a) for a in examples.values())

    @jax.jit
    def hidden(params):
        model, batch = nnx.merge(graph, params), Batch(lengths, tokens.shape[1])
        found = [model.embed(tokens, first)]
        for block in model.blocks:
            found.append(block(found[-1], batch))
        return [a.reshape(*tokens.shape, -1) for a in found]

    @jax.jit
    @jax.value_and_grad
    def loss(params):
        logits = nnx.merge(graph, params)(tokens, lengths, first)
        logs = jax.nn.log_softmax(logits)
        return -jnp.mean(jnp.take_along_axis(logs, labels[:, None], 1))

    value, gradient = loss(params)
    classifier = model.classifier
    arrays = classifier.kernel[...].T, classifier.bias[...]
    return hidden(params), value, nnx.to_pure_dict(gradient), arrays


def copy_classifier(layer, arrays):
    with torch.no_grad():
        for parameter, array in zip((layer.weight, layer.bias), arrays, strict=True):
            parameter.copy_(torch.tensor(np.asarray(array)))


def assert_same_gradients(named, gradient, sizes):
    """Of every encoder array, as it would be in a file of weights."""
    arrays = {name: p.grad.numpy() for name, p in named if p.grad is not None}
    theirs = parameters_of(arrays, sizes)
    theirs["classifier"] = {
        "kernel": arrays["classifier.weight"].T,
        "bias": arrays["classifier.bias"],
    }

    def compare(found, expected):
        scale = max(np.abs(expected).max(), 1e-6)
        np.testing.assert_allclose(found / scale, expected / scale, atol=1e-3)

    jax.tree.map(compare, gradient, theirs)


@pytest.mark.thorough
@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_the_plain_twin(folder, pooling):
    sizes = sizes_in(folder)
    examples = some_examples(sizes)
    _, value, gradient, classifier = ours(folder, examples, pooling)
    model = torch_bert.Classifier(sizes, 3, pooling).eval()
    torch_bert.load(model, read_weights(folder))
    copy_classifier(model.classifier, classifier)
    *inputs, labels = torch_bert.batch_of(examples)
    loss = torch.nn.functional.cross_entropy(model(*inputs), labels)
    loss.backward()
    assert loss.item() == pytest.approx(float(value), rel=1e-5)
    assert_same_gradients(model.named_parameters(), gradient, sizes)


@pytest.mark.thorough
def test_the_model_of_transformers(folder):
    """Hidden states to 1e-4, gradients to 1e-3 of each array's largest."""
    transformers = pytest.importorskip("transformers")
    sizes = sizes_in(folder)
    examples = some_examples(sizes)
    hidden, value, gradient, classifier = ours(folder, examples)
    model = transformers.BertForSequenceClassification.from_pretrained(
        folder, num_labels=3
    ).eval()
    copy_classifier(model.classifier, classifier)
    tokens, lengths, first, labels = torch_bert.batch_of(examples)
    places = torch.arange(tokens.shape[1])
    mask = (places < lengths[:, None]).long()
    types = (places >= first[:, None]).long() * mask
    found = model(tokens, mask, types, labels=labels, output_hidden_states=True)
    found.loss.backward()
    for a, b in zip(hidden, found.hidden_states, strict=True):
        rows = mask.numpy() > 0
        np.testing.assert_allclose(a[rows], b.detach().numpy()[rows], atol=1e-4)
    assert found.loss.item() == pytest.approx(float(value), rel=1e-5)
    assert_same_gradients(model.named_parameters(), gradient, sizes)
