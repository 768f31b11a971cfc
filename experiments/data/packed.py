"""The contents of a file, however it is packed: as it is, by gzip, in an archive.

The first bytes tell, not the name: browsers may unpack what they fetch and leave it
the ending ``.gz``.
"""

import gzip
import io
import tarfile
import zipfile
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath
from typing import NoReturn

ENDINGS = ("", ".gz", ".zip")
"""What a name may have at its end if the file is packed alone."""
ARCHIVES = (".zip", ".tar.gz", ".tgz", ".tar")
"""Endings of archives of several files."""


class Unreadable(ValueError):
    """A file cannot be unpacked; the message says why."""


def unpacked(path: Path, names: Collection[str]) -> bytes:
    """The contents of a file; of an archive, those of a member.

    Args:
      path: of the file.
      names: of the member, whatever its folder is. They play no part otherwise.

    Raises:
      Unreadable: it is damaged, or an archive without such a member.
      OSError: it cannot be read.
    """
    packed = path.read_bytes()
    try:
        return _unpacked(packed, names)
    except (MemoryError, Unreadable):
        raise
    except EOFError:
        raise Unreadable("it ends too early") from None
    except Exception as error:  # the decoders' have no common base
        raise Unreadable(f"it cannot be unpacked ({error})") from None


def may_hold(path: Path, names: Collection[str]) -> bool:
    """Whether an archive has a member of one of the names, or is damaged."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return _member(archive.namelist(), names) is not None
        with tarfile.open(path) as archive:
            return _member(_files(archive), names) is not None
    except Exception:  # reading it will tell what is wrong
        return True


def _unpacked(packed: bytes, names: Collection[str]) -> bytes:
    if packed.startswith(b"PK\3\4"):
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            return archive.read(_member(archive.namelist(), names) or _none_of(names))
    contents = gzip.decompress(packed) if packed.startswith(b"\x1f\x8b") else packed
    if contents[257:262] != b"ustar":
        return contents
    with tarfile.open(fileobj=io.BytesIO(contents)) as archive:
        name = _member(_files(archive), names) or _none_of(names)
        member = archive.extractfile(name)
        return member.read() if member else _none_of(names)


def _member(members: Sequence[str], names: Collection[str]) -> str | None:
    """The first member that has one of the names, in whatever folder; no folder."""
    for member in members:
        if PurePosixPath(member).name in names and not member.endswith("/"):
            return member
    return None


def _files(archive: tarfile.TarFile) -> list[str]:
    return [member.name for member in archive if member.isfile()]


def _none_of(names: Collection[str]) -> NoReturn:
    raise Unreadable(f"it is an archive without {' or '.join(names)}")
