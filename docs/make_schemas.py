"""Write the JSON schemas of EPIsode's files into docs/schemas: ``python docs/make_schemas.py``.

Knows which model describes which file, not what the models hold.
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel

from episode.checkpoint import Alarms, RunFile
from episode.compare.protocol import Protocol
from episode.compare.results import ComparisonResults
from episode.config import Config
from episode.data.manifest import Manifest
from episode.evaluate.figures import Figures
from episode.evaluate.results import EvaluationResults
from episode.train.log import LogLine

FOLDER = Path(__file__).parent / "schemas"

MODELS: dict[str, type[BaseModel]] = {
    "config": Config,
    "protocol": Protocol,
    "dataset-manifest": Manifest,
    "run": RunFile,
    "training-log-line": LogLine,
    "alarms": Alarms,
    "evaluation-metrics": EvaluationResults,
    "comparison-results": ComparisonResults,
    "figures": Figures,
}
"""Model of each schema, by the name of its file without ``.json``."""


def schema_text(kind: type[BaseModel]) -> str:
    """Return the JSON schema of a model as it is written."""
    return json.dumps(kind.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, kind in MODELS.items():
        (FOLDER / f"{name}.json").write_text(schema_text(kind))
