"""A page in headless Chromium, where one is installed; what it complains of is kept."""

import contextlib
import shutil

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, _NAMES)), None)
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE = 120_000  # milliseconds, on a busy machine


def needs_chromium(function):
    """Decorator: skip, by name, where there is no Chromium or no Playwright."""
    if CHROMIUM is None:
        reason = "chromium is not installed (Debian: apt-get install chromium)"
        return pytest.mark.skip(reason=reason)(function)
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return pytest.mark.skip(reason="playwright is not installed")(function)
    return function


@contextlib.contextmanager
def chromium():
    """The browser; ends with the block."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=list(FLAGS), headless=True
        )
        try:
            yield browser
        finally:
            browser.close()


class Page:
    """A page of the browser, drawn to its end, and all that went wrong on it."""

    def __init__(self, browser, path, *, width=1280, dark=False, hash=""):
        scheme = "dark" if dark else "light"
        size = {"width": width, "height": 900}
        self.page = browser.new_page(viewport=size, color_scheme=scheme)
        self.page.set_default_timeout(PATIENCE)
        self.complaints, self.requests = [], []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self._clock = self.page.context.new_cdp_session(self.page)
        self._clock.send("Performance.enable", {"timeDomain": "threadTicks"})
        self.page.goto(f"{path.as_uri()}{hash}")
        self.drawn()

    def drawn(self):
        """Wait until all that was asked for is drawn."""
        self.page.wait_for_function(
            "() => document.documentElement.dataset.drawn && drawing === null"
        )

    def seconds(self):
        """Seconds of a processor that the page took so far: of this page alone."""
        found = self._clock.send("Performance.getMetrics")["metrics"]
        return {each["name"]: each["value"] for each in found}["TaskDuration"]

    def js(self, expression, *arguments):
        """The value of an expression on the page."""
        return self.page.evaluate(expression, *arguments)

    def click(self, selector):
        """Click a control and wait until the page shows what it does."""
        self.page.locator(selector).click()
        self.drawn()

    def choose(self, selector, value):
        """Choose an option of a select, by its value."""
        self.page.locator(selector).select_option(value)
        self.drawn()

    def rows(self, table):
        """The texts of a table's cells, as they are shown."""
        return self.js(
            "(id) => [...document.getElementById(id).tBodies[0].rows]"
            ".map((row) => [...row.cells].map((cell) => cell.innerText.trim()))",
            table,
        )
