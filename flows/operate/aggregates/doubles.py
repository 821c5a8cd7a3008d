"""Doubles and pairs of doubles: arithmetic that keeps what rounding takes, on whole columns.

A pair (high, low) stands for high + low, some 106 bits; after Dekker (1971) and Knuth. Where a number is not finite
the low part is 0.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_HALF = 134217729.0
"""2^27 + 1: cuts a double into two halves of 26 bits."""


class Pair(NamedTuple):
    """Columns of numbers, each high + low."""

    high: Floats
    low: Floats

    def __neg__(self) -> Pair:
        return Pair(-self.high, -self.low)

    def plus(self, other: Pair) -> Pair:
        """Return the sums, within 2^-104 of the larger operand."""
        high, lost = two_sum(self.high, other.high)
        low, rest = two_sum(self.low, other.low)
        high, lost = two_sum(high, lost + low)
        return Pair(*two_sum(high, lost + rest))

    def over(self, divisor: Floats) -> Pair:
        """Return the quotients."""
        first = self.high / divisor
        product, lost = two_product(first, divisor)
        with np.errstate(invalid="ignore"):
            rest = ((self.high - product) - lost + self.low) / divisor
        return Pair(*two_sum(first, np.where(np.isfinite(first), rest, 0.0)))


def single(values: Floats) -> Pair:
    """Return doubles as pairs."""
    return Pair(values, np.zeros_like(values))


def two_sum(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Return the rounded sums and what rounding took: exactly a + b together; no error where a sum is not finite."""
    with np.errstate(invalid="ignore", over="ignore"):
        total = a + b
        part = total - a
        error = (a - (total - part)) + (b - part)
    return total, np.where(np.isfinite(total), error, 0.0)


def two_product(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Return the rounded products and what rounding took; no error where a number is beyond 1e290."""
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        product = a * b
        (a_high, a_low), (b_high, b_low) = _halves(a), _halves(b)
        error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    return product, np.where(np.isfinite(error), error, 0.0)


def _halves(values: Floats) -> tuple[Floats, Floats]:
    scaled = values * _HALF
    high = scaled - (scaled - values)
    return high, values - high
