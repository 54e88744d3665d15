"""`json` without `re`, which takes 5 ms to import: `loads` and `dumps` over the C code of the standard module."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from gitcoord.lean import TYPE_CHECKING, Any

_SPACE = " \t\n\r"

if TYPE_CHECKING:
    from json import dumps as dumps

    def loads(
        text: str | bytes, *, parse_float: Callable[[str], Any] = float, parse_constant: Callable[[str], Any] = float
    ) -> Any: ...

else:
    try:
        from _json import encode_basestring, encode_basestring_ascii, make_encoder, make_scanner
    except ImportError:
        from json import dumps, loads
    else:

        @cache
        def _scanner(parse_float, parse_constant):
            class Settings:
                strict = True
                object_hook = object_pairs_hook = array_hook = None
                parse_int = int

            Settings.parse_float, Settings.parse_constant = staticmethod(parse_float), staticmethod(parse_constant)
            return make_scanner(Settings)

        def loads(text, *, parse_float=float, parse_constant=float):
            """The value of a JSON document. Raises ValueError."""
            if not isinstance(text, str):
                text = text.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogatepass")
            try:
                value, end = _scanner(parse_float, parse_constant)(text, len(text) - len(text.lstrip(_SPACE)))
            except StopIteration as stop:
                raise ValueError(f"Expecting value: character {stop.value}") from None
            except SystemError:  # the C code takes its error from json.decoder, and sets none where that is not loaded
                raise ValueError("not a JSON document") from None
            if text[end:].strip(_SPACE):
                raise ValueError(f"Extra data: character {end}")
            return value

        @cache
        def _encoder(ensure_ascii, sort_keys, separators, allow_nan):
            item, key = separators
            quote = encode_basestring_ascii if ensure_ascii else encode_basestring
            return make_encoder(None, _refuse, quote, None, key, item, sort_keys, False, allow_nan)

        def _refuse(value):
            raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")

        def dumps(value, *, ensure_ascii=True, sort_keys=False, separators=(", ", ": "), allow_nan=True):
            """A value as a JSON document on one line. Raises ValueError and TypeError for values without one."""
            return "".join(_encoder(ensure_ascii, sort_keys, separators, allow_nan)(value, 0))
