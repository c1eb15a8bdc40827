"""Names of an archive's members that are safe on every platform."""

from __future__ import annotations

import os
import unicodedata

# Devices on Windows, whatever suffix follows.
RESERVED = {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"}
RESERVED |= {f"{port}{digit}" for port in ("COM", "LPT") for digit in "0123456789¹²³"}
LONGEST = 255  # bytes that a name within a folder may have on common disks


class MemberNames:
    """The members so far, compared as a disk that ignores case and spellings of accents would compare them."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def add(self, name: str, is_folder: bool) -> list[str]:
        """Split a member's name into folders and file. Raises ValueError that says what is wrong with it."""
        parts = split(name)
        if not parts and not is_folder:
            raise ValueError("has no name")
        keys = [_key(parts[:depth]) for depth in range(1, len(parts) + 1)]
        folders = keys if is_folder else keys[:-1]
        if not self._files.isdisjoint(keys) or (not is_folder and keys[-1] in self._folders):
            raise ValueError("has the name of another member, at least where case is ignored")
        self._folders.update(folders)
        self._files.update(keys[len(folders) :])
        return parts


def split(name: str) -> list[str]:
    """The parts of a relative name with "/" between them; "." is left out. Raises ValueError that says what is wrong.

    Refused are names that are absolute, go up, hold backslashes, colons (drives and streams) or control characters, and
    parts that Windows reserves, that it would trim, or that are too long for a disk.
    """
    if name.startswith("/"):
        raise ValueError("is an absolute path")
    if any(character in '\\:<>"|?*' or ord(character) < 32 or ord(character) == 127 for character in name):
        raise ValueError("has a character that is not allowed in names everywhere")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    for part in parts:
        if part == "..":
            raise ValueError("leaves the folder")
        if part[-1] in ". ":
            raise ValueError("ends in a dot or space, which Windows drops")
        if part.split(".")[0].rstrip().upper() in RESERVED:
            raise ValueError("is a device on Windows")
        if len(os.fsencode(part)) > LONGEST:
            raise ValueError("is too long")
    return parts


def _key(parts: list[str]) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", "/".join(parts)).casefold())
