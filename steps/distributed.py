"""A training on several hosts: MXNet's distributed kvstore sums what each of them has.

Each host runs a server of the kvstore and is a worker of it, the first also runs the scheduler
(https://mxnet.apache.org/versions/1.9.1/api/faq/distributed_training). Servers only sum: parameters
and optimiser stay with the workers, which make the same steps. No wait is without an end: what
MXNet waits for is waited for in a thread, and `steps.peers` tells when a host is gone.
"""

from __future__ import annotations

import math
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from steps.container import Container
from steps.errors import InputError
from steps.peers import HostLostError, Peers

F32 = npt.NDArray[np.float32]

_STEP_SECONDS = 600.0  # the longest that a host may take for one step
_LEAST = 256  # numbers of an exchange
# Stores are never freed: MXNet would wait, without an end, for servers that are gone. Whoever
# trains on several hosts ends with `os._exit`, as the images' entry point does.
_KEPT: list[Any] = []


class Hosts(Protocol):
    """All machines of a training, as one of them sees them."""

    @property
    def number(self) -> int:
        """Which one this is, from 0."""

    @property
    def count(self) -> int: ...

    def sum(self, array: F32) -> F32:
        """The sum of all hosts' arrays, which have the same shape: the same bytes for each host."""

    def agree(self, about: str, said: str) -> None:
        """Raises InputError unless all hosts say the same."""


class _OneHost:
    """A training on one machine."""

    number, count = 0, 1

    def sum(self, array: F32) -> F32:
        return array

    def agree(self, about: str, said: str) -> None:
        pass


ONE_HOST: Hosts = _OneHost()


@contextmanager
def joined(container: Container) -> Iterator[Hosts]:
    """The hosts of a training job, as long as it lasts; all leave together.

    Raises HostLostError, at the next exchange, when one of them is gone.
    """
    names, own = container.hosts(), container.current_host()
    if len(names) == 1:
        yield ONE_HOST
        return
    print(f"this is host {own} of {', '.join(names)}", flush=True)
    peers = Peers(names, own, container.meeting)
    reason = "was stopped"
    roles: list[subprocess.Popen[bytes]] = []
    try:
        yield _Cluster(peers, names, roles)
        peers.gather("done")
    except InputError as error:
        reason = f"failed: {error}"
        raise
    except Exception as error:
        reason = f"failed with {type(error).__name__}: its log says why"
        raise
    else:
        reason = ""
    finally:
        if reason:
            peers.lose(f"host {own} {reason}")
        peers.close()
        for role in roles:
            role.kill()
            role.wait()


class _Cluster:
    """Several machines, this one of which is a worker of the kvstore."""

    def __init__(
        self, peers: Peers, names: Sequence[str], roles: list[subprocess.Popen[bytes]]
    ) -> None:
        self._peers, self._names = peers, names
        self.number, self.count = peers.number, peers.count
        scheduler = f"{peers.address} {_free_port(peers.address)}"
        address, port = peers.gather(scheduler)[0].split()
        variables = {
            "DMLC_PS_ROOT_URI": address,
            "DMLC_PS_ROOT_PORT": port,
            "DMLC_NODE_HOST": peers.address,
            "DMLC_NUM_WORKER": str(self.count),
            "DMLC_NUM_SERVER": str(self.count),
        }
        for role in ("scheduler", "server") if self.number == 0 else ("server",):
            roles.append(_start(role, variables))
            threading.Thread(target=self._watch, args=(role, roles[-1]), daemon=True).start()
        os.environ.update(variables | {"DMLC_ROLE": "worker"})  # MXNet has no other way
        self._thread = ThreadPoolExecutor(1)
        self._sizes: set[int] = set()
        self._store = self._thread.submit(_worker)  # meanwhile the data is read

    def sum(self, array: F32) -> F32:
        summed: F32 = self._bounded(lambda: self._sum(array))
        return summed

    def agree(self, about: str, said: str) -> None:
        everything = self._peers.gather(said)
        for name, other in zip(self._names, everything, strict=True):
            if other != everything[0]:
                raise InputError(
                    f"host {name} has another {about} than host {self._names[0]}: "
                    "every host must get all data (FullyReplicated), the same image and settings"
                )

    def _sum(self, array: F32) -> F32:
        import mxnet as mx

        store, size = self._store.result(), _rounded(array.size)
        if size not in self._sizes:
            store.init(str(size), mx.nd.zeros(size))
            self._sizes.add(size)
        flat = np.zeros(size, np.float32)
        flat[: array.size] = array.ravel()
        summed = mx.nd.array(flat)
        store.push(str(size), summed)
        store.pull(str(size), out=summed)
        made: F32 = summed.asnumpy()[: array.size].reshape(array.shape)
        return made

    def _bounded(self, work: Callable[[], Any]) -> Any:
        """Lets the kvstore's thread do something, but does not wait for hosts that are gone."""
        doing = self._thread.submit(work)
        awaited: list[Future[Any]] = [doing, self._peers.lost]
        wait(awaited, _STEP_SECONDS, FIRST_COMPLETED)
        if doing.done():
            return doing.result()
        if not self._peers.lost.done():
            raise HostLostError(f"MXNet's kvstore had no answer within {_STEP_SECONDS:.0f} s")
        return self._peers.lost.result()

    def _watch(self, role: str, process: subprocess.Popen[bytes]) -> None:
        process.wait()
        self._peers.lose(f"host {self._names[self.number]} lost its {role} of MXNet's kvstore")


def _worker() -> Any:
    import mxnet as mx

    _KEPT.append(mx.kv.create("dist_sync"))
    return _KEPT[-1]


def _start(role: str, variables: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "steps.kvstore_role"],
        stdin=subprocess.PIPE,
        env={
            **os.environ,
            **variables,
            "DMLC_ROLE": role,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        },
    )


def _free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port


def _rounded(size: int) -> int:
    """A size of which there are few: a kvstore keeps an array for each."""
    step = 1 << max(6, math.ceil(math.log2(max(size, 1))) - 3)
    return max(_LEAST, -(-size // step) * step)
