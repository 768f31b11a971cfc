"""Settings by their names: one flat table, as in ``config.json`` and on the screen.

Only what has an effect is in it. A chain of several filters, or a method with values
of its own beside others, is one text: ``ema:alpha=0.9+ma:window_size=100``.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from experiments.settings.config import Settings
from experiments.settings.options import Options
from experiments.settings.task import Task

NO_FILTER = "none"
OPTIMIZER = "adam"
MEASURES = "weight_norm+filter_effect"


class Setting(NamedTuple):
    """One setting of a run.

    Attributes:
      name: of the option.
      value: its value.
      default: what it would be if nothing had been said of it.
    """

    name: str
    value: Any
    default: Any


def flat(settings: Settings) -> list[Setting]:
    """Every setting that has an effect, the task's first."""
    config, task = settings.config, settings.config.task
    found = [Setting("task", task.name, task.name)]

    def add(group: Options, name: str = "") -> None:
        for option, value in group.in_effect().items():
            found.append(Setting(option, value, default_of(task, group, option, name)))

    add(task)
    filters = text_of(config.filters, task) or NO_FILTER
    found.append(Setting("filter", filters, NO_FILTER))
    if len(config.filters) == 1:
        (only,) = config.filters
        found[-1] = found[-1]._replace(value=only.name)
        add(only, only.name)
    default = task.defaults.get("optimizer", OPTIMIZER)
    found.append(Setting("optimizer", config.optimizer.name, default))
    add(config.optimizer, config.optimizer.name)
    add(config.training)
    found.append(Setting("measures", text_of(config.measures) or NO_FILTER, MEASURES))
    add(settings.budget)
    return found


def default_of(task: Task | type[Task], group: Any, option: str, name: str) -> Any:
    """An option's default: the task's for this method, the task's, the option's own."""
    own = next(f.default for f in group.fields() if f.name == option)
    return task.defaults.get(f"{name}.{option}", task.defaults.get(option, own))


def values_of(settings: Settings) -> dict[str, Any]:
    """Name and value of every setting that has an effect."""
    return {setting.name: setting.value for setting in flat(settings)}


def text_of(chain: tuple[Any, ...], task: Task | None = None) -> str:
    """A chain of methods, or of measures, as one text.

    It has every value but the methods' own defaults; and those too, where the task has
    another default.
    """

    def one(method: Any) -> Iterator[str]:
        yield method.name
        usual = {field.name: field.default for field in method.fields()}
        for name, value in method.in_effect().items():
            of_task = usual[name]
            if task is not None:
                of_task = default_of(task, method, name, method.name)
            if not value == usual[name] == of_task:
                yield f"{name}={value}"

    return "+".join(":".join(one(method)) for method in chain)


def changes(
    recorded: Mapping[str, Any], settings: Settings
) -> list[tuple[str, Any, Any]]:
    """Names, old and new values of settings that differ from a record's.

    A record without an option has its default; what has no effect here is no change.
    """
    return [
        (name, recorded.get(name, default), value)
        for name, value, default in flat(settings)
        if recorded.get(name, default) != value
    ]


def run_name(settings: Settings) -> str:
    """A directory name that is a function of the settings alone, but for the steps.

    A hash of what is not the default: a new option renames no run.
    """
    chosen = {
        name: value for name, value, default in flat(settings) if value != default
    }
    chosen.pop("steps", None)  # a run may go on with more
    return _named(settings, chosen)


def sweep_name(settings: Sequence[Settings]) -> str:
    """A directory name that is a function of a sweep's lanes."""
    names = "\n".join(map(run_name, settings))
    digest = hashlib.sha256(names.encode()).hexdigest()[:8]
    return f"sweep-{settings[0].config.task.name}-{digest}"


def _named(settings: Settings, hashed: Mapping[str, Any]) -> str:
    text = json.dumps(hashed, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    config = settings.config
    filters = "+".join(method.name for method in config.filters) or NO_FILTER
    return f"{config.task.name}-{filters}-seed{config.training.seed}-{digest}"


# Until November 2026 the hash was of all options that there were, idle ones too.
_FIRST_OPTIONS: dict[str, Any] = {
    "filter": NO_FILTER,
    "alpha": 0.98,
    "lamb": 2.0,
    "window_size": 100,
    "filter_type": "mean",
    "filter_warmup": True,
    "filter_init": "first_gradient",
    "start_step": 0,
    "normalize": False,
    "optimizer": OPTIMIZER,
    "learning_rate": 1e-3,
    "weight_decay": 0.0,
    "beta1": 0.9,
    "beta2": 0.98,
    "epsilon": 1e-8,
    "momentum": 0.9,
    "nesterov": False,
    "warmup_steps": 10,
    "clip_norm": None,
    "clip_position": "before",
    "seed": 0,
    "init_scale": 1.0,
    "batch_size": 512,
    "dtype": "float32",
    "matmul_precision": "float32",
    "gradient_projections": 0,
    "eval_every": 20,
    "stop_at": None,
}
_FIRST_OPTIMIZERS = ("adam", "adamw", "sgd")


def first_names(settings: Settings) -> list[str]:
    """Names that earlier versions gave to a run of these settings.

    Runs alone had the task's defaults for what had no effect, lanes the options' own.
    """
    task = settings.config.task
    known = {"task", "steps", *_FIRST_OPTIONS, *(f.name for f in task.fields())}
    values = values_of(settings)
    if any(s.name not in known and s.value != s.default for s in flat(settings)):
        return []
    if values["optimizer"] not in _FIRST_OPTIMIZERS:
        return []
    values = {name: value for name, value in values.items() if name in known}
    values |= {f.name: getattr(task, f.name) for f in task.fields()}
    del values["steps"]
    names = []
    for defaults in (task.defaults, {}):
        idle = {name: defaults.get(name, d) for name, d in _FIRST_OPTIONS.items()}
        names.append(_named(settings, idle | values))
    return list(dict.fromkeys(names))
