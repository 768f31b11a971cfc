"""Whether a transformation is linear and time-invariant, tried on random gradients."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from grokfast_jax._checks import check_count, check_transformation, suggest_keywords

_TOLERANCE = 1e-5  # above the rounding of state that is float32 by choice
_SHAPE = (2, 2)  # of the one parameter, whose values are 1


@dataclasses.dataclass(frozen=True, eq=False)  # arrays have no one equality
class Verdict:
    """Answer of :func:`is_linear` or :func:`is_time_invariant`; true or false itself.

    Attributes:
      holds: the answer. A "no" is proved by the counterexample; a "yes" holds for the
        gradients that were tried.
      error: the largest deviation found, relative to the largest output. Below 1e-5
        it counts as rounding.
      counterexample: the gradients that show a "no", the worst ones found; None for a
        "yes". Of :func:`is_linear` two sequences x and y, each ``[n, 2, 2]`` float64:
        the outputs for x and for y do not add up to those for x + y. Of
        :func:`is_time_invariant` a sequence ``[n, 2, 2]`` and a number of updates:
        after so many zero gradients the sequence gives other outputs.
    """

    holds: bool
    error: float
    counterexample: tuple[np.ndarray, np.ndarray | int] | None = dataclasses.field(
        repr=False
    )

    def __bool__(self) -> bool:
        return self.holds


@suggest_keywords
def is_linear(tx: optax.GradientTransformation, n: int = 1024) -> Verdict:
    r"""Whether outputs of a sum of gradients are the sum of the outputs.

    .. math:: T(x + y) = T(x) + T(y)

    for random sequences x and y of the sizes 10⁻³, 1, 10³ and 10⁶. The parameter keeps
    the value 1, so that weight decay, whose output is not 0 for gradients of 0, is not
    linear in the gradient.

    Args:
      tx: any gradient transformation.
      n: length of the sequences in updates, ≥ 1.

    Returns:
      A :class:`Verdict` with a counterexample if not.

    Raises:
      ValueError, TypeError: n < 1 or no integer; tx is no transformation.

    Example:
      >>> import optax
      >>> from grokfast_jax import grokfast_ema, is_linear
      >>> bool(is_linear(grokfast_ema())), bool(is_linear(optax.scale_by_adam()))
      (True, False)
      >>> x, y = is_linear(optax.clip(1.0)).counterexample

    References:
      Lee et al., Grokfast, arXiv 2405.20233, theorem A.1: for a linear optimizer,
      filtering gradients is filtering updates.
    """
    check_transformation("tx", tx)
    check_count("n", n, 1)
    x, y = np.random.default_rng(0).normal(size=(2, n, *_SHAPE))
    pairs = [(s * x, s * y) for s in (1e-3, 1.0, 1e3, 1e6)]
    run = _runner(tx)

    @np.errstate(invalid="ignore")  # ∞ − ∞ is a deviation like any other
    def error(x: np.ndarray, y: np.ndarray) -> float:
        of_x, of_y, of_sum = (run(g) for g in (x, y, x + y))
        return _deviation(of_x + of_y, of_sum, of_x, of_y)

    return _verdict([(error(x, y), (x, y)) for x, y in pairs])


@suggest_keywords
def is_time_invariant(tx: optax.GradientTransformation, n: int = 1024) -> Verdict:
    r"""Whether the same gradients later give the same outputs later.

    .. math:: T(\underbrace{0, …, 0}_{d}, x) = (…, T(x))

    for a random sequence x and delays d of 1, 7 and n updates, counted from the first
    update. Schedules, bias corrections, warm-ups and an average that starts from the
    first gradient are not time-invariant; what changes less than 10⁻⁵ within 2n
    updates is not seen.

    Args:
      tx: any gradient transformation.
      n: length of the sequence in updates, ≥ 1; longer than every warm-up.

    Returns:
      A :class:`Verdict` with a counterexample if not.

    Raises:
      ValueError, TypeError: n < 1 or no integer; tx is no transformation.

    Example:
      >>> from grokfast_jax import grokfast_ema, is_time_invariant
      >>> bool(is_time_invariant(grokfast_ema(init="zero")))
      True
      >>> x, delay = is_time_invariant(grokfast_ema()).counterexample

    References:
      Lee et al., Grokfast, arXiv 2405.20233, theorem A.1.
    """
    check_transformation("tx", tx)
    check_count("n", n, 1)
    x = np.random.default_rng(0).normal(size=(n, *_SHAPE))
    run = _runner(tx)
    now = run(x)

    @np.errstate(invalid="ignore")
    def error(delay: int) -> float:
        delayed = run(np.concatenate([np.zeros((delay, *_SHAPE)), x]))
        return _deviation(delayed[delay:], now)

    return _verdict([(error(delay), (x, delay)) for delay in (1, 7, n)])


def _runner(
    tx: optax.GradientTransformation,
) -> Callable[[np.ndarray], np.ndarray]:
    """All updates of a sequence of gradients in one compiled scan, in float64."""
    tx = optax.with_extra_args_support(tx)

    @jax.jit
    def scan(gradients: jax.Array) -> jax.Array:
        params = jnp.ones(_SHAPE)

        def step(
            state: optax.OptState, g: jax.Array
        ) -> tuple[optax.OptState, jax.Array]:
            output, state = tx.update(g, state, params)
            return state, output

        return jax.lax.scan(step, tx.init(params), gradients)[1]

    def run(gradients: np.ndarray) -> np.ndarray:
        with jax.enable_x64(True):
            return np.asarray(scan(jnp.asarray(gradients)))

    return run


def _deviation(a: np.ndarray, b: np.ndarray, *further: np.ndarray) -> float:
    """Largest difference of a and b, relative to the largest of all outputs."""
    size = max(np.max(np.abs(outputs)) for outputs in (a, b, *further))
    difference = np.max(np.abs(a - b))
    return float(difference / size) if size != 0 else 0.0


def _verdict(
    trials: list[tuple[float, tuple[np.ndarray, np.ndarray | int]]],
) -> Verdict:
    # Not a number is the worst deviation.
    error, gradients = max(trials, key=lambda t: np.nan_to_num(t[0], nan=np.inf))
    holds = error <= _TOLERANCE
    return Verdict(holds, error, None if holds else gradients)
