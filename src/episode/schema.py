"""The base of every typed file: read, check and write, with messages that name file, key, value and need.

A model says in one place which keys a file has, of which type and within which bounds; its JSON schema follows from
it. Knows nothing about what the files hold.
"""

from __future__ import annotations

import difflib
import math
import reprlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar, get_args

import numpy as np
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from episode.documents import json_content, read_text, toml_content
from episode.errors import SHOWN, ConfigError, EpisodeError
from episode.files import write_json

__all__ = [
    "FloatOrNaN",
    "Model",
    "Vector",
    "absent",
    "did_you_mean",
    "parse_json",
    "parse_model",
    "read_model",
    "refusal",
    "write_model",
]

M = TypeVar("M", bound=BaseModel)


def absent(value: object) -> bool:
    """Leave a key out of the file where its value is None: for ``Field(exclude_if=absent)``."""
    return value is None


SHORT = 80
"""Max characters of a text that a message shows."""
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = SHORT
_NEEDS = {
    "missing": "is missing",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "string_pattern_mismatch": "text like {pattern}",
    "none_required": "null",
    "list_type": "a list",
    "tuple_type": "a list",
    "too_short": "a list of at least {min_length}",
    "dict_type": "a table of settings",
    "model_type": "a table of settings",
    "union_tag_invalid": "{discriminator} to be one of {expected_tags}",
    "literal_error": "one of {expected}",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
}
"""What was needed, by the type of pydantic's error."""


class Model(BaseModel):
    """A frozen model: unknown keys are refused, a whole number may stand for a float, nothing else is converted.

    Numbers are finite, unless a field says otherwise. The docstring below a field is its description in the schema.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    def changed(self, **changes: Any) -> Self:
        """Return a checked copy with other values of some fields.

        Raises
        ------
        ConfigError
            If the copy is not possible.
        """
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return parse_model(values | changes, type(self), where=type(self).__name__)


FloatOrNaN = Annotated[
    float,
    Field(allow_inf_nan=True),
    BeforeValidator(lambda value: math.nan if value is None else value),
    PlainSerializer(lambda value: value if math.isfinite(value) else None, when_used="json"),
]
"""A number that is null in JSON where it is NaN."""


def _vector(value: Any) -> np.ndarray:
    try:
        vector = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        vector = np.full(1, np.nan)
    if vector.ndim != 1 or not np.isfinite(vector).all():
        raise ValueError(f"needed a list of finite numbers, got {_short(value)}")
    return vector


Vector = Annotated[
    np.ndarray,
    PlainValidator(_vector),
    PlainSerializer(np.ndarray.tolist),
    WithJsonSchema({"type": "array", "items": {"type": "number"}}),
]
"""Finite numbers: an array of shape (n,), float64, in memory, a list in a file."""


def refusal(key: str, need: str) -> PydanticCustomError:
    """Return what a validator of a whole model raises against the value of one of its keys.

    A validator of one field raises a `ValueError` with the need.
    """
    return PydanticCustomError("refused", "{need}", {"key": key, "need": need})


def parse_model(content: Any, kind: type[M], *, where: str, error: type[EpisodeError] = ConfigError) -> M:
    """Check plain nested data against a model; keys that are missing take their defaults.

    Messages begin with `where`: a file, or a word for where the data come from. `error` is raised if they do not fit.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as found:
        raise error(_explain(found, content, kind, where)) from None


def parse_json(
    text: str, kind: type[M], *, where: str, error: type[EpisodeError] = ConfigError, infinite: bool = False
) -> M:
    """Check JSON text against a model, as `parse_model`; a list may stand for a tuple.

    With `infinite`, NaN and infinite numbers may stand where the model has them.
    """
    refused = None
    try:
        content = json_content(text, where=where, error=error, infinite=infinite)
    except EpisodeError as problem:
        refused = problem
        content = json_content(text, where=where, error=error, infinite=True)  # the model may name the key
    try:
        model = kind.model_validate_json(text)
    except ValidationError as found:
        if found.errors()[0]["type"] == "json_invalid":
            raise error(f"{where}: not valid JSON ({found.errors()[0]['ctx']['error']})") from None
        raise error(_explain(found, content, kind, where)) from None
    if refused is not None:
        raise refused
    return model


def read_model(path: Path, kind: type[M], *, error: type[EpisodeError] = ConfigError) -> M:
    """Read a JSON file, by its suffix ``.json``, or else a TOML file, and check it against a model.

    Raises
    ------
    EpisodeError
        Of type `error`, if the file cannot be read, is not TOML or JSON, or does not fit the model.
    """
    where = str(path)
    if path.suffix == ".json":
        return parse_json(read_text(path, error=error), kind, where=where, error=error)
    content = toml_content(read_text(path, "TOML", error=error), where=where, error=error)
    return parse_model(content, kind, where=where, error=error)


def write_model(path: Path, model: BaseModel) -> None:
    """Write a model as JSON, atomically; keys in the order of the fields."""
    write_json(path, model.model_dump(mode="json", by_alias=True))


def did_you_mean(name: str, known: Iterable[str], *, otherwise: str = "") -> str:
    """Return ``; did you mean 'x'?`` with the nearest of the known names; `otherwise` where none is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else otherwise


def _explain(found: ValidationError, content: Any, kind: type[BaseModel], where: str) -> str:
    """Return one line for each key that does not fit."""
    by_key: dict[tuple[int | str, ...], list[ErrorDetails]] = {}
    for detail in found.errors(include_url=False):
        by_key.setdefault(_path(detail, content), []).append(detail)
    lines = []
    for path, details in by_key.items():
        lines.append(": ".join(filter(None, [where, ".".join(map(str, path)), _need(details, path, kind)])))
    if len(lines) > SHOWN:
        lines = [*lines[:SHOWN], f"... and {len(lines) - SHOWN} more"]
    return "\n".join(lines)


def _path(detail: ErrorDetails, content: Any) -> tuple[int | str, ...]:
    """Return the keys that lead to an error, without the names that pydantic gives to the members of a union."""
    path: list[int | str] = []
    for step in detail["loc"]:
        try:
            content = content[step]
        except (KeyError, IndexError, TypeError):
            if detail["type"] != "missing" or step != detail["loc"][-1]:
                continue
        path.append(step)
    if detail["type"] == "refused":
        path.append(detail["ctx"]["key"])
    return tuple(path[:-1] if detail["type"] == "extra_forbidden" else path)


def _need(details: Sequence[ErrorDetails], path: Sequence[int | str], kind: type[BaseModel]) -> str:
    """Say of one key what was needed and what came; several details are members of a union."""
    first = details[0]
    context = first.get("ctx", {})
    if first["type"] == "extra_forbidden":
        known, key = _known_keys(kind, path), str(first["loc"][-1])
        return f"unknown key {key!r}" + did_you_mean(key, known, otherwise=f"; known keys: {', '.join(known)}")
    if first["type"] in ("missing", "refused", "value_error"):
        return str(context.get("need") or context.get("error") or _NEEDS["missing"])
    came, advice, needs = first["input"], "", []
    for item in details:
        template = _NEEDS.get(item["type"])
        need = item["msg"] if template is None else template.format(**item.get("ctx", {}))
        if item["type"] == "literal_error":  # pydantic writes 'a', 'b' or 'c'
            need = need.replace("'", "").replace(" or ", ", ")
        needs.append(need)
    if first["type"] == "literal_error" and isinstance(came, str):
        advice = did_you_mean(came, needs[0].removeprefix("one of ").split(", "))
    return f"needed {' or '.join(dict.fromkeys(needs))}, got {_short(came)}{advice}"


def _short(value: object) -> str:
    """Show a value, of whatever size or depth."""
    if isinstance(value, str | bool | float) or value is None:
        return repr(value) if len(str(value)) <= SHORT else f"{str(value)[:SHORT]!r}..."
    try:
        return _SHORT.repr(value)
    except ValueError:  # a whole number that has too many digits to be written
        return "a number of too many digits"


def _known_keys(kind: Any, path: Sequence[int | str]) -> tuple[str, ...]:
    """Return the keys of the model that a path leads to; of all models, where a union has several."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        keys = {field.alias or name: field for name, field in kind.model_fields.items()}
        if not path:
            return tuple(keys)
        return _known_keys(keys[str(path[0])].annotation, path[1:]) if path[0] in keys else ()
    inside = isinstance(kind, type) or getattr(kind, "__origin__", None) in (dict, list, tuple)
    rest = path[1:] if inside else path
    found = [_known_keys(member, rest) for member in get_args(kind)] if path or not inside else []
    return tuple(dict.fromkeys(key for keys in found for key in keys))
