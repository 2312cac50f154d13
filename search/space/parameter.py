"""One searched value: a range or a choice, validated on construction."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from search.errors import SpaceError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Value = bool | int | float | str
KINDS = ("log", "linear", "int", "log_int", "choice")
_INT_KINDS = ("int", "log_int")
_FIELDS = {
    "log": ("low", "high", "default"),
    "linear": ("low", "high", "step", "default"),
    "int": ("low", "high", "step", "default"),
    "log_int": ("low", "high", "default"),
    "choice": ("values", "default"),
}


def is_value(value: object) -> bool:
    """Whether `value` is allowed in a space: a string, a boolean or a finite number."""
    return isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value))


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """The values of one key.

    log and linear: a float in low..high. int and log_int: a whole number in low..high. choice: one of `values`.
    Both bounds can be drawn. `step` (linear and int only) leaves low, low + step, ..., high. `default` is the value of
    the hand-made config, or None. SpaceError says what is wrong, without the key.
    """

    kind: str
    low: float | None = None
    high: float | None = None
    step: float | None = None
    values: tuple[Value, ...] = ()
    default: Value | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise SpaceError(f"unknown kind {self.kind!r}. Known kinds: {', '.join(KINDS)}.")
        if self.kind == "choice":
            _check_choice(self.values)
        else:
            self._check_range()
        if self.default is not None and not self.allows(self.default):
            raise SpaceError(f"default = {self.default!r} cannot be drawn from {self._drawn()}. Choose one that can.")

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Parameter:
        """A parameter from a space file's table such as {kind = "log", low = 0.01, high = 1.0, default = 0.2}."""
        if "kind" not in table:
            raise SpaceError(f"a table needs `kind`, one of {', '.join(KINDS)}; got the fields {', '.join(table)}.")
        kind, fields = table["kind"], {name: part for name, part in table.items() if name != "kind"}
        if kind not in KINDS:
            raise SpaceError(f"unknown kind {kind!r}. Known kinds: {', '.join(KINDS)}.")
        for name in fields:
            if name not in _FIELDS[kind]:
                raise SpaceError(f"unknown field `{name}` of kind {kind}. Known fields: {', '.join(_FIELDS[kind])}.")
        if kind == "choice":
            values = fields.pop("values", [])
            if not isinstance(values, list):
                raise SpaceError(f"`values` must be a list; got {values!r}.")
            return cls(kind=kind, values=tuple(values), **fields)
        if kind in ("log", "linear"):  # 1 and 1.0 are one number here, and a table's column should have one type
            fields = {name: float(part) if type(part) is int else part for name, part in fields.items()}
        return cls(kind=kind, **fields)

    def to_table(self) -> dict[str, Any]:
        """The inverse of `from_table`."""
        table: dict[str, Any] = {"kind": self.kind}
        for name in _FIELDS[self.kind]:
            part = getattr(self, name)
            if part is not None:
                table[name] = list(part) if name == "values" else part
        return table

    def allows(self, value: object) -> bool:
        """Whether `value` is one of the parameter's values."""
        if self.kind == "choice":
            return any(value == known and isinstance(value, bool) == isinstance(known, bool) for known in self.values)
        whole = self.kind in _INT_KINDS
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
            return False
        low, high = self._bounds()
        return low <= value <= high and (self.step is None or _is_multiple(value - low, self.step))

    def extremes(self) -> tuple[Value, ...]:
        """Both bounds of a range, or every choice: if these are valid, all values are."""
        return self.values if self.kind == "choice" else self._bounds()

    def draw(self, rng: random.Random) -> Value:
        """A random value, uniform over the choices, the range or its logarithm."""
        if self.kind == "choice":
            return rng.choice(self.values)
        low, high = self._bounds()
        if self.kind == "int":
            return rng.randrange(int(low), int(high) + 1, int(self.step or 1))
        if self.kind == "log_int":
            drawn = math.exp(rng.uniform(math.log(low - 0.5), math.log(high + 0.5)))
            return int(min(max(round(drawn), low), high))
        if self.kind == "log":
            return min(max(math.exp(rng.uniform(math.log(low), math.log(high))), low), high)
        if self.step is not None:
            return min(low + self.step * rng.randint(0, round((high - low) / self.step)), high)
        return rng.uniform(low, high)

    def distribution(self) -> BaseDistribution:
        """The same as Optuna's distribution."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.kind == "choice":
            return CategoricalDistribution(self.values)
        low, high = self._bounds()
        if self.kind in _INT_KINDS:
            return IntDistribution(int(low), int(high), log=self.kind == "log_int", step=int(self.step or 1))
        return FloatDistribution(low, high, log=self.kind == "log", step=self.step)

    def _bounds(self) -> tuple[float, float]:
        assert self.low is not None
        assert self.high is not None
        return self.low, self.high

    def _drawn(self) -> str:
        if self.kind == "choice":
            return ", ".join(repr(value) for value in self.values)
        return f"{self.low}..{self.high}" + (f" in steps of {self.step}" if self.step is not None else "")

    def _check_range(self) -> None:
        number = "a whole number" if self.kind in _INT_KINDS else "a finite number"
        for name in ("low", "high", "step"):
            bound = getattr(self, name)
            if bound is None and name != "step":
                raise SpaceError(f"`{name}` is missing. Kind {self.kind} needs `low` and `high`.")
            is_number = is_value(bound) and not isinstance(bound, (bool, str))
            if bound is not None and (not is_number or (self.kind in _INT_KINDS and not isinstance(bound, int))):
                raise SpaceError(f"`{name}` must be {number}; got {bound!r}.")
        low, high = self._bounds()
        if low >= high:
            advice = "Swap them." if low > high else "Write the value itself to fix it."
            raise SpaceError(f"low must be below high; got low = {low}, high = {high}. {advice}")
        if self.kind in ("log", "log_int") and low <= 0:
            linear = "linear" if self.kind == "log" else "int"
            raise SpaceError(f"kind {self.kind} needs low > 0; got low = {low}. Raise it or use kind {linear}.")
        if self.step is not None and (self.step <= 0 or not _is_multiple(high - low, self.step)):
            raise SpaceError(f"`step` must lead from low = {low} to high = {high} exactly; got {self.step}.")


def _is_multiple(distance: float, step: float) -> bool:
    return abs(distance / step - round(distance / step)) < 1e-8  # 0.3 / 0.1 is not 3, but near enough


def _check_choice(values: tuple[Value, ...]) -> None:
    if not values:
        raise SpaceError("a choice needs `values`, a list with at least one value.")
    for index, value in enumerate(values):
        if not is_value(value):
            raise SpaceError(f"`values` must be texts, booleans or finite numbers; got {value!r}.")
        if value in values[:index]:
            raise SpaceError(f"`values` has {value!r} twice (1, 1.0 and true count as equal). Keep one of them.")
