"""Checks on eight devices; ``test_sharding.py`` runs them in a process of their own."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from experiments.engine.programs import EMPTY, BatchOfLanes
from experiments.host.groups import lanes_of
from experiments.host.sweep import How, train_sweep
from experiments.methods.named import settings_of
from experiments.records.sweep import SweepDirectory
from experiments.screen.progress import SweepProgress
from experiments.settings.flat import run_name
from experiments.tasks.modular import ModularTask
from grokfast_jax import grokfast_ma, moving_average, skip_non_finite, state_sharding
from tests.engine.test_lanes import configs, together
from tests.support.table import ROWS

COLLECTIVE = re.compile(
    r" (all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter)[-a-z]*\("
)
SHAPES = {"w": (16, 6), "v": (3, 8, 2), "b": ()}
SPECS = {"w": jax.P("x"), "v": jax.P(None, "y", None), "b": jax.P()}
every = pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
kinds = pytest.mark.parametrize("kind", ["auto", "explicit"])


@pytest.fixture(autouse=True, scope="module")
def devices():
    assert len(jax.devices()) == 8


def mesh_of(kind):
    axis_type = getattr(jax.sharding.AxisType, kind.title())
    return jax.make_mesh((4, 2), ("x", "y"), axis_types=(axis_type,) * 2)


def values(seed):
    rng = np.random.default_rng(seed)
    return {k: rng.normal(size=s).astype(np.float32) for k, s in SHAPES.items()}


@every
@kinds
def test_sharded_like_unsharded_and_without_collectives(row, kind):
    mesh, tx = mesh_of(kind), row.make()
    shardings = {k: jax.sharding.NamedSharding(mesh, s) for k, s in SPECS.items()}
    params = jax.device_put(values(0), shardings)
    wanted = state_sharding(tx, params, shardings)
    expected = run(tx, [values(seed) for seed in range(8)])
    with jax.set_mesh(mesh):
        state = jax.jit(tx.init, out_shardings=wanted)(params)
        update = jax.jit(tx.update)
        others = update._cache_size()  # that of one device
        check_shardings(state, wanted)
        for seed in range(1, 8):
            g = jax.device_put(values(seed), shardings)
            out, state = update(g, state, params)
        check_shardings((out, state), (shardings, wanted))
        assert update._cache_size() == others + 1  # spelled as the update spells them
        # A guard exchanges its verdict, a search the loss and its slope.
        if row.factory.__name__ != "_guarded" and not row.searches:
            text = update.lower(g, state, params).compile().as_text()
            assert not COLLECTIVE.search(text)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        (out, state),
        expected,
    )


def run(tx, trees):
    """Last output and state on one device; the first tree is the parameters."""
    params, *gs = trees
    state = tx.init(params)
    for g in gs:
        out, state = jax.jit(tx.update)(g, state, params)
    return out, state


def test_the_guard_exchanges_its_verdict_alone():
    mesh = mesh_of("auto")
    tx = skip_non_finite(grokfast_ma(50))
    sharding = jax.sharding.NamedSharding(mesh, jax.P(("x", "y")))
    params = jax.device_put(np.ones((8, 1000), np.float32), sharding)
    shardings = state_sharding(tx, params, sharding)
    state = jax.jit(tx.init, out_shardings=shardings)(params)
    lines = jax.jit(tx.update).lower(params, state).compile().as_text().splitlines()
    found = [line for line in lines if COLLECTIVE.search(line)]
    assert found
    assert all("f32[" not in line for line in found), found


def check_shardings(tree, wanted):
    def check(leaf, sharding):
        assert leaf.sharding.is_equivalent_to(sharding, leaf.ndim), (
            leaf.shape,
            leaf.sharding,
            sharding,
        )

    jax.tree.map(check, tree, wanted)


def test_map_params_alone_shards_the_window():
    """The trap that ``state_sharding`` is there for."""
    tx, params = moving_average(7), jnp.zeros((16, 6))
    sharding = jax.sharding.NamedSharding(mesh_of("auto"), jax.P("x"))
    state = jax.eval_shape(tx.init, params)
    naive = optax.tree.map_params(tx, lambda _, s: s, state, sharding)
    assert naive.ring.spec == jax.P("x")  # eight slots of the window on four devices
    assert state_sharding(tx, params, sharding).ring.spec == jax.P(None, "x")


def test_optimizer_of_flax():
    mesh, w = mesh_of("auto"), 5
    model = nnx.Linear(16, 8, rngs=nnx.Rngs(0))
    specs = {"kernel": jax.P("x", "y"), "bias": jax.P("y")}
    shardings = {k: jax.sharding.NamedSharding(mesh, s) for k, s in specs.items()}
    pure = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    nnx.update(model, jax.device_put(pure, shardings))

    tx = optax.chain(grokfast_ma(w), optax.adam(1e-3))
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    # NNX shards what it makes itself; a restored state may lie on every device.
    everywhere = jax.sharding.NamedSharding(mesh, jax.P())
    replicated = jax.device_put(nnx.as_pure(optimizer.opt_state), everywhere)
    nnx.update(optimizer.opt_state, nnx.state(replicated))
    assert optimizer.opt_state[0].low_pass.ring["kernel"].sharding == everywhere
    params = nnx.as_pure(nnx.state(model, nnx.Param))
    wanted = state_sharding(tx, params, jax.tree.map(lambda p: p.sharding, params))
    sharded = jax.device_put(nnx.as_pure(optimizer.opt_state), wanted)
    nnx.update(optimizer.opt_state, nnx.state(sharded))

    def check():
        ring = jax.tree.leaves(optimizer.opt_state[0].low_pass.ring)
        assert [leaf.shape for leaf in ring] == [(w + 1, 8), (w + 1, 16, 8)]
        specs = (jax.P(None, "y"), jax.P(None, "x", "y"))
        for leaf, spec in zip(ring, specs, strict=True):
            expected = jax.sharding.NamedSharding(mesh, spec)
            assert leaf.sharding.is_equivalent_to(expected, leaf.ndim)

    @nnx.jit
    def step(model, optimizer, x):
        gradient = nnx.grad(lambda m: jnp.mean(m(x) ** 2))(model)
        optimizer.update(model, gradient)

    check()  # now: XLA may shard the state in the first step by itself
    for _ in range(2 * w):
        step(model, optimizer, jnp.ones((4, 16)))
    check()


@every
def test_types_with_their_shardings_are_stable(row):
    """As Optax tests its own: from init to update, and eager as compiled."""
    mesh, tx = mesh_of("explicit"), row.make()

    def types(tree):
        return jax.tree.map(jax.typeof, tree)

    with jax.set_mesh(mesh):
        sharding = jax.sharding.NamedSharding(mesh, jax.P(None, "x"))
        params = {"w": jnp.zeros((2, 8, 4), jnp.float16, out_sharding=sharding)}
        state = tx.init(params)
        assert types(jax.jit(tx.init)(params)) == types(state)
        updated = tx.update(params, state, params)
        assert types(updated) == types((params, state))
        assert types(jax.jit(tx.update)(params, state, params)) == types(updated)


def test_lanes_divided_among_devices_are_the_same_lanes():
    lanes = configs("ma")
    mesh = jax.make_mesh(
        (3,),
        ("lanes",),
        axis_types=(jax.sharding.AxisType.Auto,),
        devices=jax.devices()[:3],
    )
    losses, metrics, _ = together(lanes, "map", chunks=1)
    divided = together(lanes, "map", chunks=1, mesh=mesh)
    # Not to the bit: not every processor's program rounds alike for fewer lanes. And
    # not all parameters: the keys' biases have no gradient but rounding.
    np.testing.assert_allclose(divided[0], losses, rtol=1e-5)
    for name in ("train_loss", "validation_loss", "weight_norm"):
        np.testing.assert_allclose(divided[1][name], metrics[name], rtol=1e-5)
    assert len(divided[2].params["head"]["kernel"].sharding.device_set) == 3


def test_a_sweep_divided_among_devices(tmp_path):
    """Ten lanes in sixteen slots, packed into eight, against each of them alone."""
    options = {"steps": 60, "eval_every": 10, "stop_at": 0.1, "batch_size": 16}
    task = ModularTask(prime=11, width=16, layers=1)
    settings = [settings_of(task, seed=seed, **options) for seed in range(10)]
    how = How(SweepProgress({run_name(each): 60 for each in settings}))
    runs = []
    for way in ("placed", "vmap"):
        lanes = lanes_of(tmp_path / way, settings)
        train_sweep(SweepDirectory(tmp_path / way), lanes, how, way=way, command="")
        runs.append([lane.run for lane in lanes])
    pairs = zip(*runs, strict=True)
    ends = set()
    for alone, divided in pairs:
        assert alone.summary()["steps"] == divided.summary()["steps"]
        ends.add(alone.summary()["steps"])
        a, b = alone.metrics(), divided.metrics()
        for name in ("train_loss", "validation_loss", "weight_norm"):
            np.testing.assert_allclose(a[name], b[name], rtol=1e-5)
    assert len(ends) > 1
    program = BatchOfLanes([each.config for each in settings], task.load())
    slots, state = program.slots(), program.initialize(program.slots())
    assert len(slots) == 16
    assert len(jax.tree.leaves(state.params)[0].sharding.device_set) == 8
    over = tuple(lane if lane > 2 else EMPTY for lane in slots)
    slots, state = program.repack(over, state)
    assert sorted(slots) == [EMPTY, *range(3, 10)]
    assert len(jax.tree.leaves(state.params)[0].sharding.device_set) == 8
