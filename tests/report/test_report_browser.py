"""The report in a browser: headless Chromium by Selenium, one start for all tests. Skipped where either is absent."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from made_registration import made

from tiepoint.registration.result import Registration
from tiepoint.report import write_report
from tiepoint.report.draw import AGREES, DISAGREES

webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium: pip install 'tiepoint[dev]'")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
CHROMEDRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (CHROMIUM and CHROMEDRIVER), reason="needs Chromium and its driver: apt install chromium chromium-driver"
    ),
]
FLAGS = (
    "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-component-update "
    "disable-sync disable-dev-shm-usage window-size=1300,950"
)
MATRIX = np.array([[0.97, -0.1, 30.0], [0.1, 0.97, -20.0], [2e-5, -1e-5, 1.0]])


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS.split(), f"user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(CHROMEDRIVER))
    driver.get("data:,")
    driver.get_log("performance")  # of the browser's own first page
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def found() -> Registration:
    return made(MATRIX, count=40, outliers=10)


@pytest.fixture(scope="module")
def folder(found: Registration, pair: tuple[np.ndarray, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """registered.html and refused.html."""
    path = tmp_path_factory.mktemp("pages")
    a = pair[0]
    b = 255 - cv2.warpPerspective(a, MATRIX, (480, 360))
    write_report(replace(found, probabilities=np.linspace(0.5, 1, 40)), a, b, path / "registered.html")
    write_report(made(None, count=20, outliers=0), a, b, path / "refused.html")
    return path


@pytest.fixture
def page(browser: Any, folder: Path) -> Iterator[Any]:
    """The browser with registered.html just loaded; afterwards, that nothing failed and nothing was fetched."""
    browser.get((folder / "registered.html").as_uri())
    yield browser
    is_quiet(browser)


def is_quiet(browser: Any) -> None:
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert any(address.startswith("file:") for address in asked)
    assert {address.split(":")[0] for address in asked} <= {"file", "data"}


def one(page: Any, selector: str) -> Any:
    return page.find_element("css selector", selector)


def press(page: Any, *keys: str) -> None:
    """Keys to what has the focus, or else to the page."""
    webdriver.ActionChains(page).send_keys(*keys).perform()


def switch(page: Any, value: str) -> None:
    one(page, f"label:has([value={value}])").click()


def swiped(page: Any) -> float:
    """Width of image a's visible part, pixels of b."""
    return float(page.execute_script("return document.getElementById('shown').getBBox().width"))


def test_the_swipe_moves_by_key_and_by_drag(page: Any) -> None:
    assert swiped(page) == pytest.approx(240)
    press(page, webdriver.Keys.ARROW_RIGHT * 5)
    assert swiped(page) == pytest.approx(264)
    one(page, "#slider").send_keys(webdriver.Keys.HOME)
    assert swiped(page) == 0
    stage, width = one(page, "#overlay"), one(page, "#overlay").size["width"]
    one(page, "#show-points").click()  # a drag may then begin anywhere
    drag = webdriver.ActionChains(page).move_to_element_with_offset(stage, 0, 0).click_and_hold()
    drag.move_by_offset(width // 4, 5).release().perform()
    assert swiped(page) == pytest.approx(0.75 * 480, abs=3)
    assert float(one(page, "#slider").get_property("value")) == pytest.approx(75, abs=1)
    webdriver.ActionChains(page).move_by_offset(-50, 0).perform()
    assert swiped(page) == pytest.approx(0.75 * 480, abs=3)  # released


def test_blink_shows_one_image_at_a_time(page: Any) -> None:
    shows = lambda: one(page, "#overlay").get_attribute("data-shows")  # noqa: E731
    opacity = "return getComputedStyle(document.getElementById('moved')).opacity"
    assert shows() == "both"
    seen = []
    for _ in range(3):
        press(page, "b")
        seen.append((shows(), page.execute_script(opacity), one(page, "#blinking").text))
    assert seen == [("a", "1", "Showing A"), ("b", "0", "Showing B"), ("a", "1", "Showing A")]
    assert swiped(page) == 480
    one(page, "#blink").click()
    assert shows() == "b"
    press(page, webdriver.Keys.ESCAPE)
    assert (shows(), swiped(page)) == ("both", 240)


def test_blend_and_squares(page: Any) -> None:
    switch(page, "blend")
    one(page, "#slider").send_keys(webdriver.Keys.END, webdriver.Keys.ARROW_LEFT)
    assert page.execute_script("return getComputedStyle(document.getElementById('moved')).opacity") == "0.99"
    switch(page, "squares")
    assert one(page, "#shown").get_attribute("d").count("M") == 24  # half of 8 by 6
    one(page, "#slider").send_keys(webdriver.Keys.HOME)
    assert one(page, "#shown").get_attribute("d").count("M") == 2
    assert not one(page, "#divider").is_displayed()


def test_a_chosen_tie_point_shows_its_patches_and_numbers(page: Any, found: Registration) -> None:
    data = json.loads(one(page, "#data").get_property("textContent"))["shown"]
    one(page, '#points .point[data-k="0"]').click()
    row = data["rows"][0]
    assert one(page, "#panel-title").text == f"Tie point {row + 1}"
    values = one(page, "#values").text.split("\n")
    said = dict(zip(values[::2], values[1::2], strict=True))
    assert said["Residual"] == f"{found.residuals.max():.2f} px"
    assert float(said["Match probability"]) == pytest.approx(np.linspace(0.5, 1, 40)[row], abs=1e-3)
    x, y = found.tie_points[row, 2:]
    assert said["x, y in B"] == f"{x:.2f}, {y:.2f}"
    levels = "return [...arguments[0].getContext('2d').getImageData(0, 0, 192, 192).data].filter((_, i) => i % 4 === 0)"
    patches = [np.array(page.execute_script(levels, one(page, f"#patch-{name}"))) for name in "ab"]
    assert all(patch.std() > 30 for patch in patches)
    assert np.corrcoef(*patches)[0, 1] < -0.5  # b is a inverted, turned by six degrees
    one(page, "#next").click()
    assert one(page, "#panel-title").text == f"Tie point {data['rows'][1] + 1}"


def test_points_are_blue_and_paler_with_the_residual(page: Any) -> None:
    data = json.loads(one(page, "#data").get_property("textContent"))["shown"]
    fills = [one(page, f'#points .point[data-k="{k}"]').get_attribute("fill") for k in (0, 39)]
    paler, fuller = (np.array([int(v) for v in fill[4:-1].split(",")]) for fill in fills)
    assert (paler > fuller).all()
    share = data["residuals"][-1] / data["residuals"][0]
    np.testing.assert_allclose(fuller, np.array(AGREES) + share * (paler - AGREES), atol=1)
    switch(page, "pair")
    one(page, "#show-rejected").click()
    stroke = page.execute_script("return getComputedStyle(document.querySelector('#pair-rejected path')).stroke")
    assert stroke == "rgb({}, {}, {})".format(*DISAGREES)


def test_tie_points_are_reached_by_key(page: Any) -> None:
    page.execute_script("document.querySelector('#points .point[tabindex=\"0\"]').focus()")
    press(page, webdriver.Keys.ENTER)
    data = json.loads(one(page, "#data").get_property("textContent"))["shown"]
    assert one(page, "#panel-title").text == f"Tie point {data['rows'][0] + 1}"
    x = data["points"][0][2]
    toward, sign = (webdriver.Keys.ARROW_LEFT, -1) if x > 240 else (webdriver.Keys.ARROW_RIGHT, 1)
    press(page, toward)
    k = int(page.switch_to.active_element.get_attribute("data-k"))
    assert (data["points"][k][2] - x) * sign > 0
    assert one(page, "#panel-title").text == f"Tie point {data['rows'][k] + 1}"
    assert swiped(page) == 240  # the key was the point's, not the slider's


def test_points_and_arrows_come_and_go(page: Any) -> None:
    arrow = lambda: page.find_elements("css selector", "#arrows .arrow")  # noqa: E731
    assert (len(arrow()), one(page, "#scale").is_displayed()) == (0, False)
    one(page, "#show-arrows").click()
    assert len(arrow()) == 40
    length = float(page.execute_script("return arguments[0].getTotalLength()", arrow()[0]))
    scale = int(one(page, "#arrow-scale").get_property("value"))
    residual = json.loads(one(page, "#data").get_property("textContent"))["shown"]["residuals"][0]
    assert scale * residual < length < 2 * scale * residual  # the shaft, and the head's two sides
    bar = one(page, "#bar").size["width"] / one(page, "#overlay").size["width"] * 480 / scale
    assert bar == pytest.approx(float(one(page, "#bar-label").text.split()[0]), rel=0.05)
    press(page, "r", "p")
    assert not one(page, "#arrows").is_displayed()
    assert not one(page, "#points").is_displayed()
    assert not one(page, "#scale").is_displayed()


def test_the_images_zoom_and_stand_side_by_side(page: Any) -> None:
    before = one(page, "#overlay").size["width"]
    press(page, "+")
    assert one(page, "#overlay").size["width"] == pytest.approx(1.5 * before, abs=2)
    press(page, "0")
    assert one(page, "#overlay").size["width"] == before
    switch(page, "pair")
    assert not one(page, "#overlay").is_displayed()
    assert len(page.find_elements("css selector", "#pair .point")) == 80
    one(page, "#show-rejected").click()
    assert one(page, "#pair-rejected path").get_attribute("d").count("M") == 10


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out(page: Any, scheme: str) -> None:
    """Contrast of at least 4.5 to 1, as WCAG 2.1 asks of text, in both schemes; nothing scrolls sideways."""
    media = [{"name": "prefers-color-scheme", "value": scheme}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
    style = (
        "const s = getComputedStyle(document.documentElement); return arguments[0].map((n) => s.getPropertyValue(n))"
    )
    names = ["--text", "--soft", "--accent", "--good", "--bad", "--page", "--card", "--on", "--good-soft", "--bad-soft"]
    lights = dict(zip(names, map(luminance, page.execute_script(style, names)), strict=True))
    pairs = [(text, ground) for text in ("--text", "--soft") for ground in ("--page", "--card")]
    for text, ground in (*pairs, ("--accent", "--on"), ("--good", "--good-soft"), ("--bad", "--bad-soft")):
        dark, light = sorted((lights[text], lights[ground]))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (scheme, text, ground)
    assert (lights["--page"] < 0.2) == (scheme == "dark")
    assert page.execute_script("return document.documentElement.scrollWidth <= innerWidth")


def luminance(colour: str) -> float:
    levels = [int(colour.strip()[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in levels]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_a_refused_page_shows_its_matches(browser: Any, folder: Path) -> None:
    browser.get((folder / "refused.html").as_uri())
    assert one(browser, "#verdict").text == "Not registered"
    assert len(browser.find_elements("css selector", "#pair-lines path")) == 20
    one(browser, '#pair-points .point[data-k="3"][role=button]').click()
    assert one(browser, "#panel-title").text.startswith("Match ")
    assert "Similarity" in one(browser, "#values").text
    assert "Residual" not in one(browser, "#values").text
    press(browser, "b")
    is_quiet(browser)
