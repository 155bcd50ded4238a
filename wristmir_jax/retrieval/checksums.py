"""Checksums of a folder's files, in the form that `sha256sum -c` reads."""

import hashlib

from etils import epath

from wristmir_jax.errors import UserError

SUMS_FILE = "SHA256SUMS"
_CHUNK_BYTES = 2**22


def write_checksums(folder: epath.Path) -> None:
    """Write `SHA256SUMS` over every file in `folder` and below."""
    lines = [f"{_sha256(folder / name)}  {name}\n" for name in sorted(_files(folder))]
    (folder / SUMS_FILE).write_text("".join(lines))


def check_checksums(folder: epath.Path) -> None:
    """Compare every file with `SHA256SUMS`.

    Raises:
        UserError: a file is missing, changed, or not listed; the message names it.
    """
    sums = folder / SUMS_FILE
    listed: dict[str, str] = {}
    for line in sums.read_bytes().splitlines(keepends=True):
        try:
            digest, name = line.decode("ascii").removesuffix("\n").split("  ")
        except ValueError as error:
            raise UserError(f"{sums} is damaged: copy or build the folder again") from error
        listed[name] = digest
        if line != f"{digest}  {name}\n".encode():
            raise UserError(f"{sums} is damaged: copy or build the folder again")
    present = _files(folder)
    for name in sorted(present | set(listed)):
        if name not in present:
            raise UserError(f"{folder / name} is missing: copy or build the folder again")
        if name not in listed:
            raise UserError(f"{folder / name} does not belong there: {SUMS_FILE} does not list it")
        if _sha256(folder / name) != listed[name]:
            raise UserError(
                f"{folder / name} does not match its checksum: copy or build the folder again"
            )


def _files(folder: epath.Path, prefix: str = "") -> set[str]:
    names: set[str] = set()
    for path in folder.iterdir():
        if path.is_dir():
            names |= _files(path, f"{prefix}{path.name}/")
        elif prefix + path.name != SUMS_FILE:
            names.add(prefix + path.name)
    return names


def _sha256(path: epath.Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
