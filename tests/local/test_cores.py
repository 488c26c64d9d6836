"""The cores of the machine are lent in the order of asking, never twice at a time."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.local.cores import Cores


class Work:
    """Notes who ran with whom."""

    def __init__(self, cores: Cores) -> None:
        self.cores = cores
        self.order: list[str] = []
        self.lent: dict[str, frozenset[int]] = {}
        self.running: set[str] = set()
        self.together: set[frozenset[str]] = set()
        self.ends: dict[str, threading.Event] = {}
        self._lock = threading.Lock()

    def lend(self, name: str, count: int) -> None:
        self.ends[name] = threading.Event()

        def run(lent: frozenset[int]) -> None:
            with self._lock:
                self.order.append(name)
                self.lent[name] = lent
                self.running.add(name)
                self.together.add(frozenset(self.running))
                taken = [core for one in self.running for core in self.lent[one]]
                assert len(taken) == len(set(taken))
            self.ends[name].wait(20)
            with self._lock:
                self.running.remove(name)

        self.cores.lend(count, run)


def test_two_small_jobs_run_side_by_side_and_a_large_one_alone() -> None:
    cores = Cores({4, 6})
    work = Work(cores)
    for name, count in (("a", 1), ("b", 1), ("large", 2), ("c", 1)):
        work.lend(name, count)
    for name in ("a", "b", "large", "c"):
        time.sleep(0.02)
        work.ends[name].set()
    assert cores.join(20)
    time.sleep(0.05)
    assert cores.join(20)
    assert work.order[2:] == ["large", "c"], "a small job must not overtake one that waits"
    assert frozenset({"a", "b"}) in work.together
    assert frozenset({"large"}) in work.together
    assert work.lent["large"] == {4, 6}


def test_a_job_that_is_larger_than_the_machine_gets_all_of_it() -> None:
    cores = Cores({0, 1})
    work = Work(cores)
    work.lend("huge", 64)
    work.ends["huge"].set()
    assert cores.join(20)
    assert work.lent["huge"] == {0, 1}


def test_after_close_nothing_new_begins_and_what_runs_ends() -> None:
    cores = Cores({0})
    work = Work(cores)
    work.lend("runs", 1)
    work.lend("waits", 1)
    cores.close()
    assert not cores.join(0.05)
    work.ends["runs"].set()
    assert cores.join(20)
    work.lend("late", 1)
    assert work.order == ["runs"]


def test_cores_come_back_from_work_that_raises(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raised = threading.Event()
    monkeypatch.setattr(threading, "excepthook", lambda _: raised.set())
    cores = Cores({0})

    def fail(_: frozenset[int]) -> None:
        raise OSError("the disk is full")

    cores.lend(1, fail)
    assert raised.wait(20)
    done = threading.Event()
    cores.lend(1, lambda _: done.set())
    assert done.wait(20)


@settings(deadline=None, max_examples=30)
@given(counts=st.lists(st.integers(0, 5), max_size=20), machine=st.integers(1, 4))
def test_everything_runs_once_in_the_order_of_asking(counts: list[int], machine: int) -> None:
    cores = Cores(range(machine))
    begun: list[int] = []
    done = threading.Semaphore(0)
    lock, free = threading.Lock(), set(range(machine))

    def work(number: int, count: int) -> None:
        def run(lent: frozenset[int]) -> None:
            with lock:
                begun.append(number)
                assert lent <= free and len(lent) == min(max(count, 1), machine)
                free.difference_update(lent)
            with lock:
                free.update(lent)
            done.release()

        cores.lend(count, run)

    for number, count in enumerate(counts):
        work(number, count)
    for _ in counts:
        assert done.acquire(timeout=20)
    assert sorted(begun) == list(range(len(counts)))
