"""The process of the local cloud, `python -m pipelines.local.server`: `claimflow local up`."""

from __future__ import annotations

import argparse
import faulthandler
import fcntl
import json
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import get_args

from pipelines.errors import UserError
from pipelines.local.cloud import LocalCloud, engine_of
from pipelines.local.daemon import ALREADY_RUNS
from pipelines.local.documents import write_atomically
from pipelines.local.tracking_server import start_tracking_server, stop_tracking_server
from pipelines.settings import EngineName, Settings


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--tracking", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--engine", choices=get_args(EngineName))
    options = parser.parse_args()
    state = options.state.resolve()
    os.umask(0o077)  # claims lie here: nobody else's to read
    state.mkdir(parents=True, exist_ok=True)
    lock = (state / "lock").open("w")
    try:  # held as long as the process lives, however it ends
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        print("a local cloud already runs on this state folder", file=sys.stderr)
        return ALREADY_RUNS
    (state / "ready.json").unlink(missing_ok=True)  # of one that crashed: the lock is ours
    return _serve(state, options.tracking, options.engine)


def _serve(state: Path, tracking: bool, engine_name: EngineName | None) -> int:
    # `kill -USR1` writes what each thread does into the log: how a standstill is explained.
    faulthandler.register(signal.SIGUSR1)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        settings = Settings.load(state=state, engine=engine_name)
        engine = engine_of(settings)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    # The same ports as before where they are free: addresses are part of the steps' cache keys.
    before = _read(state / "ports.json")
    tracking_port = _free_port(before.get("tracking", 0))
    tracker = start_tracking_server(state, tracking_port) if tracking else None
    cloud = LocalCloud(settings, _free_port(before.get("endpoint", 0)), engine)
    ports = {"endpoint": int(cloud.endpoint.rpartition(":")[2]), "tracking": tracking_port}
    write_atomically(state / "ports.json", json.dumps(ports).encode())
    try:
        cloud.prepare()
        cloud.start()
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    ready = {
        "pid": os.getpid(),
        "endpoint": cloud.endpoint,
        "engine": engine.name,
        "tracking": f"http://127.0.0.1:{tracking_port}" if tracking else "none",
        "variables": cloud.variables(),
    }
    write_atomically(state / "ready.json", json.dumps(ready).encode())
    ended.wait()
    (state / "ready.json").unlink(missing_ok=True)
    cloud.stop()
    if tracker:
        stop_tracking_server(tracker)
    return 0


def _free_port(wanted: int) -> int:
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise UserError("there is no free port on 127.0.0.1")


def _read(path: Path) -> dict[str, int]:
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # an orderly end is over: no thread of a request that stands still is waited for
