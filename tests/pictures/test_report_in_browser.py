"""The report in a browser: it draws in time, and each control does what it says."""

import datetime
import itertools
import json
import urllib.parse

import pytest

from experiments.pictures.report.contents import contents
from experiments.pictures.report.page import page, plotly_js
from experiments.pictures.report.runs import runs_of
from experiments.records.sweep import SweepDirectory
from tests.pictures.test_report import NASTY, VALUES
from tests.support.browser import Page, chromium, needs_chromium
from tests.support.different_tasks import different_tasks
from tests.support.many_lanes import LANES_200, many_lanes

pytestmark = [pytest.mark.thorough]
MOST_SECONDS = 3


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


def written(directory, path, **changes):
    """The page of a sweep."""
    found = contents(runs_of([directory.path])) | {
        "written": datetime.datetime.now(datetime.UTC).isoformat(),
        "watching": None,
    }
    path.write_text(page(found | changes, "Report", plotly_js()), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Of eighteen lanes of six settings, one of them under way."""
    root = tmp_path_factory.mktemp("report")
    directory = many_lanes(root / "sweep", VALUES, 60)
    directory.lanes()[14].summary_file.unlink()  # as if killed, before it got there
    return written(directory, root / "report.html")


@pytest.fixture
def opened(browser, report):
    """The page; nothing may have gone wrong on it when the test is over."""
    there = Page(browser, report)
    yield there
    assert there.complaints == []
    assert there.requests == [report.as_uri()]
    there.page.close()


def traces(opened, chart="accuracy"):
    return opened.js(f"byId('chart-{chart}').data.map((trace) => trace.meta)")


def runs_drawn(opened):
    return sorted(run for trace in traces(opened) for run in trace["runs"])


def axis(opened, chart, name):
    return opened.js(
        "([chart, name]) => (({ type, range }) => ({ type, range }))("
        "byId(`chart-${chart}`)._fullLayout[name])",
        [chart, name],
    )


@needs_chromium
def test_curves_table_and_pictures_are_there(opened):
    assert runs_drawn(opened) == list(range(18))
    assert len(opened.rows("runs")) == 18
    assert len(opened.rows("settings")) == 6
    assert len(opened.rows("each")) == 18
    assert opened.js("byId('survival').data.length") == 6
    assert opened.js("byId('map').data[0].z.flat().filter((z) => z !== null).length")
    assert opened.js("byId('counts').textContent") == "18 runs: 17 completed, 1 killed."
    paths = opened.js("document.querySelectorAll('.scatterlayer .js-line').length")
    assert paths >= 18


@needs_chromium
def test_censored_runs_say_so(opened):
    text = json.dumps(opened.rows("runs"))
    assert "never in 1,180" in text
    assert "not yet in 1,180" in opened.rows("runs")[14]
    reached = [row[2] for row in opened.rows("settings")]
    assert "2 of 3" in reached
    assert "2 of 2" in reached  # of the finished ones


@needs_chromium
@pytest.mark.parametrize("quantity", ["accuracy", "loss", "norm"])
def test_log_switches(opened, quantity):
    name = f"#log-{quantity}"
    for _ in range(2):
        is_log = opened.page.locator(name).is_checked()
        kind = "log" if is_log else "linear"
        assert axis(opened, quantity, "yaxis")["type"] == kind
        opened.click(name)
    for expected in ("log", "linear"):
        found = axis(opened, quantity, "xaxis")
        assert found["type"] == expected
        low = found["range"][0]
        assert low < 0 if expected == "linear" else -0.5 < low < 0.1
        opened.click("#log-steps")


@needs_chromium
def test_labels_of_a_logarithmic_accuracy_can_be_read(opened):
    opened.click("#log-accuracy")
    opened.click("#train")
    for fewer in ('[id="filter:filter=ema"]', "#validation", "#all"):
        boxes = opened.js(
            "[...document.querySelectorAll('#chart-accuracy .ytick text')]"
            ".map((each) => (({ top, bottom }) => [top, bottom, each.textContent])"
            "(each.getBoundingClientRect())).sort(([a], [b]) => a - b)"
        )
        assert 2 < len(boxes) < 12
        for (_, bottom, _), (top, _, _) in itertools.pairwise(boxes):
            assert top > bottom - 4
        numbers = [float(text.removesuffix("%")) for _, _, text in boxes]
        assert numbers == sorted(set(numbers), reverse=True)
        assert numbers[-1] > 0
        opened.click(fewer)


@needs_chromium
def test_splits(opened):
    assert {trace["column"] for trace in traces(opened)} == {"validation_accuracy"}
    opened.click("#train")
    columns = {trace["column"] for trace in traces(opened)}
    assert columns == {"train_accuracy", "validation_accuracy"}
    opened.click("#validation")
    assert {trace["column"] for trace in traces(opened)} == {"train_accuracy"}


@needs_chromium
def test_filters(opened):
    opened.click('[id="filter:filter=ema"]')
    assert opened.js("byId('shown').textContent") == "6 of 18 runs"
    assert runs_drawn(opened) == list(range(6))
    assert {row[1] for row in opened.rows("runs")} == {"none"}
    assert (
        len(opened.rows("settings")) == opened.js("byId('survival').data.length") == 2
    )
    opened.click('[id="filter:seed=0"]')
    assert len(opened.rows("runs")) == 4
    opened.click("#all")
    assert len(opened.rows("runs")) == 18
    opened.page.locator("#search").fill("λ 2, Seed 1")
    opened.drawn()
    assert {(row[3], row[4]) for row in opened.rows("runs")} == {("1", "2")}
    for text, count in SEARCHES.items():
        opened.page.locator("#search").fill(text)
        opened.drawn()
        assert len(opened.rows("runs")) == count, text
    opened.page.locator("#search").fill("nothing is called so")
    opened.drawn()
    assert opened.rows("runs") == []
    assert runs_drawn(opened) == []


SEARCHES = {  # of the eighteen runs
    "lamb 2": 6,  # as on the command line
    "--weight-decay=0.005": 9,
    "weight_decay 0.5, Seed 0": 3,
    "weight decay 0": 0,  # whole values alone
    "prime 97": 18,  # that all share
    "prime 9": 0,
    "steps 1,180": 18,
    "steps 1, 180": 0,
    "lamb none": 6,
    "killed": 1,
    "lane-0003, ": 1,
    "lane-000": 0,
}


@needs_chromium
def test_sorting(opened):
    heading = '[id="sort:steps to 99 % validation accuracy"]'
    place = opened.js(
        "[...byId('runs').tHead.rows[0].cells].findIndex("
        "(cell) => cell.innerText.startsWith('steps to 99 % validation'))"
    )

    def column():
        return [row[place] for row in opened.rows("runs")]

    def state():
        cells = f"byId('runs').tHead.rows[0].cells[{place}]"
        return opened.js(f"{cells}.getAttribute('aria-sort')")

    assert state() == "none"
    for order in ("ascending", "descending"):
        opened.click(heading)
        assert state() == order
        numbers = [
            int(cell.replace(",", "")) for cell in column() if cell[0] in "0123456789"
        ]
        assert numbers == sorted(numbers, reverse=order == "descending")
        assert len(numbers) == 15
        assert all("never" in cell or "not yet" in cell for cell in column()[15:])


@needs_chromium
def test_zoom_is_shared_and_survives_a_reload(opened):
    whole = axis(opened, "loss", "xaxis")["range"]
    opened.click("#zoom-in")
    opened.page.wait_for_function("() => !isFollowing")
    near = axis(opened, "loss", "xaxis")["range"]
    assert near[1] - near[0] == pytest.approx((whole[1] - whole[0]) / 2)
    opened.click("#later")
    opened.page.wait_for_function("() => !isFollowing")
    later = [axis(opened, name, "xaxis")["range"] for name in ("accuracy", "norm")]
    assert later[0] == pytest.approx(later[1])
    assert later[0][0] > near[0]
    opened.page.reload()
    opened.drawn()
    assert axis(opened, "accuracy", "xaxis")["range"] == pytest.approx(later[0])
    opened.requests.pop()  # that of the reload
    opened.click("#whole")
    assert axis(opened, "accuracy", "xaxis")["range"] == pytest.approx(whole)


@needs_chromium
def test_zoom_ends_where_the_steps_do(opened):
    check_ends_of_zoom(opened)
    opened.click("#log-steps")
    check_ends_of_zoom(opened)


def check_ends_of_zoom(opened):
    least, most = whole = axis(opened, "accuracy", "xaxis")["range"]

    def ends_after(name, times):
        opened.js(
            "async ([name, times]) =>"
            " { for (let i = 0; i < times; i++) await ZOOMS[name](data); }",
            [name, times],
        )
        low, high = axis(opened, "accuracy", "xaxis")["range"]
        near = 1e-9 * (most - least)
        assert least - near <= low < high <= most + near
        return opened.js(
            "[...document.querySelectorAll('[aria-disabled=true]')].map((b) => b.id)"
        )

    nothing = ["zoom-out", "earlier", "later", "whole"]
    assert ends_after("zoom-out", 4) == nothing
    assert ends_after("later", 2) == nothing
    assert ends_after("zoom-in", 2) == []
    assert ends_after("later", 9) == ["later"]
    assert ends_after("earlier", 14) == ["earlier"]
    assert ends_after("zoom-in", 11) == ["zoom-in"]
    assert ends_after("zoom-out", 13) == nothing
    assert opened.js("view.steps") is None
    assert axis(opened, "loss", "xaxis")["range"] == pytest.approx(whole)
    dragged = "{ 'xaxis.range[0]': -9, 'xaxis.range[1]': 9999 }"  # beyond both ends
    opened.js(f"Plotly.relayout(byId('chart-loss'), {dragged})")
    opened.page.wait_for_function("() => !isFollowing")
    assert axis(opened, "loss", "xaxis")["range"] == pytest.approx(whole)


@needs_chromium
def test_dragging_zooms_and_two_clicks_show_the_whole(opened):
    whole = axis(opened, "accuracy", "xaxis")["range"]
    box = opened.page.locator("#chart-accuracy .nsewdrag").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    opened.page.mouse.move(x, y)
    opened.page.mouse.down()
    opened.page.mouse.move(x + 80, y + 60, steps=4)
    opened.page.mouse.up()
    opened.page.wait_for_function("() => view.steps !== null && !isFollowing")
    near = axis(opened, "accuracy", "xaxis")["range"]
    assert near[0] > whole[0]
    assert axis(opened, "loss", "xaxis")["range"] == pytest.approx(near)
    for _ in range(20):  # two clicks far apart, on a busy machine, are no double click
        opened.page.mouse.dblclick(x, y)
        opened.page.wait_for_timeout(500)
        if opened.page.evaluate("view.steps === null"):
            break
    opened.drawn()
    assert axis(opened, "accuracy", "xaxis")["range"] == pytest.approx(whole)


@needs_chromium
def test_hovering_says_what_a_point_is(opened):
    box = opened.page.locator("#chart-accuracy .nsewdrag").bounding_box()
    for part in range(1, 20):  # somewhere on this line there is a curve
        height = box["y"] + box["height"] * part / 20
        opened.page.mouse.move(box["x"] + box["width"] * 0.75, height)
        opened.page.wait_for_timeout(60)
        if opened.page.locator("#tip").is_visible():
            break
    text = opened.page.locator("#tip").inner_text()
    name, setting, point = text.split("\n")
    assert name.startswith("lane-00")
    assert "weight decay" in setting
    assert point.startswith("step ")
    assert "validation accuracy" in point


@needs_chromium
def test_hovering_on_the_other_pictures(opened):
    for chart, words in (("map", "have one"), ("survival", "not yet there")):
        opened.page.mouse.move(1, 1)
        opened.page.locator("#tip").wait_for(state="hidden")
        area = opened.page.locator(f"#{chart} .nsewdrag")
        area.scroll_into_view_if_needed()
        box = area.bounding_box()
        places = [(0.1 * i, 0.1 * j) for i in range(1, 10) for j in range(1, 10)]
        for x, y in places if chart == "map" else [(0.4, 0.04)]:
            opened.page.mouse.move(
                box["x"] + box["width"] * x, box["y"] + box["height"] * y
            )
            opened.page.wait_for_timeout(60)
            if opened.page.locator("#tip").is_visible():
                break
        text = opened.page.locator("#tip").inner_text()
        assert words in text
        assert text.split("\n")[0] in [row[0] for row in opened.rows("settings")]


@needs_chromium
def test_a_name_makes_a_run_stand_out(opened):
    opened.click('[id="run:lane-0003"]')
    pressed = opened.page.locator('[id="run:lane-0003"]').get_attribute("aria-pressed")
    assert pressed == "true"
    widths = opened.js("byId('chart-loss').data.map((trace) => trace.line.width)")
    assert traces(opened, "loss")[-1]["runs"] == [3]
    assert widths[-1] > max(widths[:-1])
    opened.click('[id="run:lane-0003"]')
    assert [3] not in [trace["runs"] for trace in traces(opened, "loss")]


@needs_chromium
def test_colours(opened):
    assert len(traces(opened)) == 6
    opened.choose("#colour", "filter")
    assert len(traces(opened)) == 2
    legend = opened.js(
        "[...byId('legend').children].map((line) => line.innerText.trim())"
    )
    assert legend == ["filter none (6 runs)", "filter ema (12 runs)"]


@needs_chromium
@pytest.mark.parametrize("settings", [12, 24])
def test_lists_are_whole_or_say_that_they_are_cut(browser, tmp_path, settings):
    values = {"filter": ["ema"], "alpha": [i / 100 for i in range(50, 50 + settings)]}
    directory = many_lanes(tmp_path / "sweep", values, 5)
    path = written(directory, tmp_path / "report.html", colour="")
    opened = Page(browser, path, width=380)

    def is_cut(name):
        box = f"(byId('{name}').closest('.scroll') ?? byId('{name}'))"
        return opened.js(f"{box}.scrollHeight > {box}.clientHeight + 1")

    for name in ("legend", "settings"):
        button = opened.page.locator(f"#all-{name}")
        assert is_cut(name) == button.is_visible() == (settings > 20)
        if settings > 20:
            assert button.inner_text() == "Show all 24"
            button.click()
            assert not is_cut(name)
    assert opened.complaints == []
    opened.page.close()


@needs_chromium
def test_heat_map_over_any_two_settings(opened):
    def tiles():
        return opened.js("byId('map').data[0].text.flat().filter(Boolean)")

    names = opened.js("data.settings.map((setting) => setting.name)")
    place = {name: str(names.index(name)) for name in names}
    opened.choose("#map-x", place["filter"])
    opened.choose("#map-y", place["weight_decay"])
    ticks = opened.js("byId('map').layout.xaxis.ticktext")
    assert ticks == ["ema", "none"]
    found = opened.js("data.by_setting.t_gen_99")
    best = {}
    for row in found:  # best first
        best.setdefault((row["axes"][0], row["axes"][1]), row["median"])
    shown = {f"{median:,}" for median in best.values() if median is not None}
    assert set(tiles()) == shown
    others = opened.js("[...byId('map-rest').options].map((option) => option.value)")
    assert others[0] == "best"
    assert sorted(others[1:]) == ["=", "=λ 1", "=λ 2"]
    opened.choose("#map-rest", "=λ 2")
    assert len(tiles()) <= 2
    opened.choose("#milestone", "min_validation_loss")
    assert opened.js("byId('survival').closest('figure').hidden")
    assert "lowest validation loss" in opened.js("byId('map-title').textContent")
    for one, other in (("x", "weight_decay"), ("y", "filter")):
        left_out = opened.js(f"[...byId('map-{one}').options].map((o) => o.hidden)")
        values = opened.js(f"[...byId('map-{one}').options].map((o) => o.value)")
        assert left_out == [value == place[other] for value in values]
    opened.js(f"setChoice(byId('map-y'), '{place['filter']}')")  # of an older address
    opened.choose("#milestone", "t_gen_99")
    assert opened.js("byId('map-y').value") != place["filter"]
    assert len(tiles()) > 0


@needs_chromium
def test_drawn_values_are_dots_and_have_ends(browser, tmp_path):
    ranges = {"filter": ["ema"], "alpha": "0.8:0.99", "lamb": "0.1:10:log"}
    directory = many_lanes(tmp_path / "sweep", ranges, 20, samples=40)
    opened = Page(browser, written(directory, tmp_path / "report.html"))
    never, found = (opened.js(f"byId('map').data[{i}].x.length") for i in (1, 0))
    assert (found, never) == (32, 8)
    assert opened.js("byId('map').data[0].mode") == "markers"
    opened.page.locator("#map").focus()
    opened.page.keyboard.press("ArrowUp")
    alphas = opened.js("data.by_setting.t_gen_99.map((row) => row.axes[0])")
    assert f"α {min(alphas):.4}, " in opened.page.locator("#tip").inner_text()
    assert "never" in opened.js("byId('map-note').textContent")
    opened.page.locator('[id="filter:alpha:least"]').fill("0.9")
    opened.page.locator('[id="filter:alpha:most"]').fill("0.95")
    opened.page.keyboard.press("Tab")
    opened.drawn()
    alphas = [float(row[1]) for row in opened.rows("runs")]
    assert alphas
    assert all(0.9 <= alpha <= 0.95 for alpha in alphas)
    assert opened.complaints == []
    opened.page.close()


@needs_chromium
def test_keyboard_alone(opened):
    """Tab comes to every control; what keys do is what clicks do."""
    wanted = set(
        opened.js(
            "[...document.querySelectorAll('input, select, button, .chart[tabindex]')]"
            ".filter((each) => each.offsetParent !== null).map((each) => each.id)"
        )
    )
    assert "" not in wanted
    assert {"survival", "map"} <= wanted
    seen, outlined = set(), 0
    for _ in range(len(wanted) + 20):
        opened.page.keyboard.press("Tab")
        found, outline = opened.js(
            "[document.activeElement.id,"
            " getComputedStyle(document.activeElement).outlineStyle]"
        )
        if found in wanted:
            seen.add(found)
            outlined += outline != "none"
    assert wanted == seen
    assert outlined >= len(wanted)
    opened.page.locator("#log-loss").focus()
    opened.page.keyboard.press("Space")
    opened.drawn()
    assert axis(opened, "loss", "yaxis")["type"] == "linear"
    opened.page.locator('[id="sort:seed"]').focus()
    for order in ("ascending", "descending"):
        opened.page.keyboard.press("Enter")
        opened.drawn()
        cell = opened.page.locator("th", has=opened.page.locator('[id="sort:seed"]'))
        assert cell.get_attribute("aria-sort") == order
    assert opened.js("document.activeElement.id") == "sort:seed"
    opened.page.locator("#milestone").focus()
    opened.page.keyboard.press("ArrowUp")
    opened.drawn()
    assert opened.page.locator("#milestone").input_value() == "t_gen_95"


@needs_chromium
def test_keys_on_a_chart(opened):
    opened.page.locator("#chart-loss").focus()
    opened.page.keyboard.press("ArrowRight")
    first = opened.page.locator("#tip").inner_text()
    assert "step 20: validation loss" in first
    opened.page.keyboard.press("ArrowDown")
    other = opened.page.locator("#tip").inner_text()
    assert other.split("\n")[0] != first.split("\n")[0]
    whole = axis(opened, "loss", "xaxis")["range"]
    opened.page.keyboard.press("+")
    opened.page.wait_for_function("() => view.steps !== null && !isFollowing")
    near = axis(opened, "loss", "xaxis")["range"]
    assert near[1] - near[0] < whole[1] - whole[0]
    opened.page.keyboard.press("0")
    opened.drawn()
    assert axis(opened, "loss", "xaxis")["range"] == pytest.approx(whole)
    opened.page.keyboard.press("Tab")
    assert opened.page.locator("#tip").is_hidden()


@needs_chromium
def test_keys_on_the_other_pictures(opened):
    def told(key):
        opened.page.keyboard.press(key)
        assert opened.js("document.activeElement.layout.shapes.length") == 1
        return opened.page.locator("#tip").inner_text().split("\n")

    opened.page.locator("#survival").focus()
    first, _, step = told("ArrowRight")
    assert first == opened.rows("settings")[0][0]
    assert step.startswith("step ")
    assert told("ArrowRight")[2] != step
    assert told("ArrowDown")[0] == opened.rows("settings")[1][0]
    room, last = opened.js(
        "[byId('survival')._fullLayout.xaxis.range[1],"
        " Math.log10(Math.max(...byId('survival').data.flatMap(({ x }) => x)))]"
    )
    assert room > last  # the last drop is not on the edge
    opened.page.locator("#map").focus()
    cells = [told("ArrowRight")[0] for _ in range(7)]
    assert len(set(cells)) == 6 == opened.js("byId('map').data[0].z.flat().length")
    assert cells[5] == cells[6]  # the end
    below = told("ArrowDown")[0]
    assert below in cells
    assert below != cells[6]
    opened.page.keyboard.press("Tab")
    assert opened.page.locator("#tip").is_hidden()


@needs_chromium
def test_every_control_has_a_name(opened):
    nameless = opened.js(
        "[...document.querySelectorAll('input, select, button')].filter((each) =>"
        " !(each.labels?.length || each.innerText.trim())).map((each) => each.id)"
    )
    assert nameless == []
    ids = opened.js("[...document.querySelectorAll('[id]')].map((each) => each.id)")
    own = [each for each in ids if not each.startswith(("clip", "topdefs", "legend"))]
    assert len(own) == len(set(own))


@needs_chromium
def test_choices_are_in_the_address(opened, browser, report):
    opened.click('[id="filter:filter=none"]')
    opened.click("#log-loss")
    opened.click('[id="sort:seed"]')
    address = urllib.parse.urlsplit(opened.page.url).fragment
    other = Page(browser, report, hash=f"#{address}")
    assert len(other.rows("runs")) == 12
    assert axis(other, "loss", "yaxis")["type"] == "linear"
    assert [row[3] for row in other.rows("runs")] == ["0"] * 4 + ["1"] * 4 + ["2"] * 4
    assert other.complaints == []
    other.page.close()
    damaged = Page(browser, report, hash="#%7Bno")
    assert len(damaged.rows("runs")) == 18
    assert damaged.complaints == []
    damaged.page.close()


@needs_chromium
def test_the_link_to_the_curves_drops_no_choice(opened):
    opened.click('[id="filter:filter=none"]')
    opened.page.locator(".skip").focus()
    opened.page.keyboard.press("Enter")
    assert opened.js("document.activeElement.id") == "curves"
    opened.page.reload()
    opened.drawn()
    opened.requests.pop()  # that of the reload
    assert len(opened.rows("runs")) == 12


@needs_chromium
def test_a_watched_page_becomes_its_next_self(browser, tmp_path):
    directory = many_lanes(tmp_path / "sweep", {"seed": [0, 1]}, 20)
    lane = directory.lanes()[0]
    lane.summary_file.unlink()
    path = written(directory, tmp_path / "report.html", watching=1)
    opened = Page(browser, path)
    assert "ago" in opened.js("byId('age').textContent")
    opened.click("#log-loss")
    opened.page.locator("#log-loss").focus()
    opened.js("history.replaceState(null, '', '#curves')")  # as a link does
    lane.write_summary({"status": "completed", "steps": 380})
    written(directory, path)
    opened.page.wait_for_function("() => data.watching === null")
    opened.drawn()
    assert opened.js("byId('counts').textContent") == "2 runs: 2 completed."
    assert axis(opened, "loss", "yaxis")["type"] == "linear"
    opened.page.wait_for_function("() => document.activeElement.id === 'log-loss'")
    assert opened.page.locator("#reloading").is_hidden()
    assert opened.complaints == []
    opened.page.close()


@needs_chromium
def test_names_are_never_markup(browser, tmp_path):
    directory = many_lanes(tmp_path / "sweep", {"seed": [0, 1], "lamb": [1.0]}, 5)
    found = contents(runs_of([directory.path]))
    found["runs"][0]["name"] = NASTY
    found["settings"].append({"name": NASTY, "words": NASTY, "values": [NASTY, "b"]})
    for run, value in zip(found["runs"], (NASTY, "b"), strict=True):
        run["values"].append(value)
    for rows in found["by_setting"].values():
        for row in rows:
            row["label"] = NASTY
    found["provenance"].append({"what": NASTY, "value": NASTY, "runs": 1})
    found |= {"written": "2026-11-26T00:00:00+00:00", "watching": None}
    path = tmp_path / "report.html"
    path.write_text(page(found, NASTY, plotly_js()), encoding="utf-8")
    opened = Page(browser, path)
    assert opened.page.title() == NASTY
    assert opened.js("document.querySelectorAll('img, b, section script').length") == 0
    assert opened.rows("runs")[0][0] == NASTY
    assert opened.complaints == []
    opened.page.close()


@needs_chromium
def test_different_tasks_on_one_page(browser, tmp_path):
    runs = SweepDirectory(different_tasks(tmp_path))
    path = written(runs, tmp_path / "report.html")
    opened = Page(browser, path)
    heads = opened.js("[...byId('runs').tHead.rows[0].cells].map((c) => c.innerText)")
    assert len(heads) == len(set(heads))
    rows = {row[0]: dict(zip(heads, row, strict=True)) for row in opened.rows("runs")}
    gen = "steps to 99 % validation accuracy"
    assert rows["qm9"][gen] == "–"  # never asked
    assert rows["lost"][gen] == "never: diverged at 7"
    assert rows["target"][gen] == "never in 20"
    assert rows["target"]["steps to validation loss ≤ 2.5"] == "10"
    assert len(opened.rows("settings")) == 1  # by the target
    opened.choose("#milestone", "min_validation_loss")
    assert len(opened.rows("settings")) == 3
    modes = opened.js("byId('chart-norm').data.map((trace) => trace.mode)")
    assert "lines+markers" in modes
    assert opened.complaints == []
    opened.page.close()


@needs_chromium
def test_a_page_before_anything_is_recorded(browser, tmp_path):
    directory = many_lanes(tmp_path / "sweep", {"seed": [0, 1]}, 5)
    for lane in directory.lanes():
        lane.summary_file.unlink()
        lane.metrics_file.unlink()
    opened = Page(browser, written(directory, tmp_path / "report.html"))
    assert [row[2] for row in opened.rows("runs")] == ["not started"] * 2
    assert opened.complaints == []
    opened.page.close()


@needs_chromium
@pytest.mark.parametrize(("width", "dark"), [(380, False), (1280, True)])
def test_it_fits_and_can_be_read(browser, report, tmp_path, width, dark):
    opened = Page(browser, report, width=width, dark=dark)
    assert opened.js("document.documentElement.scrollWidth") <= width
    least = opened.js(
        """() => {
          const channel = (c) => (c / 255) ** 2.2;
          const light = (colour) => {
            const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).map(channel);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const paper = light(getComputedStyle(document.body).backgroundColor);
          const places = ["body", ".note", "td", "figcaption", ".xtick text"];
          return Math.min(...places.map((each) => {
            const style = getComputedStyle(document.querySelector(each));
            const ink = light(each.includes("tick") ? style.fill : style.color);
            const [high, low] = [ink, paper].sort((a, b) => b - a);
            return (high + 0.05) / (low + 0.05);
          }));
        }"""
    )
    assert least >= 4.5
    light = opened.js("getComputedStyle(document.body).backgroundColor")
    assert (light == "rgb(255, 255, 255)") != dark
    assert len(opened.page.screenshot(full_page=True)) > 20_000
    assert opened.complaints == []
    opened.page.close()


@needs_chromium
@pytest.mark.parametrize("evaluations", [500, 5000])
def test_two_hundred_lanes_open_in_time(browser, tmp_path, evaluations):
    directory = many_lanes(tmp_path / "sweep", LANES_200, evaluations)
    path = written(directory, tmp_path / "report.html")
    assert path.stat().st_size < 9e6
    opened = Page(browser, path)
    seconds = opened.seconds()  # by the clock of a wall a busy machine takes longer
    assert runs_drawn(opened) == list(range(200))
    assert "300 evaluations" in opened.js("byId('thinned').textContent")
    assert opened.complaints == []
    opened.page.close()
    print(f"{seconds:.2f} s, {path.stat().st_size / 1e6:.1f} MB")
    assert 0.2 < seconds < MOST_SECONDS
