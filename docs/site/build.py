"""Build the site: ``make site``, or ``python docs/site/build.py [--links]``.

The pages are the Markdown files of the repository. They are copied into one folder with
their places kept, so that a link which works in the repository works on the site, and
then given to Sphinx. The README becomes the front page.
"""

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

import grokfast_jax
from grokfast_jax import linesearch

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGES = ("REPRODUCTION.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE")
FILES = ("CITATION.cff", "Makefile", "pyproject.toml")  # that pages link to
FOLDERS = ("docs", "benchmarks", "notebooks", "examples")
IGNORED = ("site", "__pycache__", ".ipynb_checkpoints")


def main() -> int:
    """Copy the pages, and build them; Sphinx's exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "site")
    parser.add_argument(
        "--links", action="store_true", help="ask the network whether links are alive"
    )
    arguments = parser.parse_args()
    pages = arguments.output / "pages"
    copy_pages(pages)
    builder = "linkcheck" if arguments.links else "html"
    # -E: everything is read anew, so that a warning is never hidden by the last build.
    options = ["-E", "-W", "--keep-going", "-n", "-q", "-b", builder, "-c", str(HERE)]
    html = arguments.output / builder
    shutil.rmtree(html, ignore_errors=True)
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, str(pages), str(html)], cwd=ROOT
    )
    if done.returncode == 0 and not arguments.links:
        print(f"Open {html / 'index.html'}")
    return done.returncode


def copy_pages(pages: Path) -> None:
    """The repository's pages and what they show, under ``pages``, with a front page."""
    shutil.rmtree(pages, ignore_errors=True)
    pages.mkdir(parents=True)
    for name in (*PAGES, *FILES):
        shutil.copy(ROOT / name, pages / name)
    ignore = shutil.ignore_patterns(*IGNORED)
    for name in FOLDERS:
        if (ROOT / name).exists():
            shutil.copytree(ROOT / name, pages / name, ignore=ignore)
    shutil.copytree(HERE / "reference", pages / "reference")
    for section in (HERE / "sections").glob("*.md"):
        text = section.read_text(encoding="utf-8")
        text = without_empty_patterns(text, pages)
        (pages / section.name).write_text(text, encoding="utf-8")
    front = (ROOT / "README.md").read_text(encoding="utf-8")
    contents = (HERE / "contents.md").read_text(encoding="utf-8")
    (pages / "index.md").write_text(f"{front}\n{contents}", encoding="utf-8")
    for page in [*pages.rglob("*.md"), *pages.rglob("*.ipynb")]:
        text = page.read_text(encoding="utf-8")
        text = for_the_site(text, page.parent)
        if page.suffix == ".md":
            text = with_links_of_names(text)
        page.write_text(text, encoding="utf-8")


def without_empty_patterns(contents: str, pages: Path) -> str:
    """Tables of contents without the patterns of pages that there are none of yet."""
    lines = contents.splitlines(keepends=True)
    patterns = {line for line in lines if line.startswith("/") and "*" in line}
    empty = {p for p in patterns if not any(pages.glob(f"{p.strip()[1:]}.*"))}
    return "".join(line for line in lines if line not in empty)


def for_the_site(text: str, folder: Path) -> str:
    """The text of a page in a folder, with the links that the site has no place for.

    The README is the front page; a badge's picture is elsewhere; of the folders only
    the examples have a page.
    """
    text = re.sub(r"(?<=[(/])README\.md(?=[)#])", "index.md", text)
    text = re.sub(r"!\[([^]]*)\]\(https?://[^)]*\)", r"\1", text)

    def words(link: re.Match[str]) -> str:
        target = folder / link[2]
        if not target.is_dir():
            return link[0]
        has_page = target.with_suffix(".md").exists()
        return f"[{link[1]}]({link[2].rstrip('/')}.md)" if has_page else link[1]

    return re.sub(r"\[([^]]*)\]\(([^)\s#]+)\)", words, text)


def with_links_of_names(text: str) -> str:
    """A Markdown page whose public names, in backticks, lead to their pages."""
    places = {name: f"grokfast_jax.{name}" for name in grokfast_jax.__all__}
    places |= {name: f"grokfast_jax.linesearch.{name}" for name in linesearch.__all__}
    name = re.compile(rf"(?<![\[`])`({'|'.join(places)})(\([^`\n]*\))?`(?!`)")

    def link(found: re.Match[str]) -> str:
        return f"{{py:obj}}`{found[1]}{found[2] or ''} <{places[found[1]]}>`"

    parts = re.split(r"(^ *```.*?^ *```$)", text, flags=re.M | re.S)
    for i in range(0, len(parts), 2):  # between blocks of code
        parts[i] = name.sub(link, parts[i])
    return "".join(parts)


if __name__ == "__main__":
    sys.exit(main())
