"""The kind `bert`: a pretrained BERT with a classifier on top, fine-tuned.

Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers", with GluonNLP's network
(`BERTClassifier`), optimiser (`BERTAdam`) and tokeniser: warm-up, then a learning rate that falls
to zero, clipped gradients, no weight decay of biases and norms. The network is as large as the
given weights are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import mxnet as mx
from gluonnlp.model.bert import BERTClassifier, BERTEncoder, BERTModel
from gluonnlp.optimizer import BERTAdam

from steps.descent import Examples, Task, contexts, initialize
from steps.errors import InputError
from steps.hyperparameters import NetworkHyperparameters, optional, within
from steps.inputs import MAX_LENGTH
from steps.word_pieces import PieceVocabulary, WordPieces

CHANNEL = "pretrained"

_HEAD = 64  # dimensions of an attention head in every BERT that was published
_SPREAD = 0.02  # of random weights, as in the paper


@dataclass(frozen=True)
class BertHyperparameters(NetworkHyperparameters):
    """What only this kind has."""

    OWN_LEARNING_RATE: ClassVar[float] = 3e-5
    LARGEST_BATCH: ClassVar[int] = 32
    OWN_EPOCHS: ClassVar[int] = 3  # what the falling learning rate is laid out for

    patience: int = within(3, 1, 1000)
    pretrained_folder: str = optional()  # with weights and vocabulary; empty: the channel
    lower: bool = True  # the weights know small letters only ("uncased")
    length: int = within(256, WordPieces.SHORTEST, MAX_LENGTH)  # pieces that are looked at
    heads: int = within(0, 0, 1024)  # 0: one for each 64 dimensions
    dropout: float = within(0.1, 0.0, 0.9)  # of the pre-trained network and before the output
    warmup: float = within(0.1, 0.0, 1.0)  # share of the training
    wd: float = within(0.01, 0.0, 1.0)  # weight decay
    max_gradient: float = within(1.0, 1e-6, 1e6)  # norm of all gradients together

    def rate(self, gone: float) -> float:
        """The share of the learning rate when so many epochs are done."""
        rising = self.warmup * self.most_epochs
        if gone < rising:
            return gone / rising
        return max(0.0, (self.most_epochs - gone) / max(self.most_epochs - rising, 1e-9))


HYPERPARAMETERS = BertHyperparameters


class Bert(mx.gluon.HybridBlock):  # type: ignore[misc]  # MXNet has no types
    """Scores of sequences of pieces: what else a BERT wants to know follows from its padding."""

    def __init__(self, classifier: BERTClassifier, padding: int) -> None:
        super().__init__(prefix="bert_")
        self.classifier = classifier
        self._padding = padding

    def hybrid_forward(self, F: Any, x: Any) -> Any:  # noqa: N803
        # x: (rows, length) numbers of pieces -> (rows, labels)
        lengths = F.sum(x != self._padding, axis=1)
        return self.classifier(x, F.zeros_like(x), lengths)


class Sizes(NamedTuple):
    """What a file of weights is for."""

    pieces: int
    types: int  # of pieces: BERT knows a first and a second sentence
    units: int
    hidden: int
    layers: int
    longest: int  # pieces of a text


def prepare(examples: Examples, settings: BertHyperparameters) -> Task:
    """How to learn from the examples. Raises InputError without pretrained weights."""
    weights, vocabulary = pretrained(settings.pretrained_folder, examples.channel)
    sizes = measure(weights)
    inputs = WordPieces(PieceVocabulary.read(vocabulary), settings.length, settings.lower)
    if inputs.width != sizes.pieces:
        raise InputError(
            f"{vocabulary.name} has {inputs.width} pieces, but {weights.name} weights for "
            f"{sizes.pieces}: expected the vocabulary that the weights were trained with"
        )
    if settings.length > sizes.longest:
        raise InputError(
            f"hyperparameter length is {settings.length}, but {weights.name} knows "
            f"{sizes.longest} places of a text at most"
        )
    network = Bert(_classifier(sizes, settings, examples.labels), inputs.padding)
    initialize(network, settings.seed, mx.init.Normal(_SPREAD))
    _load(network.classifier.bert, weights)
    for name, parameter in network.collect_params().items():
        if name.endswith(("bias", "gamma", "beta")):
            parameter.wd_mult = 0.0
    return Task.softmax(
        network,
        inputs,
        inputs.rows(examples.texts),
        examples,
        optimizer=partial(BERTAdam, wd=settings.wd),
        rate=settings.rate,
        clip=settings.max_gradient,
    )


def pretrained(given: str, channel: Callable[[str], Path]) -> tuple[Path, Path]:
    """The files of weights and vocabulary in the given folder, else in the channel.

    Raises InputError unless there is one of each.
    """
    folder = Path(given) if given else channel(CHANNEL)
    found = [
        [path for path in sorted(folder.glob("*")) if path.name.endswith(endings)]
        for endings in ((".params",), (".vocab", "vocab.txt"))
    ]
    if [len(paths) for paths in found] != [1, 1]:
        place = f"the folder {given!r}" if given else f"the channel {CHANNEL!r}"
        raise InputError(
            f"kind bert needs pretrained weights: {place} holds {len(found[0])} files *.params and "
            f"{len(found[1])} files *.vocab, expected one of each; where there is a network, "
            "python -c \"import gluonnlp; gluonnlp.model.get_model('bert_12_768_12', "
            "dataset_name='book_corpus_wiki_en_uncased', root='pretrained')\" fetches them"
        )
    return found[0][0], found[1][0]


def measure(weights: Path) -> Sizes:
    """The sizes of the BERT that a file has weights for, in the names that GluonNLP saves.

    Raises InputError for a file that is none.
    """
    try:
        shapes = {name: array.shape for name, array in mx.nd.load(str(weights)).items()}
        cells = "encoder.transformer_cells."
        return Sizes(
            pieces=shapes["word_embed.0.weight"][0],
            types=shapes["token_type_embed.0.weight"][0],
            units=shapes["encoder.position_weight"][1],
            hidden=shapes[f"{cells}0.ffn.ffn_1.weight"][0],
            layers=len({name.split(".")[2] for name in shapes if name.startswith(cells)}),
            longest=shapes["encoder.position_weight"][0],
        )
    except (mx.MXNetError, KeyError, AttributeError, ValueError, IndexError) as error:
        raise _misfit(weights) from error


def _classifier(sizes: Sizes, settings: BertHyperparameters, labels: int) -> BERTClassifier:
    heads = settings.heads or sizes.units // _HEAD
    if not heads or sizes.units % heads:
        raise InputError(
            f"the weights have {sizes.units} dimensions, which cannot be shared by {heads} "
            "attention heads: set the hyperparameter heads"
        )
    encoder = BERTEncoder(
        num_layers=sizes.layers,
        units=sizes.units,
        hidden_size=sizes.hidden,
        max_length=sizes.longest,
        num_heads=heads,
        dropout=settings.dropout,
        prefix="bert_encoder_",
    )
    model = BERTModel(
        encoder,
        vocab_size=sizes.pieces,
        token_type_vocab_size=sizes.types,
        units=sizes.units,
        embed_size=sizes.units,
        use_decoder=False,
        use_classifier=False,
        prefix="bert_",
    )
    made = BERTClassifier(model, labels, settings.dropout, prefix="bert_classifier_")
    made.classifier[-1].weight.shape = (labels, sizes.units)  # known before the first text is seen
    model.pooler.weight.shape = (sizes.units, sizes.units)
    return made


def _load(model: BERTModel, weights: Path) -> None:
    """Gives the model its weights; what pretraining needed besides is left out."""
    try:
        model.load_parameters(str(weights), ctx=contexts(model), ignore_extra=True, cast_dtype=True)
    except (mx.MXNetError, AssertionError, ValueError) as error:
        raise _misfit(weights) from error


def _misfit(weights: Path) -> InputError:
    return InputError(
        f"{weights.name} holds no weights of a BERT as GluonNLP saves them: expected those of its "
        "model zoo"
    )
