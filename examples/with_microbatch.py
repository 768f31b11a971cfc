"""Micro-batches in a loop of one's own: average them, then filter once an update.

    python examples/with_microbatch.py

``optax.microbatch`` (Optax 0.2.7 or later) takes the gradient of 768 examples in six
parts and averages it inside the step. So the filter sees one gradient an update.
"""

import jax
import jax.numpy as jnp
import optax

from grokfast_jax import grokfast_ema

cross_entropy = optax.softmax_cross_entropy_with_integer_labels
P = 31
X, Y = (a.ravel() for a in jnp.meshgrid(jnp.arange(P), jnp.arange(P)))
INPUTS = jnp.concatenate([jax.nn.one_hot(X, P), jax.nn.one_hot(Y, P)], axis=1)
ANSWERS = (X + Y) % P
TRAIN, UNSEEN = jnp.split(jax.random.permutation(jax.random.key(1), P * P), [768])
TX = optax.chain(grokfast_ema(0.98, lamb=2.0), optax.adamw(1e-2, weight_decay=3.0))


def logits(w, rows):
    return jnp.square(INPUTS[rows] @ w["hidden"]) @ w["head"]


def loss(w, rows):
    return cross_entropy(logits(w, rows), ANSWERS[rows]).mean()


mean = optax.microbatching.AccumulationType.MEAN
gradient = optax.microbatch(jax.grad(loss), 1, microbatch_size=128, accumulator=mean)


@jax.jit
def step(w, state):
    updates, state = TX.update(gradient(w, TRAIN), state, w)
    return optax.apply_updates(w, updates), state


@jax.jit
def accuracy(w, rows):
    return jnp.mean(logits(w, rows).argmax(-1) == ANSWERS[rows])


def main(steps=200):
    a, b = jax.random.split(jax.random.key(0))
    init = jax.nn.initializers.lecun_normal()
    w = {"hidden": init(a, (2 * P, 128)), "head": init(b, (128, P))}
    state = TX.init(w)
    for done in range(1, steps + 1):
        w, state = step(w, state)
        if done % 50 == 0:
            print(f"step {done}: {accuracy(w, UNSEEN):.1%} of the unseen")
    return float(accuracy(w, UNSEEN))


if __name__ == "__main__":
    main()
