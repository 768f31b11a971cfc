"""The sessions of docs/cli.md show what a shell shows."""

import importlib.util
import subprocess

import pytest

from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def transcripts():
    path = REPOSITORY / "docs" / "transcripts.py"
    spec = importlib.util.spec_from_file_location("transcripts", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "script", ["exit 0", "exit 3", "kill -KILL $$", "kill -TERM $$", "kill -INT $$"]
)
def test_exit_codes_are_those_of_a_shell(transcripts, script, tmp_path):
    code = subprocess.run(
        ["bash", "-c", f"bash -c '{script}' 2> /dev/null; echo $?"],
        capture_output=True,
        encoding="utf-8",
    ).stdout.split()[-1]
    text = transcripts.session(f"bash -c '{script}'", tmp_path)
    assert (f"[$? = {code}]" in text) == (code != "0")
    assert text.count("$?") == (code != "0")


def test_a_session_is_the_command_and_what_it_said(transcripts, tmp_path):
    command = 'python -c \'print("a  "); print("b")\''
    expected = f"\n```console\n$ {command}\na\nb\n```\n"
    assert transcripts.session(command, tmp_path) == expected
