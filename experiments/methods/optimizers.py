"""Configuration and traced hyper-parameters → gradient transformation.

Order: clip (before) → projections → filter → clip (after) → coupled L2 → optimizer →
decoupled decay → learning rate. Weight decay always follows the filter and is never
filtered.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
import optax

from experiments.methods.observe import observe
from experiments.methods.projections import project
from experiments.settings.config import Config, FilterOptions
from grokfast_jax import grokfast_ema, grokfast_ma


def build_optimizer(
    config: Config, hyper: dict[str, Any]
) -> optax.GradientTransformationExtraArgs:
    """The optimizer, built inside the trace from ``Config.traced()``'s values."""
    options = config.optimizer
    clip = []
    if options.clip_norm is not None:
        clip = [optax.clip_by_global_norm(options.clip_norm)]
    projections = []
    if config.training.gradient_projections:
        projections = [project(config.training.gradient_projections)]
    clip_first = options.clip_position == "before"
    parts = [
        *(clip if clip_first else []),
        *projections,
        observe(build_filter(config.filter, hyper)),
        *([] if clip_first else clip),
    ]
    decay = optax.add_decayed_weights(hyper["weight_decay"])
    if options.optimizer == "sgd":
        momentum = optax.trace(options.momentum, nesterov=options.nesterov)
        parts += [decay, momentum]
    else:
        adam = optax.scale_by_adam(
            b1=options.beta1, b2=options.beta2, eps=options.epsilon
        )
        parts += [decay, adam] if options.optimizer == "adam" else [adam, decay]

    def learning_rate(step):
        if options.warmup_steps == 0:
            return hyper["learning_rate"]
        fraction = jnp.minimum(step, options.warmup_steps) / options.warmup_steps
        return hyper["learning_rate"] * fraction

    return optax.chain(*parts, optax.scale_by_learning_rate(learning_rate))


def build_filter(
    options: FilterOptions, hyper: dict[str, Any] | None = None
) -> optax.GradientTransformation:
    """The filter alone; ``hyper`` holds traced values, by default the options' own."""
    if hyper is None:
        hyper = dataclasses.asdict(options) | {"lamb": options.gain}
    common = {"start_step": hyper["start_step"], "normalize": options.normalize}
    if options.filter == "ema":
        return grokfast_ema(
            hyper["alpha"], hyper["lamb"], init=options.filter_init, **common
        )
    if options.filter == "ma":
        return grokfast_ma(
            options.window_size,
            hyper["lamb"],
            filter_type=options.filter_type,
            warmup=options.filter_warmup,
            **common,
        )
    return optax.identity()
