"""The ``episode`` command: finds the sub-command, turns errors into messages and exit codes.

Knows the names of the commands, not what they do; each lives in a module of its own that imports what it
needs only when it runs.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import Any

import episode
from episode.cli.options import cap_environment
from episode.errors import EpisodeError

__all__ = ["COMMANDS", "build_parser", "main"]

COMMANDS = ("demo", "simulate", "data", "encode", "train", "predict", "evaluate", "compare", "explain", "report")
"""Sub-commands, in the order of the pipeline, each a module `episode.cli.<name>`."""

EXAMPLES = """\
examples:
  episode simulate --out world
  episode data build world/pairs.tsv --genome world/genome.fa --out dataset
  episode COMMAND --help
      options and examples of one command
"""

ERROR, INTERRUPTED = 2, 130


class CommandParser(argparse.ArgumentParser):
    """Parser of a command: files may stand before and behind options, and every error comes with its own usage."""

    _within = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Parse options, then files; refuse the rest."""
        if self._within:  # called to parse either
            return super().parse_known_args(args, namespace)
        self._within = True
        try:
            plain = self._subparsers or "--" in args  # which the other does not understand
            found, rest = (super().parse_known_args if plain else self.parse_known_intermixed_args)(args, namespace)
        finally:
            self._within = False
        if rest:
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        return found, rest


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = CommandParser(
        prog="episode",
        description="Enhancer-promoter interactions from DNA, in cell lines for which nobody has labels.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"episode {episode.__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        command = importlib.import_module(f"episode.cli.{name}")
        place, last = subparsers, name
        if name == "data":
            data = subparsers.add_parser("data", help=command.HELP)
            place, last = data.add_subparsers(dest="verb", metavar="VERB", required=True), "build"
        own = place.add_parser(
            last,
            help=command.HELP,
            description=command.DESCRIPTION,
            epilog=command.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_options(own)
        own.set_defaults(run=command.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; by default those of the process.

    Returns
    -------
    int
        Exit code: 0, 2 for an error that the user can correct (also raised as `SystemExit` by argparse), 130 if
        interrupted.
    """
    _prepare_streams()
    try:
        code = _run(sys.argv[1:] if argv is None else argv)
    except SystemExit:
        if _flush():
            return ERROR
        raise
    return _flush() or code


def _run(argv: Sequence[str]) -> int:
    """Run a command; what the user or the machine can cause becomes a line and an exit code."""
    try:
        _check_text(argv)
        args = build_parser().parse_args(argv)
        args.words = list(argv)
        cap_environment()
        return int(args.run(args) or 0)
    except EpisodeError as error:
        return _fail(str(error))
    except (KeyboardInterrupt, ImportError) as error:
        if isinstance(error, ImportError) and not isinstance(error.__cause__, KeyboardInterrupt):
            raise  # else a compiled module was being loaded, which turns an interrupt into this
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as in `| head`
        return ERROR
    except OSError as error:
        where = "" if error.filename is None else f"{error.filename}: "
        return _fail(f"{where}{error.strerror or error}")
    except MemoryError as error:
        return _fail(f"out of memory; give less at a time, or a machine with more ({error or 'no room for Python'})")
    except RecursionError:
        return _fail("an input is nested too deeply")
    except UnicodeError as error:
        return _fail(f"text that is not in the expected encoding: {error}")
    except RuntimeError as error:
        if "out of memory" in str(error) or "allocate memory" in str(error):  # as PyTorch says it
            first = str(error).splitlines()[0]
            return _fail(f"out of memory; give less at a time, or a machine with more ({first})")
        raise


def _fail(text: str) -> int:
    print(f"error: {text}", file=sys.stderr)
    return ERROR


def _check_text(argv: Sequence[str]) -> None:
    """Refuse arguments and a working folder that files, which are UTF-8, could not name.

    Raises
    ------
    EpisodeError
        If one holds other bytes, or a NUL.
    """
    told = {f"argument {number}": text for number, text in enumerate(argv, 1)}
    with contextlib.suppress(OSError):
        told["the working folder"] = os.getcwd()
    for what, text in told.items():
        if "\0" in text:
            raise EpisodeError(f"{what}, {text!r}: holds a NUL, which no path has")
        if text.encode("utf-8", "replace").decode() != text:
            need = "needs UTF-8; rename it, or make a link to it with such a name"
            if sys.getfilesystemencoding() != "utf-8":
                need = f"Python reads paths as {sys.getfilesystemencoding()} here; set PYTHONUTF8=1"
            raise EpisodeError(f"{what}, {text!r}: {need}")


def _prepare_streams() -> None:
    """Have no message fail for a letter that the terminal cannot show, nor for a stream that was closed."""
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), "r" if name == "stdin" else "w"))
        elif name != "stdin" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _flush() -> int:
    """Write what is left for standard output; where that fails, nothing may fail again at the exit."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ERROR if isinstance(error, BrokenPipeError) else _fail(f"standard output: {error.strerror}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
