"""A guard against non-finite gradients that never copies a window of gradients."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from grokfast_jax._checks import check_transformation, suggest_keywords
from grokfast_jax._lowpass import MovingAverageState
from grokfast_jax._matching import check_state
from grokfast_jax._trees import PyTree


class SkipNonFiniteState(NamedTuple):
    """State of :func:`skip_non_finite`; names as in ``optax.ApplyIfFiniteState``.

    Attributes:
      notfinite_count: non-finite gradients since the last finite one, int32.
      last_finite: whether the last gradient was finite, bool.
      total_notfinite: non-finite gradients in all, int32.
      inner_state: state of the guarded transformation.
    """

    notfinite_count: jax.Array
    last_finite: jax.Array
    total_notfinite: jax.Array
    inner_state: optax.OptState


@suggest_keywords
def skip_non_finite(
    inner: optax.GradientTransformation,
) -> optax.GradientTransformationExtraArgs:
    r"""Skip updates whose gradient has a NaN or an infinity.

    .. math::
      (u_t, s_t) = \begin{cases}
        \mathrm{inner}(g_t, s_{t-1}) & \text{if all of } g_t \text{ is finite} \\
        (0, s_{t-1}) & \text{otherwise}
      \end{cases}

    The same as ``optax.apply_if_finite(inner, n)`` with an n that is never reached,
    but also under ``vmap`` its time and temporary memory do not depend on the window
    of a :func:`moving_average` inside. Use it there: ``apply_if_finite`` then selects
    between two windows (5 times this guard's time for 8 lanes, w = 32). Elsewhere,
    prefer ``apply_if_finite``: this guard costs as much as one or two further updates
    and about four temporary copies of the parameters, twice what ``apply_if_finite``
    does (benchmarks/RESULTS.md).

    A skipped update does write to the window: to the one slot that the next update
    overwrites before it is ever read. All else is as if the update had not been, to
    the rounding of the compiler, which may fuse the guarded program differently.

    Args:
      inner: the transformation to guard; put the whole chain here, filter and
        optimizer. Its state may hold any number of moving averages, at any depth.

    Returns:
      A transformation that passes extra arguments on. Integer leaves count as finite.

    Raises:
      TypeError: inner is no transformation.

    Example:
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from grokfast_jax import grokfast_ma, skip_non_finite
      >>> tx = skip_non_finite(optax.chain(grokfast_ma(2, lamb=1.0), optax.sgd(1.0)))
      >>> state = tx.init(jnp.zeros(()))
      >>> for g in (1.0, jnp.nan, 3.0):
      ...     update, state = tx.update(jnp.float32(g), state)
      ...     print(update)
      -1.0
      0.0
      -5.0
      >>> int(state.total_notfinite)
      1
    """
    check_transformation("inner", inner)
    inner = optax.with_extra_args_support(inner)

    def init_fn(params: optax.Params) -> SkipNonFiniteState:
        return SkipNonFiniteState(
            notfinite_count=jnp.zeros([], jnp.int32),
            last_finite=jnp.array(True),
            total_notfinite=jnp.zeros([], jnp.int32),
            inner_state=inner.init(params),
        )

    def update_fn(
        updates: optax.Updates,
        state: SkipNonFiniteState,
        params: optax.Params | None = None,
        **extra_args: object,
    ) -> tuple[optax.Updates, SkipNonFiniteState]:
        check_state("skip_non_finite", state, SkipNonFiniteState)
        leaves = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(updates)]
        finite = jnp.all(jnp.array(leaves)) if leaves else jnp.array(True)

        new_updates, new_state = inner.update(
            updates, state.inner_state, params, **extra_args
        )
        outputs = jax.tree.map(
            lambda u: jnp.where(finite, u, jnp.zeros_like(u)), new_updates
        )
        count, total = map(
            optax.safe_increment, (state.notfinite_count, state.total_notfinite)
        )
        return outputs, SkipNonFiniteState(
            notfinite_count=jnp.where(finite, 0, count),
            last_finite=finite,
            total_notfinite=jnp.where(finite, state.total_notfinite, total),
            inner_state=_select(finite, new_state, state.inner_state),
        )

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _select(
    take_new: jax.Array, new_state: optax.OptState, old_state: optax.OptState
) -> optax.OptState:
    """One of two states, but always the new ring of a moving average.

    Without its other fields advanced, what was written to the ring is not seen.
    """

    def is_window(node: PyTree) -> bool:
        return isinstance(node, MovingAverageState)

    def choose(new: PyTree, old: PyTree) -> PyTree:
        if is_window(new):
            chosen = jax.tree.map(
                lambda n, o: jnp.where(take_new, n, o),
                new._replace(ring=None),
                old._replace(ring=None),
            )
            return chosen._replace(ring=new.ring)
        return jnp.where(take_new, new, old)

    return jax.tree.map(choose, new_state, old_state, is_leaf=is_window)
