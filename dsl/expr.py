"""Expressions as people write them: `col("delay") > 60`, `when(...).then(...).otherwise(...)`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dsl.errors import DeclarationError
from dsl.plan.exprs import Call, Column, ExprNode, Literal, render
from dsl.plan.types import Kind, kind_of_value, value_name


class Expr:
    """A computation over the columns of one record; checked against the Record when it is used in a stream.

    Nulls follow SQL: an operation on null is null, `filter` keeps only what is true.

    >>> (col("delay") / 60).round(1).fill_null(0.0) > 1
    fill_null(round(delay / 60, 1), 0.0) > 1
    """

    __slots__ = ("node",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, node: ExprNode) -> None:
        self.node = node

    def __repr__(self) -> str:
        return render(self.node)

    def __bool__(self) -> bool:
        raise DeclarationError(f"{self!r} has no truth value yet: join conditions with & | ~, not and/or/not.")

    def _call(self, function: str, *args: Any) -> Expr:
        return Expr(Call(function, (self.node, *map(to_node, args))))

    def _reverse(self, function: str, left: Any) -> Expr:
        return Expr(Call(function, (to_node(left), self.node)))

    def __add__(self, other: Any) -> Expr:
        return self._call("add", other)

    def __radd__(self, other: Any) -> Expr:
        return self._reverse("add", other)

    def __sub__(self, other: Any) -> Expr:
        return self._call("sub", other)

    def __rsub__(self, other: Any) -> Expr:
        return self._reverse("sub", other)

    def __mul__(self, other: Any) -> Expr:
        return self._call("mul", other)

    def __rmul__(self, other: Any) -> Expr:
        return self._reverse("mul", other)

    def __truediv__(self, other: Any) -> Expr:
        return self._call("div", other)

    def __rtruediv__(self, other: Any) -> Expr:
        return self._reverse("div", other)

    def __floordiv__(self, other: Any) -> Expr:
        return self._call("floordiv", other)

    def __rfloordiv__(self, other: Any) -> Expr:
        return self._reverse("floordiv", other)

    def __mod__(self, other: Any) -> Expr:
        return self._call("mod", other)

    def __rmod__(self, other: Any) -> Expr:
        return self._reverse("mod", other)

    def __neg__(self) -> Expr:
        return self._call("neg")

    def __eq__(self, other: object) -> Expr:  # type: ignore[override]
        return self._call("eq", other)

    def __ne__(self, other: object) -> Expr:  # type: ignore[override]
        return self._call("ne", other)

    def __lt__(self, other: Any) -> Expr:
        return self._call("lt", other)

    def __le__(self, other: Any) -> Expr:
        return self._call("le", other)

    def __gt__(self, other: Any) -> Expr:
        return self._call("gt", other)

    def __ge__(self, other: Any) -> Expr:
        return self._call("ge", other)

    def __and__(self, other: Any) -> Expr:
        return self._call("and", other)

    def __rand__(self, other: Any) -> Expr:
        return self._reverse("and", other)

    def __or__(self, other: Any) -> Expr:
        return self._call("or", other)

    def __ror__(self, other: Any) -> Expr:
        return self._reverse("or", other)

    def __invert__(self) -> Expr:
        return self._call("not")

    def is_null(self) -> Expr:
        """True where the value is null."""
        return self._call("is_null")

    def is_not_null(self) -> Expr:
        """True where the value is not null."""
        return self._call("is_not_null")

    def fill_null(self, value: Any) -> Expr:
        """Replace null by a value or another expression."""
        return self._call("fill_null", value)

    def is_in(self, values: Iterable[Any]) -> Expr:
        """True where the value is one of `values`, a list."""
        if isinstance(values, str | bytes | Expr) or not isinstance(values, Iterable):
            raise DeclarationError(f'{self!r}.is_in takes a list of values, such as ["JFK", "LGA"], not {values!r}.')
        return self._call("is_in", *values)

    def between(self, low: Any, high: Any) -> Expr:
        """True where low ≤ value ≤ high."""
        return self._call("ge", low) & self._call("le", high)

    def abs(self) -> Expr:
        """The absolute value."""
        return self._call("abs")

    def floor(self) -> Expr:
        """The largest whole number not above."""
        return self._call("floor")

    def ceil(self) -> Expr:
        """The smallest whole number not below."""
        return self._call("ceil")

    def round(self, digits: int = 0) -> Expr:
        """Round to `digits` (0 to 15) after the point, a tie to the even digit."""
        if not _is_count(digits) or digits > 15:
            raise DeclarationError(f"{self!r}.round takes a number of digits from 0 to 15, not {digits!r}.")
        return self._call("round", digits)

    def sqrt(self) -> Expr:
        """The square root; null of a negative number."""
        return self._call("sqrt")

    def lower(self) -> Expr:
        """The text in lower case."""
        return self._call("lower")

    def upper(self) -> Expr:
        """The text in upper case."""
        return self._call("upper")

    def strip(self) -> Expr:
        """The text without white space at its ends."""
        return self._call("strip")

    def length(self) -> Expr:
        """The number of characters."""
        return self._call("length")

    def contains(self, part: str) -> Expr:
        """True where the text contains `part`, taken literally."""
        return self._call("contains", part)

    def starts_with(self, part: str) -> Expr:
        """True where the text begins with `part`."""
        return self._call("starts_with", part)

    def ends_with(self, part: str) -> Expr:
        """True where the text ends with `part`."""
        return self._call("ends_with", part)

    def replace(self, old: str, new: str) -> Expr:
        """Replace each `old`, taken literally, by `new`."""
        return self._call("replace", old, new)

    def slice(self, start: int, length: int) -> Expr:
        """Take `length` characters from `start` on (counted from 0; a negative start counts from the end)."""
        if isinstance(start, bool) or not isinstance(start, int) or not _is_count(length):
            raise DeclarationError(
                f"{self!r}.slice takes a start and a length that is not negative, not {start!r} and {length!r}."
            )
        return self._call("slice", start, length)

    def year(self) -> Expr:
        """The year of a date (UTC)."""
        return self._call("year")

    def month(self) -> Expr:
        """The month, 1 to 12 (UTC)."""
        return self._call("month")

    def day(self) -> Expr:
        """The day of the month (UTC)."""
        return self._call("day")

    def weekday(self) -> Expr:
        """The ISO weekday, Monday 1 to Sunday 7 (UTC)."""
        return self._call("weekday")

    def hour(self) -> Expr:
        """The hour, 0 to 23 (UTC)."""
        return self._call("hour")

    def minute(self) -> Expr:
        """The minute, 0 to 59."""
        return self._call("minute")

    def second(self) -> Expr:
        """The second, 0 to 59."""
        return self._call("second")

    def cast(self, to: type) -> Expr:
        """Convert to `str`, `int` or `float`; what cannot be converted becomes null."""
        names = {str: "to_str", int: "to_int", float: "to_float"}
        if to not in names:
            raise DeclarationError(f"cannot cast {self!r} to {value_name(to)}: expected str, int or float.")
        return self._call(names[to])


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


class When:
    """A conditional waiting for its `then`."""

    def __init__(self, branches: tuple[tuple[Expr, Any], ...], condition: Expr) -> None:
        if not isinstance(condition, Expr):
            raise DeclarationError(f'when() takes a condition such as col("delay") > 60, not {condition!r}.')
        self._branches, self._condition = branches, condition

    def then(self, value: Any) -> Then:
        """Give the value where the condition is true."""
        return Then((*self._branches, (self._condition, value)))


class Then:
    """A conditional that may have more branches, or its `otherwise`."""

    def __init__(self, branches: tuple[tuple[Expr, Any], ...]) -> None:
        self._branches = branches

    def when(self, condition: Expr) -> When:
        """Add a branch, tried where those before are not true."""
        return When(self._branches, condition)

    def otherwise(self, value: Any) -> Expr:
        """Give the value where no condition is true."""
        result = to_node(value)
        for condition, then in reversed(self._branches):
            result = Call("if", (condition.node, to_node(then), result))
        return Expr(result)


def col(name: str) -> Expr:
    """Refer to a column of the stream by name.

    >>> departures.filter((col("delay") > 60) & col("carrier").is_in(["UA", "DL"]))
    <Stream departures.filter>
    """
    if not isinstance(name, str) or not name:
        raise DeclarationError(f"col() takes a column's name, not {name!r}.")
    return Expr(Column(name))


def lit(value: Any) -> Expr:
    """Make a constant.

    >>> told = departures.select("carrier", airport=lit("NYC"))
    >>> with app.test() as t:
    ...     t.send(departures, Departure("UA", "JFK"))
    ...     t.output(told)[0].value
    {'carrier': 'UA', 'airport': 'NYC'}
    """
    return Expr(to_node(value))


def when(condition: Expr) -> When:
    """Begin a conditional: `when(col("delay") > 60).then("late").otherwise("fine")`.

    >>> kind = when(col("delay").is_null()).then("gone").when(col("delay") > 60).then("late").otherwise("fine")
    >>> kinds = departures.select(kind=kind)
    >>> with app.test() as t:
    ...     for delay in (5.0, 90.0, None):
    ...         t.send(departures, Departure("UA", "JFK", delay))
    ...     [r.value["kind"] for r in t.output(kinds)]
    ['fine', 'late', 'gone']
    """
    return When((), condition)


def to_node(value: Any) -> ExprNode:
    """Turn an expression or a plain value into its node."""
    if isinstance(value, Expr):
        return value.node
    if isinstance(value, When | Then):
        raise DeclarationError("a when(...) is not complete: end it with .otherwise(value).")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise DeclarationError(f"{value} cannot stand in an expression: integers have 64 bits here.")
    if value is not None and kind_of_value(value).kind is Kind.OTHER:
        raise DeclarationError(f"{value!r} cannot stand in an expression: use numbers, text, bytes, dates or None.")
    return Literal(value)
