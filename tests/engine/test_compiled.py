"""Options for the compiler: taken where it knows them, left out where it does not."""

import jax
import jax.numpy as jnp
import pytest

from experiments.engine import compiled
from experiments.engine.compiled import Compiled, known_options


@pytest.fixture(autouse=True)
def asked_anew():
    known_options.cache_clear()
    yield
    known_options.cache_clear()


def test_options_that_the_compiler_does_not_know(monkeypatch):
    monkeypatch.setattr(compiled, "_OPTIONS", {"xla_no_such_option": "1"})
    assert known_options() is None
    assert Compiled(lambda x: x + 1)(1.0) == 2


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="YNNPACK is for CPUs")
def test_convolutions_are_the_compilers_own():
    """In the library's newest versions; older ones know no other."""

    def convolve(x, kernel):
        return jax.lax.conv(x, kernel, (1, 1), "SAME")

    shapes = jnp.ones((8, 16, 16, 16)), jnp.ones((16, 16, 3, 3))
    text = Compiled(convolve).lower(*shapes).compile().as_text()
    assert " convolution(" in text
    assert "ynn_fusion" not in text


def test_the_function_within_another_program():
    add = compiled.compiled(static_argnames="more")(lambda x, more: x + more)
    assert jax.jit(lambda x: add(x, 2))(1.0) == 3
    assert jax.eval_shape(lambda x: add(x, 2), 1.0).shape == ()
    assert add(1.0, more=2) == 3
    assert add._cache_size() == 1
