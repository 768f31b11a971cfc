"""Different transformations for different parameters, chosen by their paths."""

import re
from collections.abc import Mapping

import jax
import optax

from grokfast_jax._checks import check_transformation, suggest_keywords
from grokfast_jax._matching import check_params, check_state
from grokfast_jax._trees import PyTree, is_empty, path_name

_REST = "*"  # the label of what no rule chooses: no regular expression, so no rule's


@suggest_keywords
def partition_by_path(
    rules: Mapping[str, optax.GradientTransformation],
    default: optax.GradientTransformation | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Choose each parameter's transformation by a pattern of its path.

    .. math:: \hat g_p = T_{r(p)}(g_p), \qquad
      r(p) = \text{the first rule whose pattern is found in the path of } p

    This is ``optax.partition`` with labels made from the paths.

    Args:
      rules: regular expressions and their transformations, in order of precedence. A
        path is the keys from the root, joined by slashes: ``"decoder/0/kernel"``. A
        pattern may be found anywhere in it (``re.search``).
      default: transformation of the parameters that no pattern is found in; by
        default they pass unchanged.

    Returns:
      A transformation that passes extra arguments on. A filter holds state for its
      own parameters only.

    Raises:
      ValueError: no rules, a pattern that is no regular expression, or, from
        ``init``, one that chooses no parameter.
      TypeError: a pattern or transformation of the wrong type.

    Example:
      >>> import jax.numpy as jnp
      >>> from grokfast_jax import grokfast_ema, grokfast_ma, partition_by_path
      >>> tx = partition_by_path({
      ...     "embedding": grokfast_ma(50, lamb=5.0),
      ...     "blocks/.*/kernel$": grokfast_ema(0.98, lamb=2.0),
      ... })
      >>> params = {
      ...     "embedding": jnp.ones((3, 2)),
      ...     "blocks": [{"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}],
      ... }
      >>> updates, _ = tx.update(params, tx.init(params))
      >>> print(updates["blocks"][0]["kernel"][0], updates["blocks"][0]["bias"])
      [3. 3.] [1. 1.]
    """
    transformations = _checked(rules)
    if default is not None:
        check_transformation("default", default)
    transformations[_REST] = optax.identity() if default is None else default
    patterns = {pattern: re.compile(pattern) for pattern in rules}

    def label(path: tuple[jax.tree_util.KeyEntry, ...], leaf: PyTree) -> str:
        del leaf
        name = path_name(path)
        return next((p for p, r in patterns.items() if r.search(name)), _REST)

    def labels(tree: PyTree) -> PyTree:
        return jax.tree_util.tree_map_with_path(label, tree)

    inner = optax.partition(transformations, labels)

    def init_fn(params: optax.Params) -> optax.OptState:
        _check_all_used(patterns, params, labels(params))
        return inner.init(params)

    def update_fn(
        updates: optax.Updates,
        state: optax.OptState,
        params: optax.Params | None = None,
        **extra_args: object,
    ) -> tuple[optax.Updates, optax.OptState]:
        check_state("partition_by_path", state, optax.transforms.PartitionState)
        check_params(updates, params)
        if params is not None:  # optax.partition wants them empty where gradients are
            params = jax.tree.map(
                lambda g, p: g if is_empty(g) else p, updates, params, is_leaf=is_empty
            )
        return inner.update(updates, state, params, **extra_args)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _checked(
    rules: Mapping[str, optax.GradientTransformation],
) -> dict[str, optax.GradientTransformation]:
    if not isinstance(rules, Mapping):
        raise TypeError(f"rules must map patterns to transformations, got {rules!r}.")
    if not rules:
        raise ValueError("rules must hold at least one pattern, got none.")
    for pattern, tx in rules.items():
        if not isinstance(pattern, str):
            raise TypeError(f"a pattern must be a string, got {pattern!r}.")
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(
                f"{pattern!r} is not a regular expression: {error}."
            ) from None
        check_transformation(f"rules[{pattern!r}]", tx)
    return dict(rules)


def _check_all_used(
    patterns: Mapping[str, re.Pattern[str]], params: optax.Params, labels: PyTree
) -> None:
    used = set(jax.tree.leaves(labels))
    unused = [pattern for pattern in patterns if pattern not in used]
    if used and unused:  # optax.tree.map_params calls init with an empty tree
        paths = [
            path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)
        ]
        if paths == [""]:
            raise ValueError(
                f"the parameters are one array, without a path to find {unused[0]!r} "
                "in. To measure a filter (dc_gain, is_linear, …), give the rule's "
                "own transformation."
            )
        shown = ", ".join(paths[:20]) + (", …" if len(paths) > 20 else "")
        raise ValueError(
            f"the pattern {unused[0]!r} chooses no parameter (none has it, or an "
            f"earlier pattern takes all); the paths are: {shown}."
        )
