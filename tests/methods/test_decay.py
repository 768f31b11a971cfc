"""What weight decay acts on."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.methods.named import OPTIMIZERS


@pytest.mark.parametrize("name", ["adam", "adamw"])
@pytest.mark.parametrize("decayed", ["all", "matrices"])
def test_matrices_alone_may_decay(name, decayed):
    """A gradient of zero leaves nothing but the decay; Adam's goes through its sign."""
    optimizer = OPTIMIZERS[name](
        learning_rate=1.0, weight_decay=0.25, warmup_steps=0, decayed=decayed
    )
    params = {"matrix": jnp.full((2, 3), 4.0), "gain": jnp.full(3, 4.0)}
    tx = optax.chain(*optimizer.build())
    zero = {name: jnp.zeros_like(p) for name, p in params.items()}
    updates, _ = tx.update(zero, tx.init(params), params)
    np.testing.assert_allclose(updates["matrix"], -1.0, rtol=1e-5)
    expected = -1.0 if decayed == "all" else 0.0
    np.testing.assert_allclose(updates["gain"], expected, rtol=1e-5)
