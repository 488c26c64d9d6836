"""What the hosts of a training tell each other besides gradients: who is there, and who is gone.

MXNet's own hosts wait for each other without an end, so each host here holds one connection to the
first. A connection that closes, or is silent for long, means that its host is gone; the first tells
the others. Messages are lines of JSON.
"""

from __future__ import annotations

import contextlib
import json
import queue
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Any

from steps.errors import InputError

PORT = 7531  # where the first host listens
JOIN_SECONDS = 600.0  # instances start, and pull their images, at different speeds
SILENCE_SECONDS = 60.0
_BEAT_SECONDS = 2.0
_LONGEST = 1 << 16  # bytes of a message


class HostLostError(InputError):
    """A host of this training is gone: one line says all that there is to say."""


class Peers:
    """The hosts of a training, each in its place.

    Parameters
    ----------
    names
        All hosts, in the same order everywhere.
    own
        The name of this host.
    meeting
        `address:port` of the first host; empty: its name, and the port that is always taken.

    Raises HostLostError when a host does not come in time.
    """

    def __init__(
        self, names: Sequence[str], own: str, meeting: str = "", seconds: float = JOIN_SECONDS
    ) -> None:
        self._names, self._own = names, own
        self.number = names.index(own)
        self.count = len(names)
        self.lost: Future[None] = Future()  # ends with an error as soon as a host is gone
        self._closed = threading.Event()
        self._lock = threading.Lock()
        address, _, port = meeting.rpartition(":")
        deadline = time.monotonic() + seconds
        if self.number == 0:
            place = (address, int(port or PORT))
            self._lines = dict(_others(place, set(names[1:]), deadline))
        else:
            place = (address or names[0], int(port or PORT))
            self._lines = {names[0]: _reach(place, names[0], own, deadline)}
        self.address = next(iter(self._lines.values())).address  # of this host
        for name in self._lines:
            threading.Thread(target=self._listen, args=(name,), daemon=True).start()
        threading.Thread(target=self._beat, daemon=True).start()

    def gather(self, said: str) -> list[str]:
        """What each host says here, in the order of the hosts."""
        if self.number:
            first = self._lines[self._names[0]]
            first.send({"said": said})
            return [str(one) for one in self._next(first)["all"]]
        everything = [said, *(str(self._next(line)["said"]) for line in self._lines_in_order())]
        for line in self._lines.values():
            line.send({"all": everything})
        return everything

    def lose(self, reason: str) -> None:
        """Ends the training of all hosts, for a reason that names the host."""
        with self._lock:
            if self.lost.done() or self._closed.is_set():
                return
            self.lost.set_exception(HostLostError(reason))
        for line in self._lines.values():
            line.send({"lost": reason})
            line.inbox.put(None)

    def close(self) -> None:
        self._closed.set()
        for line in self._lines.values():
            line.close()

    def _lines_in_order(self) -> list[_Line]:
        return [self._lines[name] for name in self._names if name in self._lines]

    def _next(self, line: _Line) -> dict[str, Any]:
        message = line.inbox.get()
        if message is None:
            self.lost.result()  # raises
        assert message is not None
        return message

    def _listen(self, name: str) -> None:
        line = self._lines[name]
        reason = f"host {name} is gone: its log says why"
        try:
            for message in line.messages:
                if "lost" in message:
                    reason = str(message["lost"])
                    break
                if message:
                    line.inbox.put(message)
        except TimeoutError:
            reason = f"host {name} is gone: it has been silent for {SILENCE_SECONDS:.0f} s"
        except (OSError, ValueError):
            pass
        self.lose(reason)

    def _beat(self) -> None:
        while not self._closed.wait(_BEAT_SECONDS):
            for line in self._lines.values():
                line.send({})


class _Line:
    """A connection to another host."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(SILENCE_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.address: str = connection.getsockname()[0]  # this end's
        self.inbox: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self.messages = _messages(connection)
        self._connection = connection
        self._lock = threading.Lock()

    def send(self, message: dict[str, Any]) -> None:
        """Sends a message; that nobody takes it shows where messages are read."""
        with self._lock, contextlib.suppress(OSError):
            self._connection.sendall(json.dumps(message).encode() + b"\n")

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()


def _messages(connection: socket.socket) -> Iterator[dict[str, Any]]:
    """What comes over a connection until it closes. Raises ValueError for what is no message."""
    with connection.makefile("rb") as file:
        while line := file.readline(_LONGEST):
            message = json.loads(line)
            if not isinstance(message, dict):
                raise ValueError("a message is an object")
            yield message


def _others(
    place: tuple[str, int], missing: set[str], deadline: float
) -> Iterator[tuple[str, _Line]]:
    """The connections of the other hosts, as they come."""
    with socket.create_server(place) as server:
        while missing:
            try:
                server.settimeout(max(0.01, deadline - time.monotonic()))
                line = _Line(server.accept()[0])
            except TimeoutError:
                raise HostLostError(f"host {min(missing)} did not come to the training") from None
            name = ""
            with contextlib.suppress(OSError, ValueError):
                name = str(next(line.messages, {}).get("host"))
            if name in missing:
                missing.remove(name)
                yield name, line
            else:  # no host of this training
                line.close()


def _reach(place: tuple[str, int], first: str, own: str, deadline: float) -> _Line:
    """A connection to the first host, as soon as it listens."""
    while True:
        try:
            line = _Line(socket.create_connection(place, timeout=10))
        except OSError:
            if time.monotonic() > deadline:
                raise HostLostError(f"host {first} cannot be reached from {own}") from None
            time.sleep(0.2)
        else:
            line.send({"host": own})
            return line
