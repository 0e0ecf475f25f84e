"""Scoring of the parts of a prediction by Ray, on this machine or on a cluster.

Only the numbers of parts pass through Ray. Workers open the job's folder, which all machines must share, and put each
part in its place by rename: what a killed worker or machine had finished stays, and another worker does the rest. Does
not know what a part is or how it is scored.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from episode import __version__
from episode.errors import EpisodeError
from episode.files import locked
from episode.threads import usable_cores

if TYPE_CHECKING:
    from episode.predict.streaming.job import Job, Part

__all__ = ["LOCAL", "Worker", "check_machines", "environment", "require_ray", "score_parts"]

LOCAL = "local"
ROUNDS = 3
"""How often the parts that are missing are given out; within a round Ray itself repeats what a killed worker began."""
ATTEMPTS = 4
"""How often a part is begun in a round; one that has killed that number of workers would kill the next."""
TASKS = 4096
"""Number of parts up to which they are given out one by one; beyond it in groups."""
TASKS_OF_WORKER = 32
"""Fewest groups for each worker, so that none waits long for the last."""
CONNECT = 10.0
"""Seconds in which a cluster must answer."""
ANSWER = 60.0
"""Seconds in which every machine of it must have looked at what it sees."""
FRESH = 60.0
"""Seconds in which a shared file system shows what another machine has written."""
SCRATCH = "ray"
"""Folder within the job's, for the time of the run."""
LOCK = "lock"
"""File in the folder of a Ray that is started here, held by the process that starts it."""
OBJECTS = 1 << 27
"""Bytes of Ray's object store on this machine; only numbers of parts lie there."""
NOWHERE = "http://127.0.0.1:9"
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_USAGE_STATS_REPORT_URL": NOWHERE,  # where Ray reports that it may not report
    "http_proxy": NOWHERE,  # Ray asks an address of the cloud which cloud it is in
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_worker_niceness": "0",  # of 15 by default
}
"""Of the processes of a Ray that is started here: silent, and never in search of an address outside."""


def require_ray() -> Any:
    """Return Ray.

    Raises
    ------
    EpisodeError
        If it is not installed.
    """
    try:
        import ray
        import ray.data
    except ImportError:
        raise EpisodeError("--engine ray needs Ray, which is not installed: pip install 'episode-epi[ray]'") from None
    return ray


def score_parts(
    job: Job, *, address: str = LOCAL, workers: int = 0, threads: int = 0, done: Callable[[int], object] | None = None
) -> None:
    """Score the parts of a job that are missing.

    Parameters
    ----------
    job : Job
        Its folder must be on a file system that all machines of the cluster share.
    address : str
        "local" starts Ray on this machine and ends it afterwards; otherwise the address of a running cluster, as
        `ray.init` takes it. A connection that the process has already is used as it is.
    workers : int
        Processes that score, over all machines, at most as many as the CPUs allow; 0 is that number.
    done : callable, optional
        Called with the number of rows of each part that is done.

    Raises
    ------
    EpisodeError
        If Ray is not installed or does not answer, if machines do not see the job, if a part cannot be scored, or if
        parts are still missing in the end.
    """
    missing = job.missing()
    if not missing:
        return
    ray, threads = require_ray(), max(1, threads)
    cores = usable_cores()
    local = max(1, min(workers or cores // threads, len(missing)))
    with _cluster(ray, address, min(local * threads, cores)), _scratch(job.folder) as scratch:
        needed = [Path(job.request.run_folder) / "run.json"] + ([Path(job.request.cache)] if job.request.cache else [])
        capacity = check_machines(ray, scratch, threads, needed)
        if not capacity:
            raise EpisodeError(f"--engine ray: no machine has {threads} CPUs for a worker; give fewer --threads")
        for _ in range(ROUNDS):
            size = min(workers or capacity, capacity, len(missing))  # more would wait for CPUs that there are not
            lost = _round(ray, job, missing, scratch, size, threads, done)
            missing = _still_missing(job, patient=lost is None)
            if not missing:
                return
    names = ", ".join(str(part.number) for part in missing[:10]) + (", ..." if len(missing) > 10 else "")
    why = "" if lost is None else f" (last: {lost})"
    raise EpisodeError(
        f"--engine ray: {len(missing):,} of {len(job.parts):,} parts are missing after {ROUNDS} rounds: {names}{why}; "
        "give --resume to continue with them"
    )


class Worker:
    """Scores parts in a process of its own; opens the job when the first one comes."""

    def __init__(self, folder: str, threads: int, attempts: int) -> None:
        self.folder, self.threads, self.attempts = Path(folder), threads, attempts
        self.job: Job | None = None

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Score the part of this number; what the user can correct comes back as text."""
        number = int(row["part"])
        try:
            if self.job is None:
                self.job = self._open()
            part = self.job.parts[number]
            marks = self.folder / SCRATCH / str(number)
            if _mark(marks) > self.attempts:
                raise EpisodeError(
                    f"begun {self.attempts} times, and each time its process was killed, as when memory runs out; "
                    "needs more memory, or fewer --workers on a machine"
                )
            self.job.score(part)
            marks.unlink(missing_ok=True)
        except EpisodeError as error:
            return {"part": number, "error": str(error)}
        except OSError as error:
            where = "" if error.filename is None else f"{error.filename}: "
            return {"part": number, "error": f"{where}{error.strerror or error}"}
        return {"part": number, "error": ""}

    def _open(self) -> Job:
        import torch

        from episode.predict.streaming.job import Job

        torch.set_num_threads(self.threads)
        return Job.load(self.folder)


def _mark(path: Path) -> int:
    """Note that a part is begun; return how often it was."""
    with path.open("ab") as stream:
        stream.write(b".")
    return path.stat().st_size


def _round(
    ray: Any,
    job: Job,
    parts: Sequence[Part],
    scratch: Path,
    workers: int,
    threads: int,
    done: Callable[[int], object] | None,
) -> Exception | None:
    """Give parts out once; return what Ray ended with, if it did not come to the end."""
    from ray.data import ActorPoolStrategy, DataContext

    context = DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.max_consecutive_actor_init_deaths = ATTEMPTS * workers
    logger = logging.getLogger("ray.data")
    tasks = min(len(parts), max(TASKS, TASKS_OF_WORKER * workers))
    for path in scratch.iterdir():
        path.unlink()
    try:
        with DataContext.current(context), contextlib.ExitStack() as stack:
            stack.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.CRITICAL + 1)  # its errors are reported otherwise
            rows = ray.data.from_items([{"part": part.number} for part in parts], override_num_blocks=tasks)
            rows = rows.map(
                Worker,
                fn_constructor_args=(str(job.folder.resolve()), threads, ATTEMPTS),
                compute=ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=1),
                num_cpus=threads,
            )
            for row in rows.iter_rows():
                part = job.parts[row["part"]]
                if row["error"]:
                    raise EpisodeError(f"part {part.number}: {row['error']}")
                if done is not None:
                    done(part.rows)
    except ray.exceptions.RayTaskError:
        raise
    except ray.exceptions.RayError as error:
        return error
    return None


def _still_missing(job: Job, *, patient: bool) -> list[Part]:
    """Return the missing parts; give a shared file system time to show them, if all were reported as done."""
    end = time.monotonic() + (FRESH if patient else 0.0)
    while (missing := job.missing()) and time.monotonic() < end:
        time.sleep(1.0)
    return missing


@contextlib.contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """Make a folder for the time of the run; one that an earlier run could not remove goes first."""
    scratch = folder.resolve() / SCRATCH
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def _cluster(ray: Any, address: str, cpus: int) -> Iterator[None]:
    """Start Ray or connect to it, and leave it again; an existing connection stays."""
    if ray.is_initialized():
        yield
        return
    with contextlib.ExitStack() as stack:
        stack.enter_context(environment())
        options: dict[str, Any] = {"address": address}
        main = threading.current_thread() is threading.main_thread()
        if main:
            stack.callback(signal.signal, signal.SIGTERM, signal.getsignal(signal.SIGTERM) or signal.SIG_DFL)
        if address == LOCAL:
            folder = stack.enter_context(_session_folder())
            options |= {"num_cpus": cpus, "object_store_memory": OBJECTS, "_temp_dir": folder}
            options["include_dashboard"] = False
        try:
            if ":" in address:
                host, port = address.rsplit(":", 1)
                socket.create_connection((host, int(port)), timeout=CONNECT).close()
            ray.init(**options, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, OverflowError, RuntimeError, ValueError) as error:
            reason = str(error).split("\n", maxsplit=1)[0]
            raise EpisodeError(
                f"--ray-address {address}: no Ray cluster to work with there ({reason}); "
                "needs local, auto, or the HOST:PORT of a cluster to which this machine belongs"
            ) from None
        stack.callback(ray.shutdown)
        if main:
            # The handler that Ray has put there aborts with a stack trace; this one lets Ray end.
            signal.signal(signal.SIGTERM, signal.default_int_handler)
        yield


@contextlib.contextmanager
def _session_folder() -> Iterator[str]:
    """Yield a folder for a Ray of this process; remove it, and those that processes left which are dead.

    A living process holds the lock of its folder. The lock, unlike a process id, means the same in every container.
    """
    parent = Path("/tmp")  # not TMPDIR: the paths of Ray's sockets must be short
    for left in parent.glob("episode-ray-*-*"):
        with contextlib.suppress(OSError):  # in use, or another user's
            if (left / LOCK).exists():
                with locked(left / LOCK, _refuse):
                    shutil.rmtree(left, ignore_errors=True)
    own = tempfile.TemporaryDirectory(prefix=f"episode-ray-{os.getpid()}-", dir=parent, ignore_cleanup_errors=True)
    with own as folder, locked(Path(folder) / LOCK):
        yield folder


def _refuse() -> None:
    raise BlockingIOError


@contextlib.contextmanager
def environment() -> Iterator[None]:
    """Set the environment of processes that Ray starts meanwhile."""
    before = {name: os.environ.get(name) for name in ENVIRONMENT}
    os.environ.update(ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def check_machines(ray: Any, scratch: Path, threads: int, needed: Sequence[Path] = ()) -> int:
    """Return how many workers the cluster has CPUs for.

    Parameters
    ----------
    needed : sequence of Path
        What else every machine must see: the run and the cache.

    Raises
    ------
    EpisodeError
        If a machine does not answer, does not see the job's folder or what else is needed, may not write in the job's
        folder, or has another version of EPIsode.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    token = secrets.token_hex(8)
    (scratch / "token").write_text(token)

    def look(folder: str, version: str, token: str, needed: list[str]) -> str:
        """Sent by value, as a machine may lack the package."""
        import os

        try:
            import episode
        except ImportError:
            return "EPIsode is not installed there"
        if episode.__version__ != version:
            return f"EPIsode is of version {episode.__version__} there, {version} here"
        try:
            with open(os.path.join(folder, "token")) as stream:
                seen = stream.read() == token
        except OSError:
            seen = False
        if not seen:
            return f"does not see {os.path.dirname(folder)}; needs --out on a file system that all machines share"
        for path in needed:
            if not os.access(path, os.R_OK):
                return f"does not see {path}; needs the run and --cache on a file system that all machines share"
        return "" if os.access(folder, os.W_OK) else f"may not write in {os.path.dirname(folder)}"

    task = ray.remote(num_cpus=0, max_retries=1)(look)
    machines = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= threads]
    answers = {}
    for node in machines:
        here = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        sent = task.options(scheduling_strategy=here).remote(str(scratch), __version__, token, list(map(str, needed)))
        answers[sent] = node
    ready, silent = ray.wait(list(answers), num_returns=len(answers), timeout=ANSWER) if answers else ([], [])
    capacity = 0
    for answer in ready:
        node = answers[answer]
        try:
            problem = ray.get(answer)
        except ray.exceptions.RayError:
            continue  # a machine that left meanwhile
        if problem:
            raise EpisodeError(f"--engine ray: machine {node['NodeManagerHostname']}: {problem}")
        capacity += int(node["Resources"]["CPU"]) // threads
    if silent:
        names = ", ".join(sorted({answers[answer]["NodeManagerHostname"] for answer in silent}))
        raise EpisodeError(f"--engine ray: no answer within {ANSWER:.0f} s from {names}; repair or remove them")
    return capacity
