"""What the docker engine does with one container of a real image: limits, log, end, and folders."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

from pipelines.errors import UserError
from pipelines.images import image
from pipelines.local.docker_connection import Connection, connect
from pipelines.local.docker_engine import FOLDER_LABEL, STATE_LABEL, DockerEngine
from pipelines.local.engines import ContainerError, Ended, Limits, Mount, Task, Ulimit, ignored

TMPFS = {"/tmp": ""}
PYTHON = ["python", "-S", "-c"]
GRACE_SECONDS = 1


@pytest.fixture(autouse=True)
def image_is_there(built: Callable[[str], str]) -> None:
    built("gluon-cpu")


@cache
def connection() -> Connection:
    return connect()  # asks the engine what it can do, which takes podman half a second


@dataclass
class Bench:
    """An engine with a short time of grace, and what its containers print."""

    folder: Path
    engine: DockerEngine
    lines: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def task(
        self,
        script: str,
        limits: Limits | None = None,
        *,
        timeout: float = 60,
        entrypoint: list[str] | None = None,
        image_name: str = "",
        **environment: str,
    ) -> Task:
        root = self.folder / uuid.uuid4().hex
        (root / "model").mkdir(parents=True)
        return Task(
            image_name or f"registry.invalid/claimflow/gluon-cpu:{image('gluon-cpu').tag}",
            [script],
            entrypoint or PYTHON,
            environment,
            root,
            timeout,
            (Mount("/opt/ml", root),),
            limits or Limits(tmpfs=TMPFS),
        )

    def run(self, task: Task) -> Ended:
        return self.engine.run(task, self.lines.append, self.stop)

    def says(self, script: str, limits: Limits | None = None, **environment: str) -> list[str]:
        """What a script prints that ends well."""
        ended = self.run(self.task(script, limits, **environment))
        assert ended.exit_code == 0, self.lines
        return self.lines

    def left(self) -> list[str]:
        """The containers that carry the label of this engine."""
        api = connection().open()
        try:
            labels = {"label": f"{STATE_LABEL}={self.folder}"}
            return [one["Labels"][FOLDER_LABEL] for one in api.containers(all=True, filters=labels)]
        finally:
            api.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path, DockerEngine("claimflow", tmp_path, GRACE_SECONDS, connection()))
    yield made
    assert made.left() == []


def test_a_container_can_write_its_folder_and_tmp_alone_and_is_nobody_special(
    bench: Bench,
) -> None:
    script = (
        "import os\n"
        "for path in ('/opt/ml/model/x', '/tmp/x', '/opt/claimflow/x', '/etc/x', '/root/x'):\n"
        "    try: open(path, 'w').write('x'); print('wrote', path)\n"
        "    except OSError as error: print(path, error.errno)\n"
        "lines = [line.split(':\\t') for line in open('/proc/self/status') if ':\\t' in line]\n"
        "status = dict(lines)\n"
        "print(os.getuid() != 0, status['CapEff'].strip(), status['NoNewPrivs'].strip())"
    )
    task = bench.task(script)
    assert bench.run(task) == Ended(0)
    assert bench.lines[:2] == ["wrote /opt/ml/model/x", "wrote /tmp/x"]
    assert all(" " in line and "wrote" not in line for line in bench.lines[2:5])
    is_ordinary = os.geteuid() == 0 or not connection().is_rootless
    assert bench.lines[5] == f"{is_ordinary} {'0' * 16} 1"
    assert (task.folder / "model" / "x").read_text() == "x"


def test_it_gets_the_variables_of_its_job_and_none_of_this_process(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "users-secret")
    script = "import os; print(os.environ['GIVEN'], 'AWS_SECRET_ACCESS_KEY' in os.environ)"
    assert bench.says(script, GIVEN="this=one ü") == ["this=one ü False"]


def test_it_is_on_this_machine_s_network_unless_it_asks_for_none(bench: Bench) -> None:
    script = "print(len(open('/proc/net/dev').readlines()) - 2)"
    bench.says(script, Limits(tmpfs=TMPFS, has_network=False))
    bench.says(script)
    here = len(Path("/proc/net/dev").read_text().splitlines()) - 2
    assert bench.lines == ["1", str(here)], "the loopback device alone, and all of this machine's"


def test_limits_of_a_job_definition_are_those_of_the_container(bench: Bench) -> None:
    script = (
        "import os, resource\n"
        "print(os.getuid(), os.sched_getaffinity(0))\n"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE))\n"
        "shared = os.statvfs('/dev/shm'); print(shared.f_blocks * shared.f_frsize // 2**20)\n"
    )
    limits = Limits(
        cores=frozenset({1}),
        memory=256,
        shared_memory=32,
        user="12345",
        tmpfs=TMPFS,
        ulimits=(Ulimit("nofile", 100, 200), Ulimit("nproc", 300, 300)),
    )
    assert bench.says(script, limits) == ["12345 {1}", "(100, 200)", "32"]


def test_what_a_named_user_leaves_can_be_deleted_here(bench: Bench) -> None:
    script = "import os; os.umask(0o077); os.makedirs('/opt/ml/a/b'); open('/opt/ml/a/b/c', 'w')"
    task = bench.task(script, Limits(tmpfs=TMPFS, user="12345"))
    assert bench.run(task) == Ended(0)
    (task.folder / "a" / "b" / "c").unlink()
    (task.folder / "a" / "b").rmdir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can play an ordinary user")
def test_what_a_named_user_leaves_is_given_to_the_ordinary_user_who_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of Docker, whose containers may be anybody, whoever runs the local cloud."""
    monkeypatch.setattr(os, "geteuid", lambda: 12000)
    monkeypatch.setattr(os, "getegid", lambda: 12001)
    bench = Bench(tmp_path, DockerEngine("claimflow", tmp_path, GRACE_SECONDS, connection()))
    script = "import os; os.umask(0o077); os.makedirs('/opt/ml/a/b'); open('/opt/ml/a/b/c', 'w')"
    task = bench.task(script, Limits(tmpfs=TMPFS, user="12345"))
    assert bench.run(task) == Ended(0)
    left = [task.folder / part for part in (".", "a", "a/b", "a/b/c")]
    assert {(one.stat().st_uid, one.stat().st_gid) for one in left} == {(12000, 12001)}
    assert bench.left() == []
    assert bench.says("import os; print(os.getuid(), os.getgid())") == ["12000 12001"]


def test_a_container_that_needs_more_memory_than_it_has_is_killed_and_says_so(
    bench: Bench,
) -> None:
    ended = bench.run(bench.task("x = bytearray(400 * 2**20)", Limits(memory=96, tmpfs=TMPFS)))
    assert ended.exit_code == 137
    assert "memory" in ended.kill
    assert "the 96 MiB that it had" in ended.kill


def test_each_line_is_heard_when_it_is_printed_and_none_is_lost(bench: Bench) -> None:
    heard: list[float] = []
    script = "import time; print('a', flush=True); time.sleep(1.5); print('ü' * 9); print('c')"
    task = bench.task(script)

    def log(line: str) -> None:
        bench.lines.append(line)
        heard.append(time.monotonic())

    assert bench.engine.run(task, log, bench.stop) == Ended(0)
    assert bench.lines == ["a", "ü" * 9, "c"]
    assert heard[1] - heard[0] > 1
    bench.lines.clear()
    bench.says("for number in range(5000): print('line', number)")
    assert bench.lines == [f"line {number}" for number in range(5000)]


IGNORES = (
    "import os, signal, time\n"
    "signal.signal(signal.SIGTERM, lambda *_: print('ignored', flush=True))\n"
    "print('ready', flush=True)\n"
    "while True: time.sleep(0.1)"
)
ENDS = IGNORES.replace(
    "print('ignored', flush=True)", "(print('ended', flush=True), os._exit(143))"
)


@pytest.mark.parametrize(
    ("script", "said", "code"),
    [(IGNORES, ["ignored", ignored(GRACE_SECONDS)], 137), (ENDS, ["ended"], 143)],
)
def test_a_stop_is_sigterm_and_after_the_grace_a_kill(
    bench: Bench, script: str, said: list[str], code: int
) -> None:
    def stop_when_ready(line: str) -> None:
        bench.lines.append(line)
        if line == "ready":
            bench.stop.set()

    ended = bench.engine.run(bench.task(script), stop_when_ready, bench.stop)
    assert ended == Ended(code, stopped=True)
    assert bench.lines == ["ready", *said]
    assert ended.kill == "", "a stop is no want of memory"


def test_its_time_is_limited(bench: Bench) -> None:
    ended = bench.run(bench.task(ENDS, timeout=3))
    assert ended == Ended(143, timed_out=True)


def test_the_first_of_several_that_fails_ends_the_others(bench: Bench) -> None:
    tasks = [bench.task(ENDS), bench.task("raise SystemExit(7)"), bench.task(ENDS)]
    together = [(task, bench.lines.append) for task in tasks]
    assert bench.engine.run_together(together, bench.stop) == (1, Ended(7))


def test_a_command_that_the_image_does_not_have_is_127_as_in_a_shell(bench: Bench) -> None:
    assert bench.run(bench.task("x", entrypoint=["no-such-command"])) == Ended(127)
    assert "no-such-command" in bench.lines[-1]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("r/claimflow/gluon-cpu:0000", "claimflow pipeline upsert"),
        ("r/somebody/other:1", "this machine does not have it"),
    ],
)
def test_an_image_that_is_not_here_is_one_line_with_the_remedy(
    bench: Bench, name: str, said: str
) -> None:
    with pytest.raises(UserError, match=said) as caught:
        bench.run(bench.task("x", image_name=name))
    assert "\n" not in str(caught.value)


def test_an_image_that_is_not_built_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    engine = DockerEngine(f"never-{uuid.uuid4().hex[:8]}", tmp_path, connection=connection())
    task = Bench(tmp_path, engine).task("x")
    with pytest.raises(
        UserError, match="it is not built; `claimflow images build gluon-cpu` builds it"
    ):
        engine.run(task, print, threading.Event())


def test_what_an_engine_left_running_is_removed_and_nothing_of_another_one(
    tmp_path: Path,
) -> None:
    """As after a kill of the local cloud: the containers run on without it."""
    mine, other = tmp_path / "mine", tmp_path / "other"
    benches = []
    for folder in (mine, other):
        bench = Bench(folder, DockerEngine("claimflow", folder, GRACE_SECONDS, connection()))
        benches.append(bench)
        threading.Thread(target=_run_and_forget, args=(bench,), daemon=True).start()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not all(bench.lines for bench in benches):
        time.sleep(0.05)
    assert [len(bench.left()) for bench in benches] == [1, 1]
    DockerEngine("claimflow", mine, connection=connection()).clear()
    assert [len(bench.left()) for bench in benches] == [0, 1]
    benches[1].stop.set()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and benches[1].left():
        time.sleep(0.05)
    assert benches[1].left() == []


def _run_and_forget(bench: Bench) -> None:
    with suppress(ContainerError):  # its container has gone
        bench.run(bench.task(IGNORES))
