"""Settings by their names: types, ranges, what has an effect, and the run's name."""

import dataclasses
import json
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.methods.adam import Adam
from experiments.methods.chain import build_optimizer
from experiments.methods.ema import Ema
from experiments.methods.named import (
    FILTERS,
    OPTIMIZERS,
    TABLES,
    every_setting,
    idle,
    settings_of,
)
from experiments.settings.axes import Range
from experiments.settings.config import Budget, Training
from experiments.settings.flat import changes, run_name, values_of
from experiments.settings.options import options
from experiments.tasks import TASKS
from experiments.tasks.mnist import MnistTask
from experiments.tasks.modular import ModularTask
from tests.support.tiny import TASK


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 10.5}, "steps must be an integer, got 10.5"),
        ({"steps": True}, "steps must be an integer, got True"),
        ({"steps": np.float32(10)}, "steps must be an integer, got 10.0"),
        ({"batch_size": "many"}, "batch_size must be an integer, got 'many'"),
        ({"batch_size": [16]}, r"batch_size must be an integer, got \[16\]"),
        ({"learning_rate": "fast"}, "learning_rate must be a number, got 'fast'"),
        ({"learning_rate": True}, "learning_rate must be a number, got True"),
        ({"seed": 1.0}, "seed must be an integer, got 1.0"),
        ({"clip_norm": "off"}, "clip_norm must be a number or None, got 'off'"),
        ({"schedule": 3}, "schedule must be a string, got 3"),
        ({"stop_at": True}, "stop_at must be a number or a string or None, got True"),
        ({"optimizer": "sgd", "nesterov": 1}, "nesterov must be True or False, got 1"),
        ({"filter": "ema", "alpha": "x"}, "alpha must be a number, got 'x'"),
        ({"filter": "ma", "window_size": 5.0}, "window_size must be an integer"),
        ({"filter": 3}, "filter must be a string, got 3"),
        ({"filter": ["ema"]}, r"filter must be a string, got \["),
        ({"filter": "ema+none"}, "filter none stands alone"),
        ({"optimizer": "adam+sgd"}, "optimizer must be one method, got 'adam.sgd'"),
        ({"measures": "norm"}, "measures must be one of weight_norm, filter_effect"),
        ({"lerning_rate": 0.1}, "'lerning_rate'. Did you mean 'learning_rate'"),
        ({"optimizer": 3}, "optimizer must be"),
        ({"measures": 3}, "measures must be"),
        ({"seed": [0, 1]}, "seed must be"),
        ({"learning_rate": {"a": 1}}, "learning_rate must"),
    ],
    ids=str,
)
def test_other_types_and_values_name_their_option(values, message):
    with pytest.raises((TypeError, ValueError), match=message):
        settings_of(TASK, **values)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ModularTask(prime=11.0),
        lambda: ModularTask(operation=3),
        lambda: Training(seed="0"),
        lambda: Budget(steps="10"),
        lambda: Ema(normalize=1),
        lambda: Adam(learning_rate=(0.1,)),
    ],
)
def test_groups_of_options_check_their_types(make):
    with pytest.raises(TypeError, match=" must be "):
        make()


def test_numbers_of_numpy_are_those_of_python():
    numpy = settings_of(
        ModularTask(prime=np.int64(11), train_fraction=np.float32(0.25)),
        steps=np.int64(10),
        learning_rate=np.float32(0.5),
        seed=np.uint8(3),
        filter=np.str_("ema"),
        alpha=np.float64(0.9),
        start_step=np.int32(7),
        normalize=np.bool_(True),
    )
    python = settings_of(
        ModularTask(prime=11, train_fraction=0.25),
        steps=10,
        learning_rate=0.5,
        seed=3,
        filter="ema",
        alpha=0.9,
        start_step=7,
        normalize=True,
    )
    assert numpy == python
    assert json.dumps(values_of(numpy)) == json.dumps(values_of(python))
    with pytest.raises(ValueError, match=r"alpha must be < 1, got 1\.0"):
        Ema(alpha=np.float32(1))


def test_integers_are_numbers_too():
    whole = settings_of(TASK, learning_rate=1, clip_norm=2, filter="ema", lamb=3)
    given = settings_of(TASK, learning_rate=1.0, clip_norm=2.0, filter="ema", lamb=3.0)
    assert run_name(whole) == run_name(given)
    for name in ("learning_rate", "clip_norm", "lamb"):
        assert type(values_of(whole)[name]) is float
    assert type(values_of(whole)["seed"]) is int


def test_traced_options_may_be_tracers():
    """Built within a compiled function, batched, and of numbers: the same update."""
    base = settings_of(TASK, filter="ema", warmup_steps=0).config
    g = jnp.arange(4.0)

    def update(alpha, lamb, learning_rate):
        filters = (Ema(alpha=alpha, lamb=lamb),)
        optimizer = dataclasses.replace(base.optimizer, learning_rate=learning_rate)
        config = dataclasses.replace(base, filters=filters, optimizer=optimizer)
        tx = build_optimizer(config)
        state = tx.init(g)
        for step in range(2):
            updates, state = tx.update((1 + step) * g, state, g)
        return updates

    expected = update(0.5, 3.0, 0.25)
    values = [jnp.float32(v) for v in (0.5, 3.0, 0.25)]
    np.testing.assert_allclose(jax.jit(update)(*values), expected, rtol=1e-6)
    many = [jnp.stack([v, v / 2]) for v in values]
    np.testing.assert_allclose(jax.vmap(update)(*many)[0], expected, rtol=1e-6)
    shape = jax.eval_shape(update, *values)
    assert shape.shape == (4,)


S5 = {"operation": "s5"}
EFFECTS = [
    # what has no effect, beside what, the words; beside what it has one
    ({"clip_position": "after"}, {}, "without --clip-norm", {"clip_norm": 1.0}),
    ({"schedule_steps": 7}, {}, "with --schedule constant", {"schedule": "linear"}),
    ({"schedule_end": 0.5}, {}, "with --schedule constant", {"schedule": "cosine"}),
    ({"prime": 13}, S5, "with --operation s5", {"operation": "mul"}),
    ({"alpha": 0.5}, {}, "with --filter none", {"filter": "ema"}),
    ({"alpha": 0.5}, {"filter": "ma"}, "with --filter ma", {"filter": "ema"}),
    ({"momentum": 0.5}, {}, "with --optimizer adam", {"optimizer": "sgd"}),
]


@pytest.mark.parametrize(("option", "beside", "words", "other"), EFFECTS, ids=str)
def test_what_has_no_effect_makes_no_other_run(option, beside, words, other):
    plain, with_option = every_setting(ModularTask, [beside]), beside | option
    (one,) = every_setting(ModularTask, [beside, with_option])
    assert [one] == plain == every_setting(ModularTask, [with_option])
    (name,) = option
    assert name not in values_of(one)
    assert len({run_name(each) for each in [one, *plain]}) == 1
    flag = name.replace("_", "-")
    assert idle(option, [one]) == [f"--{flag} has no effect {words}"]
    two = every_setting(ModularTask, [beside | other, with_option | other])
    assert len({run_name(each) for each in two}) == 2
    assert [name in values_of(each) for each in two] == [True, True]
    assert idle(option, two) == idle(option, [one, *two]) == []


def test_options_of_chains_have_an_effect():
    chain = settings_of(TASK, filter="ema+ma", alpha=0.5, lamb=3.0)
    assert [method.lamb for method in chain.config.filters] == [3.0, 3.0]
    assert values_of(chain)["filter"] == "ema:alpha=0.5:lamb=3.0+ma:lamb=3.0"
    assert idle({"alpha": 0.5, "lamb": 3, "momentum": 0.1}, [chain]) == [
        "--momentum has no effect with --optimizer adam"
    ]


def test_large_numbers_in_chains():
    chain = settings_of(TASK, filter="ema+ma", lamb=1e16)
    assert settings_of(TASK, filter=values_of(chain)["filter"]) == chain


@options
class WithDefaults(ModularTask):
    defaults: ClassVar = {"ema.alpha": 0.5, "learning_rate": 0.1, "filter": "ema"}


def test_defaults_of_a_task():
    settings = settings_of(WithDefaults())
    assert settings.config.filters == (Ema(alpha=0.5),)
    assert settings.config.optimizer == Adam(learning_rate=0.1)
    assert run_name(settings) == run_name(
        settings_of(WithDefaults(), filter="ema:alpha=0.5:lamb=2", learning_rate=0.1)
    )
    assert run_name(settings) != run_name(settings_of(WithDefaults(), alpha=0.98))
    given = settings_of(WithDefaults(), filter="ema:alpha=0.9", alpha=0.7)
    assert given.config.filters == (Ema(alpha=0.9),)


def test_chains_beside_defaults_of_a_task():
    chain = settings_of(WithDefaults(), filter="ema:alpha=0.98+ma")
    again = settings_of(WithDefaults(), filter=values_of(chain)["filter"])
    assert again == chain


def test_a_runs_name_is_of_what_it_is_but_for_its_length():
    base = settings_of(TASK, filter="ema")
    assert run_name(base) == run_name(settings_of(TASK, filter="ema", steps=7))
    assert run_name(base).startswith("modular-ema-seed0-")
    other = [
        {"lamb": 1.0},
        {"seed": 1},
        {"batch_size": 16},
        {"stop_at": 0.9},
        {"measures": "weight_norm"},
        {"filter": "ema+ma"},
        {"optimizer": "lion"},
    ]
    names = {run_name(settings_of(TASK, **{"filter": "ema"} | o)) for o in other}
    assert len(names | {run_name(base)}) == 1 + len(other)


def test_changes_against_a_record():
    settings = settings_of(MnistTask(), filter="ema", steps=40)
    record = values_of(settings)
    assert changes(record, settings) == []
    # An option that came later has its default in records of before.
    del record["schedule"], record["measures"], record["beta2"]
    assert changes(record, settings) == []
    record |= {"seed": 3, "window_size": 7}  # the latter has no effect here
    other = settings_of(MnistTask(), filter="ema", steps=50, schedule="cosine")
    assert set(changes(record, other)) == {
        ("seed", 3, 0),
        ("steps", 40, 50),
        ("schedule", "constant", "cosine"),
    }


def test_a_value_that_a_method_s_own_beats_is_told():
    words = "--alpha has no effect: the methods have values of their own"
    own = settings_of(TASK, filter="ema:alpha=0.9", alpha=0.95)
    assert own == settings_of(TASK, filter="ema:alpha=0.9")
    assert idle({"alpha": 0.95}, [own]) == [words]
    assert idle({"alpha": (0.95, 0.98)}, [own]) == [words]
    assert idle({"alpha": Range(0.95, 0.98)}, [own]) == [words]
    assert idle({"alpha": Range(0.85, 0.98)}, [own]) == []
    assert idle({"alpha": (0.9, 0.98)}, [own]) == []
    both = [own, settings_of(TASK, filter="ema", alpha=0.95)]
    assert idle({"alpha": 0.95}, both) == []


def test_one_target_is_one_run_however_it_is_written():
    def names(*texts):
        return {run_name(settings_of(TASK, stop_at=text)) for text in texts}

    assert len(names(0.99, "0.99", "validation_accuracy>=0.99", " .99 ")) == 1
    assert len(names("validation_loss<=.5", "validation_loss <= 0.50")) == 1
    assert len(names("validation_loss<=0.5", "validation_loss>=0.5", 0.5)) == 3
    assert values_of(settings_of(TASK, stop_at="0.99"))["stop_at"] == 0.99


@pytest.mark.parametrize("value", [[0.9, 0.98], (0.9,), {}])
@pytest.mark.parametrize("name", ["alpha", "seed", "lamb", "weight_decay"])
def test_lists_are_no_numbers(name, value):
    with pytest.raises(TypeError, match=f"{name} must be"):
        settings_of(TASK, filter="ema", **{name: value})


def test_measures_may_be_none_and_not_twice():
    none = settings_of(TASK, measures="none")
    assert none.config.measures == ()
    assert values_of(none)["measures"] == "none"
    with pytest.raises(ValueError, match="measures must be different ones"):
        settings_of(TASK, measures="weight_norm+weight_norm:every=2")
    for text in ("none+ema", "none:alpha=1"):
        with pytest.raises(ValueError, match="none stands alone"):
            settings_of(TASK, filter=text)


def test_names_of_options_are_of_one_kind():
    """In a record, and on the command line, all are in one table."""
    kinds = [
        {f.name for cls in FILTERS.values() for f in cls.fields()},
        {f.name for cls in OPTIMIZERS.values() for f in cls.fields()},
        {f.name for f in Training.fields()} | {f.name for f in Budget.fields()},
        {*TABLES, "task", "about_task", "begun", "lane", "status"},
    ]
    for task in TASKS.values():
        names = [*kinds, {f.name for f in task.fields()}]
        assert sum(map(len, names)) == len(set().union(*names)), task


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"filter": "ema:alpha"}, "ema:alpha must be given as alpha=VALUE"),
        ({"filter": "ema:alpha=0.9:alpha=0.8"}, "ema:alpha must be .*, once"),
        ({"alpha": float("nan")}, "alpha must be finite"),  # of no filter
        ({"lamb": 1e39}, "lamb must be finite"),
        ({"momentum": {"a": 1}}, "momentum must be a number"),
        ({"stop_at": "validation_loss<=nan"}, "stop_at must be finite"),
    ],
)
def test_what_is_given_is_checked_whether_or_not_it_has_an_effect(values, message):
    with pytest.raises((TypeError, ValueError), match=message):
        settings_of(TASK, **values)
