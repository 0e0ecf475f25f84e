"""``episode train``: a dataset folder to a run folder."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from episode.cli.options import (
    Whole,
    add_common,
    add_selection,
    add_settings,
    print_json,
    read_settings,
    select,
    set_threads,
    warn,
)
from episode.limits import ACCUMULATE, DEVICES, NODES

if TYPE_CHECKING:
    from episode.config import Config
    from episode.train.distributed import Processes
    from episode.train.finalize import TrainingResult

__all__ = ["DESCRIPTION", "EXAMPLES", "HELP", "add_options", "run"]

HELP = "train on a dataset"
DESCRIPTION = (
    "Train the energy system on the labelled pairs of a dataset, episode by episode, and write a run "
    "folder that holds all that prediction needs."
)
EXAMPLES = """\
examples:
  episode train dataset --out run
      train with the defaults; rows of split "test" are never read
  episode train dataset --cell-lines GM12878,HeLa,K562 --out run --set training.steps=500
      some cell lines of a dataset, and a setting changed
  episode train dataset --config mine.toml --out run
      settings from a file ([training] steps = 500 ...)
  episode train dataset --out run --resume
      resume after an interruption; give the same dataset, settings and seed
  episode train dataset --out run --devices 4 --threads 2
      four processes of two threads share each step; the result is the same up to rounding
  srun episode train dataset --out run --devices 4 --nodes 2
      the same on two machines, in a SLURM job of 4 tasks a node; torchrun works likewise
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="folder that 'episode data build' wrote")
    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="new run folder to write")
    add_settings(parser)
    parser.add_argument(
        "--resume", action="store_true", help="resume an interrupted run in RUN; begin where there is none yet"
    )
    parser.add_argument(
        "--devices", type=Whole(1, DEVICES), default=1, help="processes (or GPUs) on each machine (default: 1)"
    )
    parser.add_argument(
        "--nodes", type=Whole(1, NODES), default=1, help="machines, started by SLURM or torchrun (default: 1)"
    )
    parser.add_argument(
        "--accumulate",
        type=Whole(1, ACCUMULATE),
        default=1,
        help="parts in which a step is scored, to need less memory (default: 1)",
    )
    add_selection(parser)
    add_common(parser)


def run(args: argparse.Namespace) -> int:
    """Train; return the exit code."""
    from episode.files import refuse_shared
    from episode.train.distributed import Layout, launch
    from episode.train.state import unfinished

    refuse_shared(args.out, args.cache or args.dataset / "store", args.dataset)
    config = read_settings(args)
    layout = Layout(args.devices, args.nodes, args.accumulate)
    try:
        result = launch(_train, args, config, training=config.training, layout=layout)
    except KeyboardInterrupt:
        if unfinished(args.out):
            again = [word for word in args.words if word != "--resume"]
            warn(f"training stopped; continue it with: {shlex.join(['episode', *again, '--resume'])}")
        raise
    if result is not None:
        _report(result, args)
    return 0


def _train(processes: Processes, args: argparse.Namespace, config: Config) -> TrainingResult | None:
    """Train as one of the processes; only the first one reports."""
    from tqdm import tqdm

    from episode.data.storage import load_dataset
    from episode.train.crossfit import train

    set_threads(args.threads)
    dataset = select(load_dataset(args.dataset), args)
    silent = not (processes.lead and sys.stderr.isatty())
    with tqdm(unit=" steps", disable=silent, dynamic_ncols=True) as bar:

        def report(step: int, steps: int, text: str) -> None:
            bar.total = steps
            bar.update(step - bar.n)
            if text:
                bar.set_postfix_str(text)

        result = train(
            dataset,
            config,
            seed=args.seed,
            folder=args.out,
            cache=args.cache or args.dataset / "store",
            resume=args.resume,
            report=report,
            processes=processes,
        )
    return result if processes.lead else None


def _report(result: TrainingResult, args: argparse.Namespace) -> None:
    run = result.provenance
    if args.json:
        content = {
            "run": str(result.folder),
            **run.model_dump(include={"best_step", "steps", "epochs"}),
            "validation_aupr": result.best_aupr,
            "validation_log_loss": result.best_loss,
            "roles": result.roles.model_dump(),
            "calibration": result.calibration.model_dump(exclude={"training_impedance"}),
            "notes": list(result.notes),
            "alarms": [alarm.model_dump() for alarm in result.alarms],
        }
        print_json(content)
        return
    roles = ", ".join(f"{len(names)} {role.replace('_', '-')}" for role, names in result.roles.model_dump().items())
    print(f"environments: {roles}")
    print(
        f"kept step {run.best_step} of {run.steps} ({run.epochs:.1f} epochs): "
        f"AUPR of U_I {result.best_aupr:.3f}, log-loss {result.best_loss:.4f} nats on the validation environments"
    )
    for note in result.notes:
        print(f"note: {note}")
    for alarm in result.alarms:
        print(f"warning: {alarm.name}: {alarm.text}")
    print(f"run: {result.folder}")
