"""Strict modes for all tests, and where the real data are."""

import http.server
import os
import threading
from pathlib import Path

# Before jax is imported, so that the processes which tests start share it too.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".cache" / "jax")
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")

REPOSITORY = Path(__file__).parents[1]
SHARED = Path(os.environ.get("GROKFAST_SHARED", REPOSITORY.parent / "shared"))


@pytest.fixture(autouse=True, scope="module")
def forget_programs():
    """Every compiled program maps memory, and Linux gives a process 65,530 maps.

    Beyond them the compiler ends with a segmentation fault.
    """
    yield
    jax.clear_caches()


@pytest.fixture
def parity_record():
    """Path of a recorded run of the published implementation, by its filter."""

    def find(name: str) -> Path:
        path = SHARED / "parity" / f"trace_{name}_seed0.npz"
        if not path.exists():
            pytest.skip(f"real data not there: {path.name}")
        return path

    return find


@pytest.fixture
def real_data():
    """Path of a real data set, by the name of its folder."""

    def find(name: str) -> Path:
        path = SHARED / "data" / name
        if not path.is_dir():
            pytest.skip(f"real data not there: {name}")
        return path

    return find


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
