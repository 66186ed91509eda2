"""Equal parts of frozen models, held once.

Most of what a thousand objects say is what the defaults say, and a spec of pydantic models takes forty kilobytes, its
tiers document twenty. Which fields were set is not told apart: ask a model of its own for that. Callers: the operator's
records, the controller's rotation.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar, cast
from weakref import WeakValueDictionary

from pydantic import BaseModel

M = TypeVar("M", bound=BaseModel)
_known: Final[WeakValueDictionary[tuple[type, str], BaseModel]] = WeakValueDictionary()


def shared(model: M) -> M:
    """An equal one, the same for all who ask; its parts are shared too. Changes `model`'s, so it must be new."""
    for name, value in model.__dict__.items():
        model.__dict__[name] = _part(value)
    return cast("M", _known.setdefault((type(model), model.model_dump_json()), model))


def _part(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return shared(value)
    return tuple(_part(item) for item in value) if isinstance(value, tuple) else value
