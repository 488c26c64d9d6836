from __future__ import annotations

from pathlib import Path

import mxnet as mx
import numpy as np
import pytest

from steps import artifact
from steps.models.textcnn import MARGIN, TextCnn, TextCnnHyperparameters
from steps.vocabulary import PADDING
from tests.steps.small_models import SMALL, claims, trained


@pytest.fixture
def network() -> TextCnn:
    made = TextCnn(20, 6, TextCnnHyperparameters(kind="textcnn", filters=5), labels=3)
    made.initialize(mx.init.Normal(1.0))
    made.output.bias.set_data(mx.nd.array([1, 2, 3]))
    for convolution in made.convolutions:  # what a window in the padding would say
        convolution.bias.set_data(mx.nd.full(5, 3.0))
    made.hybridize()
    return made


@pytest.mark.parametrize("words", [[5], [5, 6, 7], [5, 6, 7, 8, 9, 10, 11]])
def test_more_padding_changes_nothing(network: TextCnn, words: list[int]) -> None:
    made = [
        network(mx.nd.array([words + [PADDING] * more])).asnumpy()
        for more in (MARGIN, MARGIN + 1, 50)
    ]
    assert np.allclose(made[0], made[1], atol=1e-5)
    assert np.allclose(made[0], made[2], atol=1e-5)


@pytest.mark.parametrize("words", [[], [5], [5, 6, 7], [5, 6, 7, 8, 9, 10, 11]])
def test_the_largest_is_of_windows_that_begin_in_the_text(
    network: TextCnn, words: list[int]
) -> None:
    vectors = np.zeros((len(words) + MARGIN, 6), np.float32)
    vectors[: len(words)] = network.embedding.data().asnumpy()[np.array(words, int)]
    largest = []
    for width, convolution in zip((3, 4, 5), network.convolutions, strict=True):
        weight = convolution.weight.data().asnumpy()  # (filters, dimensions, width)
        seen = [
            np.einsum("fdw,wd->f", weight, vectors[first : first + width]) + 3.0
            for first in range(len(words))
        ]
        largest.append(np.max([np.zeros(5), *seen], axis=0))
    output = network.output.weight.data().asnumpy() @ np.concatenate(largest) + [1, 2, 3]
    made = network(mx.nd.array([words + [PADDING] * 12])).asnumpy()[0]
    assert np.allclose(made, output, atol=1e-3)


def test_the_order_of_words_matters(network: TextCnn) -> None:
    rows = mx.nd.array([[5, 6, 7, 8] + [PADDING] * 12, [8, 7, 6, 5] + [PADDING] * 12])
    one, other = network(rows).asnumpy()
    assert not np.allclose(one, other)


def test_the_weights_of_each_label_have_a_norm_within_the_limit(tmp_path: Path) -> None:
    model = trained(tmp_path, claims(200), **SMALL["textcnn"], max_norm="0.2")
    stored = mx.nd.load(str(model / artifact.PARAMS))
    norms = np.linalg.norm(stored["arg:textcnn_dense0_weight"].asnumpy(), axis=1)
    assert len(norms) == 4
    assert norms.max() == pytest.approx(0.2, rel=1e-4)
