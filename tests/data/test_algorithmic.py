"""The tables of operations: sizes, answers, inverses, permutations, splits."""

import itertools

import jax
import numpy as np
import pytest

from experiments.data.algorithmic import OPERATIONS, operation_table
from experiments.tasks.modular import ModularTask

TABLE = {  # size, sum of answers, answer counts, or those of the exceptions
    "add": (9409, 451_632, {97}),
    "sub": (9409, 451_632, {97}),
    "div": (9312, 446_976, {96}),
    "mix": (9409, 451_632, {97}),
    "mul": (9312, 446_976, {96}),
    "mul0": (9409, 446_976, {193, 96}),
    "sq-sum": (9409, 446_976, {193, 96}),
    "quad": (9409, 446_976, {193, 96}),
    "quad+x": (9409, 450_080, {193, 96}),
    "cube1": (9409, 446_976, {193, 96}),
    "cube2": (9409, 452_602, None),
    "sq+y": (9409, 451_632, {97}),
    "cube+y": (9409, 451_632, {97}),
    "mix-mul": (9409, None, None),
    "mix-sub": (9409, None, {97}),
    "s5": (14_400, None, {120}),
    "s5-conj": (14_400, None, {120}),
    "s5-sandwich": (14_400, None, {120}),
}


def test_every_operation_is_checked():
    assert set(TABLE) == set(OPERATIONS)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_sizes_and_answers(operation):
    size, total, counts = TABLE[operation]
    x, y, c = operation_table(operation)
    assert len(x) == len(y) == len(c) == size
    assert len(set(zip(x.tolist(), y.tolist(), strict=True))) == size
    if total is not None:
        assert c.sum() == total
    found = np.bincount(c)
    if counts is not None:
        assert set(found.tolist()) == counts
    if operation == "cube2":
        assert (found.min(), found.max()) == (77, 113)
    if operation == "quad+x":
        assert found.argmax() == 32


def test_division():
    x, y, c = operation_table("div")
    assert (c * y % 97 == x).all()
    assert (y != 0).all()
    x, y, c = operation_table("mix")
    odd = y % 2 == 1
    assert (c[odd] * y[odd] % 97 == x[odd]).all()
    assert (c[~odd] == (x - y)[~odd] % 97).all()


def _order(element, table, identity):
    power, n = element, 1
    while power != identity:
        power, n = table[power, element], n + 1
    return n


def test_permutations():
    x, y, product = operation_table("s5")
    table = product.reshape(120, 120)
    identity = 0
    assert (table[identity] == np.arange(120)).all()
    assert (table[:, identity] == np.arange(120)).all()
    a, b, c = np.random.default_rng(0).integers(120, size=(3, 1000))
    assert (table[table[a, b], c] == table[a, table[b, c]]).all()
    conjugate = operation_table("s5-conj")[2]
    assert (conjugate == y).sum() == 840
    inverse = np.array([np.flatnonzero(row == identity)[0] for row in table])
    assert (conjugate == table[table[x, y], inverse[x]]).all()
    elements = list(itertools.permutations(range(5)))
    fixed = np.array([sum(i == e for i, e in enumerate(p)) for p in elements])
    order = np.array([_order(row, table, identity) for row in range(120)])
    for invariant in (fixed, order):  # together they determine the cycle type in S5
        assert (invariant[conjugate] == invariant[y]).all()
    assert (operation_table("s5-sandwich")[2] == table[table[x, y], x]).all()


@pytest.mark.parametrize(
    ("operation", "fraction", "size"),
    [
        ("add", 0.05, 470),
        ("add", 0.3, 2823),
        ("add", 0.5, 4704),
        ("mul", 0.05, 466),
        ("mul", 0.3, 2794),
        ("mul", 0.5, 4656),
        ("s5", 0.05, 720),
        ("s5", 0.3, 4320),
        ("s5", 0.5, 7200),
    ],
)
def test_sizes_of_the_split(operation, fraction, size):
    assert ModularTask(operation=operation, train_fraction=fraction).train_size == size


def test_split():
    data = ModularTask().load()
    assert data["tokens"][200].tolist() == [2, 98, 9, 97]  # 200 = 2·96 + 8

    def parts(seed, **options):
        task = ModularTask(**options)
        splits = task.splits(data, jax.random.key(seed))
        assert list(splits) == ["train", "validation"]
        return [task.take(data, rows) for rows in splits.values()]

    training, validation = parts(3)
    assert len(training["answers"]) == ModularTask().train_size
    rows = [set(map(tuple, part["tokens"].tolist())) for part in (training, validation)]
    assert not rows[0] & rows[1]
    assert rows[0] | rows[1] == set(map(tuple, data["tokens"].tolist()))
    again, _ = parts(3)
    np.testing.assert_array_equal(again["tokens"], training["tokens"])
    other, _ = parts(4)
    assert (other["tokens"] != training["tokens"]).any()
    smaller, _ = parts(3, train_fraction=0.3)
    assert set(map(tuple, smaller["tokens"].tolist())) < rows[0]  # nested
    x, y = training["tokens"][:, 0], training["tokens"][:, 2]
    np.testing.assert_array_equal(x * y % 97, training["answers"])
