"""Checks that states and gradients belong to the transformation they are given to.

Types, shapes and dtypes alone are read: under ``jit`` they cost nothing. Without them
JAX would broadcast, promote or truncate, and train on something else in silence.
"""

import jax
import jax.numpy as jnp
import optax

from grokfast_jax._trees import is_empty, is_inexact, path_name

_SCALARS = {
    "count",
    "weight",
    "filled",
    "slot",
    "phase",
    "notfinite_count",
    "step_size",
}


def check_state(name: str, state: object, kind: type) -> None:
    """Check that a state is of the type that this transformation's ``init`` makes.

    And that it is one state: a batch of them would broadcast along some axis.
    """
    if not isinstance(state, kind):
        hint = "A state that was saved by another filter cannot go on here."
        if isinstance(state, dict):
            hint = "Restore a checkpoint into tx.init(params), which has the types."
        elif type(state) in (tuple, list):
            hint = "In an optax.chain, number and order of the parts must be the same."
        raise TypeError(
            f"{name} needs a state of type {kind.__name__}, got "
            f"{type(state).__name__}: call tx.update(gradients, state, params) with "
            "the state of this transformation's own tx.init(params) or of its last "
            f"update. ({hint})"
        )
    for field in _SCALARS.intersection(getattr(state, "_fields", ())):
        if shape := jnp.shape(getattr(state, field)):
            raise ValueError(
                f"{name} needs the state of one run, got a batch of the shape {shape}, "
                "such as jax.vmap(tx.init) makes: update it with jax.vmap(tx.update)."
            )


def check_length(name: str, what: str, got: int, expected: int) -> None:
    """Check that a state has as many members as the transformation has parts."""
    if got != expected:
        raise ValueError(
            f"{name} has {expected} {what}, its state {got}: the state was made by "
            "another one. Start anew with tx.init(params)."
        )


def check_window(window_size: int, ring: optax.Updates) -> None:
    """Check that a ring of gradients is one of this window."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(ring):
        if leaf.shape[:1] != (window_size + 1,):
            got = f"{leaf.shape[0] - 1} gradients" if leaf.shape else "no gradients"
            raise ValueError(
                f"the state's window holds {got}{_at(path)}, but window_size is "
                f"{window_size}: a state serves one window only. Start anew with "
                "tx.init(params), or take the gradients along as "
                "help(grokfast_jax.moving_average) shows."
            )


def check_params(gradients: optax.Updates, params: optax.Params | None) -> None:
    """Check that gradients match the parameters, where ``update`` is given them."""
    if params is not None:
        check_match(gradients, params, "the parameter tree")


def check_match(
    gradients: optax.Updates,
    like: optax.Updates,
    other: str = "the state",
    integers_pass: bool = False,
) -> None:
    """Check that gradients have the structure, shapes and kinds of a tree like them.

    ``None`` and masked gradients match anything, leaves that are integers in both, too,
    and all integers beside another filter, which may keep state for them.
    """
    expected, structure = jax.tree.flatten(like, is_leaf=is_empty)
    if structure != jax.tree.structure(  # type: ignore[operator]
        gradients, is_leaf=is_empty
    ):
        _check_structure(gradients, like, other)
    found = jax.tree_util.tree_leaves_with_path(gradients, is_leaf=is_empty)
    for (path, g), m in zip(found, expected, strict=True):
        if not (is_empty(g) or (integers_pass and not is_inexact(g))):
            _check_leaf(path, g, m, other)


def _check_structure(gradients: optax.Updates, like: optax.Updates, other: str) -> None:
    name = "the gradient"
    ours, theirs = (
        [p for p, _ in jax.tree_util.tree_leaves_with_path(tree, is_leaf=is_empty)]
        for tree in (gradients, like)
    )
    known, given = set(theirs), set(ours)
    for path, owner, lacking in [
        *((p, name, other) for p in ours if p not in known),
        *((p, other, name) for p in theirs if p not in given),
    ]:
        raise ValueError(
            f"{owner} has a leaf{_at(path)}, {lacking} has none there: both must be "
            "trees like the parameters."
        )
    try:  # the same paths, but perhaps a list for a tuple
        jax.tree.map(lambda *_: None, like, gradients, is_leaf=is_empty)
    except ValueError:
        raise ValueError(
            f"{name} and {other} have the same paths but other containers: "
            f"{jax.tree.structure(gradients)} and {jax.tree.structure(like)}."
        ) from None


def _check_leaf(
    path: tuple[jax.tree_util.KeyEntry, ...],
    g: jax.Array,
    m: jax.Array,
    other: str,
) -> None:
    name = f"the gradient{_at(path)}"
    if not is_inexact(m):
        if is_inexact(g):
            raise TypeError(
                f"{name} is {jnp.result_type(g)}, but {other} holds nothing "
                "there: the parameter was an integer, None or masked at init."
            )
        return
    dtype = g.dtype if hasattr(g, "dtype") else jnp.result_type(g)
    if not is_inexact(g) or jnp.iscomplexobj(g) != jnp.iscomplexobj(m):
        raise TypeError(
            f"{name} is {dtype}, {other} there is {jnp.result_type(m)}: both must be "
            "real floating-point numbers, or both complex."
        )
    if jnp.shape(g) != jnp.shape(m):
        raise ValueError(
            f"{name} has the shape {jnp.shape(g)}, {other} there "
            f"{jnp.shape(m)}: gradients must have the shapes of their parameters."
        )


def _at(path: tuple[jax.tree_util.KeyEntry, ...]) -> str:
    name = path_name(path)
    return f" at {name!r}" if name else ""
