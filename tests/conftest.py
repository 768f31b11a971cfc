"""Strict modes for all tests, and where the real data are."""

import http.server
import importlib.util
import os
import signal
import threading
from pathlib import Path

# Before jax is imported, so that the processes which tests start share it too.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".cache" / "jax")
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")

import jax
import pytest

from experiments.data.encoder import PACKAGE

jax.config.update("jax_numpy_rank_promotion", "raise")
# As in a terminal: under nohup, which has it ignored, tests of it would fail.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

REPOSITORY = Path(__file__).parents[1]
# Where GROKFAST_DATA is not set: a folder beside the project.
DATA = Path(os.environ.get("GROKFAST_DATA", REPOSITORY.parent / "shared" / "data"))
WHERE = "GROKFAST_DATA names the directory of data sets, by default ../shared/data"


@pytest.fixture
def ctrl_c_interrupts():
    """As from a terminal: in the background a shell lets Ctrl-C be ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True, scope="module")
def forget_programs():
    """Every compiled program maps memory, and Linux gives a process 65,530 maps.

    Beyond them the compiler ends with a segmentation fault.
    """
    yield
    jax.clear_caches()


def existing(*paths: Path) -> Path:
    """The first of some paths that there is; the test is skipped if there is none."""
    for path in paths:
        if path.exists():
            return path
    pytest.skip(f"{paths[0].name} is not there: {WHERE}")


@pytest.fixture
def parity_record():
    """Path of a recorded run of the published implementation, by its name.

    It is in a folder ``parity`` of the data directory, or beside that.
    """

    def find(name: str) -> Path:
        places = (DATA / "parity", DATA.parent / "parity")
        return existing(*(place / f"{name}_seed0.npz" for place in places))

    return find


@pytest.fixture
def real_data():
    """Path of a real data set, by the name of its folder."""
    return lambda name: existing(DATA / name)


@pytest.fixture
def default_encoder():
    """The package of glue's default encoder; the test is skipped if it is not there."""
    if importlib.util.find_spec(PACKAGE.replace("-", "_")) is None:
        pytest.skip(f"{PACKAGE} is not installed")
    return PACKAGE


@pytest.fixture
def user_cache(tmp_path, monkeypatch):
    """An empty user's cache, and no data directory in the environment."""
    monkeypatch.delenv("GROKFAST_DATA", raising=False)
    cache = tmp_path / "cache"
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *a, **k: cache)
    return cache


@pytest.fixture
def server(monkeypatch):
    """A server on this machine: its address, and a dict of what it gives, by name."""
    pages: dict[str, bytes] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            contents = pages.get(self.path[1:])
            self.send_response(404 if contents is None else 200)
            self.end_headers()
            self.wfile.write(contents or b"not found")

        def log_message(self, *_):
            pass

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,)).start()
        yield f"http://127.0.0.1:{running.server_port}/", pages
        running.shutdown()


@pytest.fixture
def x64():
    """Run a test in double precision."""
    with jax.enable_x64(True):
        yield
