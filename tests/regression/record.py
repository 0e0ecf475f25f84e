"""Run the steps with one version of the code and keep all that they write and say.

    python tests/regression/record.py --python PYTHON --source SRC --out FOLDER [--only NAME ...]

Step NAME leaves NAME/out (what it wrote), NAME/stdout.txt, NAME/stderr.txt and NAME/step.json. `compare_recordings.py`
compares two such folders. Real data are looked for in EPISODE_DATA, by default ../shared/data beside the repository.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from inputs import write_inputs, write_rerank
from steps import Step, choose, names

__all__ = ["Recorder", "record"]

HERE = Path(__file__).resolve()


@dataclass(frozen=True)
class Recorder:
    """Runs steps.

    Parameters
    ----------
    python : Path
        Interpreter with everything installed.
    source : Path
        Folder that holds the package.
    root : Path
        Folder of the recording.
    data : Path
        Folder of real DNA and labels.
    """

    python: Path
    source: Path
    root: Path
    data: Path

    def environment(self) -> dict[str, str]:
        """Variables of the commands: one thread, caches of their own."""
        kept = {key: os.environ[key] for key in ("PATH", "HOME", "TMPDIR") if key in os.environ}
        fonts = Path(tempfile.gettempdir()) / f"regression-matplotlib-{os.getuid()}"
        return kept | {
            "PYTHONPATH": str(self.source),
            "OMP_NUM_THREADS": "1",
            "XDG_CACHE_HOME": str(self.root / ".cache"),
            "MPLCONFIGDIR": str(fonts),
            "COLUMNS": "100",
            "LC_ALL": "C.UTF-8",
            "RAY_USAGE_STATS_ENABLED": "0",
        }

    def check(self) -> None:
        """Refuse a package that is not the one asked for."""
        words = [str(self.python), "-c", "import episode, matplotlib.font_manager; print(episode.__file__)"]
        found = subprocess.run(words, env=self.environment(), cwd=self.root, capture_output=True, text=True, check=True)
        if not Path(found.stdout.strip()).resolve().is_relative_to(self.source):
            raise SystemExit(f"episode is {found.stdout.strip()}, not in {self.source}")

    def run(self, step: Step) -> int:
        """Run a step; returns its exit code."""
        folder = self.root / step.name
        folder.mkdir()
        if step.prepare is not None:
            step.prepare(self.root)
        words = [str(self.python), "-m", "episode.cli.main", *step.arguments(self.data)]
        interrupted = bool(step.interrupt) and self._kill(words, folder, step.interrupt)
        code = self._call([*words, "--resume"] if step.interrupt else words, folder)
        content = {
            "name": step.name,
            "words": step.words,
            "code": code,
            "facts": step.facts,
            "quiet": step.quiet,
            "interrupted": interrupted,
            "roots": {"root": str(self.root), "source": str(self.source), "data": str(self.data)},
        }
        (folder / "step.json").write_text(json.dumps(content, indent=2) + "\n")
        return code

    def _call(self, words: list[str], folder: Path) -> int:
        with (folder / "stdout.txt").open("wb") as out, (folder / "stderr.txt").open("wb") as err:
            return subprocess.run(
                words, env=self.environment(), cwd=self.root, stdin=subprocess.DEVNULL, stdout=out, stderr=err
            ).returncode

    def _kill(self, words: list[str], folder: Path, pattern: str) -> bool:
        """Start a command and kill it once a file is there; tells whether it was in time."""
        with subprocess.Popen(
            words,
            env=self.environment(),
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            while process.poll() is None and not any(folder.glob(pattern)):
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            return process.wait() == -signal.SIGKILL


def record(recorder: Recorder, steps: list[Step]) -> list[str]:
    """Run steps in order; returns what went otherwise than expected."""
    recorder.root.mkdir(parents=True)
    recorder.check()
    surprises = []
    for step in steps:
        if step.real and not (recorder.data / "bengi").is_dir():
            print(f"{step.name:24s} skipped: no real data in {recorder.data}")
            continue
        start = time.monotonic()
        code = recorder.run(step)
        print(f"{step.name:24s} exit {code} {time.monotonic() - start:6.1f} s", flush=True)
        if step.name == "world":
            write_inputs(recorder.root)
        if step.name == "world-rerank":
            write_rerank(recorder.root)
        said = "".join((recorder.root / step.name / name).read_text() for name in ("stdout.txt", "stderr.txt"))
        if code != step.code:
            surprises.append(f"{step.name}: exit code {code}, expected {step.code}\n{said[-2000:]}")
        surprises += [
            f"{step.name}: does not name {fact!r}\n{said[-2000:]}" for fact in step.facts if not names(said, fact)
        ]
        if step.interrupt and not json.loads((recorder.root / step.name / "step.json").read_text())["interrupted"]:
            surprises.append(f"{step.name}: ended before it was interrupted")
    return surprises


def main() -> int:
    """Read the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="interpreter (default: this one)")
    parser.add_argument("--source", type=Path, required=True, help="folder that holds the package")
    parser.add_argument("--out", type=Path, required=True, help="new folder to write")
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="NAME",
        help="these steps (or patterns, such as 'build*') and what they need",
    )
    args = parser.parse_args()
    data = Path(os.environ.get("EPISODE_DATA", HERE.parents[3] / "shared" / "data"))
    os.nice(10)
    before = os.times()
    recorder = Recorder(args.python.absolute(), args.source.resolve(), args.out.absolute(), data.resolve())
    surprises = record(recorder, choose(args.only))
    after = os.times()
    spent = sum(after[2:4]) - sum(before[2:4])
    print(f"CPU {spent:.0f} s, wall {after.elapsed - before.elapsed:.0f} s", *surprises, sep="\n")
    return 1 if surprises else 0


if __name__ == "__main__":
    sys.exit(main())
