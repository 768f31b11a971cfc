"""Line searches against the equations, their twin in NumPy, and what users may do."""

import contextlib
import functools

import hypothesis
import hypothesis.strategies as st
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint
import pytest

from grokfast_jax import grokfast_ema, skip_non_finite
from grokfast_jax.linesearch import (
    adam_sls,
    alsals,
    salsa,
    scale_by_armijo,
    sls,
)
from tests.support import search_twin

SCALES = np.array([1.0, 4.0])
START = np.array([1.0, -2.0])
METHODS = {
    "sls": sls,
    "adam_sls": adam_sls,
    "alsals": alsals,
    "salsa": salsa,
    "salsa, momentum": functools.partial(salsa, search_along="momentum"),
}
every_method = pytest.mark.parametrize("make", METHODS.values(), ids=METHODS)


def quadratic(x):
    return jnp.sum(SCALES * x**2) / 2


def step(tx, loss, x, state, **extra):
    """One update; the loss before it, the parameters and the state after it."""
    value, grad = jax.value_and_grad(loss)(x, **extra)
    updates, state = tx.update(
        grad, state, x, value=value, grad=grad, value_fn=loss, **extra
    )
    return value, optax.apply_updates(x, updates), state


def run(tx, loss, x, steps):
    """Losses, step sizes, evaluations, and the parameters and state at the end."""

    @jax.jit
    def scanned(x):
        def body(carry, _):
            x, state = carry
            value, x, state = step(tx, loss, x, state)
            seen = [value, x]
            seen += [optax.tree.get(state, k) for k in ("step_size", "evaluations")]
            return (x, state), seen

        return jax.lax.scan(body, (x, tx.init(x)), None, steps)

    (x, state), (values, xs, sizes, evaluations) = scanned(x)
    return values, xs, sizes, evaluations, state


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


def test_sgd_on_a_quadratic(x64):  # A1
    tx = optax.chain(
        optax.sgd(1.0),
        scale_by_armijo(
            slope_rtol=0.1, increase_factor=1.0, smoothing=0.0, initial_step_size=1.0
        ),
    )
    *_, state = run(tx, lambda x: 5 * jnp.sum(x**2), jnp.array(START), 1)
    assert int(optax.tree.get(state, "evaluations")) == 18
    assert optax.tree.get(state, "step_size") == pytest.approx(0.9**17, rel=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.9, 0.99])
def test_first_step_of_adam(x64, smoothing):  # A2
    tx = alsals(slope_rtol=0.5, smoothing=smoothing, initial_step_size=10.0)
    _, _, sizes, evaluations, _ = run(tx, quadratic, jnp.array(START), 1)
    np.testing.assert_allclose(sizes, 1.669387558, rtol=1e-9)
    assert list(evaluations) == [18]


def test_golden_trace(x64):  # A3
    tx = alsals(slope_rtol=0.5, initial_step_size=10.0)
    values, _, sizes, evaluations, state = run(tx, quadratic, jnp.array(START), 5)
    expected = [8.5, 0.4426490169, 1.433497062, 2.820115997, 2.56807582]
    np.testing.assert_allclose(values, expected, rtol=1e-9)
    expected = [1.669387558, 1.353557479, 1.219421152, 1.220641794, 1.221863658]
    np.testing.assert_allclose(sizes, expected, rtol=1e-9)
    assert list(evaluations) == [18, 3, 2, 1, 1]
    assert optax.tree.get(state, "slope") == pytest.approx(0.1021496126, rel=1e-8)
    assert optax.tree.get(state, "decrease") == pytest.approx(0.06763916151, rel=1e-8)
    assert optax.tree.get(state, "value") == pytest.approx(1.473094564, rel=1e-9)
    assert optax.tree.get(state, "total_evaluations") == 25


def test_a_straight_loss_never_backtracks(x64):  # A4
    limit = (1 - 0.99) / (1 - 0.99 * 0.999)  # pitfall 2: .910
    for c, ends in [(limit - 0.01, True), (limit + 0.01, False)]:
        tx = optax.chain(optax.sgd(1.0), scale_by_armijo(slope_rtol=c))
        _, _, sizes, evaluations, _ = run(tx, jnp.sum, jnp.array(START), 1000)
        grown = 0.1 / 0.999 ** np.arange(1, 1001)
        assert bool((evaluations == 1).all()) is ends
        assert np.allclose(sizes, grown, rtol=1e-11) is ends


def mlp(params, x, y):
    hidden = jnp.tanh(x @ params["in"])
    return jnp.mean((hidden @ params["out"] - y) ** 2)


def mlp_of(seed, dtype=jnp.float64):
    keys = jax.random.split(jax.random.key(seed), 4)
    draw = functools.partial(jax.random.normal, dtype=dtype)
    params = {"in": draw(keys[0], (3, 5)), "out": draw(keys[1], (5, 2))}
    return params, draw(keys[2], (20, 3)), draw(keys[3], (20, 2))


@pytest.mark.thorough
@hypothesis.settings(max_examples=10, deadline=None)
@hypothesis.given(st.integers(0, 1000), st.floats(0.05, 0.9))
def test_every_step_of_armijo_goes_down(seed, c):  # A5
    with jax.enable_x64(True):
        params, x, y = mlp_of(seed)
        tx = sls(slope_rtol=c, initial_step_size=1.0)
        loss = functools.partial(mlp, x=x, y=y)
        state = tx.init(params)
        jitted = jax.jit(functools.partial(step, tx, loss))
        for _ in range(10):
            grad = jax.grad(loss)(params)
            before, params, state = jitted(params, state)
            fall = c * state[-1].step_size * optax.tree.norm(grad, squared=True)
            assert loss(params) <= before - fall + 1e-14
        assert state[-1].failures == 0


def test_shift_and_scale_of_the_loss(x64):  # A6
    def trace(loss):
        tx = alsals(slope_rtol=0.5, initial_step_size=10.0, eps=1e-30)
        return run(tx, loss, jnp.array(START), 60)[1:4]

    expected = trace(quadratic)
    for loss in (lambda x: quadratic(x) + 3, lambda x: 1000 * quadratic(x)):
        xs, sizes, evaluations = trace(loss)
        np.testing.assert_allclose(xs, expected[0], rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(sizes, expected[1], rtol=1e-10)
        np.testing.assert_array_equal(evaluations, expected[2])


def test_steps_of_a_fixed_size_are_adams(x64):  # A7
    tx = alsals(slope_rtol=1e-6, increase_factor=1.0, initial_step_size=1e-3)
    xs, evaluations = run(tx, quadratic, jnp.array(START), 50)[1:4:2]
    adam = optax.with_extra_args_support(optax.adam(1e-3))
    x, state = jnp.array(START), adam.init(jnp.array(START))
    for ours in xs:
        _, x, state = step(adam, quadratic, x, state)
        np.testing.assert_allclose(ours, x, rtol=1e-13)
    assert (evaluations == 1).all()


@pytest.mark.parametrize(("rise", "trials"), [(1.9, 1), (2.1, 2)])
def test_a_rise_that_is_predicted_is_allowed(x64, rise, trials):  # A8
    tx = scale_by_armijo(
        slope_rtol=0.5, increase_factor=1.0, smoothing=0.0, initial_step_size=1.0
    )
    x, grad = jnp.zeros(1), jnp.ones(1)

    def loss(x):  # up by 1.9 or 2.1 times the prediction, then by half
        return jnp.where(x[0] > 0.95, rise, 0.5) * x[0]

    _, state = tx.update(grad, tx.init(x), x, value=0.0, grad=grad, value_fn=loss)
    assert state.evaluations == trials
    assert state.slope == -1


@every_method
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_trials_that_are_not_finite(make, bad):  # A9
    def loss(x):
        return jnp.where(x[0] < 0.8, bad, x[0])  # steps above .2 are beyond the edge

    tx, x = make(initial_step_size=1.0), jnp.ones(1)
    _, x, state = step(tx, loss, x, tx.init(x))
    assert 0 < optax.tree.get(state, "step_size") <= 0.2 + 1e-6
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))
    assert loss(x) < 1
    assert optax.tree.get(state, "failures") == 0


@every_method
def test_where_no_trial_is_finite(make):  # A9
    def loss(x, broken):
        return jnp.where(broken & (x[0] != 1), jnp.nan, 1 + x[0] ** 2)

    tx, x = make(initial_step_size=1.0, max_backtracking_steps=5), jnp.ones(1)
    _, same, state = step(tx, loss, x, tx.init(x), broken=True)
    assert same == x
    assert optax.tree.get(state, "failures") == 1
    assert optax.tree.get(state, "step_size") > 0
    assert all(np.isfinite(leaf) or leaf == np.inf for leaf in jax.tree.leaves(state))
    _, x, state = step(tx, loss, x, state, broken=False)  # it searches again
    assert x < 1
    assert optax.tree.get(state, "evaluations") >= 1
    assert optax.tree.get(state, "failures") == 1


@every_method
def test_a_batch_whose_loss_is_no_number_changes_nothing(make):
    tx, x = make(), jnp.array(START, jnp.float32)
    _, x, state = step(tx, quadratic, x, tx.init(x))
    grad = jax.grad(quadratic)(x)
    updates, after = tx.update(
        grad, state, x, value=jnp.nan, grad=grad, value_fn=lambda x: jnp.nan
    )
    assert not updates.any()
    for field in ("step_size", "slope", "decrease"):
        kept, new = (optax.tree.get(s, field) for s in (state, after))
        assert kept == new
    assert optax.tree.get(after, "failures") == 1
    assert optax.tree.get(after, "evaluations") == 0


@every_method
def test_a_gradient_that_is_no_number_is_skipped_by_the_guard(make):
    tx, x = skip_non_finite(make()), jnp.array(START, jnp.float32)
    _, x, state = step(tx, quadratic, x, tx.init(x))
    bad = jnp.full(2, jnp.nan)
    updates, state = tx.update(
        bad, state, x, value=jnp.nan, grad=bad, value_fn=quadratic
    )
    assert not updates.any()
    before, x, state = step(tx, quadratic, x, state)
    assert quadratic(x) < before
    assert state.total_notfinite == 1


def test_a_step_size_far_too_large_is_found_over_several_updates():
    tx = sls(initial_step_size=1e10)
    values, *_, evaluations, state = run(
        tx, quadratic, jnp.array(START, jnp.float32), 10
    )
    assert list(evaluations[:2]) == [101, 101]
    assert int(optax.tree.get(state, "failures")) == 2
    assert values[-1] < values[0]


def test_averages_that_forbid_every_step_start_anew():
    """Rises that were allowed leave a negative average of decreases behind."""
    tx, x = scale_by_armijo(), jnp.array(START, jnp.float32)
    grad = jax.grad(quadratic)(x)
    state = tx.init(x)._replace(decrease=jnp.float32(-10), slope=jnp.float32(1))
    for evaluations, failures in [(101, 1), (1, 1)]:
        updates, state = tx.update(
            -grad, state, x, value=quadratic(x), grad=grad, value_fn=quadratic
        )
        assert (state.evaluations, state.failures) == (evaluations, failures)
        assert bool(updates.any()) is (evaluations == 1)
    assert state.step_size > 0.1  # the smallest that was tried did lower the loss


def test_at_the_loss_own_resolution_it_goes_on():
    """Where float32 shows no decrease any more, steps stay and cost one trial each."""
    values, _, _, evaluations, state = run(
        sls(), lambda x: 1 + quadratic(x), jnp.array(START, jnp.float32), 500
    )
    assert values[-1] == 1
    assert optax.tree.get(state, "failures") == 0
    assert evaluations.mean() < 1.5


@pytest.mark.parametrize("make", [alsals, salsa])
def test_one_random_key_for_all_trials(make):  # A10
    seen = []

    def loss(x, key):
        jax.debug.callback(lambda *v: seen.append(v), x, jax.random.key_data(key))
        kept = jax.random.bernoulli(key, 0.5, (1000,))
        return jnp.mean(kept * (x[0] - 3) ** 2)

    tx, x = make(initial_step_size=100.0), jnp.ones(1)
    _, _, state = step(tx, loss, x, tx.init(x), key=jax.random.key(5))
    jax.effects_barrier()
    assert len(seen) == 1 + optax.tree.get(state, "evaluations") > 3
    assert all((key == seen[0][1]).all() for _, key in seen)


def by_differences():
    return optax.chain(
        optax.scale(-1.0),
        scale_by_armijo(slope="finite_difference", difference_step=1e-4),
    )


@pytest.mark.parametrize("make", [*METHODS.values(), by_differences])
def test_evaluations_are_counted(make):  # A11
    calls = []

    def loss(x):
        jax.debug.callback(calls.append, x)
        return quadratic(x)

    tx, x = make(), jnp.array(START, jnp.float32)
    state = tx.init(x)
    for _ in range(12):
        grad = jax.grad(quadratic)(x)
        before = len(calls)
        updates, state = tx.update(
            grad, state, x, value=quadratic(x), grad=grad, value_fn=loss
        )
        jax.effects_barrier()
        assert len(calls) - before == optax.tree.get(state, "evaluations")
        x = optax.apply_updates(x, updates)
    assert len(calls) == optax.tree.get(state, "total_evaluations")


@pytest.mark.parametrize(
    ("make", "equal"),
    [
        (alsals, True),
        (sls, True),
        (adam_sls, False),
        (salsa, False),
        (functools.partial(salsa, search_along="momentum"), True),
    ],
)
def test_the_point_tried_and_the_one_stepped_to(make, equal):  # A12
    tried = []

    def loss(x):
        jax.debug.callback(tried.append, x)
        return quadratic(x)

    tx = make(weight_decay=0.1)
    x = jnp.array(START, jnp.float32)
    state = tx.init(x)
    for i in range(4):
        _, x, state = step(tx, loss, x, state)
        jax.effects_barrier()
        if i:  # at the first, Adam's momentum is the gradient
            assert np.array_equal(tried[-1], x) is equal


def test_cadence(x64):  # A13
    from grokfast_jax.linesearch import _cadence as cadence

    def searches(state, step_size, steps):
        dues = []
        for _ in range(steps):
            due = cadence.is_due(state)
            state = cadence.after(state, step_size, due, jnp.array(False))
            dues.append(bool(due))
        return state, np.flatnonzero(dues)

    state, at = searches(cadence.first_cadence(jnp.float64), 1.0, 2000)
    gaps = np.diff(at)
    assert (gaps[:9] == 1).all()
    assert (gaps[240:] == 10).all()
    state = cadence.first_cadence(jnp.float64)
    for number in range(1, 240):  # at the 239th, .99ⁿ is below 1/11
        state = cadence.after(state, jnp.ones([]), jnp.array(True), jnp.array(False))
        ratio = state.fast / state.slow
        assert bool(1 / (ratio - 1) >= 10) is (number >= 239)
    one = jnp.ones([], jnp.float64)
    state = cadence.CadenceState(one, one, jnp.int32(10), jnp.int32(1))
    for _ in range(2):
        state = cadence.after(state, 2.0, jnp.array(True), jnp.array(False))
    ratio = state.fast / state.slow
    assert ratio == pytest.approx(1.19 / 1.0199)
    _, at = searches(state, 2.0, 7)
    assert at[0] == 5  # the first update at which since ≥ 6.0: five lie between


@pytest.mark.thorough
@every_method
def test_trees_and_jit(make):  # A14
    flat = jnp.array([*START, 0.5], jnp.float32)
    weights = jnp.array([1.0, 4.0, 2.0])

    def of_flat(x):
        return jnp.sum(weights * x**2)

    def of_tree(tree):
        return of_flat(jnp.concatenate([tree["a"], tree["b"]["c"][None]]))

    tree = {"a": flat[:2], "b": {"c": flat[2]}, "none": None}
    tx = make()
    states = tx.init(flat), tx.init(tree)
    for _ in range(8):
        _, flat, one = jax.jit(functools.partial(step, tx, of_flat))(flat, states[0])
        _, tree, two = jax.jit(functools.partial(step, tx, of_tree))(tree, states[1])
        assert jax.tree.map(jax.typeof, two) == jax.tree.map(jax.typeof, states[1])
        states = one, two
        np.testing.assert_allclose(tree["a"], flat[:2], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(tree["b"]["c"], flat[2], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "twin"),
    [
        (alsals, {}),
        (adam_sls, {"momentum_tried": False}),
        (salsa, {"momentum_tried": False, "cadence": True}),
        (functools.partial(salsa, search_along="momentum"), {"cadence": True}),
    ],
)
@pytest.mark.parametrize("seed", [0, 1, 3])
def test_twin_on_random_problems(x64, make, twin, seed):
    """Regressions with other data at every step."""
    rng = np.random.default_rng(seed)
    inputs, noise = rng.normal(size=(40, 8, 3)), rng.normal(size=(40, 8))
    targets = inputs @ rng.normal(size=3) + 0.1 * noise
    losses = [
        lambda x, a=a, y=y: np.mean((a @ x - y) ** 2)
        for a, y in zip(inputs, targets, strict=True)
    ]
    gradients = [
        lambda x, a=a, y=y: 2 * a.T @ (a @ x - y) / len(y)
        for a, y in zip(inputs, targets, strict=True)
    ]
    options = {"slope_rtol": 0.3, "smoothing": 0.5, "decrease_factor": 0.8}
    expected = search_twin.adam_run(
        losses,
        gradients,
        np.zeros(3),
        c=0.3,
        smoothing=0.5,
        shrink=0.8,
        grow=1.1,
        step_size=1.0,
        most=100,
        **twin,
    )
    tx = make(**options, increase_factor=1.1, initial_step_size=1.0)

    def loss(x, a, y):
        return jnp.mean((a @ x - y) ** 2)

    x = jnp.zeros(3)
    state = tx.init(x)
    jitted = jax.jit(lambda x, state, a, y: step(tx, loss, x, state, a=a, y=y))
    for t, (a, y) in enumerate(zip(inputs, targets, strict=True)):
        value, x, state = jitted(x, state, a, y)
        assert value == pytest.approx(expected.value[t], rel=1e-9)
        np.testing.assert_allclose(x, expected.params[t], rtol=1e-9, atol=1e-12)
        size = optax.tree.get(state, "step_size")
        assert size == pytest.approx(expected.step_size[t], rel=1e-12)
        assert optax.tree.get(state, "evaluations") == expected.backtracks[t] + 1


def test_finite_difference():
    """In float32 the published h is wrong by the loss's rounding; 1e-4 is not."""
    x = jnp.array([1.0, -2.0])
    direction = -jnp.array([1.0, -1.0])
    grad = jax.grad(quadratic)(x)
    slopes = {}
    for h in (5e-9, 1e-4):
        tx = scale_by_armijo(
            slope="finite_difference", difference_step=h, smoothing=0.0
        )
        _, state = tx.update(
            direction, tx.init(x), x, value=quadratic(x), grad=grad, value_fn=quadratic
        )
        slopes[h] = float(state.slope)
    assert slopes[1e-4] == pytest.approx(9, rel=0.02)
    assert abs(slopes[5e-9] - 9) > 0.2  # it had to be enlarged, until something moved


def test_a_flat_loss_ends_the_enlargement():
    tx = scale_by_armijo(slope="finite_difference")
    x = jnp.ones(2)
    _, state = tx.update(
        x, tx.init(x), x, value=1.0, grad=x, value_fn=lambda x: jnp.float32(1)
    )
    assert state.evaluations == 11 + 1


def test_lanes_search_each_for_itself():
    tx = alsals(slope_rtol=0.5, initial_step_size=10.0)
    starts = jnp.array([[1.0, -2.0], [0.1, 3.0], [5.0, 5.0]])
    lanes = jax.vmap(lambda x: run(tx, quadratic, x, 20)[1:4])(starts)
    for i, x in enumerate(starts):
        alone = run(tx, quadratic, x, 20)[1:4]
        for ours, theirs in zip(lanes, alone, strict=True):
            np.testing.assert_allclose(ours[i], theirs, rtol=1e-5, atol=1e-6)
    assert len(np.unique(lanes[2].sum(1))) > 1  # they did differ


def test_sixteen_bits():
    """Losses and differences are of 32."""
    x = jnp.array([1.0, -2.0], jnp.bfloat16)
    _, _, _, _, state = run(alsals(), quadratic, x, 5)
    search = optax.tree.get(state, "slope")
    assert search.dtype == jnp.float32
    assert optax.tree.get(state, "failures") == 0


def test_parameters_are_not_carried_through_the_loop():
    size = 1_000_000
    x = jnp.ones(size)
    for make in (sls, alsals, adam_sls, salsa):
        tx = make()

        def update(grad, state, x, tx=tx):
            return tx.update(
                grad, state, x, value=size, grad=grad, value_fn=lambda x: jnp.sum(x**2)
            )

        compiled = jax.jit(update, donate_argnums=1).lower(x, tx.init(x), x).compile()
        memory = compiled.memory_analysis().temp_size_in_bytes
        assert memory <= 2.1 * 4 * size, make


def test_grokfast_before_a_search():
    """The slope is of the loss's own gradient, along what the filter made of it."""
    tx = optax.chain(grokfast_ema(0.9, 2.0), sls(increase_factor=1.0))
    x = jnp.array(START, jnp.float32)
    _, _, state = step(tx, quadratic, x, tx.init(x))
    grad = jax.grad(quadratic)(x)
    np.testing.assert_allclose(
        optax.tree.get(state, "slope"), 3 * jnp.sum(grad**2), rtol=1e-6
    )


def test_integers_and_any_arguments():
    """Leaves without a gradient stay; a function of any arguments gets all."""
    params = {"x": jnp.array(START, jnp.float32), "steps": jnp.arange(3)}
    grad = {"x": params["x"], "steps": np.zeros(3, jax.dtypes.float0)}
    seen = []

    def loss(params, **rest):
        seen.append(rest)
        return quadratic(params["x"])

    tx = scale_by_armijo()
    direction = {"x": -params["x"], "steps": jnp.zeros(3, jnp.int32)}
    updates, _ = tx.update(
        direction, tx.init(params), params, value=8.5, grad=grad, value_fn=loss, a=1
    )
    assert seen == [{"a": 1}]
    assert updates["x"].any()
    assert not updates["steps"].any()


def test_auxiliary_output_and_foreign_arguments():
    def loss(x, scale):
        return scale * quadratic(x), {"seen": x}

    tx, x = alsals(), jnp.array(START, jnp.float32)
    (value, _), grad = jax.value_and_grad(loss, has_aux=True)(x, 2.0)
    _, state = tx.update(
        grad,
        tx.init(x),
        x,
        value=value,
        grad=grad,
        value_fn=loss,
        scale=2.0,
        observed=True,
    )
    assert optax.tree.get(state, "value") < value


def test_a_search_after_a_partition():
    parts = {"a": optax.sgd(1.0), "b": optax.adam(1.0)}
    tx = optax.chain(optax.partition(parts, {"x": "a", "y": "b"}), scale_by_armijo())
    values, *_ = run(tx, of_two, {"x": jnp.ones(2), "y": jnp.ones(2)}, 20)
    assert values[-1] < 0.5 * values[0]


def of_two(params):
    return quadratic(params["x"]) + quadratic(params["y"])


def test_a_search_inside_of_a_partition():
    """Its trials move its own parameters: the loss needs the others, as they are."""
    tx = optax.partition({"a": sls(), "b": optax.sgd(0.1)}, {"x": "a", "y": "b"})
    params = {"x": jnp.ones(2), "y": jnp.ones(2)}
    value, grad = jax.value_and_grad(of_two)(params)
    updates, state = tx.update(
        grad,
        tx.init(params),
        params,
        value=value,
        grad=grad,
        value_fn=lambda trial: of_two(params | {"x": trial["x"]}),
    )
    x = params["x"]
    _, alone, expected = step(sls(), quadratic, x, sls().init(x))
    np.testing.assert_allclose(x + updates["x"], alone, rtol=1e-6)
    sizes = [optax.tree.get(s, "step_size") for s in (state, expected)]
    assert sizes[0] == sizes[1]
    np.testing.assert_allclose(updates["y"], -0.1 * grad["y"])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"params": None}, ValueError, "got no params"),
        ({"value": None, "grad": None}, ValueError, "got no value, grad"),
        ({"value_fn": 3.0}, TypeError, "value_fn must be a function"),
        ({"value_fn": lambda x: x}, ValueError, r"scalar loss, got the shape \(2,\)"),
        ({"grad": jnp.ones(3)}, ValueError, r"shape \(3,\)"),
        ({"updates": jnp.ones(3)}, ValueError, r"shape \(3,\)"),
        ({"state": {}}, TypeError, "State"),
    ],
)
@pytest.mark.parametrize("make", [scale_by_armijo, adam_sls, salsa])
def test_what_an_update_needs(make, change, error, message):
    tx, x = make(), jnp.array(START, jnp.float32)
    given = {"updates": x, "state": tx.init(x), "params": x}
    given |= {"value": 1.0, "grad": x, "value_fn": quadratic} | change
    with pytest.raises(error, match=message):
        tx.update(**given)


@pytest.mark.parametrize("make", [sls, adam_sls, salsa])  # in alsals Adam is first
def test_a_batch_of_states_is_refused(make):
    tx, lanes = make(), jnp.ones((3, 2))
    states = jax.vmap(tx.init)(lanes)
    with pytest.raises(ValueError, match=r"batch of the shape \(3,\)"):
        step(tx, quadratic, lanes[0], states)
    jax.vmap(lambda x, state: step(tx, quadratic, x, state))(lanes, states)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"slope_rtol": 1.0}, ValueError, r"slope_rtol must be in .*, got 1\.0"),
        ({"slope_rtol": 0.0}, ValueError, "slope_rtol must be .* got 0.0"),
        ({"decrease_factor": 1.0}, ValueError, "decrease_factor"),
        ({"decrease_factor": 0.0}, ValueError, "decrease_factor"),
        ({"increase_factor": 0.9}, ValueError, "increase_factor"),
        ({"initial_step_size": 0.0}, ValueError, "initial_step_size"),
        ({"initial_step_size": "a"}, TypeError, "initial_step_size"),
        ({"max_backtracking_steps": 1.5}, TypeError, "max_backtracking_steps"),
        ({"max_backtracking_steps": -1}, ValueError, "max_backtracking_steps"),
        ({"weight_decay": -1.0}, ValueError, "weight_decay"),
        ({"learning_rate": 0.1}, TypeError, "unexpected keyword"),
        ({"initial_step": 0.1}, TypeError, "did you mean initial_step_size"),
    ],
)
@every_method
def test_arguments(make, options, error, message):
    with pytest.raises(error, match=message):
        make(**options)


def test_other_arguments():
    with pytest.raises(ValueError, match="slope must be 'exact' or"):
        alsals(slope="analytic")
    with pytest.raises(ValueError, match="difference_step must be > 0"):
        scale_by_armijo(difference_step=0.0)
    with pytest.raises(ValueError, match="search_along must be"):
        salsa(search_along="x")
    with pytest.raises(ValueError, match="smoothing must be in"):
        alsals(smoothing=1.0)
    with pytest.raises(ValueError, match="b1 must be in"):
        salsa(b1=1.0)


@every_method
def test_options_may_be_traced(make):
    """As in a sweep by vmap, or with optax.inject_hyperparams."""

    def first(size):
        tx = make(initial_step_size=size)
        x = jnp.array(START, jnp.float32)
        _, _, state = step(tx, quadratic, x, tx.init(x))
        return optax.tree.get(state, "step_size")

    sizes = jnp.array([0.01, 0.02])
    np.testing.assert_allclose(
        jax.vmap(first)(sizes), [first(size) for size in (0.01, 0.02)], rtol=1e-6
    )


@every_method
def test_states_are_exported_and_restored(make, tmp_path):
    """By jax.export with a compiled step, and by Orbax."""
    for kind in (optax.EmptyState, optax.ScaleByAdamState):  # Optax leaves it to us
        with contextlib.suppress(ValueError):
            jax.export.register_namedtuple_serialization(
                kind, serialized_name=kind.__name__
            )
    tx, x = make(), jnp.array(START, jnp.float32)
    state = tx.init(x)
    jitted = jax.jit(lambda x, state: step(tx, quadratic, x, state))
    stored = jax.export.export(jitted)(x, state).serialize()
    for _ in range(3):
        _, x, state = jax.export.deserialize(bytearray(stored)).call(x, state)
    checkpointer = orbax.checkpoint.StandardCheckpointer()
    checkpointer.save(tmp_path / "state", state)
    checkpointer.wait_until_finished()
    restored = checkpointer.restore(tmp_path / "state", tx.init(x))
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    for ours, expected in zip(
        jax.tree.leaves(jitted(x, restored)),
        jax.tree.leaves(jitted(x, state)),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, expected)
