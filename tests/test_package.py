"""What is built for PyPI, and what an installation gives, in empty environments.

``GROKFAST_DIST`` names a directory of built distributions, which ``make package`` and
the release have; else they are built.
"""

import email
import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

import grokfast_jax
from tests.conftest import REPOSITORY

SUPPORT = REPOSITORY / "tests" / "support"
CORE = {"jax", "optax", "numpy"}
NOT_OF_THE_CORE = ("flax", "click", "rich", "polars", "matplotlib", "experiments")


def text(name):
    return (REPOSITORY / name).read_text(encoding="utf-8")


def run(*command, cwd, expected=0):
    """Its output; neither the repository nor what is set for tests is in its way."""
    inherited = {
        name: value for name, value in os.environ.items() if name != "PYTHONPATH"
    }
    done = subprocess.run(
        command, cwd=cwd, env=inherited, capture_output=True, encoding="utf-8"
    )
    assert done.returncode == expected, done.stdout + done.stderr
    return done.stdout + done.stderr


def sources(package):
    """Files of a package as they are in the clone."""
    return {
        file.relative_to(REPOSITORY).as_posix(): file.read_bytes()
        for file in (REPOSITORY / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """A package registry that answers; building and installing need one."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "hatchling"]
    answered = subprocess.run(
        command, cwd=tmp_path_factory.mktemp("registry"), capture_output=True
    )
    if answered.returncode != 0:
        pytest.skip("no package registry can be reached")


@pytest.fixture(scope="module")
def built(tmp_path_factory, request):
    """The wheel and the sdist."""
    given = os.environ.get("GROKFAST_DIST")
    if given is None:
        request.getfixturevalue("registry")
        pytest.importorskip("build", reason="build is not installed")
        given = tmp_path_factory.mktemp("dist")
        build = [sys.executable, "-m", "build", "--outdir", given, REPOSITORY]
        run(*build, cwd=given)
    (wheel,) = (Path(REPOSITORY) / given).glob("*.whl")
    (sdist,) = (Path(REPOSITORY) / given).glob("*.tar.gz")
    return wheel, sdist


def contents(file):
    """The files of a wheel, or of an sdist below its one folder."""
    if file.suffix == ".whl":
        with zipfile.ZipFile(file) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    with tarfile.open(file) as archive:
        return {
            member.name.partition("/")[2]: archive.extractfile(member).read()
            for member in archive.getmembers()
            if member.isfile()
        }


def environment(folder, *wanted):
    """The Python of a new environment with what is wanted, and nothing else."""
    run(sys.executable, "-m", "venv", folder, cwd=folder.parent)
    python = folder / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", *wanted, cwd=folder)
    return python


def test_the_version_is_told_once_and_repeated_rightly():
    project = tomllib.loads(text("pyproject.toml"))["project"]
    assert "version" not in project
    assert "version" in project["dynamic"]
    version = grokfast_jax.__version__
    assert yaml.safe_load(text("CITATION.cff"))["version"] == version
    assert re.findall("^## (\\S+)", text("CHANGELOG.md"), re.M)[0] == version


@pytest.mark.slow
class TestDistributions:
    """Wheel and sdist hold the library, and nothing else."""

    def test_wheel(self, built):
        files = contents(built[0])
        assert "grokfast_jax/py.typed" in files
        info = f"grokfast_jax-{grokfast_jax.__version__}.dist-info/"
        of_the_package = {
            name: data for name, data in files.items() if not name.startswith(info)
        }
        assert of_the_package == sources("grokfast_jax")
        assert f"{info}licenses/LICENSE" in files
        metadata = email.message_from_bytes(files[f"{info}METADATA"])
        assert metadata["License-Expression"] == "Apache-2.0"
        assert metadata["Description-Content-Type"] == "text/markdown"
        links = re.findall(r"\]\(([^)]*)\)", metadata.get_payload())
        assert links  # PyPI shows the page without the files around it
        assert all(link.startswith("https://") for link in links)
        required = {
            re.match("[\\w-]+", line).group()
            for line in metadata.get_all("Requires-Dist")
            if "extra ==" not in line
        }
        assert required == CORE

    def test_sdist(self, built):
        files = contents(built[1])
        beside = {name for name in files if not name.startswith("grokfast_jax/")}
        texts = {"README.md", "LICENSE", "CITATION.cff", "CHANGELOG.md"}
        assert beside == texts | {"pyproject.toml", "PKG-INFO", ".gitignore"}
        assert {n: d for n, d in files.items() if n not in beside} == sources(
            "grokfast_jax"
        )

    def test_sdist_makes_the_wheel(self, built, registry, tmp_path):
        pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
        run(*pip, built[1], cwd=tmp_path)
        (wheel,) = tmp_path.glob("*.whl")
        assert contents(wheel) == contents(built[0])

    def test_no_path_of_this_machine(self, built):
        own = [str(REPOSITORY).encode(), str(Path.home()).encode() + b"/"]
        for file in built:
            for name, data in contents(file).items():
                assert not any(path in data for path in own), name

    def test_twine(self, built):
        pytest.importorskip("twine", reason="twine is not installed")
        check = [sys.executable, "-m", "twine", "check", "--strict", *built]
        run(*check, cwd=built[0].parent)


@pytest.mark.slow
def test_library_alone(built, registry, tmp_path):
    """In an environment of the wheel and what it needs: its doctests."""
    python = environment(tmp_path / "venv", built[0])
    absent = f"[n for n in {NOT_OF_THE_CORE} if importlib.util.find_spec(n)]"
    program = f"import importlib.util, grokfast_jax; print({absent})"
    assert run(python, "-I", "-c", program, cwd=tmp_path) == "[]\n"
    said = run(python, "-I", SUPPORT / "installed_doctests.py", cwd=tmp_path)
    assert re.fullmatch("\\d{2,} examples in \\d+ modules, 0 failed\n", said)


@pytest.mark.slow
def test_experiments_from_the_sources(registry, tmp_path):
    """``pip install 'SOURCES[experiments]'``, as notebooks do, and used elsewhere."""
    python = environment(tmp_path / "venv", f"{REPOSITORY}[experiments]")
    place = "import experiments; print(experiments.__path__[0])"
    installed = Path(run(python, "-c", place, cwd=tmp_path).strip())
    assert installed.is_relative_to(tmp_path)
    files = {
        f"experiments/{file.relative_to(installed).as_posix()}": file.read_bytes()
        for file in installed.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert files == sources("experiments")

    command = [python, "-m", "experiments"]
    assert "sweep" in run(*command, "--help", cwd=tmp_path)
    study = ["--file", installed / "studies" / "mul97-tuning.toml", "--dry-run"]
    assert "lanes" in run(*command, "sweep", *study, cwd=tmp_path)
    tiny = ["modular", "--prime", "7", "--width", "8", "--heads", "2", "--steps", "2"]
    trained = run(*command, "train", *tiny, "--json", "--run-dir", "run", cwd=tmp_path)
    assert json.loads(trained)["status"] == "completed"
    refused = run(*command, "reproduce", "qm9", cwd=tmp_path, expected=2)
    assert "run it in a clone" in refused
