"""What the user or the machine can cause ends in one line and an exit code, whatever the command was doing."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import pytest

from episode.cli import main as entry
from tiny_world import episode


def raising(error: BaseException) -> Callable[[object], NoReturn]:
    def run(_: object) -> NoReturn:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (MemoryError("Unable to allocate 9 GiB"), 2, "error: out of memory; give less at a time.*Unable to allocate"),
        (MemoryError(), 2, "error: out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried\nmore"), 2, "error: out of memory"),
        (RuntimeError("CUDA out of memory. Tried"), 2, "error: out of memory"),
        (RecursionError("maximum recursion depth exceeded"), 2, "error: an input is nested too deeply"),
        (OSError(errno.ENOSPC, "No space left on device", "out/a.tsv"), 2, "error: out/a.tsv: No space left on device"),
        (OSError("odd"), 2, "error: odd"),
        (UnicodeEncodeError("utf-8", "\udce9", 0, 1, "surrogates not allowed"), 2, "error: text that is not in the"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (BrokenPipeError(), 2, ""),
    ],
)
def test_what_is_not_a_bug_is_a_line(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, message: str
) -> None:
    monkeypatch.setattr(entry, "build_parser", parser(raising(error)))
    outcome = episode("train")
    assert outcome.code == code and outcome.out == "" and outcome.err.count("\n") <= 1
    assert message.split(".*")[0] in outcome.err and message.split(".*")[-1] in outcome.err


def parser(run: Callable[[object], object]) -> Callable[[], SimpleNamespace]:
    return lambda: SimpleNamespace(parse_args=lambda _: SimpleNamespace(run=run))


def test_a_bug_is_shown_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry, "build_parser", parser(raising(RuntimeError("a bug"))))
    with pytest.raises(RuntimeError, match="a bug"):
        episode("train")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("report", "a\0b"), "argument 2, 'a\\x00b': holds a NUL"),
        (("report", os.fsdecode(b"caf\xe9")), "argument 2, 'caf\\udce9': needs UTF-8"),
        (("simulate", "--out", os.fsdecode(b"caf\xe9/a")), "argument 3, 'caf\\udce9/a': needs UTF-8"),
    ],
)
def test_arguments_that_no_file_could_name(words: tuple[str, ...], message: str) -> None:
    outcome = episode(*words)
    assert outcome.code == 2 and f"error: {message}" in outcome.err


def test_a_working_folder_that_no_file_could_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    monkeypatch.chdir(folder)
    outcome = episode("report", "evaluation")
    assert outcome.code == 2 and "error: the working folder, " in outcome.err and "needs UTF-8" in outcome.err


def command(line: str) -> subprocess.CompletedProcess[bytes]:
    line = line.replace("EPISODE", f"{sys.executable} -m episode.cli.main")
    environment = os.environ | {"PYTHONUNBUFFERED": ""}
    return subprocess.run(line, shell=True, executable="/bin/bash", capture_output=True, env=environment, timeout=60)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
def test_a_full_standard_output_is_told() -> None:
    done = command("EPISODE --help > /dev/full")
    assert done.stderr == b"error: standard output: No space left on device\n" and done.returncode == 2


def test_a_reader_that_goes_is_no_error_to_show() -> None:
    assert command("EPISODE --help | true").stderr == b""


def test_closed_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    assert entry.main(["report", "a\0b"]) == 2
    for name in ("stdin", "stdout", "stderr"):
        getattr(sys, name).close()


@pytest.mark.parametrize(
    ("encoding", "shown"), [("ascii", b"\\xe9 \\udce9"), ("latin-1", b"\xe9 \\udce9"), ("utf-8", b"\xc3\xa9 \\udce9")]
)
def test_a_letter_that_cannot_be_shown(monkeypatch: pytest.MonkeyPatch, encoding: str, shown: bytes) -> None:
    stream = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(stream, encoding=encoding))
    monkeypatch.setattr(entry, "build_parser", parser(lambda _: print("\xe9 \udce9")))
    assert entry.main([]) == 0
    assert stream.getvalue() == shown + b"\n"


def test_a_locale_that_cannot_name_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.getfilesystemencoding", lambda: "ascii")
    outcome = episode("report", os.fsdecode(b"\xff"))
    assert outcome.code == 2 and "Python reads paths as ascii here; set PYTHONUTF8=1" in outcome.err
