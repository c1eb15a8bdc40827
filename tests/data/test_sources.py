from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tiepoint.data.sources import SOURCES, find
from tiepoint.errors import InputError


def test_the_table_is_sound() -> None:
    assert set(SOURCES) == {
        *("liberty", "notredame", "yosemite", "liberty_harris", "notredame_harris", "yosemite_harris"), "hpatches",
    }  # fmt: skip
    for name, known in SOURCES.items():
        assert (known.name, known.then.format(folder="x").split()[:2]) == (name, ["tiepoint", "data"])
        assert Path(known.file).name == known.file != name
        assert all(mirror.url.startswith("https://") and mirror.url.endswith(known.file) for mirror in known.mirrors)
        for known_hash in known.hashes:
            kind, _, digits = known_hash.partition(":")
            assert len(bytes.fromhex(digits)) == hashlib.new(kind).digest_size
    hashes = [known_hash for known in SOURCES.values() for known_hash in known.hashes]
    assert len(set(hashes)) == len(hashes) == 6
    assert not SOURCES["liberty"].checkable
    assert SOURCES["liberty_harris"].checkable
    assert not SOURCES["hpatches"].checkable
    json.dumps([known.hashes for known in SOURCES.values()])


@pytest.mark.parametrize(
    ("name", "close"), [("libert", "liberty"), ("HPatches", "hpatches"), ("notre_dame", "notredame")]
)
def test_an_unknown_name_is_answered_by_a_close_one(name: str, close: str) -> None:
    with pytest.raises(InputError, match=f"no data set '{name}': did you mean {close}\\? there are liberty, "):
        find(name)
    with pytest.raises(InputError, match="no data set 'qq': there are liberty, "):
        find("qq")
