"""Grokfast in Flax Linen: one line more before the optimizer of a ``TrainState``.

    pip install flax && python examples/with_linen.py

A network learns four fifths of the table of x + y mod 31. It knows them by heart first;
some steps later it knows the last fifth too, which it never saw.
"""

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax.training.train_state import TrainState

from grokfast_jax import grokfast_ema

cross_entropy = optax.softmax_cross_entropy_with_integer_labels
P = 31
X, Y = (a.ravel() for a in jnp.meshgrid(jnp.arange(P), jnp.arange(P)))
INPUTS = jnp.concatenate([jax.nn.one_hot(X, P), jax.nn.one_hot(Y, P)], axis=1)
ANSWERS = (X + Y) % P
TRAIN, UNSEEN = jnp.split(jax.random.permutation(jax.random.key(1), P * P), [768])


@jax.jit
def step(state):
    def loss(params):
        logits = state.apply_fn(params, INPUTS[TRAIN])
        return cross_entropy(logits, ANSWERS[TRAIN]).mean()

    return state.apply_gradients(grads=jax.grad(loss)(state.params))


@jax.jit
def accuracy(state, rows):
    logits = state.apply_fn(state.params, INPUTS[rows])
    return jnp.mean(logits.argmax(-1) == ANSWERS[rows])


def main(steps=200):
    model = nn.Sequential([nn.Dense(128), jnp.square, nn.Dense(P)])
    tx = optax.chain(
        grokfast_ema(alpha=0.98, lamb=2.0),  # the line
        optax.adamw(1e-2, weight_decay=3.0),
    )
    params = model.init(jax.random.key(0), INPUTS[:1])
    state = TrainState.create(apply_fn=model.apply, params=params, tx=tx)
    for done in range(1, steps + 1):
        state = step(state)
        if done % 50 == 0:
            known, new = accuracy(state, TRAIN), accuracy(state, UNSEEN)
            print(f"step {done}: {known:.1%} of the trained, {new:.1%} of the unseen")
    return float(accuracy(state, UNSEEN))


if __name__ == "__main__":
    main()
