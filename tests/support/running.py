"""Feed a sequence of gradients to a transformation, in several ways."""

import jax
import numpy as np


def run_eager(tx, gradients):
    """One Python call an update."""
    state, outputs = tx.init(jax.tree.map(lambda g: g[0], gradients)), []
    for t in range(len(jax.tree.leaves(gradients)[0])):
        g = jax.tree.map(lambda a, t=t: jax.numpy.asarray(a[t]), gradients)
        out, state = tx.update(g, state)
        outputs.append(out)
    return jax.tree.map(lambda *a: np.stack(a), *outputs)


def run_jit(tx, gradients):
    """One compiled call an update."""
    return run_eager(tx._replace(update=jax.jit(tx.update)), gradients)


def run_scan(tx, gradients):
    """All updates in one scan."""
    state = tx.init(jax.tree.map(lambda g: g[0], gradients))

    def step(state, g):
        out, state = tx.update(g, state)
        return state, out

    return jax.jit(lambda s, g: jax.lax.scan(step, s, g)[1])(state, gradients)
