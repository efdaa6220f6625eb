"""Where each key of a TOML text stands. Python's reader gives values without lines; this gives the lines."""

from __future__ import annotations

import re
import tomllib

Path = tuple[str | int, ...]

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_QUOTED = re.compile(r'"(?:[^"\\\n]|\\.)*"' + r"|'[^'\n]*'")
_STRING = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!"")|""(?!"))*"{3,5}' + r"|'''(?:[^']|'(?!'')|''(?!'))*'{3,5}|" + _QUOTED.pattern,
    re.DOTALL,
)
_PLAIN = re.compile(r"[^,\]}#\n]+")
_SPACE = re.compile(r"[ \t]*")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")


class TomlLines:
    """Index of a valid TOML text: the path of every key, table and array entry → its line, from 1."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self._line, self._counted = 1, 0
        self._last: dict[Path, int] = {}  # arrays of tables: the index of the entry being filled
        self.lines: dict[Path, int] = {}
        self._document()

    def _document(self) -> None:
        table: Path = ()
        self._skip(_BLANK)
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip(_BLANK)

    def _header(self) -> Path:
        brackets = 2 if self._text.startswith("[[", self._at) else 1
        self._at += brackets
        self._skip(_SPACE)
        line, keys = self._here(), self._key()
        self._at += brackets
        *parents, own = keys
        path: Path = ()
        for key in parents:
            path = self._entry((*path, key), line)
        path = (*path, own)
        if brackets == 1:
            self.lines[path] = line
            return path
        self.lines.setdefault(path, line)
        self._last[path] = self._last.get(path, -1) + 1
        return self._entry(path, line)

    def _entry(self, path: Path, line: int) -> Path:
        """Note ``path``; where it is an array of tables, step into the entry being filled."""
        self.lines.setdefault(path, line)
        if path in self._last:
            path = (*path, self._last[path])
            self.lines.setdefault(path, line)
        return path

    def _pair(self, table: Path) -> None:
        line = self._here()
        for key in self._key():
            table = (*table, key)
            self.lines.setdefault(table, line)
        self._at += 1  # the equals sign
        self._skip(_SPACE)
        self._value(table)

    def _key(self) -> list[str]:
        """A dotted key; ends at the sign after it."""
        keys = []
        while True:
            quoted = _QUOTED.match(self._text, self._at)
            if quoted:
                keys.append(_unquote(quoted[0]))
                self._at = quoted.end()
            else:
                keys.append(self._skip(_BARE))
            self._skip(_SPACE)
            if self._text[self._at] != ".":
                return keys
            self._at += 1
            self._skip(_SPACE)

    def _value(self, path: Path) -> None:
        sign = self._text[self._at]
        if sign in "[{":
            self._at += 1
            self._skip(_BLANK)
            index = 0
            while self._text[self._at] != {"[": "]", "{": "}"}[sign]:
                if sign == "[":
                    self.lines[(*path, index)] = self._here()
                    self._value((*path, index))
                    index += 1
                else:
                    self._pair(path)
                self._skip(_BLANK)
                if self._text[self._at] == ",":
                    self._at += 1
                    self._skip(_BLANK)
            self._at += 1
        elif not self._skip(_STRING):
            self._skip(_PLAIN)

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if not match:
            return ""
        self._at = match.end()
        return match[0]

    def _here(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line


def _unquote(text: str) -> str:
    return str(tomllib.loads(f"key = {text}")["key"]) if text.startswith('"') else text[1:-1]
