"""What is measured beside the scores of a task: the table of measures."""

from typing import ClassVar

import jax
import jax.numpy as jnp

from experiments.methods.norms import norm
from experiments.methods.observe import MEASURES, ObservedState, state_of, states_of
from experiments.settings.measure import UNDEFINED, Measure, Point
from experiments.settings.options import options
from experiments.settings.task import Params
from grokfast_jax.linesearch import LineSearchState


@options
class WeightNorm(Measure):
    """Norms of the weights, of all and per layer."""

    name: ClassVar[str] = "weight_norm"

    def __call__(self, point: Point) -> dict[str, jax.Array]:
        """See :func:`weight_norms`."""
        return weight_norms(point.params)


@options
class FilterEffect(Measure):
    """What the filter did to the last gradient: norm before it, share, cosine."""

    name: ClassVar[str] = "filter_effect"

    def __call__(self, point: Point) -> dict[str, jax.Array]:
        """The norm of the gradient, and share and cosine of what the filter added."""
        state = state_of(point.opt_state, ObservedState)
        return {name: getattr(state, name) for name in MEASURES}


@options
class StepSize(Measure):
    """What a line search found: step size, forward passes a step, failures.

    The passes are those of all steps so far, beside the one that has the gradient;
    failures are their steps without a move. Other optimizers have none.
    """

    name: ClassVar[str] = "step_size"

    def __call__(self, point: Point) -> dict[str, jax.Array]:
        """``step_size``, ``evaluations`` and ``failures``."""
        searches = states_of(point.opt_state, LineSearchState)
        if not searches:
            names = "step_size", "evaluations", "failures"
            return dict.fromkeys(names, jnp.array(UNDEFINED, jnp.float32))
        search, dtype = searches[0], searches[0].step_size.dtype
        steps = jnp.maximum(point.step, 1).astype(dtype)
        return {
            "step_size": search.step_size,
            "evaluations": search.total_evaluations.astype(dtype) / steps,
            "failures": search.failures.astype(dtype),
        }


def weight_norms(params: Params) -> dict[str, jax.Array]:
    """‖θ‖ over all parameters as ``weight_norm``, and per layer.

    A layer is a top-level entry of the parameters, or an item of a list there:
    ``weight_norm_head``, ``weight_norm_blocks_0``.
    """
    layers: dict[str, list[jax.Array]] = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
        keys = [jax.tree_util.keystr((key,), simple=True) for key in path]
        depth = 2 if len(keys) > 1 and keys[1].isdigit() else 1
        layers.setdefault("_".join(keys[:depth]), []).append(leaf)
    norms = {f"weight_norm_{name}": norm(tree) for name, tree in layers.items()}
    return {"weight_norm": norm(params), **norms}
