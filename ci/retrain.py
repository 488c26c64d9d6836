"""What CI calls to retrain: `python -m ci.retrain [more options of claimflow retrain]`.

Commit and cause come from the environment of GitHub Actions or of CodeBuild; the rest from
RETRAIN_STAGE, and from what a person gave to a run by hand: RETRAIN_PARAMETERS (NAME=VALUE,
separated by blanks) and RETRAIN_AGAIN ("true").
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from pipelines import cli

_CAUSES = {"push": "push", "schedule": "schedule"}  # of GitHub's events; all others are people's


def main() -> None:
    arguments = [*arguments_of(os.environ), *sys.argv[1:]]
    print("claimflow retrain", *arguments, flush=True)
    sys.argv = ["claimflow", "retrain", *arguments]
    cli.main()


def arguments_of(environment: Mapping[str, str]) -> list[str]:
    """The options of `claimflow retrain` for a run of CI."""
    commit, cause = _commit_and_cause(environment)
    arguments = ["--cause", cause]
    if commit:
        arguments += ["--commit", commit]
    if environment.get("RETRAIN_STAGE"):
        arguments += ["--stage", environment["RETRAIN_STAGE"]]
    for one in environment.get("RETRAIN_PARAMETERS", "").split():
        arguments += ["--parameter", one]
    if environment.get("RETRAIN_AGAIN", "").lower() == "true":
        arguments.append("--again")
    return arguments


def _commit_and_cause(environment: Mapping[str, str]) -> tuple[str | None, str]:
    if "CODEBUILD_BUILD_ID" in environment:
        return environment.get("CODEBUILD_RESOLVED_SOURCE_VERSION"), _codebuild_cause(environment)
    event = environment.get("GITHUB_EVENT_NAME", "")
    return environment.get("GITHUB_SHA"), _CAUSES.get(event, "manual")


def _codebuild_cause(environment: Mapping[str, str]) -> str:
    """A webhook tells its event; a rule of EventBridge starts builds as "rule/<its name>"."""
    if environment.get("CODEBUILD_WEBHOOK_EVENT") in ("PUSH", "PULL_REQUEST_MERGED"):
        return "push"
    is_rule = environment.get("CODEBUILD_INITIATOR", "").startswith("rule/")
    return "schedule" if is_rule else "manual"


if __name__ == "__main__":
    main()
