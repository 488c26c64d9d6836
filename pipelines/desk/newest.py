"""The newest uploads of the overview, which looks every two seconds: S3 lists by name, so each
listing goes through all of them."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone

from pipelines.aws import Aws
from pipelines.upload_state import Upload, UploadState
from pipelines.uploads import Uploads

RECENT = timedelta(days=30)
SHOWN = 5
KEPT = 15.0  # seconds


class Newest:
    """Which uploads are the newest, as of some seconds ago; their states are those of now."""

    def __init__(self) -> None:
        self._listed: tuple[float, list[Upload]] | None = None

    def states(self, aws: Aws, is_live: bool) -> list[UploadState]:
        """Only for the part that changes by itself a listing may be some seconds old."""
        uploads, now = Uploads(aws), time.monotonic()
        listed = self._listed
        if not is_live or listed is None or now - listed[0] > KEPT:
            found, _ = uploads.newest(datetime.now(timezone.utc) - RECENT, SHOWN)
            listed = self._listed = time.monotonic(), found
        return uploads.states(listed[1])
