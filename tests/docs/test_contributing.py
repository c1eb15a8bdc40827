"""CONTRIBUTING.md, SECURITY.md, CITATION.cff and docs/decisions name what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from page_code import ROOT

from tiepoint.images import header
from tiepoint.version import __version__

DECISIONS = ROOT / "docs" / "decisions"
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


def test_every_target_is_in_the_table_of_contributing() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `make ([\w-]+)`", text, re.MULTILINE)) == set(phony.split()) - {"clean"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_of_a_page_leads_to_a_file(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    assert not [link for link in links if not (page.parent / link).exists()]


def test_every_decision_has_its_row_its_date_and_its_three_parts() -> None:
    pages = sorted(path for path in DECISIONS.glob("*.md") if path.name != "README.md")
    rows = re.findall(r"^\| (\S+) \| \[(.+)\]\((.+)\) \|$", (DECISIONS / "README.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(file for _, _, file in rows) == [path.name for path in pages]
    for date, title, file in rows:
        text = (DECISIONS / file).read_text(encoding="utf-8")
        assert text.startswith(f"# {title}\n\n{date}\n")
        assert file.startswith(date)
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"]


def test_every_experiment_has_its_date() -> None:
    text = (ROOT / "docs" / "experiments.md").read_text(encoding="utf-8")
    entries = re.findall(r"^### (.*)$", text, re.MULTILINE)
    assert len(entries) >= 13
    assert all(re.match(r"20\d\d-\d\d-\d\d: \w", entry) for entry in entries)
    for theme in text.split("\n## ")[1:]:
        dates = re.findall(r"^### (\S+):", theme, re.MULTILINE)
        assert dates == sorted(dates, reverse=True)


def test_the_citation_names_both_papers_and_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__
    assert [(work["year"], work["authors"][0]["family-names"]) for work in citation["references"]] == [
        (2024, "Deng"),
        (2025, "Yu"),
    ]


def test_the_limits_of_security_are_those_of_the_code() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert header.MAX_PIXELS == 2**29
    assert "2^29 pixels" in text
    assert f"`{header.VARIABLE}`" in text
