"""Reports in a real browser: Chromium, driven by Selenium."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from report_support import NOW, Outcome, outcomes_of_a_world, record, written
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from smsc_status import FailedCheck, MessageRef
from smsc_status.cli._output import OutputFormat
from smsc_status.errors import Archived
from smsc_status.models import MOSCOW
from smsc_status.report import write

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
INSTALL = "apt-get install --no-install-recommends chromium chromium-driver"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason=f"there is no Chromium with its driver: {INSTALL}"),
]

SWITCHES = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
PHONE, DESKTOP = 375, 1280
HOSTILE = '</script><script>document.title="run"</script><img src=x onerror="document.title=\'run\'">'
LONG = "W" * 300


class Browser:
    """A browser, what it said on its console, and what it asked the network for."""

    def __init__(self, profile: Path) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = str(CHROMIUM)
        for switch in (*SWITCHES, f"--user-data-dir={profile}"):
            options.add_argument(switch)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))

    def open(self, url: str, *, width: int = DESKTOP, scheme: str = "light") -> None:
        is_phone = width == PHONE
        screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": is_phone}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        self.log("performance")
        self.log("browser")
        self.driver.get(url)

    def log(self, name: str) -> list[dict[str, Any]]:
        """What was logged since it was last read."""
        entries: list[dict[str, Any]] = self.driver.get_log(name)  # type: ignore[no-untyped-call]  # Selenium's
        return entries

    def asked(self) -> list[str]:
        """The addresses that were asked for since the page was opened, its own included."""
        messages = [json.loads(entry["message"])["message"] for entry in self.log("performance")]
        requests = [one["params"]["request"] for one in messages if one["method"] == "Network.requestWillBeSent"]
        return [request["url"] for request in requests]

    def said(self) -> list[str]:
        """What stands on the console."""
        return [entry["message"] for entry in self.log("browser")]

    def run(self, script: str, *arguments: object) -> Any:
        return self.driver.execute_script(script, *arguments)

    def rows(self, section: str, number: int = 0) -> list[list[str]]:
        """The cells of a table of a section, the names without what stands below them."""
        script = """
            const table = document.querySelectorAll(`#${arguments[0]} table`)[arguments[1]];
            return [...table.tBodies[0].rows].map(row => [...row.cells].map(
                cell => (cell.querySelector('.name') || cell).textContent.trim()));
        """
        rows: list[list[str]] = self.run(script, section, number)
        return rows

    def text(self, selector: str) -> str:
        text: str = self.run("return document.querySelector(arguments[0]).innerText", selector)
        return " ".join(text.split())


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.driver.quit()


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    failures = [FailedCheck(MessageRef(10**6 + id, "79990000000"), Archived("gone")) for id in range(3)]
    return [*outcomes_of_a_world(400), *failures, record(10**7, -3)]


def report_of(folder: Path, results: Path, **options: Any) -> str:
    write(results, folder / "report.html", **{"now": NOW} | options)
    return (folder / "report.html").as_uri()


@pytest.fixture(scope="module")
def english(tmp_path_factory: pytest.TempPathFactory, outcomes: list[Outcome]) -> str:
    folder = tmp_path_factory.mktemp("english")
    return report_of(folder, written(folder / "r.jsonl", outcomes))


@pytest.fixture(scope="module")
def russian(tmp_path_factory: pytest.TempPathFactory, outcomes: list[Outcome]) -> str:
    """Of CSV, which has the same outcomes."""
    folder = tmp_path_factory.mktemp("russian")
    return report_of(folder, written(folder / "r.csv", outcomes, OutputFormat.CSV), language="ru")


# An own count, by nothing but the standard library.


def last_records(folder: Path) -> list[dict[str, Any]]:
    """The last record of each message, from the file that the report is of."""
    (path,) = [path for path in folder.iterdir() if path.suffix in (".jsonl", ".csv")]
    last = {}
    with path.open(newline="", encoding="utf-8") as file:
        for one in csv.DictReader(file) if path.suffix == ".csv" else map(json.loads, file):
            last[str(one["id"]), one["phone"]] = {name: v for name, v in one.items() if v not in ("", None)}
    return list(last.values())


def truth(value: object) -> bool:
    return value in (True, "true")


class Count:
    """What there is to count, counted in another way than the report counts it."""

    def __init__(self, folder: Path) -> None:
        everything = last_records(folder)
        self.look_ups = [one for one in everything if "reachable" in one or str(one.get("type")) in ("4", "5")]
        self.messages = [one for one in everything if one not in self.look_ups]
        self.stands = Counter(map(self.stand, self.messages))
        self.cost = sum((Decimal(one["cost"]) for one in self.messages if "cost" in one), Decimal(0))

    @staticmethod
    def stand(one: dict[str, Any]) -> str:
        if "error" in one or str(one["status"]) == "-3":
            return "unknown"
        if truth(one["is_delivered"]):
            return "delivered"
        return "failed" if truth(one["is_final"]) else "open"

    def by(self, field: str) -> dict[str, Counter[str]]:
        found: dict[str, Counter[str]] = defaultdict(Counter)
        for one in self.messages:
            if field in one:
                found[one[field]][self.stand(one)] += 1
        return found

    def by_day(self) -> dict[str, Counter[str]]:
        found: dict[str, Counter[str]] = defaultdict(Counter)
        for one in self.messages:
            if "sent_at" in one:
                day = datetime.fromisoformat(one["sent_at"]).astimezone(MOSCOW)
                found[f"{day:%b} {day.day}, {day.year}"][self.stand(one)] += 1
        return found

    def took(self, **wanted: str) -> list[int]:
        """The seconds of each delivery whose time is known, in order."""
        return sorted(
            int((datetime.fromisoformat(one["changed_at"]) - datetime.fromisoformat(one["sent_at"])).total_seconds())
            for one in self.messages
            if str(one.get("status")) == "1" and all(one.get(name) == value for name, value in wanted.items())
        )


def number(text: str) -> int:
    return int(re.sub(r"[^\d-]", "", text))


def table_of(rows: list[list[str]]) -> dict[str, list[int]]:
    """The counts of each row, without its share."""
    return {name: [number(text) for text in texts[:-1]] for name, *texts in rows}


STANDS = ("delivered", "failed", "open", "unknown")


def expected(counts: dict[str, Counter[str]]) -> dict[str, list[int]]:
    return {name: [found.total(), *(found[stand] for stand in STANDS)] for name, found in counts.items()}


def folder_of(url: str) -> Path:
    return Path(url.removeprefix("file://")).parent


# The tests.


@pytest.mark.parametrize("language", ["english", "russian"])
def test_the_figures_are_those_of_the_file(language: str, browser: Browser, request: pytest.FixtureRequest) -> None:
    """By channel, operator, sender; in all; costs; look-ups. They are counted here by other code."""
    url = request.getfixturevalue(language)
    browser.open(url)
    count = Count(folder_of(url))
    values = browser.run("return [...document.querySelectorAll('.hero .legend b')].map(b => b.textContent)")
    assert [number(value) for value in values] == [count.stands[stand] for stand in STANDS]
    for section, field in (("operators", "operator"), ("senders", "sender_id")):
        wanted = expected(count.by(field))
        shown = table_of(browser.rows(section))
        rest = Counter[int]()
        for name in wanted.keys() - shown.keys():
            rest.update(dict(enumerate(wanted.pop(name))))
        others = shown.keys() - wanted.keys()
        assert [shown.pop(name) for name in others] == ([[rest[at] for at in range(5)]] if rest else [])
        assert shown == wanted
    channels = count.by("channel")
    channels["unknown"].update(unknown=sum("channel" not in one for one in count.messages))
    assert sorted(table_of(browser.rows("channels")).values()) == sorted(expected(channels).values())
    money = browser.text("#cost .figures dd")
    assert Decimal(re.sub(r"[^\d.]", "", money.replace(",", "." if language == "russian" else ""))) == count.cost
    reachable = [truth(one["reachable"]) for one in count.look_ups if "reachable" in one]
    values = browser.run("return [...document.querySelectorAll('#look-ups .legend b')].map(b => b.textContent)")
    assert [number(value) for value in values][:2] == [reachable.count(True), reachable.count(False)]


def test_the_days_are_those_of_the_file(browser: Browser, english: str) -> None:
    """In the time zone of the page."""
    browser.open(english)
    assert table_of(browser.rows("days")) == expected(Count(folder_of(english)).by_day())


def test_the_times_of_delivery_are_those_of_the_file(browser: Browser, english: str) -> None:
    """The medians, which are below two minutes here and so exact. A later record may say that it was read since."""
    browser.open(english)
    count = Count(folder_of(english))
    rows = {name: texts for name, *texts in browser.rows("times")}
    at_least = count.took()
    assert number(rows.pop("All messages")[3]) >= len(at_least)
    compared = 0
    for operator, (median, *_, how_many) in rows.items():
        took = count.took(operator=operator)
        if len(took) == number(how_many) and took[(len(took) - 1) // 2] < 60:
            assert number(median) == took[(len(took) - 1) // 2]
            compared += 1
    assert compared > 2


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
@pytest.mark.parametrize("language", ["english", "russian"])
def test_the_page_opens_without_complaint_and_without_the_network(
    language: str, width: int, browser: Browser, request: pytest.FixtureRequest
) -> None:
    """Nothing on the console, and no request but for the file itself."""
    url = request.getfixturevalue(language)
    browser.open(url, width=width)
    assert browser.said() == []
    assert [asked for asked in browser.asked() if asked not in (url, "data:,")] == []
    assert browser.run("return document.documentElement.lang") == language[:2]


def wide_elements(browser: Browser) -> list[str]:
    """What is outside of the screen, to the left or to the right."""
    script = """
        document.querySelectorAll('details').forEach(details => details.open = true);
        const width = document.documentElement.clientWidth;
        return [...document.querySelectorAll('body *')].filter(element => {
            const box = element.getBoundingClientRect(), part = element.closest('.hidden, thead');
            const isHidden = part && getComputedStyle(part).clipPath != 'none';
            return box.width && !isHidden && (box.right > width + 0.5 || box.left < -0.5);
        }).map(element => `${element.tagName} ${element.textContent.slice(0, 40)}`);
    """
    found: list[str] = browser.run(script)
    return found


@pytest.mark.parametrize("language", ["english", "russian"])
def test_nothing_is_wider_than_a_phone(language: str, browser: Browser, request: pytest.FixtureRequest) -> None:
    """Also what is folded."""
    browser.open(request.getfixturevalue(language), width=PHONE)
    assert wide_elements(browser) == []
    assert browser.run("return document.documentElement.scrollWidth") == PHONE


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("hostile")
    fields: dict[str, Any] = {
        "operator": HOSTILE,
        "sender_id": HOSTILE,
        "message": HOSTILE,
        "comment": HOSTILE,
        "region": HOSTILE,
    }
    outcomes: list[Outcome] = [record(id, **fields) for id in range(30)]
    outcomes += [record(100 + id, operator=LONG, sender_id=LONG, cost=Decimal("9" * 20)) for id in range(30)]
    outcomes.append(record(200, phone=f"{LONG}@example.ru", took=10**6))
    return report_of(folder, written(folder / "r.jsonl", outcomes), title=HOSTILE, full_phones=True)


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_what_others_wrote_runs_no_script_and_breaks_no_page(width: int, browser: Browser, hostile: str) -> None:
    """It is shown as it was written, and names without spaces are broken."""
    browser.open(hostile, width=width)
    assert browser.driver.title == HOSTILE
    assert browser.run("return document.querySelectorAll('script, img').length") == 0
    assert HOSTILE[:50] in browser.text("#operators")
    assert browser.said() == []
    assert wide_elements(browser) == []


def test_the_policy_stops_a_script_that_got_in(browser: Browser, english: str, tmp_path: Path) -> None:
    """Even one that was not escaped does not run: a second safeguard, which this test shows to be at work."""
    page = Path(english.removeprefix("file://")).read_text(encoding="utf-8")
    script = "<script>document.title = 'run'</script>"
    for name, html, is_run in (
        ("with", page, False),
        ("without", re.sub(r"<meta http-equiv=[^>]*>", "", page), True),
    ):
        path = tmp_path / f"{name}.html"
        path.write_text(html.replace("</body>", f"{script}</body>"), encoding="utf-8")
        browser.open(path.as_uri())
        assert (browser.driver.title == "run") == is_run


def test_light_and_dark_are_those_of_the_reader(browser: Browser, english: str) -> None:
    """The page, and the bars of its plots."""
    seen = {}
    for scheme in ("light", "dark"):
        browser.open(english, scheme=scheme)
        script = """
            const bar = document.querySelector('#days .wide path[fill="var(--delivered)"]');
            return [getComputedStyle(document.body).backgroundColor, getComputedStyle(bar).fill];
        """
        seen[scheme] = browser.run(script)
    brightness = {scheme: sum(map(int, re.findall(r"\d+", found[0]))) for scheme, found in seen.items()}
    assert brightness["light"] > 600
    assert brightness["dark"] < 150
    assert seen["light"][1] != seen["dark"][1]


def test_a_phone_shows_the_plots_that_are_made_for_it(browser: Browser, english: str) -> None:
    """Texts in a plot are as large as elsewhere."""
    for width, shown in ((PHONE, "narrow"), (DESKTOP, "wide")):
        browser.open(english, width=width)
        script = """
            return [...document.querySelectorAll('figure svg')].filter(svg => svg.getBoundingClientRect().width).map(
                svg => [svg.parentElement.className, svg.querySelector('text').getBoundingClientRect().height]);
        """
        plots = browser.run(script)
        assert {name for name, _ in plots} == {shown}
        assert all(height > 11 for _, height in plots)


def test_every_plot_has_a_description_and_its_figures_in_a_table(browser: Browser, english: str) -> None:
    """So the page can be read without a picture."""
    browser.open(english)
    script = """
        return [...document.querySelectorAll('figure')].map(figure => [
            figure.querySelector('svg title').textContent, figure.querySelector('svg').getAttribute('role'),
            !!figure.nextElementSibling.querySelector('table')]);
    """
    plots = browser.run(script)
    assert len(plots) == 3
    assert all(title and role == "img" and has_table for title, role, has_table in plots)


def test_a_page_from_a_server_asks_for_nothing_else(browser: Browser, english: str) -> None:
    """Not even for an icon."""
    paths: list[str] = []
    page = Path(english.removeprefix("file://")).read_bytes()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=partial(server.serve_forever, 0.01), daemon=True).start()
        browser.open(f"http://127.0.0.1:{server.server_port}/report")
        assert browser.said() == []
        server.shutdown()
    assert paths == ["/report"]
