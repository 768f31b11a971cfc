"""The command line as tests use it: tiny runs, one line of error, strict JSON."""

import json

from experiments.commands.cli import main

TINY = ["--prime", "11", "--width", "16", "--layers", "1", "--batch-size", "16"]
"""Options of a task that trains in no time."""


def json_of(capsys, *arguments, code=0):
    """What a command prints: one JSON object, as RFC 8259 has it, and nothing else."""
    capsys.readouterr()
    assert main([*map(str, arguments), "--json"]) == code
    return strict_json(capsys.readouterr().out)


def strict_json(text):
    """JSON without NaN and Infinity, which Python would read."""

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def error_of(capsys, *arguments):
    """The one line that is all that an unusable command line gives."""
    capsys.readouterr()
    assert main([*map(str, arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    return captured.err


def notes_of(capsys, *arguments):
    """The lines on stderr of a command that is done."""
    capsys.readouterr()
    assert main([*map(str, arguments)]) == 0
    return capsys.readouterr().err.splitlines()
