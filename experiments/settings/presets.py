"""Published runs by name: the settings of one figure or table row each.

Every preset states what it reproduces, the time it takes on two CPU cores (at 45 ms a
step of the transformers), and the published result. What it does not name has the
task's own default, the published baseline.
"""

from collections.abc import Callable
from typing import Any

Preset = Callable[[], dict[str, Any]]


def mul97_baseline() -> dict[str, Any]:
    """x·y mod 97, Adam alone: 39,890 steps to 95 % (arXiv 2405.20233). 35 min."""
    return {"steps": 45_000, "eval_every": 100, "stop_at": 0.99}


def mul97_ema() -> dict[str, Any]:
    """x·y mod 97, Grokfast-EMA and decay .005: 910 steps (arXiv 2405.20233). 2 min."""
    return {
        "filter": "ema",
        "alpha": 0.98,
        "lamb": 2.0,
        "weight_decay": 0.005,
        "steps": 3000,
        "eval_every": 20,
        "stop_at": 0.99,
    }


def mul97_ma() -> dict[str, Any]:
    """x·y mod 97, Grokfast-MA and decay .01: 790 steps (arXiv 2405.20233). 2 min."""
    return {
        "filter": "ma",
        "window_size": 100,
        "lamb": 5.0,
        "weight_decay": 0.01,
        "steps": 3000,
        "eval_every": 20,
        "stop_at": 0.99,
    }


def mul97_ma_no_decay() -> dict[str, Any]:
    """x·y mod 97, Grokfast-MA without decay: 2,940 steps (Table 1, the same). 4 min."""
    return mul97_ma() | {"weight_decay": 0.0, "steps": 5000}


def mul97_two_stage() -> dict[str, Any]:
    """x·y mod 97, Grokfast-MA from step 500, no decay: 1,920 steps (Table 1). 3 min."""
    return mul97_ma_no_decay() | {"start_step": 500}


def div97_power() -> dict[str, Any]:
    """x/y mod 97 of arXiv 2201.02177: its transformer, AdamW, decay 1. 75 min."""
    return {
        "operation": "div",
        "architecture": "power",
        "optimizer": "adamw",
        "weight_decay": 1.0,
        "steps": 100_000,
        "eval_every": 100,
        "stop_at": 0.99,
    }


def mnist_baseline() -> dict[str, Any]:
    """MNIST: 44,022 steps to 95 % of its end (arXiv 2405.20233). 80 s."""
    return {}


def mnist_ema() -> dict[str, Any]:
    """MNIST, Grokfast-EMA and decay 2: 2,001 steps (arXiv 2405.20233). 90 s."""
    return {"filter": "ema", "alpha": 0.8, "lamb": 0.1, "weight_decay": 2.0}


def mnist_decay() -> dict[str, Any]:
    """MNIST, decay 2 without filter, the control: also 2,001 steps. 80 s."""
    return {"weight_decay": 2.0}


def mnist_ema_alone() -> dict[str, Any]:
    """MNIST, Grokfast-EMA at the baseline's decay, the other control. 90 s."""
    return mnist_ema() | {"weight_decay": 0.01}


def qm9_baseline() -> dict[str, Any]:
    """QM9: lowest validation loss (published: .00659, of another quantity). 25 s."""
    return {}


def qm9_ema() -> dict[str, Any]:
    """QM9, Grokfast-EMA and decay .01 (published: .00348, see qm9-baseline). 30 s."""
    return {"filter": "ema", "alpha": 0.9, "lamb": 1.0, "weight_decay": 0.01}


def qm9_decay() -> dict[str, Any]:
    """QM9, decay .01 without filter, the control. 25 s."""
    return {"weight_decay": 0.01}


def qm9_ema_alone() -> dict[str, Any]:
    """QM9, Grokfast-EMA without decay, the other control. 30 s."""
    return qm9_ema() | {"weight_decay": 0.0}


def cifar10_resnet18() -> dict[str, Any]:
    """CIFAR-10, ResNet-18, 300 epochs: 95.70 % (arXiv 2109.14119). Days; for a GPU."""
    return {}


def cifar10_small() -> dict[str, Any]:
    """The same of width 16, 5 epochs of 10,000 images: 62 % on two cores. 3.5 min."""
    return {
        "width": 16,
        "train_points": 10_000,
        "validation_points": 2000,
        "warmup_steps": 79,
        "schedule_steps": 316,
        "steps": 395,
        "eval_every": 79,
    }


def glue_sst2() -> dict[str, Any]:
    """SST-2, MiniLM: accuracy 89.8 %; BERT-base: 93.5 (arXiv 1810.04805). 6 min."""
    return {"corpus": "sst2", "learning_rate": 1e-4}


def glue_mrpc() -> dict[str, Any]:
    """MRPC, MiniLM, 3 epochs: F1 86.7; BERT-base: 88.9 (arXiv 1810.04805). 4 min."""
    return {
        "corpus": "mrpc",
        "learning_rate": 1e-4,
        "steps": 345,
        "warmup_steps": 35,
        "schedule_steps": 310,
        "eval_every": 115,
    }


def imdb_baseline() -> dict[str, Any]:
    """IMDb: best batch .84, lowest loss .517 (arXiv 2405.20233). 45 min."""
    return {"measures": "weight_norm+filter_effect+batch"}


def imdb_ema() -> dict[str, Any]:
    """IMDb, Grokfast-EMA and decay 10: .90, .412 (arXiv 2405.20233). 45 min."""
    grokfast = {"filter": "ema", "alpha": 0.98, "lamb": 2.0, "weight_decay": 10.0}
    return imdb_baseline() | grokfast


def imdb_decay() -> dict[str, Any]:
    """IMDb, decay 10 without filter, the control. 45 min."""
    return imdb_baseline() | {"weight_decay": 10.0}


def imdb_ema_alone() -> dict[str, Any]:
    """IMDb, Grokfast-EMA at the baseline's decay, the other control. 45 min."""
    return imdb_ema() | {"weight_decay": 1.0}


def shakespeare_cpu() -> dict[str, Any]:
    """The CPU setting of nanoGPT: 1.91; the published 1.88 is of 20 batches. 1 min."""
    return {}


def shakespeare_cpu_fast() -> dict[str, Any]:
    """The same at four times the learning rate: validation loss 1.77. 1 min."""
    return {"learning_rate": 4e-3}


def shakespeare() -> dict[str, Any]:
    """The GPU setting of nanoGPT, 10.7 M parameters: 1.4697 at best. For a GPU."""
    return {
        "layers": 6,
        "heads": 6,
        "width": 384,
        "block": 256,
        "dropout": 0.2,
        "batch_size": 64,
        "steps": 5000,
        "schedule_steps": 4900,
    }


def gpt2() -> dict[str, Any]:
    """GPT-2's smallest, 124 M, in batches of 12 (nanoGPT: 480): needs --tokenizer."""
    return {
        "layers": 12,
        "heads": 12,
        "width": 768,
        "block": 1024,
        "bias": True,
        "vocabulary": 50_257,
        "learning_rate": 6e-4,
        "beta2": 0.95,
        "warmup_steps": 2000,
        "steps": 600_000,
        "schedule_steps": 598_000,
        "eval_every": 1000,
    }


_PRESETS: dict[str, tuple[Preset, ...]] = {
    "modular": (
        mul97_baseline,
        mul97_ema,
        mul97_ma,
        mul97_ma_no_decay,
        mul97_two_stage,
        div97_power,
    ),
    "mnist": (mnist_baseline, mnist_ema, mnist_decay, mnist_ema_alone),
    "qm9": (qm9_baseline, qm9_ema, qm9_decay, qm9_ema_alone),
    "cifar": (cifar10_resnet18, cifar10_small),
    "glue": (glue_sst2, glue_mrpc),
    "imdb": (imdb_baseline, imdb_ema, imdb_decay, imdb_ema_alone),
    "gpt": (shakespeare_cpu, shakespeare_cpu_fast, shakespeare, gpt2),
}
PRESETS: dict[str, dict[str, Preset]] = {
    task: {preset.__name__.replace("_", "-"): preset for preset in presets}
    for task, presets in _PRESETS.items()
}
"""The presets of every task, by name."""
