"""Runs a command: in a process forked from one that has imported everything, or in one of its own.

The fork saves the start of Python and PyTorch, some three seconds a case. Knows nothing of verdicts.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import types
from collections.abc import Callable, Mapping
from pathlib import Path

from torture.case import Case, Outcome, Result, judge, snapshot

__all__ = ["BASE_ENV", "PEAK", "command", "import_everything", "run_case"]

ADDRESS_SPACE = 4 << 30
"""Bytes that a command may map beyond what it has mapped: above what any needs, below what harms the machine."""
PEAK: list[int] = [0]
"""Bytes of this process, which a forked one shares."""
BASE_ENV = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "MPLBACKEND": "agg"}
SCRIPT = (
    'episode() {{ "{python}" -c "import sys; from episode.cli.main import main; sys.exit(main())" "$@"; }}\n{shell}'
)


def import_everything() -> None:
    """Import what commands import when they run, and read the motif bank once."""
    import importlib

    import torch

    torch.set_num_threads(1)
    for name in (
        *("cli.main", "train.loop", "train.distributed", "evaluate.evaluation", "report.page", "compare.run"),
        *("predict.streaming.job", "explain.explanation", "explain.figures", "explain.gradient", "data.build"),
        *("explain.tables", "explain.pair_selection", "simulate", "encode.store", "predict.writers", "compare.jobs"),
    ):
        importlib.import_module(f"episode.{name}")
    for name in ("pysam", "pyarrow.parquet", "matplotlib.pyplot", "sklearn.linear_model", "tqdm"):
        importlib.import_module(name)
    for name in ("cp437", "utf-8-sig", "utf-16", "utf-32", "latin-1", "cp1252", "ascii", "idna"):
        "".encode(name)  # imports it
    gc.collect()
    gc.freeze()
    PEAK[0] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def command(argv: tuple[str, ...], folder: Path, **changes: object) -> Outcome:
    """Run a command in a folder, forked."""
    return _forked(Case("", "", argv, **changes), folder)  # type: ignore[arg-type]


def run_case(case: Case, bases: Mapping[str, Path], place: Path) -> Result:
    """Prepare a case in a folder of its own, run it, judge it, remove the folder."""
    begun, used = time.monotonic(), sum(os.times()[:4])
    folder = Path(tempfile.mkdtemp(dir=place))
    try:
        for name in case.needs:
            put(bases[name], folder / Path(name).name)
        case.prepare(folder)
        before = snapshot(folder)
        outcome = _with_signal(case, folder) if case.kill else _forked(case, folder)
        verdict, note = judge(case, outcome, before, snapshot(folder), folder)
    except Exception as error:
        place_of_error = traceback.extract_tb(error.__traceback__)[-1]
        verdict, note = "broken", f"{type(error).__name__}: {error} ({place_of_error.name}:{place_of_error.lineno})"
    finally:
        remove(folder)
    return Result(case.topic, case.name, verdict, note, time.monotonic() - begun, sum(os.times()[:4]) - used)


def put(source: Path, target: Path) -> None:
    """Copy a base input, with its times."""
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy2(source, target)


def remove(folder: Path) -> None:
    """Remove a folder whatever its permissions are, and what is mounted in it."""
    for path in folder.iterdir():
        if path.is_mount():
            subprocess.run(["umount", "--lazy", path], check=False)
    with contextlib.suppress(OSError):
        for path in folder.rglob("*"):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


def _with_signal(case: Case, folder: Path) -> Outcome:
    """Send a signal in the midst of the first command; the outcome is that of the second."""
    kill = case.kill
    assert kill is not None

    def watch(pid: int) -> None:
        end = time.monotonic() + 20
        if isinstance(kill.moment, float):
            time.sleep(kill.moment)
        while isinstance(kill.moment, str) and time.monotonic() < end and not _ended(pid):
            if any(folder.glob(kill.moment)):
                break
            time.sleep(0.002)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, kill.signal)

    first = _forked(case, folder, watch)
    if "Traceback (most recent call last)" in first.err or first.late:
        return first
    return _forked(Case(case.topic, case.name, kill.again, env=case.env), folder)


def _ended(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    return True


def _forked(case: Case, folder: Path, watch: Callable[[int], None] | None = None) -> Outcome:
    """Run the command of a case; on a busy machine it may take as much longer as others are waiting."""
    begun = time.monotonic()
    out, err = (open(folder.with_name(f"{folder.name}.{name}"), "w+b") for name in ("out", "err"))  # noqa: SIM115
    feed = None if case.stdin is None else os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _child(case, folder, out.fileno(), err.fileno(), feed)
    if feed is not None:
        os.close(feed[0])
        with contextlib.suppress(BrokenPipeError):
            os.write(feed[1], (case.stdin or b"")[: 1 << 16])
        os.close(feed[1])
    if watch is not None:
        watch(pid)
    poll, handle = select.poll(), os.pidfd_open(pid)
    poll.register(handle, select.POLLIN)
    late = not poll.poll(case.seconds * 1000 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)))
    with contextlib.suppress(ProcessLookupError):
        if late:
            os.killpg(pid, signal.SIGKILL)
    _, status, usage = os.wait4(pid, 0)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)  # what it started and left running
    os.close(handle)
    texts = []
    for stream in (out, err):
        stream.seek(0)
        texts.append(stream.read(4 << 20).decode("utf-8", "backslashreplace"))
        stream.close()
        os.unlink(stream.name)
    code = os.waitstatus_to_exitcode(status)
    return Outcome(code, texts[0], texts[1], time.monotonic() - begun, usage.ru_maxrss << 10, late)


def _child(case: Case, folder: Path, out: int, err: int, feed: tuple[int, int] | None) -> None:
    """Become the command; never returns."""
    code = 70
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        os.chdir(folder)
        os.dup2(os.open(os.devnull, os.O_RDONLY) if feed is None else feed[0], 0)
        if feed is not None:
            os.close(feed[1])
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + ADDRESS_SPACE,) * 2)
        for name, value in {"XDG_CACHE_HOME": str(folder / ".cache"), **BASE_ENV, **case.env}.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value.format(folder=folder)
        if case.before is not None:
            case.before()
        if case.shell is not None:
            script = SCRIPT.format(python=sys.executable, shell=case.shell)
            os.execvp("bash", ["bash", "-c", script])
        code = _main(case.argv)
    except BaseException:
        code = 1
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stderr.flush()
        os._exit(code)


def _main(argv: tuple[str, ...]) -> int:
    """Call the command as the interpreter does at the end of a process."""
    from episode.cli.main import main

    sys.argv = ["episode", *argv]
    multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]
    sys.modules["__main__"] = types.ModuleType("__main__")  # what it spawns must not import the harness
    try:
        code = main(list(argv))
    except SystemExit as caught:
        if isinstance(caught.code, str):
            print(caught.code, file=sys.stderr)
        code = caught.code if isinstance(caught.code, int) else 0 if caught.code is None else 1
    try:
        sys.stdout.flush()
    except Exception:
        traceback.print_exc()
        code = 120
    return code
