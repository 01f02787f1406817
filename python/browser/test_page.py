"""The dashboard's page in a real browser: `scripts/test-page.sh` brings one."""

import threading
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from DeepPipeline import Dashboard, Parallel, Pipeline, Timeline, stage

# Only a page that hangs takes that long.
expect.set_options(timeout=60_000)

PHONE = {"width": 390, "height": 800}
WIDE = {"width": 1300, "height": 800}


@pytest.fixture(params=[(WIDE, "light"), (PHONE, "dark")], ids=["wide and light", "phone and dark"])
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page that asks nobody but the program, and has no errors."""
    size, colours = request.param
    page = browser.new_page(viewport=size, color_scheme=colours)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: wrong.append(dialog.message))
    page.on(
        "request",
        lambda asked: None if asked.url.startswith(("http://127.0.0.1:", "data:")) else wrong.append(asked.url),
    )
    yield page
    # Whatever is wide is scrolled in its own place.
    assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
    assert wrong == []
    page.close()


@pytest.fixture
def dashboard() -> Iterator[Dashboard]:
    with Dashboard(port=0) as dashboard:
        yield dashboard


def named(*names: str) -> list:
    return [stage(lambda x: x, name=name) for name in names]


def test_every_stage_and_source_is_shown_and_names_stay_text(page: Page, dashboard: Dashboard) -> None:
    evil = "<img src=x onerror=alert(1)>"
    first, left, right, end = named("first", evil, "right", "end")
    go_on = threading.Event()

    def frames(count: int) -> Iterator[int]:
        yield from range(count)
        go_on.wait(60)

    sources = {"north": frames(5), "south": frames(7)}
    with Pipeline([first, Parallel([[left], [right]]), end], sources=sources) as p:
        dashboard.watch(p, "cameras")
        page.goto(dashboard.url)
        expect(page.locator("#outcome")).to_have_text("running")
        expect(page.locator("#graph .strong")).to_have_count(5)
        assert set(page.locator("#graph .strong").all_text_contents()) >= {"first", "parallel", "right", "end"}
        expect(page.locator("#ledger tbody tr")).to_have_count(5)
        expect(page.locator("#ledger tbody th").nth(2)).to_have_text(evil)
        expect(page.locator("#sources tbody tr")).to_have_count(2)
        expect(page.locator("#tiles dt")).to_have_count(8)
        assert page.locator("#explanation").inner_text() != ""
        assert page.title().startswith("cameras ")
        go_on.set()
    expect(page.locator("#outcome")).to_have_text("finished")
    expect(page.locator("#ledger tbody tr").first.locator("td").first).to_have_text("12")


def test_a_sample_is_followed_through_the_last_seconds(page: Page, dashboard: Dashboard) -> None:
    with Pipeline(named("first <b>", "end"), overflow="block") as p:
        dashboard.watch(p)
        page.goto(dashboard.url)
        expect(page.locator("#timeline svg")).to_contain_text("first <b>")
        page.select_option("#timeline-last", "60")
        for x in range(3):
            p.put(x)
        expect(page.locator("#timeline [data-sample]")).to_have_count(12)
        page.click("#timeline-hold")
        p.put(3)
        page.dispatch_event("#timeline [data-sample='2'] rect >> nth=0", "click")
        expect(page.locator("#timeline-follow")).to_have_value("2")
        expect(page.locator("#timeline .aside")).to_have_count(8)
        expect(page.locator("#timeline polyline.f")).to_have_count(1)
        page.fill("#timeline-follow", "77")
        expect(page.locator("#timeline polyline.f")).to_have_count(0)
        page.fill("#timeline-follow", "")
        expect(page.locator("#timeline .aside")).to_have_count(0)
        assert page.locator("#timeline [data-sample]").count() == 12, "it is held"
        page.click("#timeline-hold")
        expect(page.locator("#timeline [data-sample]")).to_have_count(16)
        with page.expect_download() as saved:
            page.click("#timeline-save")
        assert len(Timeline.load(saved.value.path()).visits) == 8


def test_a_long_chain_and_many_sources_fit(page: Page, dashboard: Dashboard) -> None:
    go_on = threading.Event()

    def wait() -> Iterator[int]:
        go_on.wait(60)
        yield 1

    stages = named(*(f"stage {number}" for number in range(40)))
    with Pipeline(stages, sources={f"camera {number}": wait() for number in range(64)}) as p:
        dashboard.watch(p)
        page.goto(dashboard.url)
        expect(page.locator("#graph .strong")).to_have_count(40)
        expect(page.locator("#graph")).to_contain_text("and 58 more")
        expect(page.locator("#sources tbody tr")).to_have_count(64)
        go_on.set()


def test_another_pipeline_is_chosen_by_keyboard(page: Page, dashboard: Dashboard) -> None:
    page.goto(dashboard.url)
    expect(page.locator("#nothing")).to_be_visible()
    with Pipeline(named("of one")) as one, Pipeline(named("of another")) as another:
        dashboard.watch(one, "one")
        dashboard.watch(another, "another")
        expect(page.locator("#pipelines option")).to_have_count(2)
        expect(page.locator("#graph")).to_contain_text("of one")
        page.keyboard.press("Tab")
        expect(page.locator("#pipelines")).to_be_focused()
        page.keyboard.press("ArrowDown")
        expect(page.locator("#graph")).to_contain_text("of another")


def test_a_failure_is_shown_with_its_text(page: Page, dashboard: Dashboard) -> None:
    def fails(x: int) -> None:
        raise ValueError("no model for this")

    pipeline = Pipeline([stage(fails, name="detect")]).start()
    dashboard.watch(pipeline)
    page.goto(dashboard.url)
    pipeline.put(1)
    expect(page.locator("#outcome")).to_have_text("failed")
    expect(page.locator("#failure")).to_contain_text("no model for this")
    with pytest.raises(Exception, match="no model"):
        pipeline.setstop()


def test_a_program_that_is_gone_is_told_and_the_last_stays(page: Page) -> None:
    with Pipeline(named("only")) as p:
        dashboard = Dashboard(port=0)
        dashboard.watch(p)
        page.goto(dashboard.url)
        expect(page.locator("#connection")).to_have_text("live")
        dashboard.close()
        expect(page.locator("#connection")).to_contain_text("does not answer")
        expect(page.locator("#graph")).to_contain_text("only")
