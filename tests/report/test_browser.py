from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def chromium():
    """A headless Chromium: Debian's, or the one that playwright installed."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        own = Path(playwright.chromium.executable_path)
        found = next(filter(None, map(shutil.which, BROWSERS)), own if own.exists() else None)
        if found is None:
            pytest.skip("there is no Chromium: apt install chromium, or playwright install")
        # As root, as in a container, it runs without its sandbox or not at all.
        sandbox = ["--no-sandbox"] if os.getuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=found, args=sandbox)
        yield browser
        browser.close()


@pytest.fixture(params=[(1400, "light"), (390, "dark")], ids=["wide", "phone, dark"])
def page(chromium, site, request):
    """The board, opened from disk; nothing may be said on the console, fail, or be fetched."""
    width, scheme = request.param
    context = chromium.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
    )
    trouble = []
    page = context.new_page()
    page.on("console", lambda message: trouble.append(message.text))
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("requestfailed", lambda request: trouble.append(request.url))
    page.on("dialog", lambda dialog: trouble.append(dialog.message) or dialog.dismiss())
    page.on(
        "request",
        lambda request: (
            None if request.url.startswith(("file:", "data:")) else trouble.append(request.url)
        ),
    )
    page.goto((site / "index.html").as_uri())
    yield page
    assert trouble == []
    context.close()


def methods(page):
    return page.locator("table.board tbody th a").all_inner_texts()


def fits(page):
    """Nothing but what scrolls by itself is wider than the screen."""
    return page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_it_sorts_by_mouse_and_keyboard(page):
    assert fits(page)
    before = methods(page)
    assert len(before) == 4
    heads = page.locator("table.board thead th")

    def sorted_by(head, direction):
        page.wait_for_selector(f"th[aria-sort={direction}]:has-text('{head}')")
        assert page.locator("th[aria-sort]").count() == 1
        return methods(page)

    heads.filter(has_text="method").click()
    assert sorted_by("method", "ascending") == sorted(before)
    heads.filter(has_text="method").get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert sorted_by("method", "descending") == sorted(before, reverse=True)
    # The best first, and what has no number last, whichever way is better.
    cost = heads.filter(has_text="ms/image").first
    assert "lower is better" in cost.get_by_role("button").get_attribute("aria-label")
    cost.click()
    assert sorted_by("ms/image", "ascending")[-1].startswith("toy-raises")
    heads.filter(has_text="image AUROC").click()
    assert sorted_by("image AUROC", "descending")[-1].startswith("toy-raises")


def test_it_filters_and_says_how_many_rows_are_left(page):
    page.get_by_role("status").get_by_text("Rows: 4", exact=True).wait_for()
    page.get_by_label("Search").fill("alert(1)")
    page.get_by_role("status").get_by_text("Rows: 1 of 4").wait_for()
    assert [name.startswith("<script>") for name in methods(page)] == [True]
    page.get_by_label("Search").fill("")
    page.get_by_label("model").select_option("toy-raises")
    page.get_by_role("status").get_by_text("Rows: 1 of 4").wait_for()
    assert [name.startswith("toy-raises") for name in methods(page)] == [True]
    page.get_by_label("model").select_option("")
    page.get_by_role("status").get_by_text("Rows: 4", exact=True).wait_for()
    assert len(methods(page)) == 4


def test_a_row_opens_its_trial_and_shows_its_images(page):
    page.get_by_role("link", name="toy-mean(gain=2.0)").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/rows/*.html")
    assert fits(page)
    assert "toy-mean(gain=2.0)" in page.get_by_role("heading", level=1).inner_text()
    images = page.locator("img")
    assert images.count() == 3 + 2 * 6
    for place in range(images.count()):
        images.nth(place).scroll_into_view_if_needed()
    page.wait_for_function("[...document.images].every((i) => i.complete && i.naturalWidth > 0)")
    page.get_by_role("link", name="Leaderboard").click()
    page.wait_for_url("**/index.html")


def test_markup_in_names_is_text(page):
    page.get_by_role("link", name="<script>alert(1)</script>").first.click()
    page.wait_for_url("**/rows/*.html")
    assert "<script>alert(1)</script>" in page.get_by_role("heading", level=1).inner_text()
    assert page.get_by_text("<img src=x onerror=alert(2)>").first.is_visible()
    assert page.locator("script").count() == 0
    assert page.locator("img[onerror]").count() == 0


def test_the_first_tab_leads_past_the_navigation(page):
    page.keyboard.press("Tab")
    link = page.get_by_role("link", name="Skip to content")
    assert link.evaluate("link => link === document.activeElement")
    assert link.bounding_box()["y"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_without_scripts_the_board_is_a_table(chromium, site):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((site / "index.html").as_uri())
    assert len(methods(page)) == 4
    assert not page.locator("form.filters").first.is_visible()
    context.close()
