"""Every Python block of the README runs as it stands."""

import re

import pytest

from tests.conftest import REPOSITORY

BLOCKS = re.findall(
    r"```python\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.S
)
TITLES = ["optax", "nnx", "linen", "inject_hyperparams", "filters", "notebook"]


def test_all_blocks_are_named():
    assert len(BLOCKS) == len(TITLES)


@pytest.mark.parametrize("block", BLOCKS, ids=TITLES)
def test_readme_block_runs(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # one records runs
    exec(compile(block, "README.md", "exec"), {})


def test_no_placeholder_is_left():
    assert "@@" not in (REPOSITORY / "README.md").read_text()
