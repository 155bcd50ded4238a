"""JSON and XML that others wrote, read with messages that name the line."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

from etils import epath

from wristmir_jax.errors import UserError

_MAX_DEPTH = 6


def files_below(
    folder: epath.Path, suffixes: Sequence[str], depth: int = _MAX_DEPTH
) -> Iterator[epath.Path]:
    """Files of a folder and of the folders below it, in order of name.

    Args:
        folder: to look in.
        suffixes: in lower case, with the dot; others are left out.
        depth: of folders.
    """
    for entry in sorted(folder.iterdir()):
        if entry.suffix.lower() in suffixes:
            yield entry
        elif depth > 1 and entry.is_dir():
            yield from files_below(entry, suffixes, depth - 1)


def read_bytes(path: epath.Path) -> bytes:
    """Bytes of a file of the input.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: check --input") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}: check --input") from None


def read_text(path: epath.Path) -> str:
    """UTF-8 text of a file of the input, a byte order mark skipped.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text: check --input") from None


def read_json(path: epath.Path) -> Any:
    """What a JSON file holds.

    Raises:
        UserError: it cannot be read, or is no JSON; names the line.
    """
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}, line {error.lineno}: {error.msg}: the JSON is damaged or cut off"
        ) from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a JSON file that can be read ({error})") from None


@dataclass
class Element:
    """An XML element that knows its line.

    Attributes:
        line: where it starts, from 1.
        text: what stands directly in it, without white space at the ends.
    """

    tag: str
    attributes: dict[str, str]
    line: int
    children: list["Element"] = field(default_factory=list)
    text: str = ""

    def all(self, tag: str) -> Iterator["Element"]:
        return (child for child in self.children if child.tag == tag)

    def first(self, tag: str) -> "Element | None":
        return next(self.all(tag), None)


def read_xml(path: epath.Path) -> Element:
    """The root of an XML file. Document types, and so entities, are refused.

    Raises:
        UserError: the file cannot be read, is no XML, or declares a document type; names the line.
    """
    # ElementTree knows no lines, and messages have to name them.
    parser = expat.ParserCreate()
    parser.buffer_text = True
    top = Element("", {}, 0)
    stack = [top]

    def start(tag: str, attributes: dict[str, str]) -> None:
        element = Element(tag, attributes, parser.CurrentLineNumber)
        stack[-1].children.append(element)
        stack.append(element)

    def end(tag: str) -> None:
        element = stack.pop()
        element.text = element.text.strip()

    def text(data: str) -> None:
        stack[-1].text += data

    def refuse(*_: object) -> None:
        raise UserError(
            f"{path}, line {parser.CurrentLineNumber}: a DOCTYPE is not read: take it out"
        )

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(read_bytes(path), True)
    except expat.ExpatError as error:
        reason = expat.ErrorString(error.code)
        raise UserError(
            f"{path}, line {error.lineno}: {reason}: the XML is damaged or cut off"
        ) from None
    except ValueError as error:
        raise UserError(f"{path}: not an XML file that can be read ({error})") from None
    return top.children[0]
