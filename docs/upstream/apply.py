"""Apply grokfast.patch to a copy of the installed Optax, and test the copy.

    python docs/upstream/apply.py DIRECTORY          # writes DIRECTORY/optax
    python docs/upstream/apply.py DIRECTORY --test   # and runs its suite of contrib
    PYTHONPATH=DIRECTORY python -c "import optax; print(optax.contrib.grokfast_ema)"

The installed Optax stays as it is. Exit code 1, with what Git says, where the patch
does not apply; else that of the tests.
"""

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

PATCH = Path(__file__).with_name("grokfast.patch").resolve()
MADE_FOR = "0.2.8"


def patched_copy(directory: Path) -> Path:
    """``directory/optax``, a copy of the installed Optax with the patch applied."""
    spec = importlib.util.find_spec("optax")
    if spec is None or spec.origin is None:
        raise SystemExit("Optax is not installed: pip install optax")
    git = shutil.which("git")
    if git is None:
        raise SystemExit("git is not installed; it applies the patch.")
    copy = directory / "optax"
    if copy.exists():
        raise SystemExit(f"{copy} exists already: give another directory.")
    shutil.copytree(
        Path(spec.origin).parent, copy, ignore=shutil.ignore_patterns("__pycache__")
    )
    # Within a repository Git would leave out, without a word, what is outside of it.
    parent = str(directory.resolve().parent)
    applied = subprocess.run(
        [git, "apply", str(PATCH)],
        cwd=directory,
        env=os.environ | {"GIT_CEILING_DIRECTORIES": parent},
        capture_output=True,
        encoding="utf-8",
    )
    if applied.returncode != 0:
        shutil.rmtree(copy)
        raise SystemExit(
            f"The patch is for Optax {MADE_FOR} and does not apply to the installed "
            f"{version('optax')}:\n{applied.stderr}"
        )
    return copy


def run_tests(directory: Path) -> int:
    """The suite of ``optax.contrib``, then the doctests of what is new there."""
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    pytest += ["-c", os.devnull, "--rootdir", "."]  # not a configuration from above
    here = os.environ | {"PYTHONPATH": str(directory.resolve())}
    for arguments in (
        ["optax/contrib"],
        ["--doctest-modules", "optax/contrib/_grokfast.py"],
    ):
        code = subprocess.run([*pytest, *arguments], cwd=directory, env=here).returncode
        if code != 0:
            return code
    return 0


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("directory", type=Path, help="where the copy goes")
    parser.add_argument("--test", action="store_true", help="run its tests (minutes)")
    arguments = parser.parse_args()
    print(patched_copy(arguments.directory))
    return run_tests(arguments.directory) if arguments.test else 0


if __name__ == "__main__":
    sys.exit(main())
