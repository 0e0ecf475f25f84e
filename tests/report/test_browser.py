"""The page in a real browser: opens from disk without a word on the console, sorts, and fits narrow and wide screens.

Screenshots are left in test-output/ for a person to look at.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page, PdfMargins, Playwright

Report = tuple[Path, list[Path]]
OUTPUT = Path(__file__).resolve().parents[2] / "test-output"
NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
COLUMN = """([selector, index]) => [...document.querySelectorAll(`${selector} tbody tr`)]
    .map((row) => row.cells[index].dataset.order)"""


@pytest.fixture(scope="module")
def browser() -> str:
    """Path of Chromium; without one the test is skipped, but fails where CI says that nothing may be left out."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        reason = f"no browser: none of {', '.join(NAMES)} is installed"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@pytest.fixture(scope="module")
def driver(browser: str) -> Iterator[Playwright]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as running:
        yield running


@contextmanager
def opened(
    driver: Playwright, browser: str, profile: Path, page: Path, *, scripts: bool = True
) -> Iterator[tuple[Page, list[str]]]:
    """Open a page from disk in a browser with an empty profile; yield it and what it complained of."""
    context = driver.chromium.launch_persistent_context(
        str(profile),
        executable_path=browser,
        args=list(FLAGS),
        headless=True,
        viewport={"width": 1400, "height": 900},
        java_script_enabled=scripts,
        offline=True,
    )
    try:
        tab = context.new_page()
        said: list[str] = []
        tab.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("requestfailed", lambda request: said.append(f"asked for {request.url[:80]}"))
        tab.goto(page.resolve().as_uri())
        yield tab, said
    finally:
        context.close()


def sortable(tab: Page) -> None:
    tab.wait_for_selector("html[data-sortable]", state="attached")


def click(tab: Page, selector: str, index: int, state: str | None) -> None:
    """Click on a heading and wait until the table says that it is sorted so."""
    heading = tab.locator(f"{selector} thead th").nth(index)
    heading.click()
    settled(heading, state)


def settled(heading: Locator, state: str | None) -> None:
    from playwright.sync_api import expect

    if state is None:
        expect(heading).not_to_have_attribute("aria-sort", re.compile(".*"))
    else:
        expect(heading).to_have_attribute("aria-sort", state)


def numbers(column: list[str]) -> list[float]:
    return [float(value) for value in column if value]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["full_report", "comparison_report"])
def test_opens_fits_and_is_photographed(
    name: str, browser: str, driver: Playwright, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    page = request.getfixturevalue(name)[1][0]
    OUTPUT.mkdir(exist_ok=True)
    with opened(driver, browser, tmp_path / "profile", page) as (tab, said):
        sortable(tab)
        for scheme, bright in (("light", True), ("dark", False)):
            tab.emulate_media(color_scheme="light" if bright else "dark")
            colour = tab.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (sum(int(part) for part in colour.strip("rgb()").split(",")) > 380) is bright
            for width in (400, 1400):
                tab.set_viewport_size({"width": width, "height": 900})
                assert tab.evaluate("document.documentElement.scrollWidth") <= width
                boxes = tab.evaluate(
                    "[...document.querySelectorAll('.scroll')].map((b) => getComputedStyle(b).overflowX)"
                )
                assert set(boxes) == {"auto"}
                picture = OUTPUT / f"{name}-{width}-{scheme}.png"
                tab.screenshot(path=picture, full_page=True)
                assert picture.stat().st_size > 50_000
        assert said == []


def test_sorting(browser: str, driver: Playwright, tmp_path: Path, comparison_report: Report) -> None:
    with opened(driver, browser, tmp_path / "profile", comparison_report[1][0]) as (tab, said):
        sortable(tab)

        def column(index: int) -> list[str]:
            return tab.evaluate(COLUMN, ["#rows", index])

        first, place = column(0), 3  # pooled log-loss: U_I alone and others have none
        missing = column(place).count("")
        assert missing >= 3 and numbers(column(place)) != sorted(numbers(column(place)))
        click(tab, "#rows", place, "ascending")
        assert numbers(column(place)) == sorted(numbers(column(place)))
        assert column(place)[-missing:] == [""] * missing
        click(tab, "#rows", place, "descending")
        assert numbers(column(place)) == sorted(numbers(column(place)), reverse=True)
        assert column(place)[-missing:] == [""] * missing
        click(tab, "#rows", place, None)
        assert column(0) == first
        click(tab, "#rows", 0, "ascending")
        assert column(0) == sorted(first) != first
        assert said == []


def test_numbers_do_not_sort_as_words_and_totals_stay(
    browser: str, driver: Playwright, tmp_path: Path, full_report: Report
) -> None:
    with opened(driver, browser, tmp_path / "profile", full_report[1][0]) as (tab, said):
        sortable(tab)
        tab.set_viewport_size({"width": 400, "height": 900})
        totals = tab.locator("#environments tfoot").inner_text()
        assert "mean over environments" in totals
        click(tab, "#environments", 1, "ascending")
        click(tab, "#environments", 1, "descending")
        written = tab.evaluate(COLUMN, ["#environments", 1])
        assert numbers(written) == sorted(numbers(written), reverse=True)
        assert tab.locator("#environments tfoot").inner_text() == totals
        assert tab.evaluate("document.querySelector('#environments table').lastElementChild.tagName") == "TFOOT"
        heading = tab.locator("#environments thead th").nth(2)
        heading.locator(".dt-column-order").focus()
        tab.keyboard.press("Enter")
        settled(heading, "ascending")
        shares = numbers(tab.evaluate(COLUMN, ["#environments", 2]))
        assert shares == sorted(shares)
        assert said == []


def test_readable_without_scripts_and_on_paper(
    browser: str, driver: Playwright, tmp_path: Path, comparison_report: Report
) -> None:
    OUTPUT.mkdir(exist_ok=True)
    with opened(driver, browser, tmp_path / "profile", comparison_report[1][0], scripts=False) as (tab, _):
        tab.emulate_media(color_scheme="dark", media="print")
        assert tab.locator("#rows tbody tr").count() > 20
        assert "This split leaks" in tab.locator("body").inner_text()
        assert tab.locator("#rows").evaluate("(box) => getComputedStyle(box).overflowX") == "visible"
        colour = tab.locator("body").evaluate("(body) => getComputedStyle(body).backgroundColor")
        assert colour == "rgb(254, 254, 254)"
        tab.set_viewport_size({"width": 718, "height": 1000})  # A4 between margins of 1 cm
        widths = tab.evaluate("[...document.querySelectorAll('table')].map((table) => table.offsetWidth)")
        assert len(widths) > 10 and max(widths) <= 718
        margin: PdfMargins = {"top": "1cm", "right": "1cm", "bottom": "1cm", "left": "1cm"}
        tab.pdf(path=OUTPUT / "comparison.pdf", format="A4", margin=margin)
        assert (OUTPUT / "comparison.pdf").read_bytes().startswith(b"%PDF")
