"""The update alone: filter and Adam on trees of parameters, beside the floor.

The floor is the bytes that must move, at the speed of ``np.copyto`` on an array of the
same size in the same run: Adam reads g, m, v, θ and writes m, v, θ (7 copies), the EMA
reads and writes its average (2 more), the MA reads one slot and two sums and writes as
many (6 more).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from benchmarks import timing
from grokfast_jax import grokfast_ema, grokfast_ma, skip_non_finite

_MILLION = 1_000_000
_COPIES = {"adam": 7, "EMA": 9, "MA": 13}
_MEMORY = 18 << 30  # bytes of state that a case may take


def main(rounds: int) -> None:
    """Time every case that fits into memory; those that fit together, in turn."""
    rows = []
    for parameters, leaves, lanes in (
        (_MILLION, 150, 0),
        (_MILLION, 3, 0),
        (10 * _MILLION, 150, 0),
        (100 * _MILLION, 150, 0),
        (100 * _MILLION, 3, 0),
        (_MILLION, 150, 8),
        (10 * _MILLION, 3, 8),
    ):
        size = 4 * parameters * (lanes or 1)
        needs = {
            name: (window + 9) * size
            for name, (_, _, window) in _cases(parameters == _MILLION).items()
        }
        fitting = [name for name, need in needs.items() if need < _MEMORY]
        together = sum(needs[name] for name in fitting) < _MEMORY
        for group in [fitting] if together else [[name] for name in fitting]:
            rows += _rows(group, parameters, leaves, lanes, rounds)
    timing.report(
        "update alone",
        f"Update alone, donated loop, {rounds} rounds; per lane where there are lanes",
        (
            "parameters",
            "leaves",
            "lanes",
            "case",
            "median ms",
            "range",
            "÷ floor",
            "temporary copies",
        ),
        rows,
    )


def _cases(guards: bool) -> dict[str, tuple[int, optax.GradientTransformation, int]]:
    """Copies moved, transformation, copies kept in a window."""
    adam = optax.adam(1e-3)
    ema = optax.chain(grokfast_ema(), adam)
    cases = {
        "adam": (_COPIES["adam"], adam, 0),
        "EMA + adam": (_COPIES["EMA"], ema, 0),
    }
    if guards:
        guarded = skip_non_finite(ema)
        cases["skip_non_finite(EMA + adam)"] = (_COPIES["EMA"], guarded, 4)
    for w in (8, 32, 100):
        both = optax.chain(grokfast_ma(w), adam)
        cases[f"MA, w = {w}, + adam"] = (_COPIES["MA"], both, w)
        if guards and w == 32:
            for guarded in (skip_non_finite(both), optax.apply_if_finite(both, 5)):
                name = guarded.init.__qualname__.split(".")[0]
                cases[f"{name}(MA, w = {w}, + adam)"] = (_COPIES["MA"], guarded, 2 * w)
    return cases


def _rows(
    names: list[str], parameters: int, leaves: int, lanes: int, rounds: int
) -> list[list[Any]]:
    total = parameters * (lanes or 1)
    steps = max(2, 40 * _MILLION // total)
    all_cases = _cases(parameters == _MILLION)
    runs, temporary = {}, {}
    for name in names:
        runs[name], temporary[name] = _updates(
            all_cases[name][1], parameters, leaves, lanes, steps
        )
    copies: Callable[[], Any] = timing.copies(total, steps)
    times = timing.in_turn({**runs, "copies": copies}, rounds)
    rows = []
    for name in names:
        # One copy reads and writes: two of the copies that the floor counts.
        moved = all_cases[name][0] / 2
        floors = [seconds * moved for seconds in times["copies"]]
        row = [
            f"{parameters // _MILLION} M",
            leaves,
            lanes or "–",
            name,
            *timing.milliseconds(times[name], steps * (lanes or 1)),
            timing.ratio(times[name], floors),
            f"{temporary[name] / (4 * total):.2f}",
        ]
        print(*row, sep="  ")
        rows.append(row)
    return rows


def _updates(
    tx: optax.GradientTransformation,
    parameters: int,
    leaves: int,
    lanes: int,
    steps: int,
) -> tuple[Callable[[], None], int]:
    """A function that does ``steps`` updates, and its bytes of temporary memory."""
    # Matrices: vectors of odd length were 6 times slower (RESULTS.md).
    shape = (round(parameters / leaves / 64), 64)
    shape = (lanes, *shape) if lanes else shape
    gradient = [jnp.full(shape, 1e-3) for _ in range(leaves)]
    params = [jnp.zeros(shape) for _ in range(leaves)]
    init, update = tx
    if lanes:
        init, update = jax.vmap(tx.init), jax.vmap(tx.update)

    def step(carry: Any, gradient: Any) -> Any:
        params, state = carry
        updates, state = update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    def chunk(carry: Any, gradient: Any) -> Any:
        def body(i: jax.Array, carry: Any) -> Any:
            # Another gradient each time, else its square is taken out of the loop.
            return step(carry, jax.tree.map(lambda g: g * (1 + i), gradient))

        return jax.lax.fori_loop(0, steps, body, carry)

    carry = (params, jax.jit(init)(params))
    compiled = jax.jit(chunk, donate_argnums=0).lower(carry, gradient).compile()
    box = [carry]
    del params, carry  # donated: the box alone may hold them

    def run() -> None:
        box[0] = jax.block_until_ready(compiled(box[0], gradient))

    return run, compiled.memory_analysis().temp_size_in_bytes
