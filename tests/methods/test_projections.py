"""Projections of the gradient: recorded as they are, over kills, and their power."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.commands.cli import main
from experiments.engine.train import initialize, run_chunk
from experiments.host.loop import SaveEvery
from experiments.methods.chain import build_filter
from experiments.methods.named import chain_of, settings_of
from experiments.methods.projections import directions, projected
from experiments.records.run import RecordError, RunDirectory
from experiments.results.spectrum import Phase, filtered, phases, references
from experiments.settings.flat import values_of
from experiments.tasks.modular import ModularTask
from tests.support.running import run_scan
from tests.support.tiny import train

TASK = ModularTask(prime=7, width=8, layers=1, heads=2)


def settings(count, steps=12):
    return settings_of(
        TASK,
        filter="ema",
        weight_decay=0.01,
        steps=steps,
        batch_size=8,
        eval_every=4,
        gradient_projections=count,
    )


def test_signs_are_balanced_fixed_and_of_the_seed():
    params = {"w": jnp.zeros((50, 40)), "b": jnp.zeros(())}
    signs = directions(jnp.uint32(3), 40, params)
    assert signs["w"].shape == (40, 50, 40)
    assert signs["b"].shape == (40,)
    flat = np.asarray(signs["w"]).reshape(40, -1)
    assert set(np.unique(flat)) == {-1.0, 1.0}
    products = flat @ flat.T / flat.shape[1]  # nearly orthogonal
    np.testing.assert_allclose(products, np.eye(40), atol=0.12)
    again = directions(jnp.uint32(3), 40, params)
    np.testing.assert_array_equal(signs["w"], again["w"])
    other = directions(jnp.uint32(4), 40, params)
    assert not np.array_equal(signs["w"], other["w"])


@pytest.mark.parametrize("filter", ["ema", "ma"])
def test_projecting_and_filtering_commute(filter):
    rng = np.random.default_rng(0)
    g = {
        "w": rng.normal(size=(40, 6, 5)).astype(np.float32),
        "b": rng.normal(size=(40, 3)).astype(np.float32),
    }
    filters = chain_of("filter", filter, {"window_size": 7}, {})
    signs = directions(jnp.uint32(0), 4, jax.tree.map(lambda a: a[0], g))
    project = jax.vmap(lambda gradient: projected(signs, gradient))
    of_filtered = project(run_scan(build_filter(filters), g))
    np.testing.assert_allclose(
        filtered(np.asarray(project(g)), filters), of_filtered, rtol=1e-5, atol=1e-5
    )


@pytest.mark.thorough
def test_recorded_are_the_gradients_of_the_run(tmp_path):
    """With SGD, without momentum and decay, the moves tell the gradients."""
    given = settings_of(
        TASK,
        optimizer="sgd",
        momentum=0.0,
        warmup_steps=0,
        steps=3,
        batch_size=8,
        eval_every=1,
        gradient_projections=5,
    )
    run = train(tmp_path / "a", given)
    config, data = given.config.traced(), jax.device_put(TASK.load())
    state = initialize(config, data)
    signs = directions(config.training.seed, 5, state.params)
    for t in range(3):
        before = jax.tree.map(np.array, state.params)
        state, _ = run_chunk(config, 1, data, state)
        moved = jax.tree.map(lambda a, b: (a - b) / 1e-3, before, state.params)
        np.testing.assert_allclose(
            run.projections()[t], projected(signs, moved), rtol=1e-2, atol=1e-4
        )


@pytest.mark.thorough
def test_the_run_is_the_same_with_and_without(tmp_path):
    plain = train(tmp_path / "a", settings(0))
    seen = train(tmp_path / "b", settings(3))
    assert plain.metrics_file.read_bytes() == seen.metrics_file.read_bytes()
    assert seen.projections().shape == (12, 3)
    assert np.isfinite(seen.projections()).all()
    assert not plain.projections_file.exists()
    with pytest.raises(RecordError, match="has no gradient projections"):
        plain.projections()


def test_goes_on_with_the_same_numbers(tmp_path):
    whole = train(tmp_path / "a", settings(3), save_every=SaveEvery(steps=4))
    cut = train(tmp_path / "b", settings(3, steps=8), save_every=SaveEvery(steps=4))
    with cut.projections_file.open("ab") as file:  # killed while it wrote
        file.write(b"12345")
    train(tmp_path / "b", settings(3), save_every=SaveEvery(steps=4))
    assert cut.projections_file.read_bytes() == whole.projections_file.read_bytes()


def test_lost_projections_are_told(tmp_path):
    run = train(tmp_path / "a", settings(3, steps=8))
    run.projections_file.write_bytes(b"1234")
    with pytest.raises(RecordError, match="has 4 bytes, 96 were there at step 8"):
        train(tmp_path / "a", settings(3))
    run.prepare(settings(3), force=True)
    assert not run.projections_file.exists()


class Recorded(RunDirectory):
    """A record with known projections and accuracies."""

    def __init__(self, path, signal, fit=300, end=900, **config):
        super().__init__(path)
        steps = np.arange(0, len(signal) + 1, 10)
        self._signal, self._metrics = (
            signal,
            {
                "step": steps,
                "train_accuracy": (steps >= fit).astype(float),
                "validation_accuracy": (steps >= end).astype(float),
            },
        )
        self._config = values_of(settings_of(TASK, **config))
        self._config["gradient_projections"] = signal.shape[1]

    def projections(self):
        return self._signal

    def metrics(self):
        return self._metrics

    def config(self):
        return self._config


def signal_of(steps=1000):
    """Fast while memorising, slow while generalising."""
    t = np.arange(steps)[:, None]
    fast, slow = np.cos(2.0 * t + [0.0, 1.0]), np.cos(0.02 * t + [0.0, 1.0])
    return np.where(t < 300, fast, slow).astype(np.float32)


def test_phases_and_shares(tmp_path):
    run = Recorded(tmp_path, signal_of(), filter="ema", filter_init="zero")
    memorising, generalising = phases(run, 0.0202)
    assert (memorising.start, memorising.end) == (0, 300)
    assert (generalising.start, generalising.end) == (300, 900)
    np.testing.assert_array_equal(memorising.omega, generalising.omega)
    for phase, peak in ((memorising, 2.0), (generalising, 0.02)):
        assert phase.before.sum() == pytest.approx(1)
        assert phase.omega[phase.before.argmax()] == pytest.approx(peak, abs=0.02)
    assert memorising.slow_share(0.1)[0] < 0.01
    assert generalising.slow_share(0.1)[0] > 0.99
    # |1 + 2H|² at the peak, whatever the normalisation
    gain = abs(1 + 2 * 0.02 / (1 - 0.98 * np.exp(-2.0j))) ** 2
    assert memorising.after.sum() == pytest.approx(gain, rel=0.03)
    gain = abs(1 + 2 * 0.02 / (1 - 0.98 * np.exp(-0.02j))) ** 2
    assert generalising.after.sum() == pytest.approx(gain, rel=0.1)


def test_the_second_phase_of_a_run_that_never_generalised(tmp_path):
    _, second = phases(Recorded(tmp_path, signal_of(), end=10**6), 0.0202)
    assert (second.name, second.start, second.end) == ("after fitting", 300, 1000)
    short = Recorded(tmp_path, signal_of(), fit=980, end=10**6)
    with pytest.raises(RecordError, match="phase after fitting has 20 steps"):
        phases(short, 0.0202)


def test_slow_share_counts_power_and_parts_of_it():
    omega = np.pi * np.array([0.0, 0.25, 0.5, 0.75, 1.0])  # edges at 1/8, 3/8, …
    power = np.array([0.1, 0.2, 0.3, 0.3, 0.1])
    phase = Phase("x", 0, 9, 8, omega, power, 10 * power[::-1])
    assert phase.slow_share(np.pi * 3 / 8) == pytest.approx((0.3, 0.4))
    assert phase.slow_share(np.pi * 1 / 4) == pytest.approx((0.2, 0.25))
    assert phase.slow_share(np.pi * 1 / 16) == pytest.approx((0.05, 0.05))
    assert phase.slow_share(np.pi) == pytest.approx((1, 1))


KNOWN = {
    "constant": (lambda t: np.ones_like(t), 1.0),
    "slow sine": (lambda t: np.cos(0.01 * t), 1.0),
    "fast sine": (lambda t: np.cos(0.04 * t), 0.0),
}


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("alpha", [0.98, 0.995])
def test_slow_share_of_known_signals(name, alpha, tmp_path):
    """Segments are long enough for the cut-off, where the phases allow it."""
    make, expected = KNOWN[name]
    cutoff = np.arccos(1 - (1 - alpha) ** 2 / (2 * alpha))
    t = np.arange(20_000.0)[:, None] * cutoff / 0.0202
    signal = make(t).astype(np.float32)
    run = Recorded(tmp_path, signal, 10_000, 20_000, filter="ema", alpha=alpha)
    for phase in phases(run, cutoff):
        assert phase.slow_share(cutoff)[0] == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("steps", [100, 201, 1000])
def test_slow_share_of_short_phases_beside_references(steps, tmp_path):
    cutoff = 0.0202
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(2 * steps, 2000)).astype(np.float32)
    shares = {}
    for name, signal in {
        "a_constant": np.ones_like(noise),
        "white_noise": noise,
    }.items():
        run = Recorded(tmp_path, signal, steps, 2 * steps, filter="ema")
        run._metrics = {
            "step": np.array([0, steps, 2 * steps]),
            "train_accuracy": np.array([0.0, 1.0, 1.0]),
            "validation_accuracy": np.array([0.0, 0.0, 1.0]),
        }
        first, second = phases(run, cutoff)
        assert first.segment == second.segment == steps
        shares[name] = first.slow_share(cutoff)[0]
    expected = references(steps, cutoff)
    assert shares == pytest.approx(expected, rel=0.05)
    assert expected["white_noise"] == pytest.approx(cutoff / np.pi)
    assert (expected["a_constant"] > 0.99) == (steps == 1000)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ({"fit": 20}, "memorising phase has 20 steps, 0 to 20; a spectrum needs 32"),
        ({"end": 310}, "generalising phase has 10 steps, 300 to 310"),
        ({"fit": 5000}, "never reached 95% training accuracy"),
    ],
)
def test_runs_that_have_no_phases(times, message, tmp_path):
    with pytest.raises(RecordError, match=message):
        phases(Recorded(tmp_path, signal_of(), **times), 0.0202)


@pytest.mark.thorough
def test_the_verb(tmp_path, capsys, monkeypatch):
    run = train(tmp_path / "a", settings(3, steps=12))
    assert main(["spectrum", str(run.path)]) == 2
    assert "never reached 95% training accuracy" in capsys.readouterr().err
    recorded = Recorded(tmp_path, signal_of(), filter="ema")
    monkeypatch.setattr("experiments.commands.filters.RunDirectory", lambda _: recorded)
    arguments = ["spectrum", str(run.path), "--output", str(tmp_path / "s.png")]
    assert main([*arguments, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["cutoff"] == pytest.approx(0.020203, rel=1e-3)
    assert [p["phase"] for p in shown["phases"]] == ["memorising", "generalising"]
    assert shown["segment"] == 300
    assert shown["slow_share_of_white_noise"] == pytest.approx(0.00643, rel=1e-3)
    assert 0.8 < shown["slow_share_of_a_constant"] < 1
    assert main(arguments) == 0
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")
    text = capsys.readouterr().out
    assert "white noise" in text
    assert "segments of 300 steps" in text
    slow = Recorded(tmp_path, signal_of(), filter="ema", alpha=0.99999)
    monkeypatch.setattr("experiments.commands.filters.RunDirectory", lambda _: slow)
    assert main(arguments) == 2
    assert "the response has not died out" in capsys.readouterr().err
