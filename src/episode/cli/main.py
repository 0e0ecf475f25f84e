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

import episode
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


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
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
    args = build_parser().parse_args(argv)
    try:
        return int(args.run(args) or 0)
    except EpisodeError as error:
        print(f"error: {error}", file=sys.stderr)
        return ERROR
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
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
