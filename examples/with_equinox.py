"""Grokfast in Equinox: one line more before the optimizer.

    pip install equinox && python examples/with_equinox.py

A network learns four fifths of the table of x + y mod 31. It knows them by heart first;
some steps later it knows the last fifth too, which it never saw.
"""

import equinox as eqx
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
TX = optax.chain(
    grokfast_ema(alpha=0.98, lamb=2.0),  # the line
    optax.adamw(1e-2, weight_decay=3.0),
)


def loss(model):
    return cross_entropy(jax.vmap(model)(INPUTS[TRAIN]), ANSWERS[TRAIN]).mean()


@eqx.filter_jit
def step(model, state):
    gradient, params = (
        eqx.filter_grad(loss)(model),
        eqx.filter(model, eqx.is_inexact_array),
    )
    updates, state = TX.update(gradient, state, params)
    return eqx.apply_updates(model, updates), state


@eqx.filter_jit
def accuracy(model, rows):
    return jnp.mean(jax.vmap(model)(INPUTS[rows]).argmax(-1) == ANSWERS[rows])


def main(steps=200):
    model = eqx.nn.MLP(2 * P, P, 128, 1, activation=jnp.square, key=jax.random.key(0))
    state = TX.init(eqx.filter(model, eqx.is_inexact_array))  # of its arrays alone
    for done in range(1, steps + 1):
        model, state = step(model, state)
        if done % 50 == 0:
            known, new = accuracy(model, TRAIN), accuracy(model, UNSEEN)
            print(f"step {done}: {known:.1%} of the trained, {new:.1%} of the unseen")
    return float(accuracy(model, UNSEEN))


if __name__ == "__main__":
    main()
