"""The commands that a recording runs, one step each, and what their messages must name.

Paths are relative to the folder of the recording: step NAME writes to NAME/out, made-up tables lie in inputs/, and
``{data}`` is the folder of real DNA and labels. A step needs what its words name: ``build/out`` is step "build".
"""

from __future__ import annotations

import fnmatch
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from inputs import clone, damage

__all__ = ["STEPS", "Step", "choose", "names"]


@dataclass(frozen=True)
class Step:
    """One command.

    Parameters
    ----------
    name : str
        Also the folder of what it writes.
    words : str
        The command line behind ``episode``; where it has no --out, ``--out NAME/out`` is added, and nothing for `bare`.
    code : int
        Exit code that is expected.
    facts : tuple of str
        What the messages must name, whatever their wording; compared instead of the numbers in them.
    needs : tuple of str
        Steps before this one, besides those that the words name.
    prepare : callable, optional
        Called with the folder of the recording before the command.
    interrupt : str
        Glob pattern inside NAME: the command is killed once such a file is there, then given again with --resume.
    bare : bool
        No --out is added.
    quiet : bool
        The numbers in its messages are not compared.
    """

    name: str
    words: str
    code: int = 0
    facts: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    prepare: Callable[[Path], None] | None = field(default=None, compare=False)
    interrupt: str = ""
    bare: bool = False
    quiet: bool = False

    def arguments(self, data: Path) -> list[str]:
        """Words of the command line."""
        words = [word.replace("{data}", str(data)) for word in shlex.split(self.words)]
        return words if self.bare else [*words, "--out", f"{self.name}/out"]

    @property
    def real(self) -> bool:
        """It reads real DNA or labels."""
        return "{data}" in self.words

    def before(self) -> set[str]:
        """Names of the steps that must have run."""
        found = set(self.needs) | set(re.findall(r"(?<![\w/-])([a-z0-9-]+)/", self.words)) - {"inputs", self.name}
        return found | ({"world"} if "inputs/" in self.words else set())


def _set(*settings: str) -> str:
    return " ".join(f"--set {setting}" for setting in settings)


def _wrong(name: str, words: str, *facts: str, bare: bool = False) -> Step:
    """A command that must fail."""
    return Step(f"wrong-{name}", words, code=2, facts=facts, bare=bare)


def _table(name: str, *facts: str) -> Step:
    """A build of a table of inputs/wrong that must fail."""
    stem = name.partition(".")[0]
    words = f"data build inputs/wrong/{name} --genome inputs/small.fa"
    return Step(f"wrong-{stem}", words, code=2, facts=(name, *facts))


WHOLE = "--enhancer-window 0 --promoter-window 0"
GENOME = "--genome world/out/genome.fa"
SMALL = _set(
    "stem.bin=200",
    "stem.min_information=14",
    "episodes.query=32",
    "episodes.support_max=64",
    "training.steps=12",
    "training.settle_steps=24",
    "training.validate_every=4",
    "training.warmup=0",
    "training.learning_rate=0.005",
    "training.environment_rate=0.03",
)
CONV = SMALL + " " + _set("stem.kind=conv", "stem.known=true", "stem.filters=8")
GATE = SMALL + " " + _set("stem.gate=CTCF", "potential.distance=true", "losses.motif_sparsity=0.02")
SHORT = "--rows distance,promoter_degree,ctcf_convergence,ctcf_gbm"

SIMULATE = (
    Step("world", "simulate --preset tiny --seed 0"),
    Step("world-label", "simulate --preset tiny --world label --seed 1 --json"),
    Step("world-rerank", "simulate --preset tiny --world rerank --seed 2"),
    Step("world-kl", "simulate --preset tiny --world both --format domain-kl"),
)

BUILD = (
    Step("build", f"data build world/out/pairs.tsv {GENOME} {WHOLE}"),
    Step("build-rerank", f"data build world-rerank/out/pairs.tsv --genome world-rerank/out/genome.fa {WHOLE}"),
    Step("build-kl", f"data build world-kl/out {WHOLE}"),
    Step("build-kl-part", f"data build world-kl/out/test/unseen03 {WHOLE} --json"),
    Step("build-windows", f"data build world/out/pairs.tsv {GENOME} --enhancer-window 256 --json"),
    Step("build-bedpe", f"data build inputs/pairs.bedpe {GENOME}"),
    Step("build-bedpe-bare", f"data build inputs/bare.txt {GENOME} --format bedpe --json"),
    Step(
        "build-columns",
        f"data build inputs/renamed.csv {GENOME} --column enhancer_chrom=chr_e --column label=hit --cell-line HepG2 "
        "--assay HiC",
    ),
    Step("build-parquet", f"data build inputs/pairs.parquet {GENOME} {WHOLE}"),
    Step("build-sequences", "data build inputs/sequences.csv.gz --enhancer-window 60"),
    Step(
        "build-messy",
        "data build inputs/messy.tsv inputs/messy_too.tsv --genome inputs/small.fa --enhancer-window 40 "
        "--promoter-window 60 --on-invalid drop --outside-genome report --max-unknown 0.2 --json",
    ),
    Step(
        "build-bengi",
        "data build {data}/bengi/NHEK.HiC-Benchmark.v3.tsv.gz {data}/bengi/HMEC.HiC-Benchmark.v3.tsv.gz --genome "
        "{data}/hg19.chr20_chr22part_chrX70M.fa.gz --outside-genome report",
    ),
    Step("build-kl-real", "data build {data}/domain_kl_real --json"),
)

ENCODE = (
    Step("encode", f"encode build/out --cache encode/out {_set('stem.bin=200', 'stem.precision=float32')}", bare=True),
    Step("encode-run", "encode build-kl/out --run train/out --cache encode-run/out --json", bare=True),
    Step("encode-gate", f"encode build/out {GATE} --cache encode-gate/out --workers 2", bare=True),
    Step("encode-bases", f"encode build/out {CONV} --cache encode-bases/out", bare=True),
    Step("encode-verify", "encode build/out --run train/out --verify --json", bare=True),
)

TRAIN = (
    Step("train", f"train build/out {SMALL}"),
    Step("train-two", f"train build-rerank/out {SMALL} --set impedance.channels=2 --set environment.student=network"),
    Step("train-conv", f"train build/out {CONV} --set training.steps=4"),
    Step("train-gate", f"train build/out {GATE} --seed 3 --json"),
    Step(
        "train-config",
        "train build-windows/out --config inputs/settings.toml --set training.steps=3 --cell-lines "
        "train01,train02,train03,train04 --accumulate 2 --cache train-config/store",
    ),
    Step("train-resumed", f"train build/out {SMALL}", interrupt="out/resume.safetensors", quiet=True),
    Step("train-again", f"train build/out {SMALL} --resume", prepare=clone("train/out", "train-again/out")),
    Step(
        "train-devices",
        f"train build/out {SMALL} --set training.steps=3 --set training.settle_steps=2 --devices 2 --threads 1",
    ),
)

PREDICT = (
    Step("predict", f"predict train/out inputs/unseen.tsv {GENOME}"),
    Step("predict-few", f"predict train/out inputs/unseen.tsv {GENOME} --support-labels inputs/few.tsv --json"),
    Step("predict-known", f"predict train/out inputs/known.tsv {GENOME} --cell-line train01 --write tsv,parquet"),
    Step("predict-named", f"predict train/out inputs/nameless.csv {GENOME} --cell-line HepG2 --assay HiC"),
    Step("predict-bedpe", f"predict train/out inputs/pairs.bedpe {GENOME} --format bedpe --write bedpe,interact"),
    Step("predict-kl", "predict train/out world-kl/out/test --cell-line unseen03"),
    Step("predict-stream", f"predict train/out inputs/blocks.parquet {GENOME}"),
    Step(
        "predict-stream-few",
        f"predict train/out inputs/blocks.parquet {GENOME} --cell-line unseen01 "
        "--support-labels inputs/few.tsv --write parquet,tsv,bedpe,interact --batch-size 64 --seed 5",
    ),
    Step("predict-resumed", f"predict train/out inputs/blocks.parquet {GENOME}", interrupt="*/plan.json", quiet=True),
    Step(
        "predict-again",
        f"predict train/out inputs/blocks.parquet {GENOME} --resume",
        prepare=clone("predict-stream/out", "predict-again/out"),
        needs=("predict-stream",),
    ),
    Step("predict-folder", f"predict train/out inputs/folder {GENOME} --cache predict-folder/store"),
    Step("predict-ray", f"predict train/out inputs/blocks.parquet {GENOME} --engine ray --workers 1", quiet=True),
    Step(
        "predict-messy",
        "predict train/out inputs/messy.tsv --genome inputs/small.fa --on-invalid drop --outside-genome report",
    ),
    Step(
        "predict-messy-stream",
        "predict train/out inputs/messy.parquet --genome inputs/small.fa --on-invalid drop --outside-genome report",
    ),
    Step(
        "predict-two",
        "predict train-two/out inputs/rerank.parquet --genome world-rerank/out/genome.fa",
        needs=("world-rerank",),
    ),
    Step(
        "predict-two-few",
        "predict train-two/out inputs/rerank.tsv --genome world-rerank/out/genome.fa "
        "--support-labels inputs/rerank_few.tsv --json",
    ),
    Step("predict-conv", f"predict train-conv/out inputs/unseen.tsv {GENOME}"),
    Step("predict-gate", f"predict train-gate/out inputs/unseen.tsv {GENOME} --write parquet"),
    Step(
        "predict-bengi",
        "predict train-config/out {data}/bengi/NHEK.HiC-Benchmark.v3.tsv.gz --genome "
        "{data}/hg19.chr20_chr22part_chrX70M.fa.gz --outside-genome report --json",
    ),
)

EVALUATE = (
    Step("evaluate", "evaluate train/out build/out --split test --truth world/out/truth"),
    Step("evaluate-plain", "evaluate train/out build/out --cell-lines train01,unseen01,unseen02 --json"),
    Step("evaluate-known", "evaluate train/out build/out --split val --known-only --seed 2"),
    Step("evaluate-place", "evaluate train-gate/out build/out --chromosomes sim4,sim5"),
    Step("evaluate-two", "evaluate train-two/out build-rerank/out --split test --truth world-rerank/out/truth"),
)

COMPARE = (
    Step(
        "compare",
        f"compare inputs/split.toml build/out {SHORT},motif_gbm,cross_attention,episode --workers 1 "
        f"--truth world/out/truth {SMALL}",
    ),
    Step(
        "compare-more",
        f"compare inputs/split.toml build/out --rows kmer_lr --workers 1 --truth world/out/truth {SMALL}",
        prepare=clone("compare/out", "compare-more/out"),
        needs=("compare",),
    ),
    Step(
        "compare-groups",
        f"compare inputs/groups.toml inputs/labelled.tsv {GENOME} {SHORT} --collapse --seeds 0,1 --workers 1 "
        f"--allow-leakage --json {SMALL}",
    ),
    Step(
        "compare-two",
        f"compare inputs/split.json build-rerank/out --rows episode,distance --workers 2 {SMALL} "
        "--set impedance.channels=2 --set environment.student=network",
    ),
)

EXPLAIN = (
    Step("explain", "explain train/out build/out --split test --pairs 3 --figures 1"),
    Step("explain-only", "explain train/out build/out --only inputs/chosen.tsv --bases whole --figures 0 --json"),
    Step("explain-gate", "explain train-gate/out build/out --choose random --pairs 2 --site-p 3e-5 --figures 0"),
    Step("explain-conv", "explain train-conv/out build/out --cell-lines unseen02 --pairs 2 --figures 0"),
)

REPORT = (
    Step("report", "report evaluate/out"),
    Step("report-two", 'report evaluate-two/out --title "Two channels"'),
    Step("report-compare", "report compare/out"),
    Step("report-groups", "report compare-groups/out"),
)

HELP = (
    Step(
        "help",
        "--help",
        facts=(
            "demo",
            "simulate",
            "data",
            "encode",
            "train",
            "predict",
            "evaluate",
            "compare",
            "explain",
            "report",
            "--version",
        ),
        bare=True,
    ),
    Step(
        "help-data",
        "data build --help",
        facts=(
            "--out",
            "--genome",
            "--format",
            "--column",
            "--cell-line",
            "--assay",
            "--enhancer-window",
            "--promoter-window",
            "--on-invalid",
            "--outside-genome",
            "--max-unknown",
            "--json",
        ),
        bare=True,
    ),
    Step(
        "help-train",
        "train --help",
        facts=(
            "--config",
            "--set",
            "--resume",
            "--devices",
            "--nodes",
            "--accumulate",
            "--split",
            "--cell-lines",
            "--chromosomes",
            "--cache",
            "--seed",
            "--threads",
            "--json",
        ),
        bare=True,
    ),
    Step(
        "help-predict",
        "predict --help",
        facts=(
            "--support-labels",
            "--write",
            "--batch-size",
            "--resume",
            "--engine",
            "--ray-address",
            "--workers",
            "--cache",
            "--seed",
        ),
        bare=True,
    ),
    Step(
        "help-compare",
        "compare --help",
        facts=("--seeds", "--workers", "--allow-leakage", "--collapse", "--truth", "--set", "--genome"),
        bare=True,
    ),
    Step(
        "help-explain",
        "explain --help",
        facts=("--pairs", "--choose", "--only", "--site-p", "--bases", "--figures"),
        bare=True,
    ),
)

WRONG = (
    _table("label.tsv", "3", "label", "2", "0", "1"),
    _table("reversed.tsv", "3", "promoter_end", "90", "promoter_start", "120"),
    _table("negative.tsv", "3", "enhancer_start", "-5"),
    _table("position.tsv", "3", "enhancer_start", "nan"),
    _table("fraction.tsv", "3", "enhancer_end", "10.5"),
    _table("chromosomes.tsv", "3", "promoter_chrom", "chr2", "enhancer_chrom", "chr1"),
    _table("colon.tsv", "3", "cell_line", "K:562"),
    _table("fields.tsv", "3", "4", "8"),
    _table("twice.tsv", "1", "cell_line"),
    _table("lacks.tsv", "enhancer_end", "enhancer_sequence", "cell_line", "promoter_start"),
    _table("nameless.tsv", "cell_line", "--cell-line", "--column", "cell_lines"),
    _table("many.tsv", "3", "12", "label", "7", "enhancer_end", "40", "20"),
    _table("conflict.tsv", "2", "3", "label", "0", "1"),
    _table("empty.tsv"),
    _table("text.parquet"),
    _table("letters.csv", "2", "enhancer_sequence", "X", "5"),
    _table("binary.tsv"),
    _table("cut.tsv.gz"),
    _table("outside.tsv", "enhancer_chrom", "chr7", "small.fa"),
    _table("beyond.tsv", "promoter_end", "2001", "chr1", "2000"),
    _table("unknown.tsv", "3"),
    _table("bengi.tsv", "--cell-line"),
    _wrong("missing", "data build inputs/nowhere.tsv --genome inputs/small.fa", "nowhere.tsv"),
    _wrong("genome", "data build inputs/pairs.bedpe --genome inputs/nowhere.fa", "nowhere.fa"),
    _wrong("no-genome", "data build inputs/pairs.bedpe", "--genome"),
    _wrong("column", f"data build inputs/known.tsv {GENOME} --column enhancer_chr=x", "enhancer_chr", "enhancer_chrom"),
    _wrong("format", f"data build inputs/known.tsv {GENOME} --format bed", "--format", "bed", "bedpe", "bengi"),
    _wrong("kl", "data build inputs/wrong/kl", "pairs_hg19.csv", "p_seq.csv", "3", "promoter_name", "!", "4"),
    _wrong("full", f"data build inputs/known.tsv {GENOME} --out build/out", "build/out", bare=True),
    _wrong("setting", "train build/out --set training.step=3", "training", "step", "steps"),
    _wrong("setting-type", "train build/out --set training.steps=many", "training.steps", "many"),
    _wrong("setting-value", "train build/out --set training.clip=-1", "training.clip", "0"),
    _wrong("setting-heads", "train build/out --set backbone.width=30", "backbone.width", "30"),
    _wrong("setting-kind", "train build/out --set stem.kind=cnn", "stem.kind", "cnn"),
    _wrong("settings", "train build/out --config inputs/wrong/settings.toml", "settings.toml"),
    _wrong("settings-key", "train build/out --config inputs/wrong/key.json", "key.json", "querry", "query"),
    _wrong("dataset", "train inputs/nowhere", "nowhere"),
    Step(
        "wrong-dataset-version",
        "train wrong-dataset-version/dataset",
        code=2,
        facts=("format_version", "99", "1"),
        needs=("build",),
        prepare=damage("build/out", "wrong-dataset-version/dataset", "manifest.json", {"format_version": 99}),
    ),
    Step(
        "wrong-run-version",
        f"predict wrong-run-version/run inputs/known.tsv {GENOME}",
        code=2,
        facts=("99",),
        needs=("train",),
        prepare=damage("train/out", "wrong-run-version/run", "run.json", {"format_version": 99}),
    ),
    Step(
        "wrong-run-key",
        f"predict wrong-run-key/run inputs/known.tsv {GENOME}",
        code=2,
        facts=("wrong-run-key/run", "windows"),
        needs=("train",),
        prepare=damage("train/out", "wrong-run-key/run", "run.json", {"windows": None}),
    ),
    Step(
        "wrong-weights",
        f"predict wrong-weights/run inputs/known.tsv {GENOME}",
        code=2,
        facts=("wrong-weights/run",),
        needs=("train",),
        prepare=damage("train/out", "wrong-weights/run", "model.safetensors", {}),
    ),
    _wrong("run", f"predict inputs/wrong inputs/known.tsv {GENOME}", "inputs/wrong"),
    _wrong("line", f"predict train/out inputs/nameless.csv {GENOME}", "nameless.csv", "cell_line", "--cell-line"),
    _wrong("only", f"predict train/out inputs/known.tsv {GENOME} --cell-line train99", "train99", "train01"),
    _wrong("predict-genome", "predict train/out inputs/known.tsv", "--genome"),
    _wrong("labels", f"predict train/out inputs/unseen.tsv {GENOME} --support-labels inputs/unseen.tsv", "unseen.tsv"),
    _wrong("write", f"predict train/out inputs/unseen.tsv {GENOME} --write parquet,bam", "bam", "bedpe", "interact"),
    _wrong("batch", f"predict train/out inputs/unseen.tsv {GENOME} --batch-size 0", "--batch-size", "0"),
    _wrong(
        "stream",
        "predict train/out inputs/wrong/rows.parquet --genome inputs/small.fa",
        "rows.parquet",
        "2",
        "label",
        "7",
    ),
    Step(
        "wrong-resume",
        f"predict train/out inputs/blocks.parquet {GENOME} --resume --seed 1",
        code=2,
        facts=("wrong-resume/out", "seed"),
        needs=("predict-stream",),
        prepare=clone("predict-stream/out", "wrong-resume/out"),
    ),
    Step(
        "wrong-train-resume",
        f"train build/out {SMALL} --seed 1 --resume",
        code=2,
        facts=("wrong-train-resume/out", "seed"),
        needs=("train",),
        prepare=clone("train/out", "wrong-train-resume/out"),
    ),
    _wrong("cell-line", "evaluate train/out build/out --cell-lines unseen1", "unseen1", "unseen01"),
    _wrong("chromosome", "evaluate train/out build/out --chromosomes chr1", "chr1", "sim1"),
    _wrong("windows", "evaluate train/out build-windows/out", "256", "4096"),
    _wrong("truth", "evaluate train/out build/out --truth inputs", "inputs"),
    _wrong("rows", "compare inputs/split.toml build/out --rows distanc", "distanc", "distance"),
    _wrong("protocol", "compare inputs/wrong/protocol.toml build/out", "protocol.toml", "holdouts", "holdout"),
    _wrong("protocol-name", "compare nowhere build/out", "nowhere", "domain-kl", "simulated"),
    _wrong("leak", f"compare inputs/groups.toml build/out --rows distance --workers 1 {SMALL}", "--allow-leakage"),
    _wrong("distance", "compare inputs/split.toml build/out --set potential.distance=true", "potential.distance"),
    _wrong("compare-full", "compare inputs/split.toml build/out --out inputs", "inputs", bare=True),
    _wrong("pair", "explain train/out build/out --only inputs/wrong/pair.tsv", "pair.tsv", "2", "nobody"),
    _wrong("pairs", "explain train/out build/out --pairs 0", "--pairs", "0"),
    _wrong("site", "explain train/out build/out --site-p 2", "--site-p", "2"),
    _wrong("report", "report inputs", "inputs", "metrics.json", "results.json"),
    Step(
        "wrong-report-key",
        "report wrong-report-key/folder",
        code=2,
        facts=("metrics.json", "macro"),
        needs=("evaluate",),
        prepare=damage("evaluate/out", "wrong-report-key/folder", "metrics.json", {"macro": None}),
    ),
    Step("wrong-command", "predit", code=2, facts=("predit", "predict"), bare=True),
)

STEPS: tuple[Step, ...] = (
    *SIMULATE, *BUILD, *TRAIN, *ENCODE, *PREDICT, *EVALUATE, *COMPARE, *EXPLAIN, *REPORT, *HELP, *WRONG,
)  # fmt: skip


def names(said: str, fact: str) -> bool:
    """Tell whether a message names something, as words of its own."""
    return re.search(rf"(?<!\w){re.escape(fact)}(?!\w)", said) is not None


def choose(asked: list[str]) -> list[Step]:
    """The steps of these names (or patterns) and all that they need, in order; all steps where none is given."""
    if not asked:
        return list(STEPS)
    known = {step.name: step for step in STEPS}
    wanted: set[str] = set()
    waiting = [name for pattern in asked for name in fnmatch.filter(known, pattern) or [pattern]]
    while waiting:
        name = waiting.pop()
        if name not in known:
            raise SystemExit(f"no step {name!r}; there are: {', '.join(known)}")
        if name not in wanted:
            wanted.add(name)
            waiting += known[name].before()
    return [step for step in STEPS if step.name in wanted]
