"""How many lanes at a time, and what they share."""

import concurrent.futures
import time

import jax
import numpy as np
import pytest

from experiments.host import groups, limits
from experiments.host.data import DataSets
from experiments.host.groups import Lane, lanes_at_once
from experiments.methods.named import settings_of
from experiments.records.run import RunDirectory
from experiments.settings.options import options
from experiments.tasks.modular import ModularTask

TASK = ModularTask(prime=11, width=16, layers=1)
DATA = TASK.load()


def lanes(tmp_path, **settings):
    every = [settings_of(TASK, seed=seed, **settings) for seed in range(9)]
    return [Lane(each, RunDirectory(tmp_path)) for each in every]


def data_of(task):
    return DATA


def set_memory(monkeypatch, size):
    monkeypatch.setattr(groups, "memory_limit_bytes", lambda: size)


def test_lanes_of_small_states_ask_no_compiler(tmp_path, monkeypatch):
    monkeypatch.setattr(groups, "expected_memory", None)
    set_memory(monkeypatch, 2**40)
    assert lanes_at_once(lanes(tmp_path), data_of) == 9
    set_memory(monkeypatch, None)
    assert lanes_at_once(lanes(tmp_path), data_of) == 9


@pytest.mark.thorough
def test_lanes_at_a_time_by_their_data_states_and_activations(tmp_path, monkeypatch):
    """Of the whole account the data count once, all else once a lane."""
    some = lanes(tmp_path, filter="ma", window_size=50)
    need = limits.expected_memory(some[0].settings, DATA)
    state = limits.state_bytes(some[0].settings.config, DATA).total
    assert need.data == sum(a.nbytes for a in DATA.values())
    assert need.lane > 1.2 * state  # activations are more than nothing
    for count in (1, 3, 8):
        memory = need.data + (count + 0.5) * need.lane
        set_memory(monkeypatch, memory / groups.MEMORY_SHARE)
        assert lanes_at_once(some, data_of) == count
    set_memory(monkeypatch, 1)
    assert lanes_at_once(some, data_of) == 1


@options
class Slow(ModularTask):
    """Tells how often it was loaded."""

    def load(self, files=None):
        loads.append(self)
        time.sleep(0.05)
        return {"answers": np.arange(3.0)}


loads: list = []


def test_data_are_loaded_once_and_put_on_a_device_once():
    """Whichever worker asks first."""
    loads.clear()
    data, device = DataSets(), jax.devices()[0]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: data.on(device, Slow(), "float32"), range(8)))
    assert len(loads) == 1
    assert all(each["answers"] is found[0]["answers"] for each in found)
    assert isinstance(found[0]["answers"], jax.Array)
    data.of(Slow(prime=11))
    assert len(loads) == 2


def test_data_of_a_run_in_double_precision_are_its_own():
    loads.clear()
    data, device = DataSets(), jax.devices()[0]
    single = data.on(device, Slow(), "float32")["answers"]
    double = data.on(device, Slow(), "float64")["answers"]
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    assert len(loads) == 1


@pytest.mark.parametrize("part", ["window_size = 100000", "the model"])
def test_what_does_not_fit_names_what_to_reduce(part, monkeypatch):
    monkeypatch.setattr(limits, "memory_limit_bytes", lambda: 2**20)
    settings = settings_of(TASK, filter="ma", window_size=100_000)
    with pytest.raises(ValueError, match=part):
        limits.check_memory(settings.config, DATA)
