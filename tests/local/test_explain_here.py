"""Explanations without any cloud: the image's own command, kept warm."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipelines.cli.explain import command
from pipelines.errors import UserError
from pipelines.local.environments import Environments
from pipelines.local.explain_here import LONGEST_TEXT, Explainer
from pipelines.settings import Settings
from tests.image_here import environment_of_the_tests
from tests.steps.small_models import SMALL, archived, claims, trained

ROOT = Path(__file__).resolve().parents[2]
TEXT = "Water drips after two weeks; the fuse!"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    archived(trained(tmp_path_factory.mktemp("job"), claims(300), epochs="2"), folder)
    return folder


@pytest.fixture(scope="module", autouse=True)
def this_python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    found = environment_of_the_tests(tmp_path_factory.mktemp("code"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Environments, "find", lambda _self, _uri: found)
        yield


@pytest.fixture(scope="module")
def explainer(model: Path) -> Iterator[Explainer]:
    with Explainer(Settings.load(), model) as explainer:
        yield explainer


def process_of(explainer: Explainer) -> int:
    return explainer._process._process.pid


def run(*arguments: str, given: str | bytes | None = None) -> Result:
    return CliRunner().invoke(command, list(arguments), input=given)


def test_a_text_is_explained_by_its_words(explainer: Explainer) -> None:
    made = explainer.explain(TEXT)
    assert made.label == "leak"
    assert made.is_exact
    assert made.confidence == made.probabilities["leak"] == max(made.probabilities.values())
    assert [word.text for word in made.words] == [
        *("Water", "drips", "after", "two", "weeks", ";", "the", "fuse", "!")
    ]
    assert all(TEXT[word.start : word.end] == word.text for word in made.words)
    assert max(made.words, key=lambda word: word.weight).text in ("Water", "drips")
    assert made.rest + sum(word.weight for word in made.words) == pytest.approx(made.logit)
    assert "Water drips" in [phrase.text for phrase in made.phrases]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        '{"text": "x"}\n{"text": "y"}',
        "\ud800\x00\u2028 \r\n\x1b[2J",
        "a" * LONGEST_TEXT,
        "e" + "\u0301" * 100_000,
        "水" * 50_000,
    ],
    ids=["empty", "blank", "lines", "controls", "one word", "marks", "no blanks"],
)
def test_any_text_has_an_answer_of_its_own(explainer: Explainer, text: str) -> None:
    before = process_of(explainer)
    made = explainer.explain(text)
    assert all(text[word.start : word.end] == word.text for word in made.words)
    assert explainer.explain(TEXT).label == "leak"  # the next answer is that of the next text
    assert process_of(explainer) == before


def test_a_text_that_is_too_long_is_refused(explainer: Explainer) -> None:
    with pytest.raises(UserError, match=r"has 1,048,577 characters: expected at most 1,048,576"):
        explainer.explain("a" * (LONGEST_TEXT + 1))


def test_a_process_that_has_died_is_started_again(explainer: Explainer) -> None:
    expected = explainer.explain(TEXT)
    before = process_of(explainer)
    os.kill(before, signal.SIGKILL)
    assert explainer.explain(TEXT) == expected
    assert process_of(explainer) != before


def test_threads_get_the_answers_to_their_own_texts(explainer: Explainer) -> None:
    texts = [f"{word} number {number}" for number in range(8) for word in ("leak", "fuse", "rust")]
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(explainer.explain, texts))
    assert [" ".join(word.text for word in one.words) for one in made] == texts


def test_a_text_that_takes_too_long_is_one_line_and_the_next_is_explained(model: Path) -> None:
    with Explainer(Settings.load(), model, timeout=0.05) as explainer:
        with pytest.raises(UserError, match="was not explained within 0 s"):
            explainer.explain(TEXT)
        explainer._timeout = 60
        assert explainer.explain(TEXT).label == "leak"


def test_the_process_ends_with_its_explainer(model: Path) -> None:
    with Explainer(Settings.load(), model) as explainer:
        explainer.explain(TEXT)
        process = process_of(explainer)
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_who_closes_it_does_not_wait_for_a_text(model: Path) -> None:
    explainer = Explainer(Settings.load(), model)
    explainer.explain(TEXT)
    process = process_of(explainer)
    os.kill(process, signal.SIGSTOP)  # it would answer at the end of its time
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(explainer.explain, TEXT)
        while not explainer._lock.locked():
            time.sleep(0.01)
        began = time.monotonic()
        explainer.close()
        assert time.monotonic() - began < 10
        with pytest.raises(UserError, match="its explainer was closed"):
            asked.result()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_a_folder_without_a_model_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no model\.tar\.gz in this folder"):
        Explainer(Settings.load(), tmp_path)


def test_a_damaged_model_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "model.tar.gz").write_bytes(b"no archive")
    with (
        Explainer(Settings.load(), tmp_path) as explainer,
        pytest.raises(UserError, match=r"model\.tar\.gz is no readable tar archive"),
    ):
        explainer.explain(TEXT)


def test_no_text_reaches_what_the_process_prints(
    explainer: Explainer, capfd: pytest.CaptureFixture[str]
) -> None:
    explainer.explain("a secret of Mr Miller")
    assert capfd.readouterr() == ("", "")


def test_the_command_shows_words_for_and_against(model: Path) -> None:
    done = run("water drips, a loud fuse", "--model", str(model))
    assert done.exit_code == 0, done.output
    first, *_ = done.output.splitlines()
    assert first.startswith("leak  confidence 0.")
    part_for, part_against = done.output.split("words against it")
    assert "drips" in part_for.split("words for it")[1]
    assert "fuse" in part_against.split("phrases")[0]
    assert "█" in done.output


def test_the_command_shows_programs_everything(model: Path) -> None:
    done = run("-", "--model", str(model), "--json", given="\ufeffwater drips")
    made = json.loads(done.stdout)
    assert made["label"] == "leak"
    assert [(word["text"], word["start"], word["end"]) for word in made["words"]] == [
        ("water", 0, 5),
        ("drips", 6, 11),
    ]


def test_the_command_says_what_it_has_only_estimated(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("model")
    archived(trained(tmp_path_factory.mktemp("job"), claims(300), **SMALL["cnn"]), folder)
    done = run("water drips", "--model", str(folder))
    assert "estimated: each weight is what the logit loses without the word" in done.output


def test_the_command_lets_no_text_steer_a_terminal(model: Path) -> None:
    done = run("-", "--model", str(model), given="water\x1b[2Jdrips \u202e fuse")
    assert done.exit_code == 0
    assert "\x1b" not in done.output
    assert "\u202e" not in done.output


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_the_command_refuses_a_blank_text(model: Path, text: str) -> None:
    done = run(text, "--model", str(model))
    assert isinstance(done.exception, UserError)
    assert "the text is blank" in str(done.exception)


def test_the_second_text_needs_no_loading(explainer: Explainer) -> None:
    explainer.explain(TEXT)
    began = time.monotonic()
    explainer.explain(TEXT)
    assert time.monotonic() - began < 0.5
