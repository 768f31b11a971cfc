"""Sharded training: the filter's state lies where its parameters lie.

    python examples/on_eight_devices.py

The hidden features of a network are divided among all devices; a CPU alone is taken for
eight. ``state_sharding`` tells the shardings of the whole optimizer state.
"""

import jax
import jax.numpy as jnp
import optax
from jax.sharding import AxisType, NamedSharding

from grokfast_jax import grokfast_ma, state_sharding

jax.config.update("jax_num_cpu_devices", 8)  # before JAX looks for devices
P = 31
X, Y = (a.ravel() for a in jnp.meshgrid(jnp.arange(P), jnp.arange(P)))
INPUTS = jnp.concatenate([jax.nn.one_hot(X, P), jax.nn.one_hot(Y, P)], axis=1)
ANSWERS = (X + Y) % P
TRAIN, UNSEEN = jnp.split(jax.random.permutation(jax.random.key(1), P * P), [768])
TX = optax.chain(grokfast_ma(window_size=50), optax.adamw(1e-2, weight_decay=3.0))


def measure(w, rows):  # loss and accuracy
    logits = jnp.square(INPUTS[rows] @ w[0]) @ w[1]
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, ANSWERS[rows])
    return losses.mean(), jnp.mean(logits.argmax(-1) == ANSWERS[rows])


def step(carry, _):
    w, state = carry
    updates, state = TX.update(jax.grad(measure, has_aux=True)(w, TRAIN)[0], state, w)
    return (optax.apply_updates(w, updates), state), None


@jax.jit
def fifty_steps(w, state):
    (w, state), _ = jax.lax.scan(step, (w, state), length=50)
    return w, state, measure(w, UNSEEN)[1]


def main(steps=200):
    mesh = jax.make_mesh((jax.device_count(),), ("x",), axis_types=(AxisType.Auto,))
    shardings = [NamedSharding(mesh, spec) for spec in (jax.P(None, "x"), jax.P("x"))]
    a, b = jax.random.split(jax.random.key(0))
    init = jax.nn.initializers.lecun_normal()
    w = jax.device_put([init(a, (2 * P, 128)), init(b, (128, P))], shardings)
    state = jax.jit(TX.init, out_shardings=state_sharding(TX, w, shardings))(w)
    for done in range(50, steps + 1, 50):
        w, state, right = fifty_steps(w, state)
        print(f"step {done}: {right:.1%} of the unseen")
    window = state[0].low_pass.ring[0]
    print(
        "window", window.shape, "on a device", window.addressable_shards[0].data.shape
    )


if __name__ == "__main__":
    main()
