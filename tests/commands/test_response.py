"""The verb ``response`` against closed forms and the figures of the theory."""

import json

import numpy as np
import pytest

from experiments.commands.cli import main
from experiments.methods.ema import Ema
from experiments.methods.ma import Ma
from experiments.results.response import MEASURES, measure


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("alpha", "normalize"), [(0.0, False), (0.5, True), (0.98, False)]
)
def test_exponential_moving_average(alpha, normalize):
    m = measure(Ema(alpha=alpha, lamb=2.0, normalize=normalize)).measures
    whole = 3 if normalize else 1
    nyquist = (1 + 2 * (1 - alpha) / (1 + alpha)) / whole
    assert m["dc_gain"] == pytest.approx(3 / whole, rel=1e-6)
    assert m["nyquist_gain"] == pytest.approx(nyquist, rel=1e-5)
    assert m["smallest_gain"] == pytest.approx(nyquist, rel=1e-5)
    assert m["delay"] == pytest.approx(alpha / (1 - alpha), rel=1e-3, abs=1e-6)
    cosine = 1 - (1 - alpha) ** 2 / (2 * alpha) if alpha else -9
    if cosine < -1:  # H stays above half of its power
        assert m["cutoff"] is m["cutoff_period"] is None
    else:
        assert m["cutoff"] == pytest.approx(np.arccos(cosine), rel=1e-3)
        assert m["cutoff"] * m["cutoff_period"] == pytest.approx(2 * np.pi)


def test_moving_average_of_the_paper():
    m = measure(Ma()).measures
    assert m["dc_gain"] == pytest.approx(6, rel=1e-6)
    assert m["nyquist_gain"] == pytest.approx(1, abs=1e-6)
    assert m["delay"] == pytest.approx(49.5, rel=1e-3)
    assert m["half_life"] == pytest.approx(50)
    assert m["cutoff"] == pytest.approx(2.783 / 100, rel=1e-3)
    assert m["smallest_gain"] == pytest.approx(0.458, abs=1e-3)
    assert m["smallest_gain_period"] == pytest.approx(2 * np.pi / 0.0545, rel=5e-3)


@pytest.mark.thorough
def test_sum_and_mean_differ_in_gain_alone():
    options = {"window_size": 20, "lamb": 1.0}
    a, b = measure(Ma(**options)), measure(Ma(**options, filter_type="sum"))
    np.testing.assert_allclose(b.impulse, 20 * a.impulse, atol=1e-9)
    assert b.measures["dc_gain"] == pytest.approx(21, rel=1e-6)
    assert b.measures["cutoff"] == pytest.approx(a.measures["cutoff"])


@pytest.mark.thorough
def test_every_combination_once_and_a_picture(tmp_path, capsys):
    picture = tmp_path / "r.svg"
    arguments = ["response", "--filter", "ema,ma", "--alpha", "0.5,0.9,0.5"]
    arguments += ["--window-size", "4", "--lamb", "1,3", "--output", str(picture)]
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found) == 2 * 2 + 2
    assert found["EMA α = 0.5, λ = 3"].keys() == MEASURES.keys()
    assert found["MA w = 4, λ = 1"]["dc_gain"] == pytest.approx(2, rel=1e-6)
    text = picture.read_text(encoding="utf-8")
    assert text.startswith("<?xml")
    assert main(["response", "--output", str(tmp_path / "r.png")]) == 0
    shown = capsys.readouterr().out
    assert "3.0000" in shown or " 3 " in shown
    assert "radians per update" in shown
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--alpha", "0.9,1"], "1"),
        (["--alpha", "0.9,x"], "'x' is not a valid float"),
        (["--alpha", "0.9,0.99999"], "--alpha 0.99999: the response has not died out"),
        (["--filter", "ema,butter"], "'butter' is not one of 'ema', 'ma'"),
        (["--output", "a.jpg"], "--output must end in .png, .pdf, .svg, got a.jpg"),
    ],
)
def test_bad_arguments(arguments, message, capsys):
    assert main(["response", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_idle_options_are_told(tmp_path, capsys):
    output = ["--output", str(tmp_path / "r.png")]
    assert main(["response", "--window-size", "3", *output]) == 0
    assert "--window-size has no effect with --filter ema" in capsys.readouterr().err
