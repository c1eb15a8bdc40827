from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from archives import Pack, both_packers, refusal, tarred, tree, unpacked, written, zipped
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tiepoint.data.member_names import MemberNames, split

pytestmark = pytest.mark.usefixtures("offline")


NAMES = [
    ("/etc/passwd", "absolute"),
    ("../up", "leaves the folder"),
    ("a/../../up", "leaves the folder"),
    ("a/..", "leaves the folder"),
    ("C:/up", "not allowed in names everywhere"),
    ("C:up", "not allowed in names everywhere"),
    ("a\\..\\..\\up", "not allowed in names everywhere"),
    ("\\\\host\\share", "not allowed in names everywhere"),
    ("file:stream", "not allowed in names everywhere"),
    ("a\nb", "not allowed in names everywhere"),
    ("a\x1b[2Jb", "not allowed in names everywhere"),
    ("a/.. /up", "ends in a dot or space"),
    ("a/.../up", "ends in a dot or space"),
    ("a./b", "ends in a dot or space"),
    ("nul", "device on Windows"),
    ("a/AUX.txt", "device on Windows"),
    ("com1 .txt/b", "device on Windows"),
    ("x" * 256, "is too long"),
    ("é" * 128, "is too long"),
]


@both_packers
@pytest.mark.parametrize(("name", "reason"), NAMES)
def test_unsafe_names_are_refused(tmp_path: Path, pack: Pack, name: str, reason: str) -> None:
    message = refusal(tmp_path, pack({"good": b"1", name: b"2"}))
    assert f"member {name!r}" in message
    assert reason in message


def test_a_name_is_judged_as_it_is_stored(tmp_path: Path) -> None:
    data = zipped({"good_name": b"1"}).replace(b"good_name", b"good\0name")
    assert r"member 'good\x00name' has a character" in refusal(tmp_path, data)


def test_a_file_needs_a_name() -> None:
    for name in ("", ".", "./"):
        assert split(name) == []
        with pytest.raises(ValueError, match="has no name"):
            MemberNames().add(name, is_folder=False)
        assert MemberNames().add(name, is_folder=True) == []


@both_packers
@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "pair",
    [("a", "A"), ("a", "./a"), ("a", "a/b"), ("a/b", "a"), ("é", "e\u0301"), ("straße", "STRASSE"), ("d/X", "D/x")],
)
def test_two_members_with_one_name_are_refused(tmp_path: Path, pack: Pack, pair: tuple[str, str]) -> None:
    message = refusal(tmp_path, pack(dict.fromkeys(pair, b"1")))
    assert message.startswith(f"member {pair[1]!r} has the name of another member")


PART = st.one_of(
    st.sampled_from(
        ["..", ".", "", "a", "A", "b", "a.", "C:", "nul", "~", "-", "$HOME", "é", "*", " ", "\\", "a\\..", "\0"]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="/"), max_size=4),
)


NAME = st.builds(
    lambda root, parts: root + "/".join(parts), st.sampled_from(["", "/", "//"]), st.lists(PART, max_size=4)
)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@settings(max_examples=60, deadline=None)
@example(files={"a/b": b"", "a/../../c": b""})
@example(files={"\0": b""})
@given(
    files=st.dictionaries(NAME.filter(lambda name: name and not name.endswith("/")), st.binary(max_size=9), max_size=4)
)
def test_nothing_is_ever_written_outside(files: dict[str, bytes]) -> None:
    expected = {"/".join(p for p in name.split("/") if p not in ("", ".")): data for name, data in files.items()}
    for pack in (zipped, tarred):
        if pack is tarred and any("\0" in name for name in files):
            continue  # a tar's header cuts it there
        with tempfile.TemporaryDirectory() as root:
            inner = Path(root) / "1" / "2" / "3"
            inner.mkdir(parents=True)
            archive = written(inner, pack(files))
            if unpacked(archive, inner / "out"):
                assert tree(inner / "out") == expected
            assert set(tree(Path(root))) == {"1/2/3/archive"} | {f"1/2/3/out/{name}" for name in tree(inner / "out")}
