"""Our training step against recorded runs of the published implementation."""

import json

import pytest

from experiments.cli import main

DECAY = {"none": "0", "ema": "0.005", "ma": "0.01"}


def parity(record, name, capsys, *options):
    arguments = ["--filter", name, "--weight-decay", DECAY[name], *options]
    assert main(["parity", str(record), *arguments]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.parametrize("name", ["none", "ema", "ma"])
def test_first_steps(name, parity_record, capsys):
    result = parity(parity_record(name), name, capsys, "--max-steps", "110")
    assert result["filter"] == name
    assert result["max_rel_loss_100"] <= 2e-6


@pytest.mark.slow
@pytest.mark.parametrize(("name", "steps"), [("none", None), ("ema", 910), ("ma", 790)])
def test_whole_run(name, steps, parity_record, capsys):
    result = parity(parity_record(name), name, capsys)
    assert result["steps_to_95"] == result["reference_steps_to_95"] == steps
    assert result["max_rel_loss_100"] <= 2e-6
    assert result["max_rel_loss_400"] <= 1e-3
