"""A corpus of GLUE's form and an encoder of BERT's, both of no size."""

import dataclasses
import json

import numpy as np

from experiments.data.glue import CORPORA, Sentences, Table, digest, parse

WORDS = ["a", "the", "film", "plot", "is", "was", "good", "bad", "no", "very", "##s"]
MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
SIZES = {
    "vocab_size": len(MARKS) + len(WORDS),
    "max_position_embeddings": 32,
    "type_vocab_size": 2,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "layer_norm_eps": 1e-12,
}


def shapes(sizes=SIZES):
    """Shapes of an encoder's arrays, by Hugging Face's names."""
    width, inner = sizes["hidden_size"], sizes["intermediate_size"]
    found = {
        "embeddings.word_embeddings.weight": (sizes["vocab_size"], width),
        "embeddings.position_embeddings.weight": (
            sizes["max_position_embeddings"],
            width,
        ),
        "embeddings.token_type_embeddings.weight": (sizes["type_vocab_size"], width),
    }
    linear = {"pooler.dense": (width, width)}
    norms = ["embeddings.LayerNorm"]
    for number in range(sizes["num_hidden_layers"]):
        own = f"encoder.layer.{number}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            linear[f"{own}.attention.{part}"] = (width, width)
        linear[f"{own}.intermediate.dense"] = (inner, width)
        linear[f"{own}.output.dense"] = (width, inner)
        norms += [f"{own}.attention.output.LayerNorm", f"{own}.output.LayerNorm"]
    for name, shape in linear.items():
        found |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    for name in norms:
        found |= {f"{name}.weight": (width,), f"{name}.bias": (width,)}
    return found


def random_arrays(seed=0):
    """Weights larger than BERT's: what one of them does is to be seen."""
    rng = np.random.default_rng(seed)
    return {
        name: rng.normal("Norm.w" in name, 0.3, shape).astype(np.float32)
        for name, shape in shapes().items()
    }


def write_encoder(folder, arrays=None, **config):
    """An encoder's folder."""
    from safetensors.numpy import save_file
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    folder.mkdir(parents=True, exist_ok=True)
    named = {"model_type": "bert", "hidden_act": "gelu", **SIZES, **config}
    (folder / "config.json").write_text(json.dumps(named), encoding="utf-8")
    save_file(arrays or random_arrays(), folder / "model.safetensors")
    vocabulary = {word: number for number, word in enumerate(MARKS + WORDS)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.enable_padding(length=128)  # as the files at large have it
    tokenizer.enable_truncation(128)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def sentences(corpus, rows, seed):
    """Of 1 to 9 words; the class is told by the last one."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(corpus.classes), rows).astype(np.int32)
    ends = ("bad", "good", "very")

    def text(end):
        return " ".join([*rng.choice(WORDS[:6], rng.integers(0, 9)), end])

    return Sentences(
        [tuple(text(ends[label]) for _ in corpus.columns) for label in labels], labels
    )


COLUMNS = {
    "sst2": ("sentence", "label"),
    "mrpc": ("Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"),
    "qnli": ("index", "question", "sentence", "label"),
    "mnli": (
        "index",
        "promptID",
        "pairID",
        "genre",
        "sentence1_binary_parse",
        "sentence2_binary_parse",
        "sentence1_parse",
        "sentence2_parse",
        "sentence1",
        "sentence2",
        "label1",
        "gold_label",
    ),
}
"""Of the tables that GLUE ships."""


def table(name, examples):
    """A table as GLUE ships it."""
    corpus, header = CORPORA[name], COLUMNS[name]
    lines = ["\t".join(header)]
    for row, (texts, label) in enumerate(zip(*examples, strict=True)):
        fields = {column: str(10 * row + i) for i, column in enumerate(header)}
        fields |= dict(zip(corpus.columns, texts, strict=True))
        lines.append(
            "\t".join((fields | {corpus.label: corpus.classes[label]}).values())
        )
    return ("\n".join(lines) + "\n").encode()


def write_corpus(root, name, train=40, validation=24):
    """Its tables in ``root``; the corpus with their numbers of rows and checksums."""
    corpus, tables = CORPORA[name], {}
    folder = root / "glue" / corpus.folder
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (split, old) in enumerate(corpus.tables.items()):
        rows = train if split == "train" else validation
        contents = table(name, sentences(corpus, rows, seed))
        (folder / f"{old.file}.tsv").write_bytes(contents)
        sha256 = old.sha256 and digest(parse(contents, corpus), corpus)
        tables[split] = Table(old.file, rows, sha256)
    return dataclasses.replace(corpus, tables=tables)
