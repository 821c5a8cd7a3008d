"""DDSketch's buckets: every float has a number, ascending with it, and a bucket's estimate is near all in it.

Masson, Rim, Lee: DDSketch, a fast and fully-mergeable quantile sketch with relative-error guarantees (VLDB 2019),
with the paper's cubic interpolation in place of the logarithm. That takes 1 % more buckets, but only additions and
multiplications: a processor's or a library's own rounding of `log` never decides into which bucket a value goes.

| numbers | values |
|---|---|
| 0 | zero |
| `shift` + floor(m · f(x)) ≥ 1 | x > 0, where f(2^e · (1 + s)) = e + ((A·s + B)·s + C)·s |
| 2 · `shift` | infinity |
| negative | the same of -x |
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from flows.operate.aggregates.arrow import Ints

Floats = npt.NDArray[np.float64]

_A, _B, _C = 6 / 35, -3 / 5, 10 / 7
_EXPONENTS = 1080
"""More than the magnitude of any double's exponent."""


class LogBuckets:
    """Buckets with a relative error of at most `error`; below 2.3e-308 also half a step of the doubles there."""

    def __init__(self, error: float) -> None:
        # A whole number of thousandths: not at the mercy of the last digit of a library's log.
        self._per_octave = math.ceil(1000 / (_C * math.log((1 + error) / (1 - error)))) / 1000
        self._shift = math.ceil(_EXPONENTS * self._per_octave) + 1

    def number(self, values: Floats) -> Ints:
        """Return the bucket of each value; NaN has none and must not come."""
        size = np.abs(values)
        ordinary = (size > 0) & np.isfinite(size)
        fraction, exponent = np.frexp(np.where(ordinary, size, 1.0))
        s = 2 * fraction - 1
        place = ((_A * s + _B) * s + _C) * s + (exponent - 1)
        numbers = np.floor(place * self._per_octave).astype(np.int64) + self._shift
        numbers = np.where(ordinary, numbers, np.where(size > 0, 2 * self._shift, 0))
        return np.where(values < 0, -numbers, numbers)

    def bounds(self, numbers: Ints) -> tuple[Floats, Floats]:
        """Return what the values of the buckets lie between; a bucket of one value has it on both sides."""
        size = np.abs(numbers)
        place, ordinary = self._place(size)
        ends = []
        for end in (place, place + 1):
            fraction, exponent = _inverse(end / self._per_octave)
            with np.errstate(over="ignore", under="ignore"):
                value = np.minimum(np.ldexp(fraction, exponent), np.finfo(np.float64).max)
            ends.append(np.where(ordinary, value, np.where(size > 0, np.inf, 0.0)))
        near, far = ends
        return np.where(numbers < 0, -far, near), np.where(numbers < 0, -near, far)

    def estimate(self, numbers: Ints) -> Floats:
        """Return a value that is within the relative error of all in the bucket."""
        size = np.abs(numbers)
        place, ordinary = self._place(size)
        low, low_exponent = _inverse(place / self._per_octave)
        high, high_exponent = _inverse((place + 1) / self._per_octave)
        high = np.ldexp(high, high_exponent - low_exponent)
        with np.errstate(over="ignore", under="ignore"):
            middle = np.ldexp(2 * low * high / (low + high), low_exponent)
        estimate = np.where(ordinary, middle, np.where(size > 0, np.inf, 0.0))
        return np.where(numbers < 0, -estimate, estimate)

    def _place(self, size: Ints) -> tuple[Ints, npt.NDArray[np.bool_]]:
        """Return the places of bucket numbers on the logarithmic scale, and which have one."""
        ordinary = (size > 0) & (size < 2 * self._shift)
        return np.where(ordinary, size - self._shift, 0), ordinary


def _inverse(place: Floats) -> tuple[Floats, Ints]:
    """Return 1 + s and e where f(2^e · (1 + s)) is `place`, by Newton's method."""
    exponent = np.floor(place)
    rest = place - exponent
    s = rest.copy()
    for _ in range(6):
        s -= (((_A * s + _B) * s + _C) * s - rest) / ((3 * _A * s + 2 * _B) * s + _C)
    return 1 + s, exponent.astype(np.int64)
