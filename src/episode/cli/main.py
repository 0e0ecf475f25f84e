"""The ``episode`` command: finds the sub-command, turns errors into messages and exit codes.

Knows the names of the commands, not what they do; each lives in a module of its own that imports what it
needs only when it runs.
"""

from __future__ import annotations

import argparse
import importlib
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
    words = list(sys.argv[1:] if argv is None else argv)
    args = build_parser().parse_args(words)
    args.words = words
    try:
        cap_environment()
        return int(args.run(args) or 0)
    except EpisodeError as error:
        print(f"error: {error}", file=sys.stderr)
        return ERROR
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except MemoryError as error:
        print(f"error: not enough memory ({error or 'no more could be had'})", file=sys.stderr)
        return ERROR
    except BrokenPipeError:
        # The reader of our output has gone (as in `| head`); a second failure at exit must not be shown.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ERROR
    except OSError as error:
        where = "" if error.filename is None else f"{error.filename}: "
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
        return ERROR


if __name__ == "__main__":
    sys.exit(main())
