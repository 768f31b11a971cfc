"""The site: built strictly, whole, without network, wide and narrow."""

import functools
import inspect
import operator
import re
import shutil
import subprocess
import sys
import threading
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import pytest

import grokfast_jax
from grokfast_jax import linesearch
from tests.conftest import REPOSITORY

SITE = REPOSITORY / "docs" / "site"
NO_EQUATION = {"state_sharding"}  # and what is no function
PAGES = (
    "index",
    "docs/which_filter",
    "docs/frameworks",
    "docs/filters",
    "docs/running",
    "docs/recipes",
    "docs/comparison",
    "docs/cli",
    "examples",
    "REPRODUCTION",
    "benchmarks/RESULTS",
    "CHANGELOG",
)


@pytest.fixture
def site_modules(monkeypatch):
    """Imports of the files beside the configuration."""
    pytest.importorskip("sphinx", reason="Sphinx is not installed: the extra `site`")
    monkeypatch.syspath_prepend(SITE)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site's folder."""
    pytest.importorskip("sphinx", reason="Sphinx is not installed: the extra `site`")
    output = tmp_path_factory.mktemp("site")
    command = [sys.executable, str(SITE / "build.py"), "--output", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout + done.stderr
    return output / "html"


class Page(HTMLParser):
    """What a page links to and loads, and the places in it that have names."""

    def __init__(self, file):
        super().__init__()
        self.links, self.loaded, self.names = [], [], set()
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.names.add(attributes.get("id"))
        if tag == "a" and "href" in attributes:
            self.links.append(attributes["href"])
        elif tag == "link" and attributes.get("rel") != "canonical":
            self.loaded.append(attributes["href"])
        elif "src" in attributes:
            self.loaded.append(attributes["src"])  # of scripts, pictures, frames


@pytest.fixture(scope="module")
def pages(site):
    files = set(site.rglob("*.html")) - set((site / "_static").rglob("*"))
    return {file: Page(file) for file in files}


def page_of(site, name):
    file = site / "reference" / "generated" / f"grokfast_jax.{name}.html"
    return file.read_text(encoding="utf-8")


@pytest.mark.thorough
def test_pages_are_there(site):
    notebooks = (REPOSITORY / "notebooks").glob("*.ipynb")
    studies = (REPOSITORY / "docs" / "studies").glob("*.md")
    more = [f.relative_to(REPOSITORY).with_suffix("") for f in (*notebooks, *studies)]
    for name in (*PAGES, *more):
        assert (site / f"{name}.html").exists(), name


@pytest.mark.thorough
@pytest.mark.parametrize(
    "name", [*grokfast_jax.__all__, *(f"linesearch.{n}" for n in linesearch.__all__)]
)
def test_every_public_name_has_a_page_with_its_equation(site, name):
    page = page_of(site, name)
    thing = operator.attrgetter(name)(grokfast_jax)
    text = re.sub(r"<[^>]*>", "", page)
    assert f"{name.rpartition('.')[2]}(" in text
    assert ".. math" not in text
    assert ":math:" not in text
    if inspect.isfunction(thing) and name not in NO_EQUATION:
        assert '<svg class="equation"' in page


@pytest.mark.thorough
def test_nothing_is_loaded_from_elsewhere(site, pages):
    for file, page in pages.items():
        for address in page.loaded:
            assert not urlsplit(address).netloc, f"{file.name}: {address}"
            assert (file.parent / unquote(urlsplit(address).path)).exists(), address
    for file in site.rglob("*.css"):
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"(url\(|@import )[\"']?(https?:)?//", text), file.name


@pytest.mark.thorough
def test_no_link_inside_of_the_site_is_dead(site, pages):
    assert len(pages) > len(grokfast_jax.__all__)
    for file, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve()
            target = target if parts.path else file.resolve()
            assert target.exists(), f"{file.relative_to(site)}: {link}"
            if parts.fragment and target.suffix == ".html":
                names = pages[site / target.relative_to(site.resolve())].names
                assert unquote(parts.fragment) in names, (
                    f"{file.relative_to(site)}: {link}"
                )


@pytest.fixture
def address(site):
    """The site as a server on this machine gives it."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=site)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.mark.thorough
def test_in_a_browser_wide_and_narrow(site, pages, address):
    """No error, nothing missing, no page wider than the window; search finds."""
    browsers = pytest.importorskip(
        "playwright.sync_api", reason="Playwright is not installed"
    )
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Chromium is not installed")
    options = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run"
    options += " --disable-background-networking --disable-component-update"
    options += " --disable-sync --no-proxy-server"
    wrong, asked = [], []
    with browsers.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=options.split()
        )
        for width in (1280, 380):
            tab = browser.new_page(viewport={"width": width, "height": 900})
            tab.on("pageerror", lambda error: wrong.append(str(error)))
            tab.on("request", lambda request: asked.append(request.url))
            tab.on(
                "console",
                lambda said: wrong.append(said.text) if said.type == "error" else None,
            )
            for name in sorted(file.relative_to(site).as_posix() for file in pages):
                tab.goto(f"{address}{name}")
                wide = tab.evaluate("document.documentElement.scrollWidth")
                assert wide <= width, f"{name} is {wide} wide in {width}"
            tab.goto(f"{address}search.html?q=half_life")
            tab.wait_for_selector("ul.search li a")
            tab.wait_for_load_state("networkidle")
            assert "half_life" in tab.inner_text("ul.search")
            tab.close()
        browser.close()
    assert wrong == []  # a file that is missing is one
    assert {url for url in asked if not url.startswith((address, "data:"))} == set()


def test_links_that_the_site_has_no_place_for(site_modules, tmp_path):
    from build import for_the_site

    (tmp_path / "examples").mkdir()
    for text, expected in {
        "[a](../README.md#caveats) [b](README.md) [c](docs/MY_README.md)": (
            "[a](../index.md#caveats) [b](index.md) [c](docs/MY_README.md)"
        ),
        "[![Colab](https://x.org/b.svg)](https://x.org)": "[Colab](https://x.org)",
        "![a](docs/a.png) [`all`](examples/) [one](examples/one.py)": (
            "![a](docs/a.png) `all` [one](examples/one.py)"
        ),
    }.items():
        assert for_the_site(text, tmp_path) == expected


def test_a_folder_may_have_a_page(site_modules, tmp_path):
    from build import for_the_site

    (tmp_path / "examples").mkdir()
    (tmp_path / "examples.md").touch()
    assert for_the_site("[all](examples/)", tmp_path) == "[all](examples.md)"


def test_public_names_lead_to_their_pages(site_modules):
    from build import with_links_of_names

    text = "`amplify`, `amplify(x, 2)`, [`amplify`](a.md), `amplified`\n"
    code = "```python\n# `amplify`\n```\n"
    role = "{py:obj}`amplify"
    expected = (
        f"{role} <grokfast_jax.amplify>`, {role}(x, 2) <grokfast_jax.amplify>`, "
        "[`amplify`](a.md), `amplified`\n"
    )
    assert with_links_of_names(text + code + text) == expected + code + expected


def test_every_example_is_on_the_page_of_examples():
    page = (SITE / "sections" / "examples.md").read_text(encoding="utf-8")
    for example in (REPOSITORY / "examples").glob("*.py"):
        assert f"{{literalinclude}} examples/{example.name}\n" in page


def test_patterns_without_pages_are_left_out(site_modules, tmp_path):
    from build import without_empty_patterns

    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one.md").touch()
    text = "* a list\n/a/*\n/b/*\n/b/one\n"
    assert without_empty_patterns(text, tmp_path) == "* a list\n/a/*\n/b/one\n"


def test_a_public_name_without_a_page_is_told(site_modules, monkeypatch):
    import public_names

    told = []
    monkeypatch.setattr(
        public_names.logger, "warning", lambda form, *words: told.append(form % words)
    )
    docs = {public_names.PLACE + name for name in public_names.PUBLIC}
    assert public_names.PUBLIC.keys() > {"grokfast_ema", "linesearch.alsals"}
    public_names.check(None, SimpleNamespace(found_docs=docs | {"index"}))
    assert told == []
    docs -= {public_names.PLACE + "amplify"}
    docs |= {public_names.PLACE + "magnify"}
    public_names.check(None, SimpleNamespace(found_docs=docs))
    assert [message.split(" ")[0] for message in told] == [
        "grokfast_jax.amplify",
        public_names.TABLE,
    ]


def test_an_equation_is_drawn_with_its_words(site_modules):
    pytest.importorskip("ziamath", reason="ziamath is not installed")
    from equations import svg

    picture = svg(r"\frac{a}{b} < c", inline=True)
    assert picture.startswith("<svg ")
    assert "vertical-align" in picture
    assert r'aria-label="\frac{a}{b} &lt; c"' in picture
    assert 'fill="black"' not in picture  # nor seen on a dark page
    assert 'id="' not in picture  # two pictures may share a page
