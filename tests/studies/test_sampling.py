"""Text from a run: the same as by plain forward passes, and what cannot be sampled."""

import json

import jax
import numpy as np
import pytest

from experiments.commands.cli import main
from experiments.engine.generate import generate
from experiments.methods.named import settings_of
from experiments.tasks.gpt import GptTask
from tests.support.made_up import record
from tests.support.tiny import TASK, config_of
from tests.tasks.test_gpt import KEY, SMALL, moved, numpy_logits


def plain(params, prompt, count, choose):
    """A forward pass of NumPy's a token, on what there is, a window at most."""
    text = list(prompt)
    for _ in range(count):
        logits = numpy_logits(params, text[-SMALL.block :], SMALL.heads)[-1]
        text.append(int(choose(logits, len(text))))
    return text


@pytest.mark.thorough
def test_what_is_generated_is_of_plain_forward_passes():
    """Before the window of eight is full, and while it moves on."""
    config = config_of(SMALL).traced()
    params = moved(SMALL.init(KEY, ())[0])
    prompt, key = np.arange(3), jax.random.key(3)

    def generated(**options):
        common = {"window": SMALL.block, "count": 10, "choices": 15}
        options = common | {"top_k": 99} | options
        return generate(config, params, (), prompt, key, **options).tolist()

    def likeliest(logits, _):
        return np.argmax(logits[:15])

    def drawn(logits, place):
        logits = logits[:15] / 0.7
        logits[np.argsort(logits)[:-4]] = -np.inf
        key_here = jax.random.fold_in(key, place)
        return jax.random.categorical(key_here, logits.astype(np.float32))

    assert generated(top_k=1) == plain(params, prompt, 10, likeliest)
    found = generated(top_k=4, temperature=0.7)
    assert found == plain(params, prompt, 10, drawn)
    assert found != generated(temperature=0.7)


@pytest.mark.thorough
def test_text_from_a_run(tmp_path, capsys):
    (tmp_path / "text").write_text(SMALL.read(), encoding="utf-8")
    train = f"train gpt --text {tmp_path / 'text'} --vocabulary 15 --layers 1 --width 8"
    train += " --block 8 --steps 4 --eval-every 4 --seed 3 --filter ema --json"
    run = str(tmp_path / "run")
    assert main([*train.split(), "--run-dir", run]) == 0
    capsys.readouterr()
    texts = []
    for seed in (1, 1, 2):
        sample = ["sample", run, "--seed", str(seed), "--tokens", "30", "--json"]
        assert main([*sample, "--prompt", "or"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["step"] == 4
        texts.append(found["text"])
    assert texts[0] == texts[1] != texts[2]
    assert all(len(text) == 32 and text[:2] == "or" for text in texts)
    assert set(texts[0]) <= set(SMALL.read())
    assert main(["sample", run, "--prompt", "z", "--tokens", "3", "--top-k", "1"]) == 0
    assert len(capsys.readouterr().out.rstrip("\n")) == 4
    for prompt, words in (
        ("%", "the character '%' is not"),
        ("", "one token at least"),
    ):
        assert main(["sample", run, "--prompt", prompt]) == 2
        assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (TASK, "of the task modular; only gpt writes text"),
        (GptTask(), "no checkpoint to sample from"),
    ],
)
def test_what_cannot_be_sampled_is_told(tmp_path, capsys, task, words):
    assert main(["sample", str(tmp_path)]) == 2
    assert "holds no run" in capsys.readouterr().err
    record(tmp_path / "run", settings_of(task), {"train_loss": [3.0]})
    assert main(["sample", str(tmp_path / "run")]) == 2
    assert words in capsys.readouterr().err
