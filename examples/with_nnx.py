"""Grokfast in Flax NNX: one line more before the optimizer.

    pip install flax && python examples/with_nnx.py

A network learns four fifths of the table of x + y mod 31. It knows them by heart first;
some steps later it knows the last fifth too, which it never saw.
"""

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from grokfast_jax import grokfast_ema

cross_entropy = optax.softmax_cross_entropy_with_integer_labels
P = 31
X, Y = (a.ravel() for a in jnp.meshgrid(jnp.arange(P), jnp.arange(P)))
INPUTS = jnp.concatenate([jax.nn.one_hot(X, P), jax.nn.one_hot(Y, P)], axis=1)
ANSWERS = (X + Y) % P
TRAIN, UNSEEN = jnp.split(jax.random.permutation(jax.random.key(1), P * P), [768])


def loss(model):
    return cross_entropy(model(INPUTS[TRAIN]), ANSWERS[TRAIN]).mean()


@nnx.jit
def step(model, optimizer):
    optimizer.update(model, nnx.grad(loss)(model))


@nnx.jit
def accuracy(model, rows):
    return jnp.mean(model(INPUTS[rows]).argmax(-1) == ANSWERS[rows])


def main(steps=200):
    rngs = nnx.Rngs(0)
    hidden, head = nnx.Linear(2 * P, 128, rngs=rngs), nnx.Linear(128, P, rngs=rngs)
    model = nnx.Sequential(hidden, jnp.square, head)
    tx = optax.chain(
        grokfast_ema(alpha=0.98, lamb=2.0),  # the line
        optax.adamw(1e-2, weight_decay=3.0),
    )
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    for done in range(1, steps + 1):
        step(model, optimizer)
        if done % 50 == 0:
            known, new = accuracy(model, TRAIN), accuracy(model, UNSEEN)
            print(f"step {done}: {known:.1%} of the trained, {new:.1%} of the unseen")
    return float(accuracy(model, UNSEEN))


if __name__ == "__main__":
    main()
