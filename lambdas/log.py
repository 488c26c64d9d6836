"""Log lines: one JSON object a line, to be queried by field. Never the text of a claim."""

from __future__ import annotations

import json
import sys


def log(event: str, **fields: object) -> None:
    """Writes one line to standard output, where Lambda collects it."""
    sys.stdout.write(json.dumps({"event": event, **fields}, ensure_ascii=False, default=str) + "\n")
