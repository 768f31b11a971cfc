"""Configuration → one gradient transformation.

Order: clip (before) → projections → filters → clip (after) → weight decay and direction
in the optimizer's order → learning rate. Weight decay is never filtered.
"""

from collections.abc import Sequence

import optax

from experiments.methods.norms import clip
from experiments.methods.observe import observe
from experiments.methods.projections import project
from experiments.settings.config import Config
from experiments.settings.method import Filter


def build_optimizer(config: Config) -> optax.GradientTransformationExtraArgs:
    """The whole chain, built inside the trace: leaves of ``config`` may be tracers.

    Extra arguments of its ``update``: those of :func:`observe` and, if there are
    projections, :func:`project`; a line search gets ``value``, ``grad``, ``value_fn``.
    """
    optimizer, projections = config.optimizer, config.training.gradient_projections
    before: list[optax.GradientTransformation] = []
    after: list[optax.GradientTransformation] = []
    if optimizer.clip_norm is not None:
        place = before if optimizer.clip_position == "before" else after
        place.append(clip(optimizer.clip_norm))
    return optax.chain(
        *before,
        *([project(projections)] if projections else []),
        observe(build_filter(config.filters)),
        *after,
        *optimizer.build(),
    )


def build_filter(filters: Sequence[Filter]) -> optax.GradientTransformation:
    """Filters alone, the first one first; none lets all pass."""
    built = [filter.build() for filter in filters]
    if len(built) == 1:
        return built[0]
    return optax.chain(*built) if built else optax.identity()
