"""The page in a real browser."""

import csv
import io
import re
import shutil
from itertools import pairwise
from pathlib import Path

import axe_playwright_python
import pytest
from playwright.sync_api import expect

from harness.reporting.overview import write_overview
from harness.reporting.report import write_report
from tests.reporting.test_overview import suites
from tests.reporting.test_report import AXES, CLAIMS, on_disk
from tests.support.simulated import simulate

AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text("utf-8")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium"),
]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    results = on_disk(simulate(tmp_path_factory.mktemp("page") / "lr_sweep", AXES, claims=CLAIMS))
    return f"file://{write_report(results)}"


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def opened(browser, address):
    """Open the page at a width; every complaint of the browser is an error."""
    said, contexts = [], []

    def open_at(width, scheme="light", at=address):
        options = {"viewport": {"width": width, "height": 900}, "color_scheme": scheme}
        contexts.append(browser.new_context(**options, permissions=["clipboard-read", "clipboard-write"]))
        page = contexts[-1].new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on(
            "request", lambda request: None if request.url.startswith(("file:", "data:")) else said.append(request.url)
        )
        page.goto(at)
        return page

    open_at.said = said
    yield open_at
    for context in contexts:
        context.close()
    assert said == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1200, 1600])
def test_the_page_is_whole_and_fits(opened, address, width, scheme):
    page = opened(width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    open_all(page)
    shown = page.evaluate(
        "[...document.querySelectorAll('svg[role=img]')].map(svg => [svg.getBoundingClientRect().width > 200, "
        "svg.getBoundingClientRect().right <= innerWidth, svg.ariaLabel.length > 20])"
    )
    drawn = list((Path(address.removeprefix("file://")).parent / "figures").glob("*.svg"))
    assert shown == [[True, True, True]] * len(drawn)
    assert len(drawn) >= 5
    smallest = page.evaluate(
        "Math.min(...[...document.querySelectorAll('p, td, th, figcaption, dd')]"
        ".map(node => parseFloat(getComputedStyle(node).fontSize)))"
    )
    assert smallest >= 12


def open_all(page):
    page.locator("summary").evaluate_all("all => all.forEach(summary => summary.click())")


def test_a_mark_tells_what_it_is_to_a_pointer_without_any_script(opened):
    page = opened(1200)
    (title,) = page.evaluate(
        """() => {
          const dots = [...document.querySelectorAll('#figure-effect use')].filter(dot => dot.querySelector('title'));
          const {x, y, width, height} = (dots[0].scrollIntoView({block: 'center'}), dots[0].getBoundingClientRect());
          const under = document.elementFromPoint(x + width / 2, y + height / 2);
          return [under.closest('use, g').querySelector('title')?.textContent];
        }"""
    )
    assert re.fullmatch(r"(batch|none), lr [\d.]+, seed \d: .*, key [0-9a-f]{16}", title)
    assert page.locator("#figure-effect use title").count() >= 96


def test_a_click_enlarges_a_figure_and_another_or_escape_takes_it_back(opened):
    page = opened(1200)
    figure = page.locator(".hero label")
    before = figure.bounding_box()
    figure.click()
    large = figure.bounding_box()
    assert (large["x"], large["y"], large["width"]) == (0, 0, 1200)
    assert large["width"] > before["width"]
    figure.click()
    assert figure.bounding_box()["width"] == before["width"]
    page.locator(".hero .zoom").focus()
    page.keyboard.press("Space")
    assert figure.bounding_box()["width"] == 1200
    page.keyboard.press("Escape")
    assert figure.bounding_box()["width"] == before["width"]


def test_the_answer_its_picture_and_the_first_verdict_stand_at_the_top(opened):
    page = opened(1200)
    top = [page.locator(part).first.bounding_box()["y"] for part in ("h1", ".answer", ".hero", ".verdict")]
    assert top == sorted(top)
    assert page.locator(".hero").bounding_box()["y"] < 500
    answer = page.locator(".answer").text_content()
    assert re.fullmatch(
        r'With batch norm, learning rates from [\d.]+ to [\d.]+ work; without norm, no .* works\. To "work" .*\.',
        answer,
    )
    assert all(len(text) < 120 for text in page.locator(".finding").all_text_contents())
    assert not page.locator("details[open]").count()


def test_words_are_explained_where_they_first_occur(opened):
    page = opened(1200)
    terms = page.locator("a.term").evaluate_all("all => all.map(a => [a.hash, a.title.length > 20])")
    assert len({anchor for anchor, _ in terms}) == len(terms) > 3
    assert all(explained for _, explained in terms)
    assert all(page.locator(f"dt{anchor}").count() == 1 for anchor, _ in terms)


def test_five_columns_of_comparisons_are_shown_and_all_on_demand(opened):
    page = opened(1200)
    heads = page.locator("#table-comparisons th")
    shown = [head.text_content() for head in heads.all() if head.is_visible()]
    assert shown[0] == "verdict"
    assert len(shown) == 5
    page.locator("#table-comparisons input.every").check()
    assert sum(head.is_visible() for head in heads.all()) == heads.count() > 15


def test_the_filter_takes_a_setting_with_its_value(opened):
    page = opened(1200)
    page.get_by_label("Show rows with these words: Trials", exact=True).fill("lr 3 batch")
    assert set(column(page, "lr")) == {"3"}
    assert set(column(page, "norm")) == {"batch"}


def column(page, name, table="trials"):
    rows = f"#table-{table} table"
    number = page.evaluate(
        "([rows, name]) => [...document.querySelectorAll(rows + ' th')].findIndex(h => h.textContent === name) + 1",
        [rows, name],
    )
    return page.locator(f"{rows} tbody tr:not([hidden]) td:nth-child({number})").all_text_contents()


def numbers(texts):
    return [float(text.replace("\N{MINUS SIGN}", "-")) for text in texts if text]


def test_the_table_sorts_by_number_both_ways_and_keeps_missing_values_last(opened):
    page = opened(1200)
    button = page.locator("#table-trials").get_by_role("button", name="train loss")
    button.click()
    up = column(page, "train loss")
    present = numbers(up)
    assert present == sorted(present)
    assert "" in up
    assert up[len(present) :] == [""] * (len(up) - len(present))
    button.focus()
    page.keyboard.press("Enter")
    down = column(page, "train loss")
    assert numbers(down) == sorted(present, reverse=True)
    assert down[len(present) :] == [""] * (len(up) - len(present))


def test_every_table_sorts_and_says_how(opened):
    page = opened(1200)
    open_all(page)
    for table in page.locator(".table").all():
        head = table.locator("th").first
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == "ascending"
        first = table.locator("tbody tr td:first-child").all_text_contents()
        assert first == sorted(first, key=lambda text: (not text, text))  # what is missing stays at the end


def test_the_filter_keeps_the_rows_with_all_its_words(opened):
    page = opened(1200)
    page.get_by_label("Show rows with these words: Trials", exact=True).fill("none nonfinite")
    arms, statuses = column(page, "norm"), column(page, "status")
    assert set(zip(arms, statuses, strict=True)) == {("none", "nonfinite")}
    assert page.locator("#table-trials [role=status]").text_content() == f"{len(arms)} of 96 rows"
    assert len(column(page, "where", "comparisons")) > 5  # other tables are left alone


@pytest.mark.parametrize(("form", "delimiter"), [("CSV", ","), ("TSV", "\t")])
def test_what_is_shown_can_be_copied_by_keyboard_as_a_table(opened, form, delimiter):
    page = opened(1200)
    page.get_by_label("Show rows with these words: Trials", exact=True).fill("none nonfinite")
    page.keyboard.press("Tab")
    if form == "TSV":
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#table-trials [role=status]")).to_contain_text("copied")
    names, *rows = csv.reader(io.StringIO(page.evaluate("navigator.clipboard.readText()")), delimiter=delimiter)
    assert names[:3] == ["key", "norm", "lr"]
    assert len(rows) == len(column(page, "key")) > 0
    assert {row[1] for row in rows} == {"none"}
    assert all(len(row) == len(names) for row in rows)


def test_copied_numbers_are_numbers_and_nothing_copied_is_a_formula(opened):
    page = opened(1200)
    fields = page.evaluate("""['\u22120.5', '=1+1', '-x', 'a,"b"', '-1', '@a'].map(shown => field(shown, ','))""")
    assert fields == ["-0.5", "'=1+1", "'-x", '"a,""b"""', "-1", "'@a"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1200, 1600])
def test_axe_finds_no_serious_fault(opened, width, scheme):
    page = opened(width, scheme)
    open_all(page)
    assert grave_faults(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_overview_fits_sorts_and_has_no_serious_fault(opened, tmp_path, scheme):
    page = opened(400, scheme, at=f"file://{write_overview(tmp_path, suites(tmp_path))}")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    page.locator("th").nth(1).get_by_role("button").click()
    verdicts = page.locator("tbody td:nth-child(2)").all_text_contents()
    assert verdicts == sorted(verdicts)
    assert grave_faults(page) == []


def grave_faults(page):
    """What axe-core finds serious or critical: the rule, and where."""
    page.evaluate(AXE)
    found = page.evaluate("async () => (await axe.run()).violations")
    grave = [fault for fault in found if fault["impact"] in ("serious", "critical")]
    return [(fault["id"], fault["nodes"][0]["html"]) for fault in grave]


def test_headings_make_an_outline(opened):
    levels = opened(1200).evaluate("[...document.querySelectorAll('h1, h2, h3')].map(node => Number(node.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_the_page_allows_no_script_but_its_own(opened):
    page = opened(1200)
    ran = page.evaluate(
        "() => { const node = document.createElement('script'); node.textContent = 'window.intruder = 1';"
        "document.body.append(node); return window.intruder === 1 }"
    )
    assert not ran
    (complaint,) = opened.said
    assert "Content Security Policy" in complaint
    opened.said.clear()


def test_printed_it_fits_the_sheet_and_shows_every_row(opened):
    page = opened(680)  # pixels between the margins of a sheet of A4
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= 680
    assert page.evaluate("getComputedStyle(document.querySelector('.tall')).maxHeight") == "none"
    assert not any(part.is_visible() for part in page.locator(".tools, nav, #table-trials, .zoom, .files").all())
    broken = "all => all.filter(node => getComputedStyle(node).overflowWrap === 'anywhere').length"
    assert page.locator("td, th, p, h2, h3").evaluate_all(broken) == 0
    kept = "all => all.every(head => getComputedStyle(head).breakAfter === 'avoid')"
    assert page.locator("h2, h3").evaluate_all(kept)
    assert page.pdf(format="A4").startswith(b"%PDF")
