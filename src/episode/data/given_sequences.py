"""DNA that tables bring themselves: which letters it may hold, and one sequence a name.

Does not know files, intervals or genomes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from episode.data.findings import Findings
from episode.dna import DNA_ALPHABET
from episode.limits import ELEMENT_BASES

if TYPE_CHECKING:
    from episode.data.readers.text import RawTable

__all__ = ["check_names", "fingerprint", "read_inline", "sequence_problem"]

_DNA_BYTES = (DNA_ALPHABET + DNA_ALPHABET.lower()).encode()


def fingerprint(sequence: str) -> bytes:
    """Return 16 bytes that two sequences share only if they are equal."""
    return hashlib.blake2b(sequence.encode(), digest_size=16).digest()


def sequence_problem(sequence: str) -> str | None:
    """Return what is wrong with a DNA sequence, None if nothing is."""
    if not sequence:
        return "is empty; needs a DNA sequence"
    if len(sequence) > ELEMENT_BASES:
        return f"has {len(sequence):,} bases; needs at most {ELEMENT_BASES:,}"
    left = sequence.encode("utf-8").translate(None, _DNA_BYTES).decode("utf-8")
    if not left:
        return None
    letter = left[0]
    return f"holds {letter!r} at base {sequence.index(letter) + 1}; needs bases (ACGT, N and IUPAC codes)"


def check_names(names: pd.Series, raw: RawTable, side: str, column: str, findings: Findings) -> None:
    file = "e_seq.csv" if side == "enhancer" else "p_seq.csv"
    spoilt = names.isin(list(raw.bad_sequences)).to_numpy()
    missing = ~names.isin(list(raw.sequences[side])).to_numpy() & ~spoilt
    findings.add(missing, column, f"is not among the regions of {file}", names)
    findings.add(spoilt, column, f"has a sequence in {file} that is not DNA", names)


def read_inline(
    sequences: pd.Series, names: pd.Series, column: str, findings: Findings, known: Mapping[str, bytes]
) -> tuple[pd.Series, dict[str, str]]:
    """Check sequences given in the table itself; nameless ones are named after their bases."""
    # Letters outside ASCII are no DNA, though their capitals may be.
    codes, distinct = pd.factorize(sequences.str.upper().where(sequences.str.isascii(), sequences))
    needs = [sequence_problem(sequence) for sequence in distinct]
    empty = (sequences == "").to_numpy()
    bad = np.array([need is not None for need in needs], dtype=bool)[codes]
    for kind in (bad & empty, bad & ~empty):
        findings.add(kind, column, lambda at: needs[codes[at]] or "", sequences)
    hashes = [f"seq-{hashlib.sha256(sequence.encode()).hexdigest()[:16]}" for sequence in distinct]
    names = names.where(names != "", pd.Series([hashes[code] for code in codes], dtype="str"))
    first = pd.DataFrame({"name": names, "code": codes})[~bad].drop_duplicates("name").set_index("name")["code"]
    again = [name for name in first.index if name in known]
    if again:
        place = {fingerprint(distinct[code]): code for code in np.unique(codes[~bad])}
        first[again] = [place.get(known[name], -1) for name in again]
    differs = ~bad & (names.map(first).to_numpy() != codes)
    findings.add(differs, column, "differs from the sequence of an earlier row of the same name", sequences)
    return names, {str(name): str(distinct[code]) for name, code in first.items() if code >= 0}
