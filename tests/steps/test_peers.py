"""What the hosts of a training tell each other; here they are threads."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from steps import peers
from steps.peers import HostLostError, Peers

NAMES = ["algo-1", "algo-2", "algo-3"]


@pytest.fixture
def meeting() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(len(NAMES)) as made:
        yield made


@pytest.fixture
def together(meeting: str, pool: ThreadPoolExecutor) -> Iterator[list[Peers]]:
    made = list(pool.map(lambda name: Peers(NAMES, name, meeting, 20), NAMES))
    yield made
    for one in made:
        one.close()


def test_all_hear_what_each_says_in_the_order_of_hosts(
    together: list[Peers], pool: ThreadPoolExecutor
) -> None:
    for word in ("a", "b"):
        heard = list(pool.map(lambda one, word=word: one.gather(f"{word}{one.number}"), together))
        assert heard == [[f"{word}0", f"{word}1", f"{word}2"]] * 3


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_all_others_hear_who_is_gone(together: list[Peers], gone: int) -> None:
    together[gone].close()
    for one in together:
        if one.number != gone:
            error = one.lost.exception(timeout=5)
            assert isinstance(error, HostLostError) and NAMES[gone] in str(error)
            with pytest.raises(HostLostError, match=NAMES[gone]):
                one.gather("word")


def test_the_reason_of_a_failure_reaches_all(together: list[Peers]) -> None:
    together[2].lose("host algo-3 failed: its disk is full")
    for one in together:
        assert str(one.lost.exception(timeout=5)) == "host algo-3 failed: its disk is full"


def test_a_host_that_is_silent_is_gone(monkeypatch: pytest.MonkeyPatch, meeting: str) -> None:
    monkeypatch.setattr(peers, "SILENCE_SECONDS", 0.3)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(Peers, NAMES[:2], "algo-1", meeting, 20)
        address, port = meeting.split(":")
        with _connection(address, int(port)) as silent:
            silent.sendall(b'{"host": "algo-2"}\n')
            error = first.result().lost.exception(timeout=5)
            assert "algo-2 is gone: it has been silent" in str(error)
        first.result().close()


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\n\r\n", b'{"host": "x"}\n', b"[]\n"])
def test_strangers_are_sent_away(meeting: str, pool: ThreadPoolExecutor, said: bytes) -> None:
    first = pool.submit(Peers, NAMES[:2], "algo-1", meeting, 20)
    address, port = meeting.split(":")
    with _connection(address, int(port)) as stranger:
        stranger.sendall(said)
        stranger.shutdown(socket.SHUT_WR)
        second = Peers(NAMES[:2], "algo-2", meeting, 20)
        heard = pool.submit(first.result().gather, "hello")
        assert second.gather("too") == ["hello", "too"] == heard.result()
        assert stranger.recv(1) == b""
    for one in (first.result(), second):
        one.close()


def test_a_host_that_does_not_come_is_named(meeting: str) -> None:
    with pytest.raises(HostLostError, match="algo-2 did not come"):
        Peers(NAMES[:2], "algo-1", meeting, 0.1)
    with pytest.raises(HostLostError, match="algo-1 cannot be reached from algo-2"):
        Peers(NAMES[:2], "algo-2", meeting, 0.1)


def test_messages_are_lines_of_json(meeting: str, pool: ThreadPoolExecutor) -> None:
    first = pool.submit(Peers, NAMES[:2], "algo-1", meeting, 20)
    address, port = meeting.split(":")
    with _connection(address, int(port)) as other:
        # Both at once: nothing of the second message may get lost.
        other.sendall(b'{"host": "algo-2"}\n{"said": "early"}\n')
        assert first.result().gather("late") == ["late", "early"]
        line = other.makefile("rb").readline()
        assert json.loads(line) == {"all": ["late", "early"]}
    first.result().close()


def _connection(address: str, port: int) -> socket.socket:
    """A connection as soon as somebody listens."""
    for _ in range(200):
        try:
            return socket.create_connection((address, port), timeout=5)
        except ConnectionRefusedError:
            time.sleep(0.02)
    raise AssertionError("nobody listens")
