"""One-line faults that a test must catch: ``python tests/mutations.py`` plants each in a copy of src and runs its test.

No part of ``make test``: it takes some minutes. A line that survives needs a test; one that is gone needs another.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]


class Mutation(NamedTuple):
    """A fault: what stands once in a file of src/episode, what takes its place, and the test that must fail."""

    file: str
    before: str
    after: str
    test: str


MUTATIONS = (
    Mutation(  # a pseudo-OOD environment treated as known to the Teacher
        "train/step.py",
        "teacher = None if index is None else impedances[index]",
        "teacher = impedances[index or 0]",
        "train/test_step.py::test_the_teacher_is_not_asked_for_a_pseudo_ood_environment",
    ),
    Mutation(
        "train/step.py",
        "return context.system.teacher.reference(embedding.detach())",
        "return known.mean(0)",
        "train/test_step.py::test_the_teacher_is_not_asked_for_a_pseudo_ood_environment",
    ),
    Mutation(
        "train/step.py",
        "baseline = float(min(known))",
        "baseline = float(max(known))",
        "train/test_step.py::test_the_baseline_is_the_better_of_teacher_and_em",
    ),
    Mutation(
        "train/step.py",
        "fuse(teacher, student, config",
        "fuse(student, teacher, config",
        "train/test_step.py::test_the_task_loss_uses_fusion_for_known_environments_and_the_student_alone_for_others",
    ),
    Mutation(
        "train/step.py",
        "_View(task, query, np.full(len(query.rows), -1), support)",
        "_View(task, query, query.rows.label, support)",
        "train/test_step.py::test_the_swapped_half_of_a_two_way_task_shows_no_label",
    ),
    Mutation(
        "train/step.py",
        'if task.kind == "train" and index is not None:',
        "if index is not None:",
        "train/test_step.py::test_prototypes_are_handed_out_for_ordinary_training_tasks_only",
    ),
    Mutation(
        "train/step.py",
        "own = opportunist(query.embedding.detach())",
        "own = opportunist(query.embedding)",
        "train/test_gradient_table.py::test_the_graph_itself_stops_where_the_table_does",
    ),
    Mutation(
        "train/gradient_table.py",
        'if "backbone" in parts:',
        "if parts:",
        "train/test_gradient_table.py::test_a_cut_potential_is_moved_by_what_moves_the_backbone_alone",
    ),
    Mutation(
        "train/gradient_table.py",
        '"push_away": frozenset({"set_encoder"})',
        '"push_away": frozenset({"set_encoder", "opportunist"})',
        "train/test_gradient_table.py::test_the_table_is_that_of_the_design",
    ),
    Mutation(
        "episodes/sampler.py",
        "np.log(config.support_max + 1)",
        "np.log(config.support_max)",
        "episodes/test_sampler.py::test_both_bounds_of_the_support_size_are_drawn",
    ),
    Mutation(
        "episodes/sampler.py",
        "max(1, len(distinct) - 1)",
        "len(distinct)",
        "episodes/test_sampler.py::test_support_and_query_share_no_locus",
    ),
    Mutation(
        "episodes/tasks.py",
        'if kind == "train":\n',
        'if kind != "prior_shift":\n',
        "episodes/test_sampler.py::test_labels_are_shown_in_training_environments_only_and_mostly_hidden",
    ),
    Mutation(
        "episodes/roles.py",
        "calibration=_pools(pairs, validation,",
        "calibration=_pools(pairs, validation & np.isin(cell_line, judged),",
        "episodes/test_roles.py::test_calibration_reads_the_held_out_rows_of_every_cell_line",
    ),
    Mutation(
        "episodes/roles.py",
        "train &= ~(validation | near)",
        "train &= ~validation",
        "episodes/test_roles.py::test_held_out_loci_lie_beyond_a_buffer",
    ),
    Mutation(
        "inference/support_sampling.py",
        "first[1:] = np.diff(rank[order]) != 0",
        "pass",
        "inference/test_support_sampling.py::test_a_repeated_pair_is_in_the_support_once",
    ),
    Mutation(
        "predict/pairs.py",
        '"probability_low": expit((potential - impedance[2])',
        '"probability_low": expit((potential - impedance[1])',
        "predict/test_invariance.py::test_the_formula",
    ),
    Mutation(
        "predict/pairs.py",
        "level + deviation(estimate, exposure[index])",
        "level",
        "predict/test_pair_impedance.py::test_every_pair_meets_its_own_impedance",
    ),
    Mutation(
        "data/validation.py",
        "return (positive & negative)[group] & known",
        "return (positive & negative)[group]",
        "data/test_bad_input.py::test_an_unknown_label_beside_two_that_conflict_is_kept",
    ),
    Mutation(
        "data/positions.py",
        "return number.where(good, between)",
        "return number",
        "data/test_bad_input.py::test_a_distance_that_is_not_given_is_that_of_the_midpoints",
    ),
    Mutation(
        "predict/impedance.py",
        "sd**2 - calibration.bootstrap_sd**2",
        "sd**2",
        "predict/test_invariance.py::test_the_interval_counts_what_validation_did_not_see",
    ),
    Mutation(
        "predict/impedance.py",
        "used_half = (1 - weight) * half",
        "used_half = half",
        "predict/test_invariance.py::test_known_and_unseen_environments",
    ),
    Mutation(
        "inference/support_sampling.py",
        "rank <= self.rank[-1]",
        "rank < self.rank[-1]",
        "inference/test_support_sampling.py::test_of_equal_contents_the_first_by_ids_and_distance_is_taken",
    ),
    Mutation(
        "inference/support.py",
        "ddof=1",
        "ddof=0",
        "inference/test_support.py::test_the_spread_is_the_standard_deviation_over_supports_drawn_again",
    ),
    Mutation(
        "predict/streaming/summary.py",
        "rows.locus[:] = locus[rows.enhancer]",
        "pass",
        "predict/test_streaming.py::test_a_job_equals_a_prediction_in_memory",
    ),
)


def main() -> int:
    """Plant every fault; return the number of those that their test does not catch."""
    lost = 0
    for mutation in (None, *MUTATIONS):
        with tempfile.TemporaryDirectory() as folder:
            source = shutil.copytree(ROOT / "src", Path(folder) / "src")
            tests = sorted({fault.test for fault in MUTATIONS})
            if mutation is not None:
                path, tests = source / "episode" / mutation.file, [mutation.test]
                text = path.read_text()
                if text.count(mutation.before) != 1:
                    raise SystemExit(f"{mutation.file}: {mutation.before!r} does not stand there once")
                path.write_text(text.replace(mutation.before, mutation.after))
            command = [
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-x",
                "-p",
                "no:cacheprovider",
                *(f"tests/{test}" for test in tests),
            ]
            environment = os.environ | {"PYTHONPATH": f"{source}{os.pathsep}{ROOT / 'tests'}"}
            code = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True).returncode
        if mutation is None and code:
            raise SystemExit("the tests fail without any fault; correct that first")
        if mutation is not None:
            lost += code != 1
            print(f"{'caught' if code == 1 else 'SURVIVED'}: {mutation.file}: {mutation.after.strip()}", flush=True)
    return lost


if __name__ == "__main__":
    sys.exit(main())
