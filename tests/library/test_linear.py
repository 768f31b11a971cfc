"""``linear_filter`` against ``scipy.signal``."""

import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.signal

from grokfast_jax import (
    amplify,
    exponential_moving_average,
    linear_filter,
    moving_average,
)
from tests.support.running import run_eager, run_scan

rng = np.random.default_rng(0)
ema_from_zero = functools.partial(exponential_moving_average, init="zero")


def random_filter(order, radius):
    """Random zeros, and poles inside of a circle."""
    pairs = radius * rng.uniform(0.2, 1, order // 2)
    angles = rng.uniform(0, np.pi, order // 2)
    poles = np.concatenate([pairs * np.exp(1j * angles), pairs * np.exp(-1j * angles)])
    if order % 2:
        poles = np.append(poles, radius * rng.uniform(-1, 1))
    return rng.normal(size=order + 1), np.real(np.poly(poles))


def clustered_filter(order, angles):
    """Random zeros, and poles of one region: pairs of these angles, or one at its end.

    The real pole of an odd order lies at the real end that is next to the region.
    """
    pairs = 0.95 * rng.uniform(0.6, 1, order // 2)
    pairs = pairs * np.exp(1j * rng.uniform(*angles, order // 2))
    poles = np.concatenate([pairs, pairs.conj()])
    if order % 2:
        side = 1 if sum(angles) < np.pi else -1
        poles = np.append(poles, side * 0.95 * rng.uniform(0.6, 1))
    return rng.normal(size=order + 1), np.real(np.poly(poles))


def side_by_side(filters):
    """Many filters in one program: a tuple of leaves, one for each."""
    return optax.GradientTransformation(
        lambda params: tuple(tx.init(p) for tx, p in zip(filters, params, strict=True)),
        lambda updates, state, params=None: tuple(
            zip(
                *(
                    tx.update(g, part)
                    for tx, g, part in zip(filters, updates, state, strict=True)
                ),
                strict=True,
            )
        ),
    )


def in_long_double(b, a, x):
    """The difference equation in NumPy's widest floats."""
    b, a = (np.asarray(c, np.longdouble) for c in (b, a))
    order = max(len(b), len(a)) - 1
    b, a = (np.pad(c / a[0], (0, order + 1 - len(c))) for c in (b, a))
    z = np.zeros((order + 1, *x.shape[1:]), np.longdouble)  # the last stays 0
    y = np.empty(x.shape, np.longdouble)
    for t, now in enumerate(x.astype(np.longdouble)):
        y[t] = z[0] + b[0] * now
        z[:-1] = z[1:] + np.multiply.outer(b[1:], now) - np.multiply.outer(a[1:], y[t])
    return y


def signal(dtype, steps=300):
    return rng.normal(size=(steps, 3)).astype(dtype)


def relative_error(ours, expected):
    return np.abs(np.asarray(ours) - expected).max() / np.abs(expected).max()


CASES = {
    "gain": ([2.0], [1.0]),
    "fir": ([0.5, 0.0, -1.0, 0.25], [1.0]),
    "one pole": ([0.1], [1.0, -0.9]),
    "a0 not 1": ([0.3, 0.2], [2.0, -1.0, 0.5]),
    "more poles than zeros": ([1.0], [1.0, -0.5, 0.25, -0.1]),
    **{f"order {n}": random_filter(n, 0.95) for n in (1, 2, 3, 4)},
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("run", [run_eager, run_scan])
def test_equals_lfilter_in_float64(name, run):
    b, a = CASES[name]
    with jax.enable_x64(True):
        g = signal(np.float64)
        expected = scipy.signal.lfilter(b, a, g, axis=0)
        assert relative_error(run(linear_filter(b, a), g), expected) < 1e-12


@pytest.mark.parametrize("name", CASES)
def test_equals_lfilter_in_float32(name):
    b, a = CASES[name]
    g = signal(np.float32)
    expected = scipy.signal.lfilter(b, a, g.astype(np.float64), axis=0)
    assert relative_error(run_scan(linear_filter(b, a), g), expected) < 1e-5


REGIONS = {
    "slow": (0, 0.6),
    "middle": (np.pi / 2 - 0.2, np.pi / 2 + 0.2),
    "fast": (np.pi - 0.6, np.pi),
}


@pytest.mark.thorough
@pytest.mark.parametrize("region", REGIONS)
def test_clustered_poles_in_float32(region):
    drawn = [
        clustered_filter(n, REGIONS[region]) for n in (1, 2, 3, 4) for _ in "12345"
    ]
    if region != "middle":
        kind = {"slow": "lowpass", "fast": "highpass"}[region]
        cutoff = {"slow": 0.05, "fast": 0.95}[region]
        drawn += [scipy.signal.butter(n, cutoff, kind) for n in (1, 2, 3, 4)]
    g = 1 + signal(np.float32, 5000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        filters = [linear_filter(b, a) for b, a in drawn]
        outputs = run_scan(side_by_side(filters), (g,) * len(drawn))
    for (b, a), ours in zip(drawn, outputs, strict=True):
        expected = scipy.signal.lfilter(b, a, g.astype(np.float64), axis=0)
        assert relative_error(ours, expected) < 1e-5


def test_warns_of_all_that_float32_cannot_do():
    """Without a warning, 1e-5 holds for the worst poles of modulus 0.95 too."""
    angles = np.linspace(0.1, 3.0, 8)
    poles = [0.95 * np.exp(1j * np.array([w, w, -w, -w])) for w in angles]
    poles += [[0.95, 0.95, 0.95, -0.95], [-0.95, -0.95, -0.95, 0.5]]
    warned = []
    own = np.random.default_rng(0)  # not of what ran before
    g = 1 + own.normal(size=(3000, 3)).astype(np.float32)
    for p in poles:
        b, a = own.normal(size=5), np.real(np.poly(p))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            ours = run_scan(linear_filter(b, a), g)
        warned.append(bool(caught))
        expected = scipy.signal.lfilter(b, a, g.astype(np.float64), axis=0)
        assert relative_error(ours, expected) < (5e-5 if caught else 1e-5)
    assert warned == [False] + 6 * [True] + 3 * [False]


@pytest.mark.parametrize(("order", "cutoff"), [(3, 0.001), (4, 0.006), (6, 0.02)])
def test_slow_transfer_functions_in_float32(order, cutoff):
    """Direct form II makes 30 % of the second one."""
    b, a = scipy.signal.butter(order, cutoff)
    g = 1 + signal(np.float32, 5000)
    ours = run_scan(linear_filter(b, a), g)
    assert relative_error(ours, in_long_double(b, a, g)) < 1e-5


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["lowpass", "highpass"])
@pytest.mark.parametrize(
    ("order", "cutoff"),
    [(1, 1e-4), (2, 0.01), (2, 1e-4), (4, 0.006), (4, 1e-3), (6, 0.05), (4, 0.9)],
)
def test_sections_of_butterworth_filters(order, cutoff, kind):
    sos = scipy.signal.butter(order, cutoff, kind, output="sos")
    g = 1 + signal(np.float32, 12_000)
    # SciPy's own recursion in float64 errs by up to 4e-11 on the slowest of them.
    expected = g
    for section in sos:
        expected = in_long_double(section[:3], section[3:], expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = run_scan(linear_filter(sos=sos), g)
    assert relative_error(ours, expected) < 1e-5
    with jax.enable_x64(True):
        ours = run_scan(linear_filter(sos=sos), g.astype(np.float64))
        assert relative_error(ours, expected) < 1e-12


def test_warns_where_float32_moves_a_pole():
    b, a = scipy.signal.butter(3, (0.3, 0.302), "bandpass")
    tx = linear_filter(b, a)
    with pytest.warns(UserWarning, match="float32 moves a pole by .*sos="):
        state = tx.init(jnp.zeros(2))
    # The warning is right: the result is far off.
    g = signal(np.float32, 5000)
    expected = in_long_double(b, a, g)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert relative_error(run_scan(tx, g), expected) > 0.01
    assert len(state.delays[0]) == 6


def test_a_second_order_is_a_section_already():
    a = np.real(np.poly((1 - 1e-6) * np.exp([1j, -1j])))
    with pytest.warns(UserWarning, match="moves a pole by .*: use accumulator_dtype="):
        linear_filter([1.0], a).init(jnp.zeros(2))
    b, a = scipy.signal.iirnotch(0.3, Q=100)  # a change of 2e-5 in its narrow band
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        linear_filter(b, a).init(jnp.zeros(2))


def test_many_zeros_and_one_pole():
    b, a = np.ones(1200) / 1200, [1.0, -0.5]  # whose binomials no float can hold
    g = signal(np.float32, 2000)
    state = linear_filter(b, a).init(jnp.zeros(3))
    assert len(state.delays[0]) == 1199
    b = b[:40] * 30
    expected = scipy.signal.lfilter(b, a, g.astype(np.float64), axis=0)
    assert relative_error(run_scan(linear_filter(b, a), g), expected) < 1e-5


def test_a_pole_is_compared_with_its_own():
    """Both poles at 0.81 have the same nearest rounded one, which moved little."""
    a = np.poly([-0.18, 0.81, 0.81])
    tx = linear_filter([1.0], a, accumulator_dtype=jnp.bfloat16)
    with pytest.warns(
        UserWarning, match=r"bfloat16 moves a pole by 1\.3%.*jnp\.float32"
    ):
        tx.init(jnp.zeros(2))


def test_the_advice_can_be_followed():
    b, a = scipy.signal.butter(3, (0.3, 0.302), "bandpass")
    wide = linear_filter(b, a, accumulator_dtype=jnp.float64)
    with pytest.warns(UserWarning, match=r"jnp\.float64 with jax_enable_x64"):
        linear_filter(b, a).init(jnp.zeros(2))
    with pytest.raises(ValueError, match="float64 needs jax_enable_x64"):
        wide.init(jnp.zeros(2))
    with jax.enable_x64(True):
        with pytest.warns(UserWarning, match=r"accumulator_dtype=jnp\.float64\.$"):
            linear_filter(b, a).init(jnp.zeros(2, jnp.float32))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            wide.init(jnp.zeros(2, jnp.float32))
            # An FIR filter has no poles to lose; its section is no better.
            linear_filter(np.ones(9) / 9, accumulator_dtype=jnp.bfloat16).init(0.0)


@pytest.mark.parametrize(
    ("filter", "other"),
    [
        (linear_filter([0.1], [1, -0.9]), ema_from_zero(0.9)),
        (linear_filter(np.full(7, 1 / 7)), moving_average(7)),
        (linear_filter([1.0], [1, -0.9]), optax.trace(0.9)),
        (linear_filter([1.9, -0.9], [1, -0.9]), optax.trace(0.9, nesterov=True)),
        (linear_filter([0.1], [1, -0.9]), optax.ema(0.9, debias=False)),
    ],
)
def test_known_filters_are_special_cases(filter, other):
    g = signal(np.float32)
    np.testing.assert_allclose(
        run_scan(filter, g), run_scan(other, g), rtol=2e-5, atol=1e-5
    )


def test_state_is_one_copy_an_order():
    params = {"w": jnp.zeros((4, 2), jnp.bfloat16), "n": jnp.zeros(3, jnp.int32)}
    state = linear_filter([1, 0, 0, 1], [1, 0.5]).init(params)
    leaves = jax.tree.leaves(state)
    assert [leaf.shape for leaf in leaves] == [(4, 2)] * 3
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype(jnp.float32)}
    sos = scipy.signal.butter(5, 0.3, output="sos")
    assert len(jax.tree.leaves(linear_filter(sos=sos).init(jnp.zeros(2)))) == 6


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.complex64])
def test_other_dtypes_and_leaves(dtype):
    g = {"a": jnp.full((5, 2), 1.5, dtype), "n": jnp.ones((5, 2), jnp.int32), "o": None}
    tx = amplify(linear_filter([0.5, 0.5]), 2.0)
    out = run_scan(tx, g)
    assert out["a"].dtype == dtype
    np.testing.assert_allclose(np.asarray(out["a"], complex)[:, 0], [3, *[4.5] * 4])
    np.testing.assert_array_equal(out["n"], g["n"])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: linear_filter(), ValueError, "either b"),
        (lambda: linear_filter([1], sos=np.ones((1, 6))), ValueError, "either b"),
        (lambda: linear_filter([]), ValueError, "b must have 1 dimension"),
        (lambda: linear_filter([[1]]), ValueError, "b must have 1 dimension"),
        (lambda: linear_filter([1], [0, 1]), ValueError, "must not be 0"),
        (lambda: linear_filter([np.nan]), ValueError, "b must be finite"),
        (lambda: linear_filter([1j]), TypeError, "b must be real numbers"),
        (lambda: linear_filter(["x"]), TypeError, "b must be real numbers"),
        (lambda: linear_filter(sos=np.ones((2, 5))), ValueError, r"\[sections, 6\]"),
        (lambda: linear_filter([1], [1, -1.25]), ValueError, "radius is 1.25"),
        (lambda: linear_filter([1], [1, -1]), ValueError, "radius is 1,"),
        (lambda: linear_filter([1], allow_unstable=1), TypeError, "allow_unstable"),
        (lambda: jax.jit(lambda b: linear_filter(b))(jnp.ones(2)), TypeError, "traced"),
        (lambda: linear_filter(a=[1, 0.5], sos=np.ones((1, 6))), ValueError, "no a "),
        (lambda: linear_filter(np.ones((1, 6))), ValueError, "the argument sos"),
    ],
)
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_unstable_on_request():
    tx = linear_filter([1], [1, -1], allow_unstable=True)  # a running sum
    g = np.ones((10, 1), np.float32)
    np.testing.assert_array_equal(run_scan(tx, g)[:, 0], np.arange(1, 11))
