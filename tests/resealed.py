"""Seal a changed folder again, as one who wants to deceive would, so that the checks behind the checksums are met."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from episode.integrity import write_sealed
from episode.schema import Model

__all__ = ["reseal"]


class _Plain(Model):
    content: dict[str, Any]

    def model_dump(self, **_: Any) -> dict[str, Any]:
        return self.content


def reseal(manifest: Path) -> None:
    """Compute again the checksums of a manifest and of the files that it names."""
    content = json.loads(manifest.read_text(encoding="utf-8"))
    content.pop("content_sha256")
    write_sealed(manifest, _Plain(content=content), content.pop("files"))
