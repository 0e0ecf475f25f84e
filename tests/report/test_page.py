"""The page as a file: whole, escaped, offline, drawn from JSON alone, and what a damaged folder gives."""

from __future__ import annotations

import errno
import html.parser
import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from episode.cli.main import build_parser
from episode.errors import EpisodeError
from episode.figure_style import to_svg
from episode.metrics.intervals import Estimate
from episode.report.comparison import comparison_contents
from episode.report.contents import Contents, Gallery, Section
from episode.report.evaluation import evaluation_contents
from episode.report.findings import Claim, Findings
from episode.report.load import Evaluation, load_folder
from episode.report.page import write_report
from episode.report.rendering import page, rich
from episode.report.tables import Cell, Table, figure, interval, text
from report_drafts import ComparisonDraft, EvaluationDraft

MakeFolder = Callable[..., Path]
Report = tuple[Path, list[Path]]
TRAINING = {"training", "pacing", "competition"}
CURVES = {
    f"{kind}_{level}" for kind in ("precision_recall", "reliability") for level in ("pooled", "by_environment")
} | {"potential_by_environment"}
EVALUATION = {"impedance_truth", "impedance_oracle", "impedance_teacher", "aupr_by_environment"} | CURVES | TRAINING
ROWS = {"rows_macro_auroc", "rows_macro_aupr", "rows_pooled_log_loss"}
COMPARISON = {"impedance_truth", "impedance_oracle", "few_labels"} | ROWS | CURVES | TRAINING
VOID = {"meta", "br", "img", "use", "path", "link", "wbr"}


class Reader(html.parser.HTMLParser):
    """Collects tags and attributes, and checks that what opens closes."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def without_figures(contents: Contents) -> str:
    """The page of some contents, figures left out."""
    sections = [
        replace(section, parts=tuple(part for part in section.parts if not isinstance(part, Gallery)))
        for section in contents.sections
    ]
    return page(replace(contents, sections=tuple(sections)), {}, contents.title)


def written(table: Table) -> str:
    """The page of one table."""
    claim = Claim("")
    section = Section("Table", "table", (table,))
    return page(Contents("", "", Findings(claim, claim, (), ()), (section,), ()), {}, "")


@pytest.fixture(params=["full_report", "comparison_report"])
def report(request: pytest.FixtureRequest) -> Report:
    return request.getfixturevalue(request.param)


def test_every_figure_is_written(full_report: Report, comparison_report: Report) -> None:
    for (folder, written), names in ((full_report, EVALUATION), (comparison_report, COMPARISON)):
        assert written[0] == folder / "index.html"
        assert {path.name for path in written[1:]} == {f"{name}{end}" for name in names for end in (".png", ".svg")}
        assert all(path.stat().st_size > 1000 for path in written)
        assert (folder / "figures" / "training.png").read_bytes().startswith(b"\x89PNG")
    assert "<h1>A &amp; &lt;B&gt;</h1>" in full_report[1][0].read_text()
    assert "<h1>Comparison: made-up loops &lt;7 cell lines&gt;</h1>" in comparison_report[1][0].read_text()


def test_the_page_is_whole_and_needs_nothing_else(report: Report) -> None:
    content = report[1][0].read_text()
    reader = Reader()
    reader.feed(content)
    assert not reader.open
    seen = reader.seen
    links = [
        value for _, attrs in seen for key, value in attrs.items() if key in ("src", "href", "xlink:href") and value
    ]
    assert {link[0] for link in links if link != "data:,"} == {"#"}
    assert not any(tag in ("img", "iframe") for tag, _ in seen) and "@import" not in content
    (script,) = re.findall(r"<script.*?</script>", content, flags=re.DOTALL)
    assert set(re.findall(r'(?:from|import)\s+"([a-z]+:)', script)) == {"data:"}
    identifiers = [attrs["id"] for _, attrs in seen if "id" in attrs]
    assert len(identifiers) == len(set(identifiers))
    assert {link[1:] for link in links if link[0] == "#"} <= set(identifiers)
    used = set(re.findall(r"url\(#([^)]*)\)", content))
    assert used and used <= set(identifiers)


def test_inline_figures_take_the_colours_of_the_page(report: Report) -> None:
    content = report[1][0].read_text()
    drawn = content[content.index("<svg") : content.rindex("</svg>")]
    assert not re.search(r"(fill|stroke): #[0-9a-f]{6}", drawn)
    assert "prefers-color-scheme: dark" in content and "@media print" in content


def test_each_figure_names_its_file_and_key(report: Report) -> None:
    folder, written = report
    content = written[0].read_text()
    sources = re.findall(r'<span class="source">Drawn from <code>(.*?)</code>', content)
    assert len(sources) == content.count("<figure")
    for source in sources:
        file, _, keys = source.replace("<wbr>", "").replace("&lt;", "<").replace("&gt;", ">").partition(": ")
        held = json.loads((folder / file).read_text())
        assert re.split(r"[.\[]", keys)[0] in held


class TestComparison:
    def test_the_leak_is_said_at_the_top_and_in_captions(self, comparison_report: Report) -> None:
        content = comparison_report[1][0].read_text()
        top = content.index('<p class="leak" role="note">This split leaks, and it was allowed')
        assert top < content.index('class="claim"')
        captions = re.findall(r"<caption>(.*?)</caption>", content)
        assert captions[0].startswith('<strong class="leak">This split leaks.</strong> All methods.')

    def test_no_leak_no_red(self, comparison: ComparisonDraft) -> None:
        comparison.results["audit"].update(allowed=False, locus_leak=False)
        for fold in comparison.results["audit"]["folds"]:
            fold.update(enhancer=0.0, promoter=0.0, locus=0.0)
        content = without_figures(comparison_contents(comparison.load()))
        assert "<table" in content and 'class="leak"' not in content and "split leaks" not in content

    def test_methods_are_grouped_and_nulls_are_dashes(self, comparison_report: Report) -> None:
        content = comparison_report[1][0].read_text()
        body = content[content.index('id="rows"') :]
        body = body[: body.index("</tbody>")]
        names = re.findall(r'<th scope="row"[^>]*data-order="([^"]*)"', body)
        assert names[:2] == ["episode.potential", "episode.student"] and names[-1] == "ablation.no_distillation"
        assert body.count('<tr class="starts">') == 5
        teacher = body[body.index('data-order="episode.teacher"') :]
        assert '<td class="number" data-order="">–</td>' in teacher[: teacher.index("</tr>")]

    def test_notes_are_numbered_and_listed(self, comparison_report: Report) -> None:
        content = comparison_report[1][0].read_text()
        assert '<li id="note-1">epivan, sept: own implementation, smaller than published</li>' in content
        assert content.count('<a href="#note-1"') == 2

    def test_claimed_differences_are_bold_and_no_others(self, comparison_report: Report) -> None:
        content = comparison_report[1][0].read_text()
        body = content[content.index('id="differences"') :]
        body = body[: body.index("</tbody>")]
        bold: dict[str, list[bool]] = {}
        for row in body.split("<tr")[2:]:
            name = re.findall(r'data-order="(\S+-\S+)"', row)[0]
            bold[name] = []
            for value, strong, low, high in re.findall(
                r'data-order="([-\d.e]+)">(<strong>)?[^<]*(?:</strong>)?<small>(\S+) to (\S+)</small>', row
            ):
                ends = [float(end.replace("−", "-")) for end in (low, high)]
                bold[name].append(bool(strong))
                assert not strong or (ends[0] * ends[1] > 0 and abs(float(value)) >= 0.002), (name, value, ends)
        assert any(bold["episode.student-bbse"])
        assert any(bold["episode.potential-ctcf_gbm"]), "a loss does not yield to the alarm of a weak potential"
        assert not any(bold["episode.potential-distance"]), "a gain does"

    def test_subsets_environments_audit_provenance(self, comparison_report: Report) -> None:
        content = comparison_report[1][0].read_text()
        for anchor in ("subset-hard", "subset-equal_length", "environments-auroc", "seeds", "audit", "provenance"):
            assert f'id="{anchor}"' in content
        assert "62.0 %" in content and "0f" * 32 in content and "config › training › steps" in content
        assert "17 blocks of 5 Mb" in content

    def test_an_empty_table_of_methods_still_gives_a_page(self, comparison: ComparisonDraft) -> None:
        comparison.results.update(methods={}, differences={})
        for entry in comparison.results["environments"].values():
            entry["methods"] = {}
        comparison.figures.update(precision_recall={}, reliability={}, potential={}, impedance=[], training=[])
        comparison.figures["few_labels"] = []
        contents = comparison_contents(comparison.load())
        assert list(contents.drawings()) == []
        assert "could not be judged" in without_figures(contents)


class TestEvaluation:
    def test_many_environments_with_long_names(self, make_folder: MakeFolder) -> None:
        loaded = load_folder(
            make_folder(environments=70, pairs=30, training=False, name="a-rather-long-cell-{}:POLR2A")
        )
        assert isinstance(loaded, Evaluation)
        contents = evaluation_contents(loaded)
        drawn = {drawing.name: drawing for drawing in contents.drawings()}
        assert "The first 24 of 70 environments" in drawn["reliability_by_environment"].caption
        assert to_svg(drawn["aupr_by_environment"].figure).startswith("<?xml")
        assert "a-rather-long-cell-69:<wbr>POLR2A" in without_figures(contents)

    def test_without_a_label(self, evaluation: EvaluationDraft) -> None:
        summary = evaluation.metrics
        for entry in [*summary["environments"].values(), summary["pooled"], summary["macro"], summary["oracle"]]:
            entry.update(
                {key: None for key, value in entry.items() if isinstance(value, float) and not key.startswith("r_s")}
            )
        summary["mean_impedance"].update(log_loss=None, ece=None)
        summary["intervals"] = {}
        content = without_figures(evaluation_contents(evaluation.load()))
        assert "Ranking could not be judged" in content and "could not be judged: it takes" in content


class TestBadFolder:
    def test_missing_files(self, tmp_path: Path, make_folder: MakeFolder) -> None:
        with pytest.raises(EpisodeError, match=r"metrics\.json: no such file, nor results\.json"):
            write_report(tmp_path)
        folder = make_folder(environments=2, pairs=60)
        (folder / "figures.json").unlink()
        with pytest.raises(EpisodeError, match=r"figures\.json: no such file"):
            write_report(folder)

    @pytest.mark.parametrize(
        ("name", "content", "said"),
        [
            ("figures.json", '{"training": {}}', r"figures\.json: training: needed a list, got {}"),
            ("figures.json", "[1]", r"figures\.json: .*, got \[1\]"),
            ("figures.json", "{", "not valid JSON"),
            ("metrics.json", '{"macro": {}}', r"metrics\.json: environments: is missing"),
            ("results.json", "{}", r"results\.json: protocol: is missing"),
        ],
    )
    def test_damaged_files_leave_nothing_behind(
        self, make_folder: MakeFolder, name: str, content: str, said: str
    ) -> None:
        folder = make_folder(environments=2, pairs=60)
        (folder / name).write_text(content)
        with pytest.raises(EpisodeError, match=said):
            write_report(folder)
        assert not (folder / "index.html").exists() and not (folder / "figures").exists()

    def test_a_full_disk_leaves_the_earlier_page(
        self, make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        folder = make_folder(environments=2, pairs=60)
        (folder / "index.html").write_text("earlier")
        before, count, write = sorted(folder.rglob("*")), 0, Path.write_bytes

        def failing(self: Path, content: bytes) -> int:
            nonlocal count
            count += 1
            if count > 4:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return write(self, content)

        monkeypatch.setattr(Path, "write_bytes", failing)
        for out in (None, tmp_path / "page"):
            with pytest.raises(OSError, match="No space left on device") as caught:
                write_report(folder, out=out)
            assert caught.value.filename.startswith(str(out or folder))
            count = 4
        assert (folder / "index.html").read_text() == "earlier"
        assert sorted(folder.rglob("*")) == before and not (tmp_path / "page").exists()

    def test_results_of_another_format(self, tmp_path: Path, comparison_text: str) -> None:
        results, figures = json.loads(comparison_text)
        (tmp_path / "results.json").write_text(json.dumps(results | {"format_version": 2}))
        (tmp_path / "figures.json").write_text(json.dumps(figures))
        with pytest.raises(EpisodeError, match="format_version: needed one of 1, got 2"):
            write_report(tmp_path)


def test_without_truth_and_training_by_command(
    make_folder: MakeFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_folder(truth=False, training=False, environments=3, pairs=100)
    words = ["report", str(folder), "--out", str(tmp_path / "page"), "--title", "Mine", "--json"]
    arguments = build_parser().parse_args(words)
    assert arguments.run(arguments) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["page"] == str(tmp_path / "page" / "index.html")
    assert {Path(path).stem for path in said["files"][1:]} == EVALUATION - TRAINING - {"impedance_truth"}
    assert "simulated" not in Path(said["page"]).read_text().lower()
    assert not (folder / "index.html").exists()
    again = write_report(folder, title="Mine")
    for one, two in zip(said["files"], again, strict=True):
        assert Path(one).read_bytes() == two.read_bytes()


def test_words_are_escaped_and_symbols_set() -> None:
    assert rich("R_S < U_I & R_SX") == "R<sub>S</sub> &lt; U<sub>I</sub> &amp; R_SX"
    table = Table(
        "What & why. More.",
        ("a", "<b>"),
        ((text("<script>"), figure(-1.0)),),
        ((text("all"), figure(None)),),
    )
    content = written(table).partition("<body>")[2].rpartition("<script")[0]
    assert "<script>" not in content and "&lt;script&gt;" in content
    assert '<td class="number" data-order="-1.0">−1.000</td>' in content
    assert '<th scope="row" class="word" data-order="all">all</th><td class="number" data-order="">–</td>' in content


def test_names_break_at_their_joints_only() -> None:
    content = written(Table("T.", ("a",), ((text("episode.few_label_8 R_S U_I-x"),),)))
    assert "episode.<wbr>few_<wbr>label_<wbr>8 R<sub>S</sub> U<sub>I</sub>-x" in content


def test_an_interval_stands_below_its_number() -> None:
    assert interval(Estimate(value=0.5, low=-0.1, high=0.9)) == Cell("0.500", 0.5, "−0.100 to 0.900")
    assert interval(Estimate(value=0.5)) == Cell("0.500", 0.5, "")
    assert interval(Estimate()) == Cell("–", None, "")
