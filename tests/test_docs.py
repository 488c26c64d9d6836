"""What README.md and docs/ name exists: commands, options, settings, files, policies, messages."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import shlex
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import botocore.session
import click
import pytest
from botocore import xform_name

from pipelines.cli import claimflow
from pipelines.settings import Settings
from pipelines.symptoms import SYMPTOMS, likely_cause
from steps.validation_settings import ValidationSettings
from tests.documents import DOCUMENTS, ROOT, blocks, sentences

ROOMS = ("batch", "ci", "containers", "docs", "lambdas", "pipelines", "steps", "tests")
INLINE = re.compile(r"`([^`]+)`")
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
ENDS = ("|", ">", "<", "&&", "||", ";", "…")  # what follows is for the shell, or left to the reader
AWS_OPTIONS = {"--region", "--profile", "--output", "--query"}
AWS_OWN = {("s3", "cp"), ("s3", "ls")}  # commands that are no operations of the API


@dataclass(frozen=True)
class Command:
    """A command as a document has it; in a sentence its arguments may be left out."""

    document: Path
    text: str
    is_whole: bool

    def __str__(self) -> str:
        return f"{self.document.name}: {self.text}"

    @property
    def words(self) -> list[str]:
        found: list[str] = []
        for word in shlex.split(self.text, comments=True):
            if word in ENDS:
                break
            found.append(word)
        return found


@cache
def commands(program: str) -> list[Command]:
    """The commands of a program: each line of a block, and each that is quoted in a sentence."""
    begins = re.compile(rf"(?:.*\$\()?(?:\.venv/bin/)?({program} [^)]*)")
    found = []
    for document in DOCUMENTS:
        lines = [
            line
            for block in blocks(document)
            if block.is_commands
            for one in block.commands
            for line in (one, *re.split(r"&&|\|\|", one)[1:])
        ]
        quoted = [" ".join(code.split()) for code in INLINE.findall(sentences(document))]
        for texts, is_whole in ((lines, True), (quoted, False)):
            matches = (begins.match(text.strip()) for text in texts)
            found += [Command(document, match[1].strip(), is_whole) for match in matches if match]
    return found


def resolve(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that the words name, and the words that are left for it."""
    command: click.Command = claimflow
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        _, found, words = command.resolve_command(click.Context(command), words)
        assert found is not None
        command = found
    return command, words


def test_the_documents_have_commands_to_check() -> None:
    assert len(commands("claimflow")) > 40
    assert len(commands("aws")) > 15


@pytest.mark.parametrize("command", commands("claimflow"), ids=str)
def test_each_command_of_ours_exists_with_its_options(command: Command) -> None:
    found, rest = resolve(command.words[1:])
    if command.is_whole:
        assert not isinstance(found, click.Group), "a group alone does nothing"
        found.make_context(command.text, rest)  # parses, and runs nothing
        return
    known = {option for parameter in found.params for option in parameter.opts} | {"--help"}
    assert {word for word in rest if word.startswith("-")} <= known


def test_a_command_that_does_not_exist_is_found() -> None:
    with pytest.raises(click.UsageError):
        resolve(["model", "aprove", "1"])
    found, rest = resolve(["deploy", "--dryrun"])
    with pytest.raises(click.UsageError):
        found.make_context("deploy", rest)


@pytest.mark.parametrize("command", commands("aws"), ids=str)
def test_each_command_of_aws_is_an_operation_with_these_parameters(command: Command) -> None:
    _, service, *rest = command.words
    operation, *arguments = rest
    if (service, operation) in AWS_OWN:
        return
    model = botocore.session.Session().get_service_model(service)
    operations = {xform_name(name, "-"): name for name in model.operation_names}
    assert operation in operations
    shape = model.operation_model(operations[operation]).input_shape
    members: dict[str, Any] = shape.members if shape else {}
    known = AWS_OPTIONS | {f"--{xform_name(name, '-')}" for name in members}
    given = {word for word in arguments if word.startswith("--")}
    assert given <= known
    if command.is_whole:
        required = {
            f"--{xform_name(name, '-')}" for name in (shape.required_members if shape else [])
        }
        assert required <= given


@pytest.mark.parametrize("command", commands("make"), ids=str)
def test_each_target_of_make_has_a_rule(command: Command) -> None:
    done = subprocess.run(
        ["make", "--dry-run", *command.words[1:]],  # noqa: S607 - as a user calls it
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_each_file_that_is_named_exists(document: Path) -> None:
    text = sentences(document)
    links = {link for link in LINK.findall(text) if "://" not in link}
    quoted = {
        code
        for code in INLINE.findall(text)
        if code.startswith(tuple(f"{room}/" for room in ROOMS)) and not re.search(r"[\s<*{…]", code)
    }
    made = set(re.findall(r"New file `([^`]+)`", text))  # by who follows the document
    missing = [name for name in quoted - made if not (ROOT / name).exists()]
    missing += [link for link in links if not (document.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_each_place_in_a_document_that_is_linked_is_a_heading(document: Path) -> None:
    for file, place in re.findall(r"\]\(([\w./-]*)#([^)]+)\)", sentences(document)):
        assert place in _places(document.parent / file if file else document), f"{file}#{place}"


def _places(document: Path) -> set[str]:
    """What can be linked to, as GitHub makes it from a document's headings."""
    headings = re.findall(r"^#+ (.*)$", sentences(document), re.MULTILINE)
    return {
        re.sub(r"[^\w\s-]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    }


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_each_policy_is_json(document: Path) -> None:
    for body in _texts(document, "json"):
        found = json.loads(body)
        statements = found.get("Statement", [found]) if isinstance(found, dict) else found
        for one in statements:
            assert one["Effect"] == "Allow"
            assert {"Sid", "Action", "Principal"} <= set(one)
            assert one["Principal"] != "*"


def test_the_settings_of_the_example_are_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (example,) = _texts(ROOT / "docs" / "aws.md", "toml")
    monkeypatch.chdir(tmp_path)
    for commented in (example, example.replace("# vpc_id", "vpc_id").replace("# subnet", "subnet")):
        Path("claimflow.toml").write_text(commented, "utf-8")
        prod, dev = Settings.load(stage="prod"), Settings.load(stage="dev")
        assert (prod.prefix, prod.min_accuracy) == ("claims-prod", 0.85)
        assert prod.deployment.create_repositories
        assert not dev.deployment.create_repositories
    assert prod.deployment.vpc_id


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_each_example_of_settings_can_be_read(
    document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for example in _texts(document, "toml"):
        Path("claimflow.toml").write_text(textwrap.dedent(example), "utf-8")
        for stage in ("dev", *re.findall(r"^\[stages\.(\w+)\]", example, re.MULTILINE)):
            settings = Settings.load(stage=stage)
            ValidationSettings.from_arguments(_options(settings.validation))


@pytest.fixture(scope="module")
def reference() -> Any:
    """The module `docs/configuration.py`."""
    path = ROOT / "docs" / "configuration.py"
    specification = importlib.util.spec_from_file_location("configuration", path)
    assert specification and specification.loader
    found = importlib.util.module_from_spec(specification)
    sys.modules["configuration"] = found  # dataclasses look themselves up there
    specification.loader.exec_module(found)
    return found


def test_what_pipelines_know_of_hyperparameters_is_what_the_steps_have(reference: Any) -> None:
    written = (ROOT / "pipelines" / "hyperparameters.json").read_text("utf-8")
    assert written == reference.known(), "`make docs` writes it anew"


def test_the_reference_of_settings_is_what_the_settings_say(reference: Any) -> None:
    definition = json.loads((ROOT / "tests/pipelines/golden/definition.json").read_text("utf-8"))
    written = reference.DOCUMENT.read_text("utf-8")
    assert written == reference.document(definition), "`make docs` writes it anew"
    for row in re.findall(r"^\| `.*$", written, re.MULTILINE):
        assert row.split(" | ")[-1].removesuffix(" |").strip(), f"no words for {row}"


TROUBLES = ROOT / "docs" / "troubleshooting.md"
SAMPLES = re.compile(r"^\| ([a-z -]+) \| `(.+?)` \| ", re.MULTILINE)


@pytest.mark.parametrize(
    "message",
    [
        message
        for row in re.findall(r"^\| (.*?) \| ", TROUBLES.read_text("utf-8"), re.MULTILINE)
        for message in INLINE.findall(row)
        if " " in message and not message.startswith(("error: command", "Python.h"))  # gcc's
    ],
)
def test_each_message_that_is_quoted_is_one_of_ours(message: str) -> None:
    parts = [re.escape(part.strip()) for part in message.split("…")]
    pattern = re.compile(".*".join(parts), re.DOTALL)
    assert any(map(pattern.search, _messages()))


def test_each_symptom_of_a_failed_step_is_listed_with_a_message_that_shows_it() -> None:
    samples = dict(SAMPLES.findall(TROUBLES.read_text("utf-8").partition("<!-- symptoms -->")[2]))
    known = {symptom.name: symptom.step for symptom in SYMPTOMS}
    assert set(samples) == set(known)
    for name, message in samples.items():
        assert likely_cause(known[name], message).symptom == name


@cache
def _messages() -> tuple[str, ...]:
    """Every text of the code, and of the Makefile; what is put into it as `…`."""
    found = [(ROOT / "Makefile").read_text("utf-8").replace("\\\n", "")]
    for room in ("pipelines", "steps", "batch", "lambdas"):
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.JoinedStr | ast.Constant):
                    found.append(_text(node))
    return tuple(found)


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_text, node.values))
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return "…"


def _texts(document: Path, language: str) -> list[str]:
    return [block.text for block in blocks(document) if block.language == language]


def _options(validation: dict[str, Any]) -> list[str]:
    pairs = ((f"--{name.replace('_', '-')}", str(value)) for name, value in validation.items())
    return [word for pair in pairs for word in pair]
