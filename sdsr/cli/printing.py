"""What is printed is one line that every terminal and pipe can take, whatever a file is called."""

import io
import json
import logging
import sys
import unicodedata
from typing import TextIO

import typer


def print_any_name() -> None:
    """Let standard output and error write what their encoding lacks as `\\u4e00`, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class LineFormatter(logging.Formatter):
    """Messages of the log on one line each."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return one_line(super().formatMessage(record))


def echo_line(text: str, *, err: bool = False, file: TextIO | None = None) -> None:
    """Print text as one line, to standard output if nothing else is said."""
    typer.echo(one_line(text), err=err, file=file)


def echo_json(value: object, *, file: TextIO | None = None) -> None:
    """Print JSON on one line, readable where the output is UTF-8, else in ASCII."""
    text = json.dumps(value, ensure_ascii=False)
    if not text.isascii():
        encoding = (getattr(file or sys.stdout, "encoding", None) or "ascii").lower().replace("_", "-")
        if encoding not in ("utf-8", "utf8") or not _encodable(text):
            text = json.dumps(value)
    typer.echo(text, file=file)


def one_line(text: str) -> str:
    """Return text with what could break a line or command a terminal escaped (line ends, controls, text directions).

    >>> one_line("a\\nb"), one_line("\\x1b[31mé")
    ('a\\\\nb', '\\\\x1b[31mé')
    """
    return text if text.isprintable() else "".join(_escaped(character) for character in text)


def _escaped(character: str) -> str:
    hidden = unicodedata.category(character) in ("Cc", "Zl", "Zp") or "\u202a" <= character <= "\u202e"
    hidden = hidden or "\u2066" <= character <= "\u2069"
    return character.encode("unicode_escape").decode("ascii") if hidden else character


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a name that is no text: bytes in another encoding than the system's
        return False
    return True
