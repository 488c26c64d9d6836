from __future__ import annotations

import mxnet as mx
import numpy as np
import pytest

from steps.models.cnn import Cnn, CnnHyperparameters
from steps.models.lstm import Lstm, LstmHyperparameters
from steps.network import F32
from steps.vocabulary import PADDING

WIDTH = 3
TEXTS = [[], [5], [5, 6, 7], [5, 6, 7, 8, 9, 10, 11]]


@pytest.fixture
def cnn() -> Cnn:
    made = Cnn(words=20, dimensions=6, width=WIDTH, dropout=0.5, labels=3)
    made.initialize(mx.init.Normal(1.0))
    made.convolution.bias.set_data(mx.nd.full(6, 3.0))  # what a window in the padding would say
    made.hybridize()
    return made


def lstm(**given: object) -> Lstm:
    settings = LstmHyperparameters(kind="lstm", embed_size=6, hidden_size=5, **given)  # type: ignore[arg-type]
    made = Lstm(20, settings, labels=3)
    made.initialize(mx.init.Normal(1.0))
    made.hybridize()
    return made


def padded(words: list[int], length: int) -> mx.nd.NDArray:
    return mx.nd.array([words + [PADDING] * (length - len(words))])


def said(network: mx.gluon.HybridBlock, words: list[int], length: int) -> F32:
    made: F32 = network(padded(words, length)).asnumpy()[0]
    return made


@pytest.mark.parametrize("words", TEXTS)
def test_more_padding_changes_nothing_for_a_cnn(cnn: Cnn, words: list[int]) -> None:
    fewest = max(1, len(words)) + WIDTH - 1
    made = [said(cnn, words, length) for length in (fewest, fewest + 1, 50)]
    assert np.allclose(made[0], made[1], atol=1e-5)
    assert np.allclose(made[0], made[2], atol=1e-5)


@pytest.mark.parametrize("given", [{}, {"n_layers": 2}, {"bidirectional": False, "n_layers": 3}])
@pytest.mark.parametrize("words", TEXTS)
def test_more_padding_changes_nothing_for_an_lstm(
    words: list[int], given: dict[str, object]
) -> None:
    network = lstm(**given)
    made = [said(network, words, length) for length in (len(words) or 1, 16, 50)]
    assert np.allclose(made[0], made[1], atol=1e-5)
    assert np.allclose(made[0], made[2], atol=1e-5)


def sigmoid(values: F32) -> F32:
    return 1 / (1 + np.exp(-values))


def recurrent(parameters: dict[str, F32], signal: F32) -> F32:
    """An LSTM written down from its equations: (length, size) -> (length, hidden)."""
    hidden = cell = np.zeros(5)
    made = []
    for word in signal:
        gates = (
            parameters["i2h_weight"] @ word
            + parameters["h2h_weight"] @ hidden
            + parameters["i2h_bias"]
            + parameters["h2h_bias"]
        )
        entry, forget, candidate, output = np.split(gates, 4)
        cell = sigmoid(forget) * cell + sigmoid(entry) * np.tanh(candidate)
        hidden = sigmoid(output) * np.tanh(cell)
        made.append(hidden)
    return np.array(made)


@pytest.mark.parametrize("words", TEXTS[1:])
def test_an_lstm_takes_the_largest_over_time_of_both_directions(words: list[int]) -> None:
    network = lstm()
    signal = network.embedding.data().asnumpy()[np.array(words)]

    def parameters(layer: mx.gluon.Block) -> dict[str, F32]:
        return {
            name.split("_l0_")[1]: each.data().asnumpy()
            for name, each in layer.collect_params().items()
        }

    there = recurrent(parameters(network.forwards[0]), signal)
    back = recurrent(parameters(network.backwards[0]), signal[::-1])
    largest = np.concatenate([there.max(axis=0), back.max(axis=0)])
    expected = network.output.weight.data().asnumpy() @ largest
    assert np.allclose(said(network, words, 20), expected, atol=1e-4)


@pytest.mark.parametrize("words", TEXTS)
def test_a_cnn_takes_the_largest_of_the_windows_that_begin_in_the_text(
    cnn: Cnn, words: list[int]
) -> None:
    vectors = np.zeros((len(words) + WIDTH - 1, 6), np.float32)
    vectors[: len(words)] = cnn.embedding.data().asnumpy()[np.array(words, int)]
    weight = cnn.convolution.weight.data().asnumpy()  # (filters, dimensions, width)
    seen = [
        np.einsum("fdw,wd->f", weight, vectors[first : first + WIDTH]) + 3.0
        for first in range(len(words))
    ]
    largest = np.max([np.zeros(6), *seen], axis=0)
    expected = cnn.output.weight.data().asnumpy() @ largest
    assert np.allclose(said(cnn, words, 20), expected, atol=1e-3)


@pytest.mark.parametrize(
    ("power_decay", "rates"),
    [
        (False, [1, 1, 1, 1, 0.9, 0.81, 0.729, 0.9**4, 0.9**5]),
        (True, [1, 1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.01]),
    ],
)
def test_the_learning_rate_falls_as_the_sample_says(power_decay: bool, rates: list[float]) -> None:
    made = CnnHyperparameters(kind="cnn", epoch_factor=4, power_decay=power_decay)
    assert [made.rate(epoch + 0.5) for epoch in range(9)] == pytest.approx(rates)
    assert [made.rate(epoch) for epoch in range(9)] == pytest.approx(rates)
