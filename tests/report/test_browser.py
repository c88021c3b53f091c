from __future__ import annotations

import itertools
import json
import os
import re
import shutil
from contextlib import contextmanager
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


@contextmanager
def opened(chromium, path, width, scheme):
    """A page, opened from disk; nothing may be said on the console, fail, or be fetched."""
    context = chromium.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
    )
    context.set_default_timeout(5000)
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
    page.goto(path.as_uri())
    yield page
    assert trouble == []
    context.close()


@pytest.fixture(params=[(1400, "light"), (390, "dark")], ids=["wide", "phone, dark"])
def page(chromium, site, request):
    """The board."""
    with opened(chromium, site / "index.html", *request.param) as page:
        yield page


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
    page.get_by_label("Cost", exact=True).check()
    cost.click()
    assert sorted_by("ms/image", "ascending")[-1].startswith("toy-raises")
    page.get_by_label("Main", exact=True).check()
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
    assert images.count() == 2 * 6
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
    assert page.locator("script:not([src]):not([type='application/json'])").count() == 0
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
    assert not page.locator("form.tools").first.is_visible()
    assert page.locator("table.board td").last.is_visible()  # every group of columns
    context.close()


def test_a_group_of_columns_is_chosen_and_the_method_stays_in_sight(page):
    heads = page.locator("table.board thead th:visible")

    def shown(group):
        page.get_by_label(group, exact=True).first.check()
        return [text.strip(" ↑↓\n\u00a0") for text in heads.all_inner_texts()]

    main = shown("Main")
    assert main[:3] == ["#", "method", "image\nAUROC"] or "AUROC" in main[2]
    every = shown("All")
    assert len(every) > len(main)
    costs = shown("Cost")
    assert "FLOPs" in costs
    assert not any("AUROC" in head for head in costs)
    last = heads.last
    last.scroll_into_view_if_needed()
    assert 0 <= last.bounding_box()["x"] < page.viewport_size["width"]
    method = page.locator("table.board tbody th").first.bounding_box()
    region = page.get_by_role("region", name="Leaderboard").bounding_box()
    assert 0 <= method["x"] - region["x"] < 60
    assert method["x"] + method["width"] <= last.bounding_box()["x"] + 1
    assert fits(page)


def plotted(page):
    """The plot of accuracy against cost, drawn, and its points in the order of the tab key."""
    figure = page.locator("figure[data-kind=tradeoff]")
    figure.scroll_into_view_if_needed()
    figure.locator("svg a").first.wait_for()
    return figure, figure.locator("svg a")


def test_a_point_says_its_name_and_leads_to_its_row(page):
    points = plotted(page)[1]
    assert points.count() == 3  # the row that failed has no numbers
    names = [point.get_attribute("aria-label") for point in points.all()]
    assert len({name.partition("\n")[0] for name in names}) == 3
    assert all("image AUROC: " in name and "ms/image: " in name for name in names)

    def says(name):
        """What is shown has the name, which may be broken into lines."""
        page.wait_for_function(
            """name => [...document.querySelectorAll("figure[data-kind=tradeoff] [aria-label=tip]")]
                .some((tip) => tip.textContent.replace(/[^!-~]/g, "").includes(name))""",
            arg="".join(name.partition("\n")[0].replace("·", "").split()),
        )

    points.last.hover(force=True)  # another point may lie above it
    says(names[-1])
    # The keyboard shows the same.
    points.first.focus()
    says(names[0])
    page.keyboard.press("Enter")
    page.wait_for_url("**/rows/*.html")
    assert page.get_by_role("heading", level=1).inner_text() == names[0].partition("\n")[0]


def test_the_axes_change_and_the_front_with_them(page):
    figure, points = plotted(page)
    form = figure.locator("form")
    options = form.get_by_label("Horizontal axis").locator("option").all_inner_texts()
    assert {"image AUROC", "pixel AUROC", "ms/image", "peak MB", "FLOPs"} <= set(options)
    form.get_by_label("Horizontal axis").select_option("pixel_auroc")
    form.get_by_label("Vertical axis").select_option("peak_mb")
    figure.get_by_text("pixel AUROC (%), higher is better").wait_for()
    assert figure.get_by_text("peak MB, lower is better").is_visible()
    names = [point.get_attribute("aria-label") for point in points.all()]
    numbers = [[float(line.rpartition(": ")[2]) for line in n.split("\n")[1:]] for n in names]
    front = figure.locator(".front").inner_text()
    for name, (memory, auroc) in zip(names, numbers, strict=True):
        strictly = any(m < memory and a > auroc for m, a in numbers)
        if strictly:
            assert name.partition("\n")[0] not in front
    assert front.startswith("On the Pareto front: ")
    assert "Not shown: 1 of 4 rows" in front


def test_the_front_is_what_no_other_point_beats(page):
    plotted(page)
    points = [{"x": x, "y": y} for x, y in itertools.product(range(3), range(3))]
    script = "([points, x, y]) => adbench.front(points, {higher: x}, {higher: y})"
    for x, y in itertools.product((True, False), repeat=2):
        corner = {"x": 2 if x else 0, "y": 2 if y else 0}
        assert page.evaluate(script, [points, x, y]) == [corner]
    draw = [{"x": x, "y": y} for x, y in [(1, 1), (2, 3), (2, 2), (3, 3), (4, 5), (1, 1), (5, 4)]]
    kept = page.evaluate(script, [draw, False, True])
    assert kept == [{"x": 1, "y": 1}, {"x": 2, "y": 3}, {"x": 4, "y": 5}, {"x": 1, "y": 1}]


def test_long_names_are_folded_and_nothing_of_them_is_lost(page):
    plotted(page)
    script = "([name, length]) => adbench.folded(name, length)"
    long = "model(size=256,width=64) · scorer"
    assert page.evaluate(script, [long, 60]) == [long]
    assert page.evaluate(script, [long, 20]) == ["model(size=256,", "width=64) · scorer"]
    assert page.evaluate(script, [long, 12]) == ["model(", "size=256,", "width=64) ·", "scorer"]
    assert page.evaluate(script, ["a" * 25, 10]) == ["a" * 10, "a" * 10, "a" * 5]


def test_what_the_pointer_shows_is_not_cut(page):
    figure, points = plotted(page)
    figure.evaluate(
        """figure => {
            for (const row of figure.content.rows)
                row.label = `model(size=256,width=64,depth=12) · scorer(name=${row.label})`;
            figure.redraw();
        }"""
    )
    tip = page.locator("figure[data-kind=tradeoff] [aria-label=tip] path")
    for point in points.all():
        point.focus()
        tip.wait_for()
        box = tip.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= page.viewport_size["width"]


def test_the_reader_chooses_light_or_dark(page):
    paper = "getComputedStyle(document.body).backgroundColor"
    ink = "getComputedStyle(document.querySelector('figure[data-kind=tradeoff] svg text')).fill"
    plotted(page)
    before = page.evaluate(paper), page.evaluate(ink)
    button = page.get_by_role("button", name="Switch to")
    button.click()
    after = page.evaluate(paper), page.evaluate(ink)
    assert all(old != new for old, new in zip(before, after, strict=True))
    page.reload()
    assert page.evaluate(paper) == after[0]
    page.get_by_role("button", name="Switch to").click()
    assert page.evaluate(paper) == before[0]


def test_two_rows_are_compared_image_by_image(page):
    boxes = page.get_by_role("checkbox", name="Compare")
    assert boxes.count() == 3
    boxes.nth(0).check()
    tray = page.get_by_role("complementary", name="Rows to compare")
    assert "choose a second row" in tray.inner_text()
    boxes.nth(1).check()
    boxes.nth(2).check()  # instead of the first
    assert [box.is_checked() for box in boxes.all()] == [False, True, True]
    wanted = [methods(page)[index] for index in (1, 2)]
    tray.get_by_role("link", name="Compare image by image").click()
    page.wait_for_url("**/compare.html#*")
    chosen = [page.locator(f"select[name={side}]") for side in "ab"]
    assert [box.locator("option:checked").inner_text() for box in chosen] == wanted
    duels = page.locator(".duels li")
    assert duels.count() == 6
    assert duels.first.locator("img").count() == 3
    for place in range(6):
        duels.nth(place).scroll_into_view_if_needed()
    page.wait_for_function("[...document.images].every((i) => i.complete && i.naturalWidth > 0)")
    assert fits(page)
    points = page.locator("figure svg a")
    points.first.wait_for()
    assert points.count() == 6
    # A point leads to its image, by the keyboard too.
    points.nth(3).focus()
    path = points.nth(3).get_attribute("aria-label").partition("\n")[0]
    page.keyboard.press("Enter")
    page.wait_for_function("document.activeElement.id.startsWith('image-')")
    assert path in page.locator(":focus").inner_text()
    page.get_by_role("button", name="Swap A and B").click()
    assert [box.locator("option:checked").inner_text() for box in chosen] == wanted[::-1]
    # The address keeps the choice.
    address = page.url
    page.reload()
    duels.first.wait_for()
    assert page.url == address
    assert [box.locator("option:checked").inner_text() for box in chosen] == wanted[::-1]


def test_a_rows_plots_are_drawn_and_say_what_is_under_the_pointer(page):
    page.get_by_role("link", name="toy-mean(gain=2.0)").first.click()
    page.wait_for_url("**/rows/*.html")
    kinds = [json.loads(text)["kind"] for text in page.locator(".chart script").all_inner_texts()]
    assert kinds == ["rates", "rates", "scores"]
    for place in range(3):
        chart = page.locator(".chart").nth(place)
        chart.scroll_into_view_if_needed()
        chart.locator("svg").wait_for()
        assert chart.get_by_role("img").get_attribute("aria-label")
    svg = page.locator(".chart").first.locator("svg")
    box = svg.bounding_box()
    svg.hover(position={"x": 0.6 * box["width"], "y": 0.15 * box["height"]}, force=True)
    page.get_by_text("false positive rate: ").first.wait_for()


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_and_points_have_contrast(site, scheme):
    style = (site / "static/style.css").read_text()
    pairs = re.findall(r"--([\w]+): light-dark\((#\w+), (#\w+)\)", style)
    colours = {name: luminance(pair[scheme]) for name, *pair in pairs}

    def contrast(one, two):
        high, low = sorted((colours[one], colours[two]), reverse=True)
        return (high + 0.05) / (low + 0.05)

    for text in ("ink", "soft", "link", "accent", "wrong", "right"):
        assert contrast(text, "paper") >= 4.5, text
    for text in ("ink", "soft", "accent"):
        assert min(contrast(text, under) for under in ("raised", "hover")) >= 4.5, text
    for mark in ("edge", "front", *(f"c{n}" for n in range(1, 9))):
        assert contrast(mark, "paper") >= 3, mark
