"""`python -m pipelines.cli`: the same as `claimflow`."""

from pipelines.cli import main

main()
