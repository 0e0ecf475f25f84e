import argparse
import html.parser
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from episode.cli import report as command
from episode.errors import EpisodeError
from episode.report.page import write_report
from episode.report.tables import rich, table

MakeFolder = Callable[..., Path]
FullReport = tuple[Path, list[Path]]
FIGURES = {
    "impedance_truth",
    "impedance_oracle",
    "aupr_by_environment",
    "pooled_precision_recall",
    "pooled_reliability",
    "training_curves",
}
VOID = {"meta", "br", "img", "use", "path", "link"}


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


def read(path: Path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text())
    assert not reader.open
    return reader


def test_writes_the_page_and_every_figure(full_report: FullReport):
    folder, written = full_report
    assert written[0] == folder / "index.html"
    assert {path.name for path in written[1:]} == {f"{name}{end}" for name in FIGURES for end in (".png", ".svg")}
    assert all(path.stat().st_size > 1000 for path in written)
    assert (folder / "figures" / "training_curves.png").read_bytes().startswith(b"\x89PNG")
    assert "<h1>A &amp; &lt;B&gt;</h1>" in written[0].read_text()


def test_the_page_is_whole_and_needs_nothing_else(full_report: FullReport):
    page = full_report[1][0]
    seen = read(page).seen
    links = [value for _, attrs in seen for key, value in attrs.items() if key in ("src", "href", "xlink:href")]
    assert links and all(value.startswith("#") for value in links if value is not None)
    assert not any(tag in ("script", "link", "img", "iframe") for tag, _ in seen)
    assert "@import" not in page.read_text()
    identifiers = [attrs["id"] for _, attrs in seen if "id" in attrs]
    assert len(identifiers) == len(set(identifiers))
    assert {value[1:] for value in links if value} <= set(identifiers)
    used = set(re.findall(r"url\(#([^)]*)\)", page.read_text()))
    assert used and used <= set(identifiers)


def test_inline_figures_take_the_colours_of_the_page(full_report: FullReport):
    text = full_report[1][0].read_text()
    drawn = text[text.index("<svg") : text.rindex("</svg>")]
    assert not re.search(r"(fill|stroke): #[0-9a-f]{6}", drawn)
    assert "prefers-color-scheme: dark" in text and "@media print" in text


def test_the_same_material_gives_the_same_bytes(full_report: FullReport, tmp_path: Path):
    folder, first = full_report
    second = write_report(folder, title="A & <B>", out=tmp_path)
    for one, two in zip(first, second, strict=True):
        assert one.read_bytes() == two.read_bytes()


def test_without_truth_and_training(make_folder: MakeFolder):
    folder = make_folder(truth=False, training=False, environments=3, pairs=100)
    names = {path.stem for path in write_report(folder)[1:]}
    assert names == FIGURES - {"impedance_truth", "training_curves"}
    assert "planted" not in (folder / "index.html").read_text().lower()


def test_many_environments_with_long_names(make_folder: MakeFolder):
    folder = make_folder(environments=80, pairs=40, training=False, name="a-rather-long-cell-line-{}:RNAPII")
    assert len(write_report(folder)) == 11


def test_incomplete_training_log(make_folder: MakeFolder):
    folder = make_folder(environments=2, pairs=60)
    (folder / "training.jsonl").write_text(
        '{"kind": "train", "step": 0, "task": 0.5}\n\n{"kind": "validation", "step": 0, "slope": NaN}\n{"note": 1}\n'
    )
    assert any(path.stem == "training_curves" for path in write_report(folder))
    (folder / "training.jsonl").write_text('{"kind": "train", "step": 0}\n')
    assert not any(path.stem == "training_curves" for path in write_report(folder, out=folder / "again"))


def test_unlabelled_predictions_still_give_a_page(make_folder: MakeFolder):
    import pandas as pd

    folder = make_folder(environments=3, pairs=60, training=False)
    pd.read_parquet(folder / "predictions.parquet").assign(label=-1).to_parquet(folder / "predictions.parquet")
    summary = json.loads((folder / "metrics.json").read_text())
    for entry in [*summary["environments"].values(), summary["pooled"], summary["macro"], summary["oracle"]]:
        entry.update(
            {key: None for key, value in entry.items() if isinstance(value, float) and not key.startswith("r_s")}
        )
    summary["mean_impedance"].update(log_loss=None, ece=None)
    (folder / "metrics.json").write_text(json.dumps(summary))
    text = write_report(folder)[0].read_text()
    assert "Ranking could not be judged" in text and "could not be judged: it takes" in text


class TestBadFolder:
    def test_missing_files(self, tmp_path: Path, make_folder: MakeFolder):
        with pytest.raises(EpisodeError, match=r"metrics\.json: no such file"):
            write_report(tmp_path)
        folder = make_folder(environments=2, pairs=60)
        (folder / "predictions.parquet").unlink()
        with pytest.raises(EpisodeError, match=r"predictions\.parquet: no such file"):
            write_report(folder)

    def test_damaged_files_leave_nothing_behind(self, make_folder: MakeFolder):
        folder = make_folder(environments=2, pairs=60)
        (folder / "training.jsonl").write_text('{"kind": "train"}\n{"kind"\n')
        with pytest.raises(EpisodeError, match=r"training\.jsonl:2: not a JSON object"):
            write_report(folder)
        (folder / "predictions.parquet").write_text("no table")
        with pytest.raises(EpisodeError, match=r"predictions\.parquet: needs the columns"):
            write_report(folder)
        (folder / "metrics.json").write_text('{"macro": {}}')
        with pytest.raises(EpisodeError, match="no 'environments'"):
            write_report(folder)
        assert not (folder / "index.html").exists() and not (folder / "figures").exists()


def test_command(make_folder: MakeFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = make_folder(environments=3, pairs=60, training=False)
    parser = argparse.ArgumentParser()
    command.register(parser.add_subparsers())
    arguments = parser.parse_args(["report", str(folder), "--out", str(tmp_path / "page"), "--title", "Mine", "--json"])
    assert arguments.run(arguments) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["page"] == str(tmp_path / "page" / "index.html")
    assert all(Path(path).is_file() for path in said["files"])
    assert not (folder / "index.html").exists()


def test_words_are_escaped_and_symbols_set():
    assert rich("R_S < U_I & R_SX") == "R<sub>S</sub> &lt; U<sub>I</sub> &amp; R_SX"
    text = table("What & why. More.", ["a", "<b>"], [["<script>", "1"]], [["all", "2"]])
    assert "<script>" not in text and "&lt;script&gt;" in text
    assert '<th scope="row" class="word">all</th><td>2</td>' in text
