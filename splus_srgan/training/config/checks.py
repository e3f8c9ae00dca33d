# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Checks that the sections of a configuration share; their messages name the key."""

from splus_srgan.utils.validate import check_finite, check_integer, check_one_of, check_positive

__all__ = ["options_of"]


def options_of(kind):
    """The values that a field annotated with `typing.Literal` may have."""
    return kind.__args__


class _Section:
    """Checks that the sections share; messages name the key as files write it."""

    _prefix = ""

    def _key(self, name):
        return f"{self._prefix}{name}"

    def _one_of(self, **kinds):
        for name, kind in kinds.items():
            check_one_of(self._key(name), getattr(self, name), options_of(kind))

    def _integers(self, minimum, *names):
        for name in names:
            check_integer(self._key(name), getattr(self, name), minimum=minimum)

    def _positive(self, *names):
        for name in names:
            check_positive(self._key(name), getattr(self, name))

    def _not_negative(self, *names):
        for name in names:
            value = getattr(self, name)
            if check_finite(self._key(name), value) < 0:
                raise ValueError(f"{self._key(name)} must be at least 0; got {value!r}")

    def _shares(self, *names):
        for name in names:
            value = getattr(self, name)
            if not 0 <= check_finite(self._key(name), value) < 1:
                raise ValueError(f"{self._key(name)} must be in [0, 1); got {value!r}")

    def _tuple(self, name, *, minimum=1, integer=True, filled=True):
        """Keep a sequence of numbers as a tuple."""
        values = getattr(self, name)
        if isinstance(values, str) or not hasattr(values, "__iter__"):
            raise TypeError(f"{self._key(name)} must be a list of numbers; got {values!r}")
        values = tuple(values)
        if filled and not values:
            raise ValueError(f"{self._key(name)} must hold at least one number; got {values!r}")
        for value in values:
            if integer:
                check_integer(f"every entry of {self._key(name)}", value, minimum=minimum)
            else:
                check_positive(f"every entry of {self._key(name)}", value)
        object.__setattr__(self, name, values)
