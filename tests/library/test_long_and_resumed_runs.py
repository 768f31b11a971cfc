"""Counters at their end, and checkpoints, on each of our transformations."""

import pickle

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
import pytest

from tests.support.table_runs import (
    advance,
    assert_equal,
    every,
    gradients,
    params_of,
)


@pytest.mark.thorough
@every
def test_counters_at_their_end(row):
    """At 2³¹ − 1 updates every counter stays, and the outputs go on."""
    tx, params, gs = row.make(), params_of(), gradients(8)
    _, state = advance(tx, tx.init(params), gs)
    end = jnp.int32(jnp.iinfo(jnp.int32).max)
    late = jax.tree_util.tree_map_with_path(
        lambda path, leaf: end if _name(path) in COUNTERS else leaf, state
    )
    outputs, last = advance(tx, late, gs)
    expected, _ = advance(tx, state, gs)
    if row.linear:  # Adam's own bias correction goes on changing
        assert_equal(outputs, expected)
    for path, leaf in jax.tree_util.tree_leaves_with_path(last):
        assert jnp.isfinite(leaf).all()
        if not jnp.issubdtype(leaf.dtype, jnp.integer):
            continue
        if _name(path) in COUNTERS:
            assert leaf == end
        elif _name(path) == "evaluations":
            assert leaf >= 1  # of the last update alone
        elif _name(path) == "since":
            assert 1 <= leaf <= 10  # SaLSa's updates since the last search
        elif _name(path) == "steps":
            assert leaf == 10  # of it, up to the first that all search
        elif _name(path) == "notfinite_count":
            assert leaf == 0  # these gradients were finite
        else:  # an index of the window of 3, which has 4 slots
            assert _name(path) in {"slot", "phase", "filled"}
            assert 0 <= leaf <= 3


COUNTERS = {"count", "total_notfinite", "total_evaluations", "failures"}


def _name(path):
    return getattr(path[-1], "name", None)


@pytest.mark.thorough
@every
@pytest.mark.parametrize("stop", [1, 4])
def test_a_checkpoint_goes_on_bit_for_bit(row, stop, tmp_path):
    """Through Orbax and through pickle; the window of 3 is part full, then wrapped."""
    tx, params, gs = row.make(), params_of("bfloat16"), gradients(9, jnp.bfloat16)
    update = jax.jit(tx.update)
    whole, last = advance(tx, tx.init(params), gs, params, update)
    _, state = advance(tx, tx.init(params), gs[:stop], params, update)

    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", state)
        checkpointer.wait_until_finished()
        abstract = jax.eval_shape(tx.init, params)
        restored = checkpointer.restore(tmp_path / "state", abstract)
    for again in (restored, pickle.loads(pickle.dumps(state))):
        assert jax.tree.structure(again) == jax.tree.structure(state)
        outputs, final = advance(tx, again, gs[stop:], params, update)
        assert_equal((outputs, final), (whole[stop:], last))
