"""The README and the pages of docs: their Python runs, their links lead somewhere."""

import re

import pytest

from tests.conftest import REPOSITORY

README = REPOSITORY / "README.md"
PAGES = [
    README,
    *(REPOSITORY / name for name in ("REPRODUCTION.md", "CONTRIBUTING.md")),
    REPOSITORY / "benchmarks/RESULTS.md",
    *sorted((REPOSITORY / "docs").rglob("*.md")),
]
IDS = [str(page.relative_to(REPOSITORY)) for page in PAGES]


def python_blocks():
    """``{page_number: block}`` of the README and of docs/."""
    found = {}
    for page in PAGES:
        if page == README or page.is_relative_to(REPOSITORY / "docs"):
            text = page.read_text(encoding="utf-8")
            blocks = re.findall(r"```python\n(.*?)```", text, re.S)
            found |= {f"{page.stem}_{i}": block for i, block in enumerate(blocks)}
    return found


BLOCKS = python_blocks()


def test_the_pages_have_blocks():
    names = {name.rsplit("_", 1)[0] for name in BLOCKS}
    assert names >= {"README", "frameworks", "filters", "running"}


@pytest.mark.thorough
@pytest.mark.parametrize("name", BLOCKS)
def test_python_block_runs(name, tmp_path, monkeypatch):
    if "import equinox" in BLOCKS[name]:
        pytest.importorskip("equinox", reason="equinox is not installed")
    monkeypatch.chdir(tmp_path)  # one records runs
    exec(compile(BLOCKS[name], name, "exec"), {})


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_no_placeholder_is_left(page):
    assert "@@" not in page.read_text(encoding="utf-8")


def test_the_readme_is_short():
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 140
    assert len(text.split()) <= 1000


def anchors(page):
    """Those of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.M)
    kept = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {each.replace(" ", "-") for each in kept}


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path) if path else page
        assert place.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(place), f"{page.name}: {target}"
