"""What every filter and every optimizer of the tables keeps to."""

import dataclasses
import types

import jax
import numpy as np
import pytest

from experiments.engine.train import initialize, run_chunk
from experiments.methods.named import (
    FILTERS,
    OPTIMIZERS,
    chain_of,
    option_names,
    settings_of,
)
from experiments.settings.config import Budget, Training
from experiments.settings.flat import text_of, values_of
from experiments.settings.options import python_types
from experiments.tasks.mnist import MnistTask
from tests.support.tiny import ONE_BLOCK

DATA = ONE_BLOCK.load()
ROWS = [("filter", cls) for cls in FILTERS.values()]
ROWS += [("optimizer", cls) for cls in OPTIMIZERS.values()]
every = pytest.mark.parametrize(
    ("kind", "cls"), ROWS, ids=[f"{kind}-{cls.name}" for kind, cls in ROWS]
)


def settings(kind, method, **options):
    """Of a run with this method, every option of it by itself."""
    values = {kind: method.name} | method.in_effect() | options
    return settings_of(ONE_BLOCK, **values)


def of_kind(config, kind):
    """The method in a configuration."""
    return config.filters[0] if kind == "filter" else config.optimizer


def others(cls, field):
    """Values of an option besides its default."""
    meta, default = field.metadata, field.default
    if meta["choices"]:
        return [choice for choice in meta["choices"] if choice != default]
    kind = next(k for k in python_types(field) if k is not types.NoneType)
    if kind is bool:
        return [not default]
    if kind is int:
        return [(default or 0) + 3]
    largest, least = meta["below"] or meta["maximum"], meta["minimum"] or 0.0
    return [0.25 * largest, 0.7] if largest else [least + d for d in (0.25, 3.0, 1e-5)]


def varied(cls):
    """The method with each of its options changed, one at a time; and its name."""
    # Where all options have an effect.
    enabling = {"schedule": "cosine", "clip_norm": 0.7, "slope": "finite_difference"}
    own = {f.name for f in cls.fields()}
    base = cls(**{n: v for n, v in enabling.items() if n in own})
    for field in cls.fields():
        for value in others(cls, field):
            if value != getattr(base, field.name) or field.name in enabling:
                yield field, value, dataclasses.replace(base, **{field.name: value})


@every
def test_names_are_those_of_the_tables(kind, cls):
    table = FILTERS if kind == "filter" else OPTIMIZERS
    assert table[cls.name] is cls
    assert cls.__doc__.splitlines()[0]
    assert all(field.metadata["help"] for field in cls.fields())
    # By names alone one cannot tell the same option of a task, or of the training.
    elsewhere = {f.name for group in (Training, Budget) for f in group.fields()}
    assert not elsewhere & {field.name for field in cls.fields()}


@pytest.mark.thorough
@every
def test_trains_with_its_defaults(kind, cls):
    config = settings(kind, cls()).config  # all 55 equations in every batch
    assert of_kind(config, kind) == cls()
    config = config.traced()
    start = initialize(config, DATA)
    before = jax.tree.map(np.asarray, start.params)
    state, log = run_chunk(config, 12, DATA, start)
    assert np.isfinite(log.loss).all()
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), before, state.params)
    assert max(jax.tree.leaves(moved)) > 1e-4
    assert log.loss[-1] < log.loss[0]
    # Updates are of the parameters' types: a second chunk compiles nothing.
    assert jax.tree.map(jax.typeof, state) == jax.tree.map(
        jax.typeof, initialize(config, DATA)
    )


@every
def test_labels_are_text(kind, cls):
    label = cls().label()
    assert isinstance(label, str)
    assert label.strip()


@every
def test_traced_options_are_leaves_and_static_ones_are_not(kind, cls):
    seen = set()
    for field, value, method in varied(cls):
        seen.add(field.name)
        enabled = dataclasses.replace(method, **{field.name: field.default})
        base = jax.tree.structure(settings(kind, enabled).config)
        structure = jax.tree.structure(settings(kind, method).config)
        leaves = jax.tree.leaves(method)
        if field.metadata["traced"]:
            assert structure == base, field.name
            assert value in leaves, field.name
        elif enabled != method:
            assert structure != base, field.name
            assert jax.tree.leaves(enabled) == leaves, field.name
    assert seen == {field.name for field in cls.fields()}
    traced = [getattr(cls(), f.name) for f in cls.fields() if f.metadata["traced"]]
    assert jax.tree.leaves(cls()) == traced


@pytest.mark.thorough
@every
def test_traced_options_compile_nothing_anew(kind, cls):
    """And have an effect: other losses."""
    base = {"learning_rate": 0.01, "weight_decay": 0.1}
    base |= {"increase_factor": 3.0}  # each search backtracks
    changes = [{}, *({f.name: v} for f, v, _ in varied(cls) if f.metadata["traced"])]
    losses, compiled = set(), []
    for change in changes:
        values = {kind: cls.name, "window_size": 2, "batch_size": 16} | base | change
        config = settings_of(ONE_BLOCK, **values).config.traced()
        _, log = run_chunk(config, 6, DATA, initialize(config, DATA))
        losses.add(tuple(np.asarray(log.loss).tolist()))
        compiled.append((run_chunk._cache_size(), initialize._cache_size()))
    assert len(set(compiled)) == 1
    assert len(losses) == len(changes)


@every
@pytest.mark.parametrize("task", [ONE_BLOCK, MnistTask()], ids=["modular", "mnist"])
def test_there_and_back_by_names(kind, cls, task):
    """Settings from the flat table of their values, as a record has it."""
    own = {field.name for field in task.fields()} | {"task"}
    for method in [cls(), *(method for _, _, method in varied(cls))]:
        values = {kind: cls.name, "seed": 3, "stop_at": 0.5} | method.in_effect()
        given = settings_of(task, **values)
        assert of_kind(given.config, kind) == method
        table = {n: v for n, v in values_of(given).items() if n not in own}
        assert table.keys() <= option_names()
        assert settings_of(task, **table) == given


@every
def test_there_and_back_by_one_text(kind, cls):
    for field, value, method in varied(cls):
        text = text_of((method,))
        if value != field.default:
            assert f":{field.name}={value}" in text
        assert chain_of(kind, text, {}, {}) == (method,)
        dashed = text.replace(f":{field.name}=", f":{field.name.replace('_', '-')}=")
        assert chain_of(kind, dashed, {}, {}) == (method,)
        elsewhere = {field.name: field.default}
        if value != field.default:  # what is said there goes before
            assert chain_of(kind, text, elsewhere, elsewhere) == (method,)
    assert text_of((cls(),)) == cls.name
    assert chain_of(kind, cls.name, {}, {}) == (cls(),)


def test_chains_there_and_back_by_one_text():
    filters = tuple(method for cls in FILTERS.values() for _, _, method in varied(cls))
    given = settings_of(ONE_BLOCK, filter=text_of(filters))
    assert given.config.filters == filters
    assert settings_of(ONE_BLOCK, filter=values_of(given)["filter"]) == given


@every
def test_unknown_options_and_values_are_told(kind, cls):
    name = next(f.name for f in cls.fields() if f.metadata["traced"])
    with pytest.raises(TypeError, match=f"{cls.name} has no option 'alhpa'"):
        chain_of(kind, f"{cls.name}:alhpa=0.5", {}, {})
    with pytest.raises(TypeError, match=f"{cls.name}:{name} cannot be 'much'"):
        chain_of(kind, f"{cls.name}:{name}=much", {}, {})
    with pytest.raises(ValueError, match=f"{name} must be ≥ 0, got -1.0"):
        chain_of(kind, f"{cls.name}:{name}=-1", {}, {})
