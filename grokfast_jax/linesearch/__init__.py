"""Line searches: optimizers that find a step size at every step.

An update needs the loss, its gradient and the loss as a function of the parameters:

>>> import jax
>>> import jax.numpy as jnp
>>> import optax
>>> from grokfast_jax.linesearch import alsals
>>> optimizer = alsals()
>>> def loss(params):
...     return jnp.sum((params - 3.0) ** 2)
>>> params = jnp.zeros(2)
>>> state = optimizer.init(params)
>>> value, grad = jax.value_and_grad(loss)(params)
>>> updates, state = optimizer.update(
...     grad, state, params, value=value, grad=grad, value_fn=loss
... )
>>> print(optax.tree.get(state, "step_size").round(6))
0.1001
"""

import contextlib

import jax.export

from grokfast_jax.linesearch._adam_sls import AdamSearchState, adam_sls, salsa
from grokfast_jax.linesearch._armijo import scale_by_armijo
from grokfast_jax.linesearch._cadence import CadenceState
from grokfast_jax.linesearch._optimizers import alsals, sls
from grokfast_jax.linesearch._search import LineSearchState

# As those of grokfast_jax, for jax.export.
for _state in (AdamSearchState, CadenceState, LineSearchState):
    with contextlib.suppress(ValueError):
        jax.export.register_namedtuple_serialization(
            _state, serialized_name=f"grokfast_jax.linesearch.{_state.__name__}"
        )

__all__ = [
    "AdamSearchState",
    "CadenceState",
    "LineSearchState",
    "adam_sls",
    "alsals",
    "salsa",
    "scale_by_armijo",
    "sls",
]
