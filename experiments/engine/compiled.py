"""``jax.jit`` with options for the compiler that make these programs faster.

On a CPU XLA hands convolutions to YNNPACK by default. Its own are faster: a training
step of a residual network takes about .9 times as long (benchmarks/RESULTS.md).
Matrix products and sums are left to YNNPACK, which is the faster one there.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax

_OPTIONS = {
    "xla_cpu_experimental_ynn_fusion_type": (
        "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT,LIBRARY_FUSION_TYPE_REDUCE"
    )
}


class Compiled:
    """A function that is compiled when it is called; within another, a part of that.

    The options are for whole programs: JAX refuses them inside of one.
    """

    def __init__(self, function: Callable[..., Any], **options: Any):
        functools.update_wrapper(self, function)
        self._function, self._options = function, options

    @functools.cached_property
    def _jitted(self) -> Any:  # at the first call: modules are imported before devices
        return jax.jit(
            self._function, compiler_options=known_options(), **self._options
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call what is compiled; on traced arguments the function itself."""
        leaves = jax.tree.leaves((args, kwargs))
        is_part = any(isinstance(leaf, jax.core.Tracer) for leaf in leaves)
        return (self._function if is_part else self._jitted)(*args, **kwargs)

    def lower(self, *args: Any, **kwargs: Any) -> jax.stages.Lowered:
        """See ``jax.jit``."""
        return self._jitted.lower(*args, **kwargs)

    def _cache_size(self) -> int:
        """Programs compiled so far, as of what ``jax.jit`` makes."""
        return self._jitted._cache_size()


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Compiled]:
    """Decorator: :class:`Compiled`, with options of ``jax.jit``."""
    return lambda function: Compiled(function, **options)


@functools.cache
def known_options() -> dict[str, str] | None:
    """The options, if this compiler knows them: experimental ones come and go."""
    try:
        jax.jit(lambda: 0, compiler_options=_OPTIONS).lower().compile()
    except jax.errors.JaxRuntimeError:
        return None
    return _OPTIONS
