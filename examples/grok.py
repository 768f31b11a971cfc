"""Grokking x·y mod 97 with Grokfast-EMA, on one page: ``python examples/grok.py``.

The same losses, faster: ``experiments train modular --filter ema --weight-decay .005``.
"""

import jax
import jax.numpy as jnp
import optax

from grokfast_jax import grokfast_ema

P, D, HEADS, BATCH = 97, 128, 4, 512
X, Y = (a.ravel() for a in jnp.meshgrid(jnp.arange(P), jnp.arange(1, P), indexing="ij"))
TOKENS, ANSWERS = jnp.stack([X, 0 * X + P + 1, Y, 0 * X + P], axis=1), X * Y % P
OPTIMIZER = optax.chain(
    grokfast_ema(alpha=0.98, lamb=2.0),  # first: the decay below is not filtered
    optax.add_decayed_weights(0.005),
    optax.adam(optax.linear_schedule(0.0, 1e-3, transition_steps=10), b2=0.98),
)


def initial_state(key):  # two tables of N(0, 1), then arrays of U(low, high)
    r, s, t, norm = (1.5 / D) ** 0.5, D**-0.5, (4 * D) ** -0.5, [(1, 1, D), (0, 0, D)]
    attention = [(-r, r, D, 3 * D), (0, 0, 3 * D), (-s, s, D, D), (0, 0, D)]
    mlp = [(-s, s, D, 4 * D), (-s, s, 4 * D), (-t, t, 4 * D, D), (-t, t, D)]
    arrays = 2 * (norm + attention + norm + mlp) + norm + [(-s, s, D, P + 2)]
    a, b, *keys = (jax.random.fold_in(key, i) for i in range(2 + len(arrays)))
    weights = [jax.random.normal(a, (P + 2, D)), jax.random.normal(b, (5, D))]
    for k, (low, high, *shape) in zip(keys, arrays, strict=True):
        weights.append(jax.random.uniform(k, shape, minval=low, maxval=high))
    return weights, OPTIMIZER.init(weights)


@jax.default_matmul_precision("float32")  # a TPU would multiply in bfloat16
def measure(weights, rows):  # loss and accuracy
    of_token, of_position, *blocks, g, c, head = weights
    h = of_token[TOKENS[rows]] + of_position[:4]
    for block in (blocks[:12], blocks[12:]):
        g_1, c_1, w_qkv, b_qkv, w_out, b_out, g_2, c_2, w_1, b_1, w_2, b_2 = block
        h = jax.nn.standardize(h) * g_1 + c_1
        qkv = jnp.reshape(h @ w_qkv + b_qkv, (-1, 4, 3, HEADS, D // HEADS))
        mixed = jax.nn.dot_product_attention(*jnp.moveaxis(qkv, 2, 0), is_causal=True)
        h += mixed.reshape(h.shape) @ w_out + b_out
        u = (jax.nn.standardize(h) * g_2 + c_2) @ w_1 + b_1
        h += jax.nn.gelu(u, approximate=False) @ w_2 + b_2
    logits, y = (jax.nn.standardize(h[:, -1]) * g + c) @ head, ANSWERS[rows]
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, y)
    return losses.mean(), (logits.argmax(-1) == y).mean()


def step(state, rows):
    (loss, _), gradient = jax.value_and_grad(measure, has_aux=True)(state[0], rows)
    updates, opt_state = OPTIMIZER.update(gradient, state[1], state[0])
    return (optax.apply_updates(state[0], updates), opt_state), loss


@jax.jit
def epoch(state, key, train, unseen):
    order, full = jax.random.permutation(key, train), len(train) // BATCH * BATCH
    state, losses = jax.lax.scan(step, state, order[:full].reshape(-1, BATCH))
    state, last_loss = step(state, order[full:])  # a smaller batch
    return state, jnp.append(losses, last_loss), measure(state[0], unseen)[1]


def main(epochs=500, seed=0):
    init, split, order, _ = jax.random.split(jax.random.key(seed), 4)
    train, unseen = jnp.split(jax.random.permutation(split, len(X)), 2)
    state, losses, right = initial_state(init), [], 0.0
    while right < 0.99 and len(losses) < 10 * epochs:
        key = jax.random.fold_in(order, len(losses) // 10)
        state, new, right = epoch(state, key, train, unseen)
        losses += new.tolist()
        if len(losses) % 50 == 0:
            print(f"step {len(losses)}: loss {losses[-1]:.1e}, {right:.1%} of unseen")
    print(f"{right:.1%} of the equations never trained on, at step {len(losses)}")
    return losses


if __name__ == "__main__":
    main()
