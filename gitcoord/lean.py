"""Light stand-ins for `typing`, `contextlib`, `re`, `signal` and `sqlite3`, which take 15 ms to import.

A type checker sees the real ones. At run time this module has: names that only annotations use; a `NamedTuple` that
makes its classes in a tenth of the time; `contextmanager` and `suppress`, which behave like the real ones; `signal` and
`sqlite3` without the enums and dates around their C parts; and `re`, imported when it is first used. Modules that quick
commands load import them from here.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re as re
    import signal as signal
    import sqlite3 as sqlite3
    from contextlib import contextmanager as contextmanager
    from contextlib import suppress as suppress
    from importlib import import_module as import_module
    from typing import IO as IO
    from typing import Any as Any
    from typing import Generic as Generic
    from typing import Literal as Literal
    from typing import NamedTuple as NamedTuple
    from typing import NewType as NewType
    from typing import NoReturn as NoReturn
    from typing import Protocol as Protocol
    from typing import Self as Self
    from typing import TypeVar as TypeVar
    from typing import cast as cast
else:

    def import_module(name):
        """Import a module by its full name."""
        __import__(name)
        return sys.modules[name]

    class _Later:
        """A module that is imported when something of it is used first."""

        def __init__(self, name):
            self._name = name

        def __getattr__(self, name):
            return getattr(import_module(self._name), name)

    re = _Later("re")
    signal = import_module("_signal")

    try:
        sqlite3 = import_module("_sqlite3")
    except ImportError:
        sqlite3 = import_module("sqlite3")

    try:
        from _collections import _tuplegetter as _field
    except ImportError:
        from operator import itemgetter

        def _field(place, doc):
            return property(itemgetter(place), doc=doc)

    class _Name:
        """A stand-in, in an annotation or as a base class, for a type that only a type checker looks at."""

        def __class_getitem__(cls, of):
            return cls

    class Generic(_Name): ...

    class Protocol(_Name): ...

    IO = Any = Literal = NoReturn = Self = _Name

    def TypeVar(name, **_):
        return _Name

    def NewType(name, base):
        return base

    def cast(kind, value):
        return value

    class _Slotless(type):
        def __new__(kind, name, bases, body):
            return type.__new__(kind, name, bases, {"__slots__": (), **body})

    class NamedTuple(tuple, metaclass=_Slotless):
        """A tuple with named fields. The constructor of a class is made at its first call."""

        _fields = ()
        _field_defaults = {}

        def __init_subclass__(cls):
            if NamedTuple not in cls.__bases__:
                return
            cls._fields = cls.__match_args__ = tuple(cls.__annotations__)
            cls._field_defaults = {name: vars(cls)[name] for name in cls._fields if name in vars(cls)}
            for place, name in enumerate(cls._fields):
                setattr(cls, name, _field(place, f"Field {place}"))

        def __new__(cls, *args, **kwargs):
            made = next(kind for kind in cls.__mro__ if "_fields" in vars(kind))
            names = ", ".join(made._fields)
            code = f"lambda _cls, {names}: _new(_cls, ({names},))"  # a field, named in a class body, begins with a letter
            constructor = eval(code, {"_new": tuple.__new__, "__builtins__": {}})
            constructor.__defaults__ = tuple(made._field_defaults.values())
            constructor.__name__ = constructor.__qualname__ = f"{made.__name__}.__new__"
            made.__new__ = staticmethod(constructor)
            return constructor(cls, *args, **kwargs)

        @classmethod
        def _make(cls, values):
            return cls(*values)

        def _replace(self, **changes):
            found = tuple.__new__(
                type(self), [changes.pop(name, value) for name, value in zip(self._fields, self, strict=True)]
            )
            if changes:
                raise TypeError(f"{type(self).__name__} has no field {', '.join(changes)}")
            return found

        def _asdict(self):
            return dict(zip(self._fields, self, strict=True))

        def __repr__(self):
            return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._asdict().items())})"

        def __getnewargs__(self):
            return tuple(self)

    class suppress:
        """Leave a block silently when one of these is raised."""

        __slots__ = ("_kinds",)

        def __init__(self, *kinds):
            self._kinds = kinds

        def __enter__(self):
            return None

        def __exit__(self, kind, error, traceback):
            return kind is not None and issubclass(kind, self._kinds)

    class _Managed:
        __slots__ = ("_steps",)

        def __init__(self, steps):
            self._steps = steps

        def __enter__(self):
            return next(self._steps)

        def __exit__(self, kind, error, traceback):
            if error is None:
                next(self._steps, None)
                return False
            try:
                self._steps.throw(error)
            except StopIteration as ended:
                return ended is not error
            except BaseException as raised:
                if raised is error or (isinstance(error, StopIteration) and raised.__cause__ is error):
                    error.__traceback__ = traceback
                    return False
                raise
            return False

    def contextmanager(function):
        """A function that yields once, usable with `with`."""

        def managed(*args, **kwargs):
            return _Managed(function(*args, **kwargs))

        managed.__wrapped__, managed.__name__, managed.__doc__ = function, function.__name__, function.__doc__
        return managed
