"""Scoring by Ray: what the local engine gives, whatever is killed meanwhile."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

import tiny_world
from episode.errors import EpisodeError
from episode.predict.streaming import ray as ray_engine
from episode.predict.streaming.job import Job, Request, open_job, work_folder
from episode.predict.streaming.ray import Worker, score_parts

pytest.importorskip("ray")
pytestmark = [
    pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\..*"),
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),
    pytest.mark.timeout(300),
]

ROWS = 30
"""Of a part."""
OBJECTS = 80 << 20
QUICK_TO_NOTICE = {"health_check_period_ms": 1000, "health_check_timeout_ms": 5000, "health_check_failure_threshold": 3}
"""When a machine counts as gone."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head that computes nothing and one machine of one CPU, to which this process is connected."""
    with ray_engine.environment():
        import ray
        from ray.cluster_utils import Cluster

        ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
        made = Cluster()
        try:
            made.add_node(
                num_cpus=0, object_store_memory=OBJECTS, include_dashboard=False, _system_config=QUICK_TO_NOTICE
            )
            made.add_node(num_cpus=1, object_store_memory=OBJECTS)
            ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
            yield made
        finally:
            ray.shutdown()
            made.shutdown()


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs of two unseen cell lines, in many row groups."""
    text = tiny_world.rows_of("unseen01", "unseen02").to_csv(index=False)
    path = tmp_path_factory.mktemp("table") / "pairs.parquet"
    pd.read_csv(io.StringIO(text)).to_parquet(path, row_group_size=ROWS, index=False)
    return path


@pytest.fixture(scope="module")
def begun(table: Path) -> Path:
    """Folder of a job whose first pass is done."""
    request = Request(
        run_folder=str(tiny_world.run_folder()),
        tables=(str(table),),
        genome=str(tiny_world.world() / "genome.fa"),
        formats=("parquet",),
    )
    return open_job(request, table.parent / "begun").folder


@pytest.fixture(scope="module")
def expected(begun: Path) -> bytes:
    """The predictions of the local engine."""
    out = begun.parent / "local"
    shutil.copytree(begun, work_folder(out))
    job = Job.load(work_folder(out))
    for part in job.parts:
        job.score(part)
    job.finish()
    return (out / "predictions.parquet").read_bytes()


@pytest.fixture
def job(begun: Path, tmp_path: Path) -> Job:
    """A copy of the job."""
    folder = work_folder(tmp_path / "out")
    shutil.copytree(begun, folder)
    return Job.load(folder)


def finished(job: Job) -> bytes:
    """The predictions, after a look at what else is left."""
    assert not (job.folder / ray_engine.SCRATCH).exists()
    job.finish()
    assert [path.name for path in job.out.parent.iterdir()] == [job.out.name]
    return (job.out / "predictions.parquet").read_bytes()


class Slow(Worker):
    """Leaves time to be killed in."""

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        time.sleep(0.3)
        return super().__call__(row)


class KilledOnce(Worker):
    """Is killed half-way through its fourth part."""

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        killed = self.folder / "killed"
        if row["part"] == 3 and not killed.exists():
            killed.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(row)


class Fatal(Worker):
    """Its third part is always the death of it."""

    def _open(self) -> Any:
        job = super()._open()

        def score(part: Any) -> None:
            if part.number == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            job.score(part)

        return SimpleNamespace(parts=job.parts, score=score)


class Full(Worker):
    """Finds the disk full."""

    def _open(self) -> Any:
        raise OSError(28, "No space left on device", "/shared/scored/000000.parquet")


@pytest.mark.slow
def test_ray_gives_the_bytes_of_the_local_engine(cluster: Any, job: Job, expected: bytes) -> None:
    job.score(job.parts[1])
    done: list[int] = []
    score_parts(job, done=done.append)
    assert sorted(done) == sorted(part.rows for part in job.parts if part.number != 1)
    assert finished(job) == expected


@pytest.mark.slow
def test_ray_scores_a_cross_fitted_run_as_the_local_engine_does(cluster: Any, table: Path, tmp_path: Path) -> None:
    results = []
    for name in ("local", "ray"):
        request = Request(
            run_folder=str(tiny_world.crossfit_folder()),
            tables=(str(table),),
            genome=str(tiny_world.world() / "genome.fa"),
            formats=("parquet",),
        )
        job = open_job(request, tmp_path / name)
        if name == "ray":
            score_parts(job)
        for part in job.missing():
            job.score(part)
        job.finish()
        results.append((job.out / "predictions.parquet").read_bytes())
    assert results[0] == results[1]


def test_a_job_that_is_scored_already_needs_no_ray(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in job.parts:
        job.score(part)
    monkeypatch.setitem(sys.modules, "ray", None)
    score_parts(job)


@pytest.mark.slow
def test_a_killed_worker_costs_time_only(
    cluster: Any, job: Job, expected: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_engine, "Worker", KilledOnce)
    score_parts(job)
    pid = int((job.folder / "killed").read_text())
    assert ended(pid)
    assert finished(job) == expected


@pytest.mark.slow
def test_a_machine_that_leaves_costs_time_only(
    cluster: Any, job: Job, expected: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_engine, "Worker", Slow)
    second = cluster.add_node(num_cpus=1, object_store_memory=OBJECTS)
    left: list[int] = []
    end = time.monotonic() + 120

    def leave() -> None:
        while len(job.missing()) > len(job.parts) - 4:
            if time.monotonic() > end:
                return
            time.sleep(0.05)
        left.append(len(job.missing()))
        cluster.remove_node(second, allow_graceful=False)

    watcher = threading.Thread(target=leave, daemon=True)
    watcher.start()
    score_parts(job)
    watcher.join()
    assert left and left[0] > 4
    assert finished(job) == expected


@pytest.mark.slow
def test_a_part_that_kills_every_worker_is_named_and_the_others_stay(
    cluster: Any, job: Job, expected: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_engine, "Worker", Fatal)
    monkeypatch.setattr(ray_engine, "ATTEMPTS", 1)
    with pytest.raises(EpisodeError, match=r"^part 2: begun 1 times, and each time its process was killed"):
        score_parts(job)
    assert {0, 1}.isdisjoint(part.number for part in job.missing())
    for part in job.missing():
        job.score(part)
    assert finished(job) == expected


@pytest.mark.slow
def test_what_the_user_can_mend_ends_the_run_at_once(cluster: Any, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_engine, "Worker", Full)
    with pytest.raises(EpisodeError, match=r"^part 0: /shared/scored/000000.parquet: No space left on device$"):
        score_parts(job)


@pytest.mark.slow
def test_parts_that_stay_missing_are_named_after_some_rounds(
    cluster: Any, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds: list[int] = []

    def lose(_: Any, job: Job, parts: list[Any], *__: Any) -> Exception:
        rounds.append(len(parts))
        job.score(parts[0])
        return RuntimeError("a machine is gone")

    monkeypatch.setattr(ray_engine, "_round", lose)
    total = len(job.parts)
    with pytest.raises(EpisodeError) as caught:
        score_parts(job)
    assert rounds == [total, total - 1, total - 2]
    assert str(caught.value).startswith(
        f"--engine ray: {total - 3} of {total} parts are missing after 3 rounds: 3, 4, "
    )
    assert str(caught.value).endswith("(last: a machine is gone); give --resume to continue with them")


def test_a_shared_file_system_may_show_a_part_late(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([["a", "b"], ["b"], []])
    monkeypatch.setattr(time, "sleep", lambda _: None)
    late: Any = SimpleNamespace(missing=lambda: next(looks))
    assert ray_engine._still_missing(late, patient=True) == []
    looks = iter([["a", "b"]])
    assert ray_engine._still_missing(late, patient=False) == ["a", "b"]


@pytest.mark.slow
def test_a_machine_that_does_not_see_the_job_is_named(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    assert ray_engine.check_machines(ray, tmp_path, 1) == 1
    assert ray_engine.check_machines(ray, tmp_path, 2) == 0
    # A path that is another folder for every process, as on file systems that are not shared.
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        EpisodeError, match=r"--engine ray: machine \S+: does not see /proc/self; needs --out on a file"
    ):
        ray_engine.check_machines(ray, Path("/proc/self/cwd"), 1)
    monkeypatch.setattr(ray_engine, "__version__", "0.0.0")
    with pytest.raises(EpisodeError, match=r"machine \S+: EPIsode is of version \S+ there, 0.0.0 here"):
        ray_engine.check_machines(ray, tmp_path, 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["run_folder", "cache"])
def test_a_machine_that_does_not_see_what_else_is_needed_is_named(
    name: str, cluster: Any, job: Job, tmp_path: Path
) -> None:
    asked: Any = {name: str(tmp_path / "elsewhere")}
    away = replace(job, request=replace(job.request, **asked))
    with pytest.raises(EpisodeError, match=r"machine \S+: does not see \S+/elsewhere\S*; needs the run and --cache on"):
        score_parts(away)
    assert len(job.missing()) == len(job.parts)


@pytest.mark.slow
def test_a_machine_that_is_silent_is_named(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    monkeypatch.setattr(ray, "wait", lambda sent, **_: ([], sent))
    with pytest.raises(EpisodeError, match=r"no answer within 60 s from [^\s;]+; repair or remove"):
        ray_engine.check_machines(ray, tmp_path, 1)


@pytest.mark.slow
def test_a_machine_that_left_meanwhile_does_not_count(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    gone = {"NodeID": "ab" * 28, "Alive": True, "Resources": {"CPU": 8.0}, "NodeManagerHostname": "gone"}
    nodes = [*ray.nodes(), gone]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    assert ray_engine.check_machines(ray, tmp_path, 1) == 1


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_more_threads_than_any_machine_has_are_refused(workers: int, cluster: Any, job: Job) -> None:
    with pytest.raises(EpisodeError, match="no machine has 64 CPUs for a worker; give fewer --threads"):
        score_parts(job, workers=workers, threads=64)


@pytest.mark.slow
def test_more_workers_than_there_are_cpus_are_not_waited_for(
    cluster: Any, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def all_of_them(_: Any, job: Job, parts: list[Any], __: Path, workers: int, *___: Any) -> None:
        sizes.append(workers)
        for part in parts:
            job.score(part)

    monkeypatch.setattr(ray_engine, "_round", all_of_them)
    score_parts(job, workers=7)
    assert sizes == [1]


@pytest.mark.parametrize("fails", [False, True])
def test_what_a_signal_did_before_it_does_again(fails: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**_: Any) -> None:
        signal.signal(signal.SIGTERM, lambda *_: os.abort())  # as Ray does
        if fails:
            raise RuntimeError("no cluster")

    ray = SimpleNamespace(is_initialized=lambda: False, init=init, shutdown=lambda: None)
    before = signal.getsignal(signal.SIGTERM)
    with contextlib.suppress(EpisodeError), ray_engine._cluster(ray, "auto", 1):
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is before


def test_only_folders_that_nobody_holds_are_removed() -> None:
    with ray_engine._session_folder() as folder:
        held, left = Path(folder), Path(f"{folder}-left")
        left.mkdir()
        (left / ray_engine.LOCK).touch()
        with ray_engine._session_folder():
            assert held.exists() and not left.exists()
    assert not held.exists()


@pytest.mark.slow
def test_an_address_where_nothing_answers_is_named(cluster: Any, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    with pytest.raises(EpisodeError, match=r"--ray-address 127.0.0.1:1: no Ray cluster to work with there"):
        score_parts(job, address="127.0.0.1:1")


def test_without_ray_the_command_says_how_to_get_it(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    outcome = tiny_world.episode(
        "predict", tiny_world.run_folder(), table, "--out", tmp_path / "out", "--engine", "ray"
    )
    need = "error: --engine ray needs Ray, which is not installed: pip install 'episode-epi[ray]'\n"
    assert (outcome.code, outcome.err) == (2, need)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "need"),
    [
        (("--workers", 2), "error: --workers: needs --engine ray\n"),
        (("--ray-address", "auto"), "error: --ray-address: needs --engine ray\n"),
        (("--workers", 0), "argument --workers: needed a whole number from 1 to 1,000,000,000, got '0'\n"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    options: tuple[object, ...], need: str, table: Path, tmp_path: Path
) -> None:
    outcome = tiny_world.episode("predict", tiny_world.run_folder(), table, "--out", tmp_path / "out", *options)
    assert outcome.code == 2 and outcome.err.endswith(need)


def begin(job: Job, table: Path) -> subprocess.Popen[str]:
    """Go on with a job by the command, in a session of its own."""
    command: list[str | Path] = [sys.executable, "-m", "episode.cli.main", "predict", tiny_world.run_folder(), table]
    command += ["--out", job.out, "--genome", tiny_world.world() / "genome.fa", "--resume"]
    command += ["--engine", "ray", "--workers", "1"]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def gone(session: int) -> bool:
    """All processes of a session end soon, and so does what Ray wrote."""
    end = time.monotonic() + 30
    while living(session) and time.monotonic() < end:
        time.sleep(0.2)
    return not living(session) and not list(Path("/tmp").glob(f"episode-ray-{session}-*"))


@pytest.mark.slow
def test_the_command_starts_ray_and_leaves_nothing_behind(
    job: Job, table: Path, tmp_path: Path, expected: bytes
) -> None:
    running = begin(job, table)
    said, _ = running.communicate()
    assert running.returncode == 0
    assert f"predictions: {job.out}\n" in said
    assert (job.out / "predictions.parquet").read_bytes() == expected
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert gone(running.pid)


@pytest.mark.slow
def test_a_command_told_to_end_ends_ray_too(job: Job, table: Path, expected: bytes) -> None:
    running = begin(job, table)
    while not (job.folder / ray_engine.SCRATCH / "token").exists():
        assert running.poll() is None
        time.sleep(0.02)
    running.terminate()
    _, said = running.communicate()
    assert (running.returncode, said.splitlines()[-1]) == (130, "interrupted")
    assert gone(running.pid)
    for part in job.missing():
        job.score(part)
    assert finished(job) == expected


def ended(pid: int) -> bool:
    """A process ends soon; one that its parent has yet to ask about has ended."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX":
                return True
        except OSError:
            return True
        time.sleep(0.1)
    return False


def living(session: int) -> list[str]:
    """Names of the processes of a session that are not yet gone; those of Ray stay in the session of the command."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, fields = stat.read_text().rsplit(")", 1)
        except OSError:
            continue
        state, _, _, owner = fields.split()[:4]
        if state != "Z" and int(owner) == session:
            found.append(name)
    return found
