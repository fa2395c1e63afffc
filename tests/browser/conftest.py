"""A headless Chromium, where one is installed, and pages for it to open."""

import base64
import shutil

import pytest
from prunebench.report import Scope, write_report

from tests.framework.report import synthetic
from tests.framework.report.conftest import page_of, store_results

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


def pytest_collection_modifyitems(items):
    """Everything here drives a browser."""
    for item in items:
        if "tests/browser" in str(item.path):
            item.add_marker(pytest.mark.browser)


class Browser:
    """One window; pages are opened from files, with the network's log kept empty between them."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, path, width=1280, height=900, dark=False, touch=False):
        """Open the page at `path` and wait until its script has run."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.command("Emulation.setEmulatedMedia", features=[scheme])
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": touch}
        self.command("Emulation.setDeviceMetricsOverride", **metrics)
        self.command("Emulation.setTouchEmulationEnabled", enabled=touch)
        self.driver.get_log("browser")
        self.driver.get("about:blank")
        self.driver.get(path.as_uri())
        self.js("sessionStorage.clear()")
        self.wait("document.documentElement.dataset.ready === 'yes'")
        return self

    def command(self, name, **parameters):
        """A command of the browser's debugging protocol."""
        return self.driver.execute_cdp_cmd(name, parameters)

    def js(self, code, *arguments):
        """The value of `code`, the body of a function."""
        return self.driver.execute_script(code, *arguments)

    def wait(self, condition, seconds=20):
        """Until the expression `condition` is true."""
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.driver, seconds).until(lambda _: self.js(f"return Boolean({condition})"), condition)

    def find(self, selector):
        """The first element of a CSS selector."""
        return self.driver.find_element("css selector", selector)

    def draw(self, name):
        """Scroll a chart into view and wait until its first panel is drawn."""
        self.js(f"document.querySelector('#chart-{name}').scrollIntoView({{block: 'center', behavior: 'instant'}})")
        self.wait(f"document.querySelector('#chart-{name} .view.drawn svg')")

    def marks(self, name, method=None):
        """How many data marks the chart shows, in all or with a method's name in what it says of itself."""
        said = f'[aria-label*="{method}"]' if method else ""
        marks = ":is(.mark-symbol, .mark-rect, .mark-line, .mark-rule) > path"
        selector = f"#chart-{name} .view.drawn svg {marks}{said}"
        return self.js("return document.querySelectorAll(arguments[0]).length", selector)

    def errors(self):
        """What the console has complained of."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def pdf(self):
        """The page as it prints."""
        return base64.b64decode(self.command("Page.printToPDF", printBackground=True)["data"])


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """The browser; tests are skipped, with the reason, where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not binary or not driver:
        pytest.skip("no browser: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    downloads = tmp_path_factory.mktemp("downloads")
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    window = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    opened = Browser(window)
    opened.downloads = downloads
    yield opened
    window.quit()


@pytest.fixture(scope="session")
def report(tmp_path_factory):
    """The usual report, on disk."""
    folder = tmp_path_factory.mktemp("report")
    results = synthetic.grid_results(["digits"], ["lenet5", "simple_fcn"], compressions=(1.5, 2, 4, 8, 32))
    path = store_results(folder, results)
    return write_report(path, "synthetic-1", folder / "report.html")


@pytest.fixture(scope="session")
def page(tmp_path_factory):
    """Writes a page about some results and returns its path."""

    def written(results, **run):
        folder = tmp_path_factory.mktemp("page")
        file = folder / "page.html"
        file.write_text(page_of(store_results(folder, results, **run), Scope("synthetic-1")), encoding="utf-8")
        return file

    return written
