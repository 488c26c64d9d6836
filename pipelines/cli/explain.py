"""`claimflow explain`."""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.cli.shared import json_option, print_json
from pipelines.plain_text import plain

if TYPE_CHECKING:
    from pipelines.explanation import Explanation

SHOWN = 8  # of each list
_BAR, _LONGEST = 24, 32  # columns


@click.command("explain")
@click.argument("text")
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FOLDER",
    help="Folder with a model.tar.gz.",
)
@json_option
def command(text: str, model: Path, as_json: bool) -> None:
    """Predict one claim here, and tell which words spoke for and against its label.

    TEXT is the claim, or - to read it from the standard input. Nothing is uploaded; the folder is
    what `claimflow model fetch` or `claimflow train` makes.

    \b
    Example:
      claimflow explain "water drips under the pump" --model models/3
      claimflow explain - --model models/3
    """
    import dataclasses

    from pipelines.errors import UserError
    from pipelines.local.explain_here import Explainer
    from pipelines.settings import Settings

    if text == "-":
        text = sys.stdin.buffer.read().decode("utf-8-sig", "replace")
    if not text.strip():
        raise UserError("the text is blank: expected the words of a claim, or - and a text to read")
    with Explainer(Settings.load(), model) as explainer:
        made = explainer.explain(text)
    if as_json:
        print_json(dataclasses.asdict(made))
    else:
        _tell(made)


def _tell(made: Explanation) -> None:
    click.echo(f"{plain(made.label)}  confidence {made.confidence:.3f}")
    if made.needs_review:
        click.echo("a person should look: the model is not sure enough")
    others = sorted(made.probabilities.items(), key=lambda item: -item[1])
    told = [f"{plain(name)} {share:.3f}" for name, share in others if name != made.label]
    more = f", and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
    click.echo(f"others: {', '.join(told[:SHOWN])}{more}")
    words: dict[str, float] = defaultdict(float)
    for word in made.words:
        words[_shown(word.text)] += word.weight
    longest = max(map(abs, words.values()), default=0.0)
    _list("words for it", {word: weight for word, weight in words.items() if weight > 0}, longest)
    _list("words against it", {word: of for word, of in words.items() if of < 0}, longest)
    phrases = {_shown(one.text): one.weight for one in reversed(made.phrases)}
    _list("phrases, part of the words", phrases, longest)
    if not made.is_exact:
        click.echo("\nestimated: each weight is what the logit loses without the word")


def _list(title: str, weights: Mapping[str, float], longest: float) -> None:
    """The strongest with their weights as bars."""
    strongest = sorted(weights.items(), key=lambda item: -abs(item[1]))[:SHOWN]
    if not strongest:
        return
    click.echo(f"\n{title}")
    width = max(len(word) for word, _ in strongest)
    for word, weight in strongest:
        bar = "█" * min(_BAR, math.ceil(_BAR * abs(weight) / longest)) if weight else ""
        click.echo(f"  {word:<{width}}  {weight:+8.2f}  {bar}".rstrip())


def _shown(word: str) -> str:
    """In small letters, on one line, and not too long."""
    made = plain(" ".join(word.split()).lower())
    return made if len(made) <= _LONGEST else f"{made[: _LONGEST - 1]}…"
