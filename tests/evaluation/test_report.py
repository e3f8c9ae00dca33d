# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The report as a file, and as a reader sees it in a browser."""

import base64
import hashlib
import re
import shutil
import time
import tomllib
import zlib
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from astropy.nddata import CCDData, StdDevUncertainty
from astropy.table import QTable

from splus_srgan.evaluation.checks import Check
from splus_srgan.evaluation.pairs import EvaluationPair
from splus_srgan.evaluation.report.pixels import ENCODING, encode_plane
from splus_srgan.evaluation.report.viewer import show_field
from splus_srgan.evaluation.report.write import render_report
from splus_srgan.evaluation.result import EvaluatedField, Evaluation
from splus_srgan.images.wcs import upsample_wcs

jinja2 = pytest.importorskip("jinja2")

NASTY = '<script>alert("1")</script>&amp;\'</textarea>'
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def make_field(name, *, seed=1, bands=("g", "r", "z"), side=48, target=True, uncertainty=False):
    """A field of noise with one bright source, without running anything."""
    from astropy.wcs import WCS

    rng = np.random.default_rng(seed)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [30, -31], [24.5, 24.5]
    wcs.wcs.cdelt = [-0.55 / 3600, 0.55 / 3600]
    y, x = np.mgrid[: 2 * side, : 2 * side]
    source = 100 * np.exp(-((x - side / 2) ** 2 + (y - 1.2 * side) ** 2) / 18)
    observed, output, truth = {}, {}, {}
    for k, band in enumerate(bands):
        coarse = (k + 1) * source.reshape(side, 2, side, 2).sum(axis=(1, 3))
        noise = rng.normal(0, 1, coarse.shape)
        observed[band] = CCDData((coarse + noise).astype("f4"), unit="adu", wcs=wcs)
        fine = upsample_wcs(wcs)
        truth[band] = CCDData(((k + 1) * source).astype("f4"), unit="adu", wcs=fine)
        output[band] = truth[band].copy()
        output[band].data += rng.normal(0, 0.02, source.shape).astype("f4")
        output[band].meta |= {"SRSKY": 0.0, "SRSIGMA": 1.0, "SRMODEL": "test"}
        flags = np.zeros(source.shape, np.uint8)
        flags[:8] = 16
        output[band].flags = flags
        if uncertainty:
            output[band].uncertainty = StdDevUncertainty(0.1 + 0.02 * np.sqrt(truth[band].data))
    pair = EvaluationPair(name, observed, truth if target else None, kind="galaxy")
    return EvaluatedField(name, output, pair, 0.1)


def make_evaluation(*fields, method="test", checks=()):
    rows = [
        {"field": one.name, "kind": "", "band": band, "method": name, "seconds": 0.1}
        | {"psnr_noise": 30.0 + k, "ssim_noise": 0.9}
        for k, one in enumerate(fields)
        for band in one.bands
        for name in (method, "bicubic")
        if one.pair and one.pair.target
    ]
    table = QTable(rows=rows) if rows else QTable()
    return Evaluation(method, list(fields), table, list(checks), {"Weights": method})


def test_fields_of_other_bands_are_reported_together(tmp_path):
    """One balance of colors for all ended in a shape that arrays do not have."""
    fields = [make_field(f"field {k}", seed=k, bands=("g", "r", "z")[k % 2 :]) for k in range(4)]
    paths = make_evaluation(*fields).write(tmp_path / "report")
    text = paths["report"].read_text(encoding="utf-8")
    assert "The mean of all outputs" in text
    assert all(one.name in text for one in fields)


CHECKS = [
    Check("photometry", "median flux offset", "g", 0.004, 0.01, "mag", 0.002, 20),
    Check("photometry", "median flux offset", "r", -0.02, 0.01, "mag", 0.002, 20),
    Check("photometry", "median flux offset", "z", np.nan, 0.01, "mag", note="no sources"),
    Check("astrometry", "shift of stars", "r", 0.01, 0.05, "pix"),
    Check("artefacts", "seam", "", 0.5, (0.0, 1.0)),
]


class Page(HTMLParser):
    """Elements and attributes of a page."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def page():
    fields = [make_field("one", uncertainty=True), make_field("two", seed=2, target=False)]
    return render_report(make_evaluation(*fields, checks=CHECKS))


def decode(text, shape):
    """Undo `encode_plane`, written anew from its description."""
    raw = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8).reshape(2, -1)
    steps = raw[0].astype(np.int64) + 256 * raw[1].astype(np.int64)
    whole = np.cumsum(steps.reshape(shape), axis=1) % 65536
    whole = np.where(whole > 32767, whole - 65536, whole)
    values = ENCODING["softening"] * np.sinh(whole / ENCODING["steps"])
    return np.where(whole == ENCODING["missing"], np.nan, values)


def test_pixels_survive_within_the_stated_step():
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.normal(0, 1, (20, 30)), 10 ** rng.uniform(0, 6, (20, 30))])
    values[3, 4] = np.nan
    back = decode(encode_plane(values), values.shape)
    assert np.isnan(back[3, 4])
    assert np.isnan(back).sum() == 1
    tolerance = 0.5 / 32 + 0.5 / 500 * np.abs(values)
    assert np.nanmax(np.abs(back - values) / tolerance) < 1.05


def test_the_page_names_no_address_outside_itself(page):
    parsed = Page(page)
    for tag, attributes in parsed.elements:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (tag, name, value)
    assert not re.search(r"(https?:)?//[a-z0-9.-]+\.[a-z]{2,}", re.sub(r"data:\S+", "", page))
    assert "@import" not in page
    assert "url(" not in page


def test_the_policy_allows_the_one_script_alone(page):
    policy = next(a["content"] for a in Page(page).all("meta") if "http-equiv" in a)
    assert "default-src 'none'" in policy
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "unsafe-inline" not in policy.split("script-src")[1]


def test_names_are_shown_as_text():
    field = make_field(NASTY, bands=(f"r{NASTY}",))
    field.warnings = (f"a warning {NASTY}",)
    checks = [Check("photometry", NASTY, NASTY[:16], 1.0, 0.1, NASTY[:9], note=NASTY)]
    plain = make_evaluation(make_field("plain", bands=("r",)))
    nasty = make_evaluation(field, method=NASTY, checks=checks)
    nasty.facts = {NASTY: NASTY}
    parsed, reference = Page(render_report(nasty)), Page(render_report(plain))
    assert len(parsed.all("script")) == len(reference.all("script"))
    assert not parsed.all("textarea")
    assert any(NASTY in text for text in parsed.texts)


def test_every_control_has_a_name(page):
    parsed = Page(page)
    labelled = re.findall(r"<label[^>]*>(?:(?!</label>).)*?id=\"([\w-]+)\"", page, re.DOTALL)
    for tag in ("input", "select", "button"):
        for attributes in parsed.all(tag):
            if tag == "button":
                continue  # its text, or an aria-label
            assert attributes.get("aria-label") or attributes["id"] in labelled, attributes
    for text in re.findall(r"<button([^>]*)>\s*[‹›−+]\s*</button>", page):
        assert "aria-label" in text
    assert all("alt" in attributes for attributes in parsed.all("img"))
    assert all(attributes.get("scope") for attributes in parsed.all("th"))
    assert re.search(r'<html lang="en">', page)


def test_verdict_checks_and_scores_are_in_the_page(page):
    for text in (
        "Safe for astrometry; ",
        "Not for photometry.",
        "median flux offset",
        "no sources",
    ):
        assert text in page
    assert "✕" in page
    assert "−0.02" in page
    assert "within ±0.01" in page


def test_what_decides_nothing_is_told(page):
    """A value without a limit is shown and said, and no verdict depends on it."""
    note = "a source finder will find these"
    informing = Check("honesty", "detections", "r", 3.5, None, note=note)
    evaluation = make_evaluation(make_field("one"), checks=[informing])
    assert evaluation.verdict["honesty"].status == "not measured"
    assert evaluation.verdict["honesty"].counts == (0, 0, 0)
    text = render_report(evaluation)
    assert f"For information: detections: 3.5 in r; {note}" in text
    assert f"for information: detections in r: 3.5 ({note})" in evaluation.summary()
    assert "For information" not in page


def test_scores_before_and_after_are_in_the_page(page):
    assert "PSNR before (bicubic) and after (test)" in page
    assert "+0.00" in page
    alone = make_evaluation(make_field("one"))
    alone.table = alone.table[alone.table["method"] == "test"]
    assert "before (" not in render_report(alone)


def test_a_page_without_checks_scores_or_target():
    one = make_field("alone", bands=("r",), target=False)
    one.pair = None
    page = render_report(make_evaluation(one))
    assert "Not judged" in page
    assert 'id="scores"' not in page
    assert "The input was not given" in page


def test_writing_is_complete_or_refused(tmp_path):
    evaluation = make_evaluation(make_field("one"), checks=CHECKS)
    paths = evaluation.write(tmp_path / "report")
    assert {path.name for path in (tmp_path / "report").iterdir()} == {
        "report.html",
        "table.ecsv",
        "checks.ecsv",
    }
    assert len(QTable.read(paths["checks"])) == len(CHECKS)
    with pytest.raises(FileExistsError, match=r"table\.ecsv exists; pass overwrite=True"):
        evaluation.write(tmp_path / "report")
    evaluation.write(tmp_path / "report", overwrite=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="file is a file"):
        evaluation.write(tmp_path / "file" / "below")


def test_shown_is_the_same_surface_brightness():
    """Input, output and target of one source have one value in units of sigma."""
    one = make_field("one", bands=("r",))
    shown = show_field(one)
    input_ = decode(shown.blocks["input", 0], (48, 48))
    output, target = (decode(shown.blocks[layer, 0], (96, 96)) for layer in ("output", "target"))
    binned = output.reshape(48, 2, 48, 2).mean(axis=(1, 3))
    assert abs(binned - input_).std() < 1.2
    assert abs(output - target).max() < 1
    assert {layer["id"] for layer in shown.meta["layers"]} == {
        "input",
        "output",
        "target",
        "difference",
    }


def test_a_large_image_is_cut_and_says_so(monkeypatch):
    monkeypatch.setattr("splus_srgan.evaluation.report.viewer.LARGEST", 64)
    shown = show_field(make_field("large", bands=("r",)))
    assert (shown.meta["width"], shown.meta["height"]) == (64, 64)
    assert "central 64 × 64 of 96 × 96" in shown.meta["notes"][-1]
    # The reference pixel moves with the cut: 49 - 0.5 + ... of the output, less 16.
    assert shown.meta["wcs"]["crpix"] == pytest.approx([48.5 - 16, 48.5 - 16])


def test_templates_are_declared_as_package_data():
    pyproject = Path(__file__).parents[2] / "pyproject.toml"
    data = tomllib.loads(pyproject.read_text(encoding="utf-8"))["tool"]["setuptools"]
    globs = data["package-data"]["splus_srgan.evaluation.report"]
    folder = Path(__file__).parents[2] / "splus_srgan" / "evaluation" / "report"
    declared = {path for one in globs for path in folder.glob(one)}
    assert declared == {path for path in (folder / "templates").iterdir() if path.is_file()}


# --------------------------------------------------------------------- browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A headless Chromium; the test skips where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    binary = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("no Chromium with chromedriver on this machine")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    flags = ("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run")
    flags += ("disable-background-networking", "disable-component-update", "disable-sync")
    for flag in (*flags, f"user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=driver)
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The report of two fields, one with a nasty name, as a file."""
    fields = [make_field("one", uncertainty=True), make_field(NASTY, seed=2)]
    paths = make_evaluation(*fields, checks=CHECKS).write(tmp_path_factory.mktemp("report"))
    return paths["report"]


@pytest.fixture
def opened(browser, report):
    """That report in the browser, at desktop width."""
    set_width(browser, 1280, 900)
    browser.get(report.as_uri())
    wait_until(browser, "return document.getElementById('viewer').dataset.ready === '0:1'")
    yield browser
    assert [entry for entry in browser.get_log("browser") if entry["level"] != "INFO"] == []


def set_width(browser, width, height):
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def wait_until(browser, script, *, seconds=20):
    end = time.monotonic() + seconds
    while not browser.execute_script(script):
        assert time.monotonic() < end, f"never true: {script}"
        time.sleep(0.05)


def pixels(browser):
    """What the canvas shows, as a hash of its pixels; after what was asked for is drawn."""
    return browser.execute_async_script(
        "const done = arguments[0];"
        "requestAnimationFrame(() => requestAnimationFrame(() =>"
        "  done(document.getElementById('v-canvas').toDataURL())));"
    )


def choose(browser, identity, value, event="change"):
    browser.execute_script(
        "const one = document.getElementById(arguments[0]); one.value = arguments[1];"
        "one.dispatchEvent(new Event(arguments[2], {bubbles: true}));",
        identity,
        value,
        event,
    )


def test_slider_band_stretch_and_overlays_in_a_browser(opened):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    divider = opened.find_element("id", "v-divider")
    first = pixels(opened)
    divider.send_keys(Keys.ARROW_RIGHT * 5)
    assert pixels(opened) != first
    assert divider.get_attribute("aria-valuenow") == "60"
    assert "60 % Input" in divider.get_attribute("aria-valuetext")
    ActionChains(opened).drag_and_drop_by_offset(divider, -150, 0).perform()
    assert int(divider.get_attribute("aria-valuenow")) < 55
    divider.send_keys(Keys.HOME)
    all_output = pixels(opened)
    divider.send_keys(Keys.END)
    assert pixels(opened) != all_output
    divider.send_keys(Keys.HOME)

    seen = {all_output}

    def changed(what):
        now = pixels(opened)
        assert now not in seen, f"{what} changed nothing"
        seen.add(now)

    choose(opened, "v-stretch", "linear", "input")
    changed("the stretch")
    choose(opened, "v-stretch", "asinh", "input")
    choose(opened, "v-softening", "1.5", "input")
    changed("the softening")
    choose(opened, "v-white", "3", "input")
    changed("the white level")
    for box in ("v-invert", "v-quality", "v-uncertainty"):
        opened.find_element("id", box).click()
        changed(box)
    assert "EDGE" in opened.find_element("id", "v-legend").text
    for value in ("0", "color"):
        opened.execute_script(
            "document.querySelector(`#v-bands input[value='${arguments[0]}']`).click()", value
        )
        wait_until(
            opened, f"return document.getElementById('viewer').dataset.ready === '0:{value}'"
        )
        changed(f"band {value}")


def test_pan_zoom_layers_and_fields_in_a_browser(opened):
    from selenium.webdriver.common.keys import Keys

    canvas = opened.find_element("id", "v-canvas")
    seen = [pixels(opened)]
    opened.execute_script("arguments[0].focus()", canvas)
    for keys in ("+", Keys.ARROW_LEFT, Keys.ARROW_UP):
        opened.switch_to.active_element.send_keys(keys)
        seen.append(pixels(opened))
    assert len(set(seen)) == 4
    opened.switch_to.active_element.send_keys("0")
    assert pixels(opened) == seen[0]
    for layer in ("target", "difference"):
        choose(opened, "v-right", layer)
        seen.append(pixels(opened))
    assert len(set(seen)) == 6
    opened.find_element("id", "v-next").click()
    wait_until(opened, "return document.getElementById('viewer').dataset.ready === '1:1'")
    assert NASTY in canvas.get_attribute("aria-label")
    assert opened.find_elements("css selector", ".thumb")[1].get_attribute("aria-pressed") == "true"
    opened.execute_script(
        "const box = arguments[0].getBoundingClientRect();"
        "arguments[0].dispatchEvent(new PointerEvent('pointermove',"
        "  {clientX: box.left + box.width / 2, clientY: box.top + box.height / 2}))",
        canvas,
    )
    readout = " ".join(opened.find_element("id", "v-readout").text.split())
    assert readout.startswith("x 23.5 y 23.5")
    assert "RA 30.00000° Dec -31.00000°" in readout


@pytest.mark.parametrize("width", [360, 390, 768, 1280])
def test_no_width_scrolls_sideways(opened, width):
    set_width(opened, width, 800)
    opened.execute_script("document.querySelectorAll('details').forEach((d) => (d.open = true))")
    time.sleep(0.3)
    script = "return document.documentElement.scrollWidth"
    assert opened.execute_script(script) <= width


def test_every_focus_is_visible(opened):
    script = """
        const hidden = [];
        document.querySelectorAll('a, button, select, input, summary, [tabindex="0"]')
          .forEach((one) => {
            if (one.disabled || !one.offsetParent) return;
            one.focus({focusVisible: true});
            if (document.activeElement !== one) return; // folded away
            const shown = one.id === 'v-divider' ? getComputedStyle(one, '::after')
              : one.name === 'v-band' ? getComputedStyle(one.nextElementSibling)
              : getComputedStyle(one);
            if (shown.outlineStyle === 'none') hidden.push(one.outerHTML.slice(0, 80));
          });
        return hidden;
    """
    assert opened.execute_script(script) == []
