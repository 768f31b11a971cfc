"""The comparison's truth, and that all that it compares is the same filter."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed: the extra `bench`")
pytest.importorskip(
    "pytorch_optimizer", reason="pytorch_optimizer is not installed: the extra `bench`"
)

from benchmarks import comparison


def test_the_truth_in_few_updates():
    gradients = np.array([[1.0], [3.0]])
    ema = comparison.true_ema
    assert ema(gradients, 0.5, "first").ravel() == pytest.approx([3, 3 + 2 * 2])
    assert ema(gradients, 0.5, "zero").ravel() == pytest.approx([2, 3 + 2 * 1.75])
    expected = [3, 3 + 2 * 1.75 / 0.75]
    assert ema(gradients, 0.5, "debiased").ravel() == pytest.approx(expected)
    outputs = comparison.true_ma(np.arange(101.0)[:, None]).ravel()
    assert outputs[:99] == pytest.approx(np.arange(99))
    assert outputs[99:] == pytest.approx([99 + 2 * 49.5, 100 + 2 * 50.5])


@pytest.mark.thorough
@pytest.mark.parametrize("name", comparison.emas(0.98))
def test_every_average_is_right_in_float32(name):
    start, run = comparison.emas(0.98)[name]
    gradients = np.random.default_rng(1).normal(size=(300, 3)).astype(np.float32)
    truth = comparison.true_ema(gradients.astype(float), 0.98, start)
    np.testing.assert_allclose(run(gradients, "float32"), truth, atol=2e-5)


@pytest.mark.thorough
@pytest.mark.parametrize("name", comparison.mas())
def test_every_window_is_right_in_float32(name):
    gradients = np.random.default_rng(1).normal(size=(300, 3)).astype(np.float32)
    truth = comparison.true_ma(gradients.astype(float))
    outputs = comparison.mas()[name](gradients, "float32")
    np.testing.assert_allclose(outputs, truth, atol=2e-5)


def test_when_a_nan_is_forgotten():
    outputs = np.zeros((300, 2))
    outputs[comparison.WINDOW : 150, 1] = np.nan
    assert comparison.forgotten(outputs) == "50"
    outputs[-1] = np.inf
    assert comparison.forgotten(outputs) == "never"


@pytest.mark.thorough
def test_what_whole_optimizers_do():
    late = 1 + 2 * (1 + 4 * 0.98**100)  # the average has followed
    assert comparison.ours() == ["1.00", "1.00", f"{late:.2f}"]
    late = 1 + 2 * (0.98 * 5 + 0.02)  # the average is the first gradient still
    assert comparison.theirs() == ["0.33", "3.00", f"{late:.2f}"]
