# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Measure the contrast of all text of built pages, in the light and in the dark theme.

The limits are those of WCAG 2.1, level AA: 4.5, and 3 for large text (24 px, or 18.66 px bold).
It needs Chromium.
"""

import argparse
import html
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PAGES = (
    "index.html", "getting_started.html", "tutorials/index.html", "tutorials/01_enhance.html",
    "user_guide/quality.html", "user_guide/evaluate.html", "user_guide/glossary.html",
    "user_guide/bibliography.html", "getting_started/errors.html", "model_cards/splus-grz.html",
    "development/checklist.html", "reference/index.html", "search.html", "genindex.html",
)  # fmt: skip
BROWSERS = ("chromium", "chromium-browser", "google-chrome")

SCRIPT = """
<script>
const UNSEEN = 'script, style, noscript, svg, .visually-hidden, [disabled]';
{
  const root = document.documentElement;
  const style = document.createElement('style');
  style.textContent = '* { transition: none !important; animation: none !important; }';
  document.head.append(style);
  const parse = (text) => {
    const v = (text.match(/[\\d.]+(e-?\\d+)?/g) || [0, 0, 0, 0]).map(Number);
    const scale = text.startsWith('color(') ? 255 : 1;
    return {rgb: v.slice(0, 3).map((x) => x * scale), a: v.length > 3 ? v[3] : 1};
  };
  const over = (top, below) => top.rgb.map((x, k) => top.a * x + (1 - top.a) * below[k]);
  const light = (rgb) => {
    const [r, g, b] = rgb.map((x) => x / 255)
      .map((x) => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (one) => {
    const layers = [];
    for (let e = one; e; e = e.parentElement) {
      layers.push(parse(getComputedStyle(e).backgroundColor));
    }
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255]);
  };
  const found = {};
  let count = 0;
  for (const theme of ['light', 'dark']) {
  root.dataset.theme = root.dataset.mode = theme;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.data.trim(), one = walker.currentNode.parentElement;
    if (!text || one.closest(UNSEEN)) continue;
    const box = one.getBoundingClientRect(), style = getComputedStyle(one);
    if (!box.width || !box.height || style.visibility === 'hidden') continue;
    let opacity = 1;
    for (let e = one; e; e = e.parentElement) opacity *= Number(getComputedStyle(e).opacity);
    if (opacity === 0) continue;
    count += 1;
    const back = ground(one), color = parse(style.color);
    const front = over({rgb: color.rgb, a: color.a * opacity}, back);
    const [low, high] = [light(front), light(back)].sort((a, b) => a - b);
    const ratio = (high + 0.05) / (low + 0.05), size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio >= (large ? 3 : 4.5) - 0.005) continue;
    const path = [one, one.parentElement].map((e) => e.tagName.toLowerCase()
      + [...e.classList].map((c) => '.' + c).join('')).reverse().join(' > ');
    const colors = style.color + ' on rgb(' + back.map(Math.round).join(', ') + ')';
    const key = theme + ': ' + path + ' ' + colors;
    found[key] = found[key] || {ratio: Math.round(100 * ratio) / 100, text: text.slice(0, 40)};
  }
  }
  const out = document.createElement('pre');
  out.id = 'contrast-found';
  out.textContent = JSON.stringify({count, found});
  document.body.append(out);
}
</script>
"""


def measure(browser, path):
    """Number of pieces of text of a page, and those of too little contrast."""
    # At the end of the page, where its styles are known and no other script has to run first.
    head, end, rest = path.read_text(encoding="utf-8").rpartition("</body>")
    page = f"{head}{SCRIPT}{end}{rest}"
    with tempfile.NamedTemporaryFile(
        "w", suffix=".html", dir=path.parent, encoding="utf-8"
    ) as copy:
        copy.write(page)
        copy.flush()
        command = [
            browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom",
            "--window-size=1400,900", "--virtual-time-budget=5000",
            Path(copy.name).resolve().as_uri(),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    said = re.search(r'<pre id="contrast-found"[^>]*>(.*?)</pre>', done.stdout, re.DOTALL)
    if not said:
        raise SystemExit(f"{path}: the browser said nothing: {done.stderr[-500:]}")
    result = json.loads(html.unescape(said.group(1)))
    return result["count"], result["found"]


def main():
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of the built pages")
    parser.add_argument("pages", nargs="*", default=PAGES, help="of the folder")
    options = parser.parse_args()
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise SystemExit("Chromium is needed")
    total, faults = 0, {}
    for name in options.pages:
        count, found = measure(browser, options.folder / name)
        total += count
        for key, one in found.items():
            faults.setdefault(key, {"pages": [], **one})["pages"].append(name)
        print(f"{name}: {count} pieces of text, {len(found)} kinds below the limit", flush=True)
    for key, one in sorted(faults.items(), key=lambda item: item[1]["ratio"]):
        print(f"{one['ratio']} {key} {one['text']!r} ({', '.join(one['pages'][:3])})")
    print(
        f"{total} pieces of text in {len(options.pages)} pages, {len(faults)} kinds below the limit"
    )
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
