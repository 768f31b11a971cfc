"""Write ``docs/cli.md``: five sessions at the command line, really run. ``make docs``.

Seconds, memory and versions are those of the machine that ran it.
"""

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
SMALL = "--prime 23 --width 32 --batch-size 64"
SESSIONS = {
    "A first run": [
        "python -m experiments --help",
        f"python -m experiments train modular {SMALL} --filter ema --steps 400 "
        "--weight-decay 0.005 --run-dir runs/ema",
        "ls runs/ema",
        "head -3 runs/ema/timing.csv",
    ],
    "Going on, and what is refused": [
        f"python -m experiments train modular {SMALL} --filter ema --steps 600 "
        "--weight-decay 0.005 --run-dir runs/ema",
        f"python -m experiments train modular {SMALL} --filter ema --steps 600 "
        "--weight-decay 0.01 --run-dir runs/ema",
        "python -m experiments train modular --filter em",
        "python -m experiments train modular --alpha 1.5",
        "python -m experiments train modular --preset mul97-ma --prime 96",
    ],
    "Killed, and going on": [
        f"timeout -s KILL 14 python -m experiments train modular {SMALL} "
        "--filter ma --steps 20000 --checkpoint-seconds 2 --run-dir runs/ma",
        "python -m experiments list runs",
        f"python -m experiments train modular {SMALL} "
        "--filter ma --steps 20000 --checkpoint-seconds 2 --run-dir runs/ma",
        "timeout --preserve-status -s INT 12 python -m experiments train modular "
        f"{SMALL} --filter ma --steps 90000 --run-dir runs/ma",
    ],
    "Comparing runs": [
        f"python -m experiments train modular {SMALL} --steps 600 --run-dir runs/none",
        "python -m experiments list runs",
        "python -m experiments compare runs/none runs/ema",
        "python -m experiments plot runs/none runs/ema --by filter --output both.png",
    ],
    "Many seeds": [
        f"python -m experiments sweep modular {SMALL} --filter none,ema --lamb 1,2 "
        "--weight-decay 0.005,0.5 --optimizer adamw --seeds 3 --steps 600 --dry-run",
        f"timeout -s KILL 25 python -m experiments sweep modular {SMALL} "
        "--filter none,ema --lamb 1,2 --weight-decay 0.005,0.5 --optimizer adamw "
        "--seeds 3 --steps 600 --run-dir runs/sweep",
        f"python -m experiments sweep modular {SMALL} "
        "--filter none,ema --lamb 1,2 --weight-decay 0.005,0.5 --optimizer adamw "
        "--seeds 3 --steps 600 --run-dir runs/sweep",
        "ls runs/sweep",
    ],
}


def main() -> None:
    """Run every command in one temporary directory and write the page."""
    parts = [
        "# The command line, in five sessions\n\n"
        "Written by `make docs`, which runs these commands. `$?` is the exit code: 0\n"
        "done, 1 system error, 2 unusable arguments, 3 diverged, 130 interrupted, 137\n"
        "killed.\n"
    ]
    with tempfile.TemporaryDirectory() as directory:
        for title, commands in SESSIONS.items():
            parts.append(f"\n## {title}\n")
            parts += [session(command, directory) for command in commands]
    (ROOT / "docs" / "cli.md").write_text("".join(parts), encoding="utf-8")


def session(command: str, directory: str | Path) -> str:
    """The command, what it printed, and its exit code unless that is 0."""
    words = shlex.split(command)
    result = subprocess.run(
        [sys.executable if word == "python" else word for word in words],
        cwd=directory,
        env=os.environ | {"COLUMNS": "80", "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    code = result.returncode
    if code < 0:  # Python's way to name a signal; a shell has 128 + the signal
        code = 128 - code
    shown = f"\n[$? = {code}]" if code else ""
    output = "\n".join(line.rstrip() for line in result.stdout.splitlines())
    return f"\n```console\n$ {command}\n{output}{shown}\n```\n"


if __name__ == "__main__":
    main()
