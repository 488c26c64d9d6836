"""What a request for a tuning job must hold beyond its form, and what the local cloud has not."""

from __future__ import annotations

from pipelines.local.aws_json import Request, ServiceError, invalid
from pipelines.local.documents import Document
from pipelines.local.search_space import SearchSpace
from pipelines.local.tuning_search import CONFIG, DEFINITION

MOST_JOBS, MOST_PARALLEL = 750, 10  # SageMaker's default limits

_NOT_HERE = ("TrainingJobDefinitions", "WarmStartConfig", "Autotune")
_NOT_HERE_IN_CONFIG = ("StrategyConfig", "TuningJobCompletionCriteria")
_NOT_HERE_IN_DEFINITION = (
    *("DefinitionName", "TuningObjective", "HyperParameterRanges"),
    *("HyperParameterTuningResourceConfig", "RetryStrategy"),
)


def check(request: Request) -> None:
    """Raises ServiceError for what the service refuses, and for what there is not here."""
    config, definition = request[CONFIG], request.get(DEFINITION)
    for document, names in (
        (request, _NOT_HERE),
        (config, _NOT_HERE_IN_CONFIG),
        (definition or {}, _NOT_HERE_IN_DEFINITION),
        (config["ResourceLimits"], ("MaxRuntimeInSeconds",)),
    ):
        for name in names:
            if document.get(name):
                raise invalid(f"{name} of a tuning job is not supported by the local cloud")
    if config["Strategy"] not in ("Bayesian", "Random"):
        raise invalid(f"Strategy {config['Strategy']} is not supported by the local cloud")
    if definition is None:
        raise invalid(f"{DEFINITION} is required")
    _check_objective(config, definition)
    _check_limits(config["ResourceLimits"])
    fixed = definition.get("StaticHyperParameters") or {}
    both = SearchSpace(config.get("ParameterRanges") or {}).names & fixed.keys()
    if both:
        raise invalid(f"Hyperparameters both static and with a range: {', '.join(sorted(both))}")


def _check_objective(config: Document, definition: Document) -> None:
    objective = config.get("HyperParameterTuningJobObjective")
    if objective is None:
        raise invalid("HyperParameterTuningJobObjective is required")
    metrics = definition["AlgorithmSpecification"].get("MetricDefinitions") or []
    if objective["MetricName"] not in {one["Name"] for one in metrics}:
        raise invalid(
            "A metric is required for this hyperparameter tuning job objective. "
            f"Provide {objective['MetricName']} in the metric definitions."
        )


def _check_limits(limits: Document) -> None:
    most, parallel = limits.get("MaxNumberOfTrainingJobs"), limits["MaxParallelTrainingJobs"]
    if most is None:
        raise invalid("MaxNumberOfTrainingJobs is required")
    if parallel > most:
        raise invalid(f"MaxParallelTrainingJobs {parallel} is above MaxNumberOfTrainingJobs {most}")
    for name, value, limit in (
        ("MaxNumberOfTrainingJobs", most, MOST_JOBS),
        ("MaxParallelTrainingJobs", parallel, MOST_PARALLEL),
    ):
        if value > limit:
            raise ServiceError("ResourceLimitExceeded", f"{name} is {value}, the limit is {limit}")
