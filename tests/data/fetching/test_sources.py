from __future__ import annotations

from pathlib import Path

import pytest

from tiepoint.data.fetching.sources import SOURCES, find
from tiepoint.data.readers.phototour import SETS
from tiepoint.errors import InputError


def test_the_table_is_sound() -> None:
    assert set(SOURCES) == {*SETS, "hpatches"}
    for name, known in SOURCES.items():
        assert (known.name, known.then.format(folder="x").split()[:2]) == (name, ["tiepoint", "data"])
        assert Path(known.file).name == known.file != name
        assert all(url.startswith("https://") and url.endswith(f"/{known.file}") for url in known.mirrors)
        if name in SETS:
            assert f"{SETS[name]:,} patches" in known.about
            assert len(bytes.fromhex(known.md5 or "")) == 16
    assert len({known.md5 for known in SOURCES.values()}) == 7
    assert [name for name, known in SOURCES.items() if known.repacked] == ["liberty", "notredame", "yosemite"]


@pytest.mark.parametrize(
    ("name", "close"), [("libert", "liberty"), ("HPatches", "hpatches"), ("notre_dame", "notredame")]
)
def test_an_unknown_name_is_answered_by_a_close_one(name: str, close: str) -> None:
    with pytest.raises(InputError, match=f"no data set '{name}': did you mean {close}\\? there are liberty, "):
        find(name)
    with pytest.raises(InputError, match="no data set 'qq': there are liberty, "):
        find("qq")
