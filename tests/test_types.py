"""What is beside the types: progress that is told of each item."""

from tiepoint.types import tracked


def test_each_item_is_told_once_it_is_done() -> None:
    told: list[tuple[int, int] | str] = []
    for item in tracked("ab", lambda done, total: told.append((done, total)), 5, before=3):
        told.append(item)
    assert told == ["a", (4, 5), "b", (5, 5)]
    assert list(tracked("ab", None, 2)) == ["a", "b"]
