"""A scheduler or a server of MXNet's distributed kvstore, as its variables `DMLC_…` say.

MXNet's library is called directly: the roles need nothing of its Python package, whose import takes
seconds and whose server would take an optimiser from a worker as a pickle. A server here only sums
what workers push. It ends when its standard input closes.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from importlib.util import find_spec
from pathlib import Path


def main() -> None:
    threading.Thread(target=_end_when_alone, daemon=True).start()
    found = find_spec("mxnet")
    assert found and found.origin, "a kvstore needs MXNet"
    library = ctypes.CDLL(str(Path(found.origin).with_name("libmxnet.so")))
    library.MXGetLastError.restype = ctypes.c_char_p
    store = ctypes.c_void_p()
    controller = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(_ignore)
    if library.MXKVStoreCreate(b"dist_sync", ctypes.byref(store)) or library.MXKVStoreRunServer(
        store, controller, None
    ):
        sys.exit(library.MXGetLastError().decode(errors="replace"))


def _ignore(_command: int, _body: bytes, _handle: object) -> None:
    """Commands, of which none are needed."""


def _end_when_alone() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main()
