"""Figures of explanations: tracks of a pair, logos of its strongest sites, and motifs over all pairs.

The look is that of the reports. This module does NOT know models.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox

from episode.encode.motifs import MotifBank
from episode.explain.explanation import Explanation, SiteEffect
from episode.explain.logos import draw_logo, information
from episode.explain.mutagenesis import BaseEffects
from episode.explain.pair_scorer import KINDS
from episode.explain.tables import STRANDS, motif_names
from episode.figure_style import COLOURS, WIDTH, legend, new_figure, short, style, to_png, to_svg

__all__ = ["draw_logos", "draw_motifs", "draw_tracks", "write_figures"]

LABELLED = 4
"""Sites of an element that are named in its track."""
SHOWN = 5
"""Sites of each element in the table of joint knock-outs."""
MOTIFS = 12
"""Motifs in the summary."""
WORTH = 0.02
"""Fraction of the largest effect of a pair below which a site is a tick only."""
PALE = 0.05
"""Joint knock-outs that all are smaller than this stay pale: to two decimals they are next to nothing."""
TITLE: dict[str, Any] = {"loc": "left", "fontsize": 8.5, "color": COLOURS["ink"]}
POINTERS = (">", "<")
ASIDE, ROW = 7, 9
"""Points from a marker to its name, and from a row of names to the next."""


def draw_tracks(explanation: Explanation, bank: MotifBank) -> Figure:
    """Sites of both elements where they lie, with their knock-out effects and gradients, and the joint knock-outs."""
    figure = Figure(figsize=(WIDTH, 6.6), layout="constrained", facecolor=COLOURS["paper"])
    tracks = figure.subplots(3, 1, height_ratios=(1, 1, 1.15))
    for axes, kind in zip(tracks[:2], KINDS, strict=True):
        style(axes)
        _track(axes, explanation, kind, bank)
    marks = [("blue", ">", "knock-out, raises U_I"), ("red", ">", "lowers it")]
    if not all(math.isnan(effect.gradient) for effect in explanation.sites):
        marks.append(("ink", "D", "gradient"))
    if len(explanation.potentials) > 1:
        marks.append(("muted", "|", "SD between members"))
    for colour, marker, label in marks:
        fill = "none" if marker == "D" else COLOURS[colour]
        tracks[0].plot([], [], marker, color=COLOURS[colour], mfc=fill, ms=5, label=label)
    low = min(axes.get_ylim()[0] for axes in tracks[:2])
    high = max(axes.get_ylim()[1] for axes in tracks[:2])
    for axes in tracks[:2]:
        axes.set_ylim(low, high)
    _joint(figure, tracks[2], explanation, bank)
    title = f"{explanation.chosen.name}: U_I {explanation.potential:.2f}"
    if len(explanation.potentials) > 1:
        title += f" (SD {explanation.potential_sd:.2f} between {len(explanation.potentials)} members)\n"
    else:
        title += ", "
    title += f"{_signed(explanation.gradient.difference)} against the background"
    tracks[0].set_title(f"{title}\n{tracks[0].get_title(loc='left')}", **TITLE)
    legend(figure, columns=3 if len(marks) < 4 else 2)
    figure.draw_without_rendering()  # from here on the layout holds, and names can be measured
    for axes, kind in zip(tracks[:2], KINDS, strict=True):
        _name_sites(axes, explanation, kind, bank)
    return figure


def _track(axes: Axes, explanation: Explanation, kind: str, bank: MotifBank) -> None:
    chosen = explanation.chosen
    placed = chosen.elements[kind]
    axes.axhline(0, color=COLOURS["muted"], lw=0.9)
    large, small = _by_worth(explanation, kind)
    axes.plot(
        [_middle(effect) for effect in small], [0] * len(small), "|", color=COLOURS["muted"], ms=6, mew=0.8, alpha=0.35
    )
    for effect in large:
        middle, height = _middle(effect), effect.knockout.effect
        colour = COLOURS["blue"] if height >= 0 else COLOURS["red"]
        axes.plot([middle, middle], [0, height], color=colour, lw=1.4)
        axes.plot(middle, height, POINTERS[effect.site.strand], color=colour, ms=6, mew=0)
        if len(effect.knockout.effects) > 1:
            sd = effect.knockout.effect_sd
            axes.plot([middle, middle], [height - sd, height + sd], color=COLOURS["muted"], lw=1, zorder=1)
        axes.plot(middle, effect.gradient, "D", mfc="none", mec=COLOURS["ink"], mew=0.8, ms=4)
    axes.set_xlim(0, placed.length)
    axes.margins(y=0.12)
    place = f"{short(placed.chrom)}:{placed.origin:,}–{placed.origin + placed.length:,}"
    where = place if placed.chrom else short(placed.name)
    ahead = (kind == "enhancer") != chosen.mirrored
    partner = "" if not chosen.oriented else ("   partner →" if ahead else "   ← partner")
    axes.set_title(f"{kind} {where}{partner}", **TITLE)
    axes.set_xlabel("base of the element, forward strand", fontsize=8.5)
    axes.set_ylabel("effect on U_I", fontsize=8.5)


def _by_worth(explanation: Explanation, kind: str) -> tuple[list[SiteEffect], list[SiteEffect]]:
    """Sites of one element that do something, strongest first, and those that are ticks only."""
    sites = [effect for effect in explanation.sites if effect.kind == kind]
    limit = WORTH * max((abs(effect.knockout.effect) for effect in explanation.sites), default=0.0)
    small = [e for e in sites if max(abs(e.knockout.effect), np.nan_to_num(abs(e.gradient))) < limit]
    large = [effect for effect in sites if effect not in small]
    return sorted(large, key=lambda effect: -abs(effect.knockout.effect)), small


def _name_sites(axes: Axes, explanation: Explanation, kind: str, bank: MotifBank) -> None:
    """Name the strongest sites of a track, each where no stronger one's name or marker is; if there is no room, not."""
    named = _by_worth(explanation, kind)[0][:LABELLED]
    places = [(_middle(e), max(e.knockout.effect, np.nan_to_num(e.gradient), key=abs)) for e in named]
    unit = ROW / 72 * axes.figure.dpi
    taken = [
        Bbox.from_bounds(x - unit / 3, y - unit / 3, 2 * unit / 3, 2 * unit / 3)
        for x, y in axes.transData.transform(places)
    ]
    for effect, place in zip(named, places, strict=True):
        text = axes.annotate(
            _name(effect, bank),
            place,
            xytext=(ASIDE, 0),
            textcoords="offset points",
            va="center",
            fontsize=7.5,
            color=COLOURS["ink"],
            zorder=5,
        )
        text.set_in_layout(False)
        text.set_path_effects([withStroke(linewidth=2.5, foreground=COLOURS["paper"])])
        for row, side in itertools.product((0, 1, -1), ("left", "right")):
            text.set(ha=side, position=(ASIDE if side == "left" else -ASIDE, row * ROW))
            box = text.get_window_extent()
            if axes.bbox.containsx(box.x0) and axes.bbox.containsx(box.x1) and not box.count_overlaps(taken):
                taken.append(box)
                break
        else:
            text.remove()


def _joint(figure: Figure, axes: Axes, explanation: Explanation, bank: MotifBank) -> None:
    """Draw the interaction of the strongest sites as a small table of colours."""
    value = explanation.interaction[:SHOWN, :SHOWN]
    rows, columns = (explanation.joint[kind][:SHOWN] for kind in KINDS)
    axes.set_title("both knocked out: what they do together", **TITLE)
    if not value.size:
        axes.text(0.5, 0.5, "no candidate site in one of them", ha="center", va="center", fontsize=8.5)
        axes.set_axis_off()
        return
    largest = max(float(np.abs(value).max()), PALE)
    axes.imshow(value, cmap="RdBu", norm=TwoSlopeNorm(0, -largest, largest), aspect="auto")
    for (i, j), entry in np.ndenumerate(value):
        colour = COLOURS["paper"] if abs(entry) > 0.6 * largest else COLOURS["ink"]
        axes.text(j, i, _signed(entry), ha="center", va="center", fontsize=7, color=colour)
    axes.set_xticks(range(len(columns)), [_label(effect, bank) for effect in columns], rotation=25, ha="right")
    axes.set_yticks(range(len(rows)), [_label(effect, bank) for effect in rows])
    axes.tick_params(length=0, labelsize=7.5, colors=COLOURS["ink"])
    axes.set_xlabel("promoter site", fontsize=8.5)
    axes.set_ylabel("enhancer site", fontsize=8.5)
    for spine in axes.spines.values():
        spine.set_visible(False)


def draw_logos(explanation: Explanation, bank: MotifBank) -> Figure | None:
    """Bases of the strongest sites scaled by what they do, over the motif as it is known; None if there are none."""
    shown = [(effect, found) for _, effect, found in explanation.bases if effect is not None]
    if not shown:
        return None
    figure = Figure(figsize=(WIDTH, 2.1 * len(shown)), layout="constrained", facecolor=COLOURS["paper"])
    grid = figure.subplots(2 * len(shown), 1, squeeze=False, height_ratios=[1.5, 1] * len(shown)).ravel()
    for number, (effect, found) in enumerate(shown):
        upper, lower = grid[2 * number], grid[2 * number + 1]
        _observed(upper, explanation, effect, found, bank)
        _known(lower, effect, found, bank)
    return figure


def _observed(axes: Axes, explanation: Explanation, effect: SiteEffect, found: BaseEffects, bank: MotifBank) -> None:
    style(axes)
    axes.grid(visible=False)
    heights = np.zeros_like(found.effect)
    place = np.flatnonzero(found.reference < heights.shape[1])
    heights[place, found.reference[place]] = found.mean[place]
    draw_logo(axes, heights, start=found.start)
    axes.axhline(0, color=COLOURS["muted"], lw=0.8)
    axes.axvspan(effect.site.start, effect.site.end, color=COLOURS["grid"], alpha=0.5, lw=0, zorder=0)
    placed = explanation.chosen.elements[effect.kind]
    name = f"{_label(effect, bank)} in the {effect.kind}, effect {_signed(effect.knockout.effect)}"
    if len(explanation.potentials) > 1:
        name += f" (SD {effect.knockout.effect_sd:.2f})"
    at = f"\n{short(placed.chrom)}:{placed.origin + effect.site.start:,}" if placed.chrom else ""
    axes.set_title(name + at, **TITLE)
    axes.set_ylabel("mean fall\nof U_I", fontsize=8)
    axes.tick_params(labelbottom=False)


def _known(axes: Axes, effect: SiteEffect, found: BaseEffects, bank: MotifBank) -> None:
    style(axes)
    axes.grid(visible=False)
    owner = bank.gate if effect.site.gate and bank.gate is not None else bank
    fractions = owner.probabilities[effect.site.motif]
    draw_logo(
        axes, information(fractions if effect.site.strand == 0 else fractions[::-1, ::-1]), start=effect.site.start
    )
    axes.set_xlim(found.start, found.start + len(found.reference))
    axes.set_ylim(0, 2)
    axes.set_ylabel("motif,\nbits", fontsize=8)
    axes.set_xlabel("base of the element, forward strand", fontsize=8)


def draw_motifs(motifs: pd.DataFrame, pairs: int) -> Figure:
    """Motifs by the effect that they have in an average pair, knock-out and gradient side by side."""
    shown = motifs.head(MOTIFS).iloc[::-1]
    figure, axes = new_figure(0.9 + 0.27 * max(len(shown), 2))
    place = np.arange(len(shown))
    value = shown["mean_own_effect"].to_numpy(np.float64)
    colours = [COLOURS["blue"] if entry >= 0 else COLOURS["red"] for entry in value]
    sd = shown.get("mean_own_effect_sd")
    axes.barh(place, value, color=colours, height=0.62, xerr=sd, error_kw={"ecolor": COLOURS["muted"], "lw": 1.6})
    axes.plot(shown["mean_gradient"], place, "D", mfc="none", mec=COLOURS["ink"], mew=0.9, ms=4.5)
    names = [f"{short(str(row.motif))} ({row.element}, {row.sites})" for row in shown.itertuples()]
    axes.set_yticks(place, names)
    axes.axvline(0, color=COLOURS["muted"], lw=0.9)
    axes.locator_params(axis="x", nbins=5)
    axes.plot([], [], "s", color=COLOURS["blue"], label="knock-out")
    if shown["mean_gradient"].notna().any():
        axes.plot([], [], "D", mfc="none", mec=COLOURS["ink"], label="gradient")
    if sd is not None:
        axes.plot([], [], "-", color=COLOURS["muted"], lw=1.6, label="SD between members")
    legend(figure, columns=3)
    axes.set_xlabel(f"mean effect of a site on U_I, {pairs:,} pairs")
    return figure


def write_figures(
    explanations: Sequence[Explanation], motifs: pd.DataFrame, pairs: int, bank: MotifBank, folder: Path
) -> None:
    """Write the figures of some explanations, and of the motifs over all pairs, as PNG and SVG."""
    folder.mkdir()
    for explanation in explanations:
        _write(draw_tracks(explanation, bank), folder, explanation.chosen.name)
        logos = draw_logos(explanation, bank)
        if logos is not None:
            _write(logos, folder, f"{explanation.chosen.name}_logos")
    _write(draw_motifs(motifs, pairs), folder, "motifs")


def _write(figure: Figure, folder: Path, name: str) -> None:
    (folder / f"{name}.png").write_bytes(to_png(figure))
    (folder / f"{name}.svg").write_text(to_svg(figure), encoding="utf-8")


def _middle(effect: SiteEffect) -> float:
    return (effect.site.start + effect.site.end) / 2


def _signed(value: float) -> str:
    """Two decimals with a sign; what rounds to 0 has none."""
    return f"{value:+.2f}".replace("-", "−") if abs(value) >= 0.005 else "0"


def _name(effect: SiteEffect, bank: MotifBank) -> str:
    """Name of a motif, with a question mark where it explains less than half of the effect itself."""
    name = short(motif_names(bank, effect.site)[1])
    knockout = effect.knockout
    return f"{name}?" if abs(knockout.channel) < abs(knockout.effect) / 2 else name


def _label(effect: SiteEffect, bank: MotifBank) -> str:
    return f"{_name(effect, bank)} ({STRANDS[effect.site.strand]})".replace("-)", "−)")
