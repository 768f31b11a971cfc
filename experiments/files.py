"""Files that are replaced whole: a reader sees the old contents or the new ones."""

import os
from pathlib import Path


def write_whole(path: Path, contents: bytes) -> None:
    """Replace a file, by a temporary name and a rename; on disk on return.

    Args:
      path: the file; its directory must exist. One process at a time may write it.
      contents: all of its bytes.
    """
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        file.write(contents)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    if os.name == "posix":  # elsewhere a directory cannot be opened
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
