"""Authorization: roles, and the models that they apply to."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Literal, get_args

import msgspec

Role = Literal["predict", "read", "operate", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)

_HOLDS: dict[Role, frozenset[Role]] = {
    "predict": frozenset({"predict"}),
    "read": frozenset({"read"}),
    "operate": frozenset({"operate", "read"}),
    "admin": frozenset(ROLES),
}


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """`name` is who has it, for logs. `models` are patterns (``topic-*``) of names that `predict` holds for.

    `until_s` is the Unix time when it ends by itself, None: it does not.
    """

    name: str
    roles: tuple[Role, ...] = ("predict",)
    models: tuple[str, ...] = ("*",)
    until_s: float | None = None

    def has(self, role: Role) -> bool:
        """Whether one of its roles includes this one."""
        return any(role in _HOLDS[mine] for mine in self.roles)

    def predicts(self, model: str) -> bool:
        """Whether it may request predictions of this model."""
        return self.has("predict") and any(fnmatchcase(model, pattern) for pattern in self.models)

    def sees(self, model: str) -> bool:
        """Whether it may know that this model exists."""
        return self.has("read") or self.predicts(model)

    def visible(self, models: Iterable[str]) -> list[str]:
        """The models among `models` that it may know of."""
        return [model for model in models if self.sees(model)]


NOBODY = Grant(name="", roles=(), models=())
"""Who has shown nothing, and may do nothing but what everybody may."""
