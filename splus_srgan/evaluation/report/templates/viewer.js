// Before/after viewer of the evaluation report.  No library, no address outside this file.
//
// Pixels come as text blocks in the page: base64 of a zlib stream of 16-bit integers, row
// differences, all low bytes first.  A value n stands for  a sinh(n / k)  times the noise of an
// input pixel; missing pixels have the smallest integer.
"use strict";

(function () {
  const page = JSON.parse(document.getElementById("viewer-data").textContent);
  const byId = (id) => document.getElementById(id);
  const root = byId("viewer");
  const canvas = byId("v-canvas");
  const divider = byId("v-divider");
  const stage = byId("v-stage");
  if (!page.fields.length) return;

  const MAX_SCALE = 40; // CSS pixels per output pixel
  const DIFFERENCE_LIMIT = 3; // noise units where its color saturates
  const context = canvas.getContext("2d");
  const decoded = new Map(); // "field-layer-band" -> Promise of Float32Array
  const painted = new Map(); // layer -> {key, canvas}
  const view = { x: 0, y: 0, scale: 1, split: 0.5, fitted: true };
  const state = { field: 0, band: 0, planes: {}, ticket: 0, whiteTouched: false };

  // ---------------------------------------------------------------- pixels

  async function inflate(text) {
    const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  function undoDifferences(bytes, width, height) {
    const count = width * height;
    const values = new Float32Array(count);
    const { softening, steps, missing } = page.encoding;
    for (let row = 0, i = 0; row < height; row++) {
      let n = 0;
      for (let column = 0; column < width; column++, i++) {
        n = (n + (bytes[i] | (bytes[count + i] << 8))) & 0xffff;
        const signed = n > 0x7fff ? n - 0x10000 : n;
        values[i] = signed === missing ? NaN : softening * Math.sinh(signed / steps);
      }
    }
    return values;
  }

  function block(field, layer, band) {
    return byId(`px-${field}-${layer}-${band}`);
  }

  function layerSize(field, layer) {
    const factor = layer === "input" ? field.factor : 1;
    return [field.width / factor, field.height / factor];
  }

  function load(index, layer, band) {
    const key = `${index}-${layer}-${band}`;
    const element = block(index, layer, band);
    if (!element) return Promise.resolve(null);
    if (!decoded.has(key)) {
      if (decoded.size > 60) decoded.clear(); // a few fields' worth
      const [width, height] = layerSize(page.fields[index], layer);
      const pixels = inflate(element.textContent.trim()).then((bytes) =>
        layer === "quality" ? bytes : undoDifferences(bytes, width, height)
      );
      decoded.set(key, pixels);
    }
    return decoded.get(key);
  }

  function current() {
    return page.fields[state.field];
  }

  function shownBands() {
    const field = current();
    return state.band === "color" ? field.color : [state.band];
  }

  // Everything the present choice needs: {layer: [plane per band]}.
  async function gather() {
    const ticket = ++state.ticket;
    const field = current();
    const layers = field.layers.map((layer) => layer.id).filter((id) => id !== "difference");
    const planes = {};
    for (const layer of layers) {
      planes[layer] = await Promise.all(shownBands().map((b) => load(state.field, layer, b)));
    }
    const band = shownBands()[0];
    planes.quality = [await load(state.field, "quality", band)];
    planes.uncertainty = [await load(state.field, "uncertainty", band)];
    if (ticket !== state.ticket) return; // something else was chosen meanwhile
    state.planes = planes;
    painted.clear();
    fillLegend();
    draw();
    root.dataset.ready = `${state.field}:${state.band}`;
  }

  // --------------------------------------------------------------- stretch

  function stretchOptions() {
    return {
      kind: byId("v-stretch").value,
      softening: 10 ** Number(byId("v-softening").value),
      black: Number(byId("v-black").value),
      white: 10 ** Number(byId("v-white").value),
      invert: byId("v-invert").checked,
    };
  }

  // Maps a flux in noise units to 0 (black) ... 1 (white).
  function stretchFunction(options) {
    const { softening, black } = options;
    const white = Math.max(options.white, black + 0.5);
    if (options.kind === "linear") return (v) => (v - black) / (white - black);
    const span = Math.asinh((white - black) / softening);
    return (v) => Math.asinh((v - black) / softening) / span;
  }

  function paintGray(pixels, plane, options) {
    const stretch = stretchFunction(options);
    for (let i = 0, j = 0; i < plane.length; i++, j += 4) {
      const v = plane[i];
      if (Number.isNaN(v)) {
        pixels.set([120, 60, 40, 255], j);
        continue;
      }
      const level = 255 * Math.min(1, Math.max(0, stretch(v)));
      const gray = options.invert ? 255 - level : level;
      pixels[j] = pixels[j + 1] = pixels[j + 2] = gray;
      pixels[j + 3] = 255;
    }
  }

  // One stretch of the mean, so that colors are the same at any brightness.
  function paintColor(pixels, planes, options) {
    const stretch = stretchFunction(options);
    const balance = current().balance;
    const rgb = [0, 0, 0];
    for (let i = 0, j = 0; i < planes[0].length; i++, j += 4) {
      let mean = 0;
      for (let k = 0; k < 3; k++) {
        rgb[k] = Math.max(planes[k][i] * balance[k] - options.black, 0);
        mean += rgb[k] / 3;
      }
      if (Number.isNaN(mean)) {
        pixels.set([120, 60, 40, 255], j);
        continue;
      }
      const factor = mean > 0 ? Math.max(0, stretch(mean + options.black)) / mean : 0;
      const top = Math.max(1, rgb[0] * factor, rgb[1] * factor, rgb[2] * factor);
      for (let k = 0; k < 3; k++) {
        const level = (255 * rgb[k] * factor) / top;
        pixels[j + k] = options.invert ? 255 - level : level;
      }
      pixels[j + 3] = 255;
    }
  }

  // Blue: too faint.  Red: too bright.
  function paintDifference(pixels, output, target) {
    for (let i = 0, j = 0; i < output.length; i++, j += 4) {
      const d = (output[i] - target[i]) / DIFFERENCE_LIMIT;
      if (Number.isNaN(d)) {
        pixels.set([120, 120, 120, 255], j);
        continue;
      }
      const t = Math.min(1, Math.abs(d));
      const end = d > 0 ? [178, 24, 43] : [33, 102, 172];
      for (let k = 0; k < 3; k++) pixels[j + k] = 247 + (end[k] - 247) * t;
      pixels[j + 3] = 255;
    }
  }

  function paintFlags(pixels, plane) {
    const chosen = page.flags.filter((flag) => {
      const box = byId(`v-flag-${flag.bit}`);
      return box && box.checked;
    });
    for (let i = 0, j = 0; i < plane.length; i++, j += 4) {
      const flag = chosen.find((one) => plane[i] & one.bit);
      if (!flag) continue;
      pixels.set(flag.rgb, j);
      pixels[j + 3] = flag.alpha;
    }
  }

  function uncertaintyRange(plane) {
    const sorted = Float32Array.from(plane).filter((v) => v > 0).sort();
    const at = (q) => sorted[Math.floor(q * (sorted.length - 1))] || 1e-3;
    return [at(0.02), Math.max(at(0.995), 1.2 * at(0.02))];
  }

  function paintUncertainty(pixels, plane) {
    const [low, high] = uncertaintyRange(plane);
    for (let i = 0, j = 0; i < plane.length; i++, j += 4) {
      const t = Math.min(1, Math.max(0, Math.log(plane[i] / low) / Math.log(high / low)));
      pixels.set([230, 160 * (1 - t) + 30, 30, 40 + 150 * t], j);
    }
  }

  function paint(layer, key, fill) {
    const known = painted.get(layer);
    if (known && known.key === key) return known.canvas;
    const [width, height] = layerSize(current(), layer);
    const picture = document.createElement("canvas");
    picture.width = width;
    picture.height = height;
    const pen = picture.getContext("2d");
    const image = pen.createImageData(width, height);
    fill(image.data);
    pen.putImageData(image, 0, 0);
    painted.set(layer, { key, canvas: picture });
    return picture;
  }

  function picture(layer) {
    const options = stretchOptions();
    const planes = state.planes;
    if (layer === "difference") {
      return paint(layer, "fixed", (pixels) =>
        paintDifference(pixels, planes.output[0], planes.target[0])
      );
    }
    return paint(layer, JSON.stringify(options), (pixels) => {
      if (planes[layer].length === 3) paintColor(pixels, planes[layer], options);
      else paintGray(pixels, planes[layer][0], options);
    });
  }

  function overlays() {
    const found = [];
    const { quality, uncertainty } = state.planes;
    if (byId("v-uncertainty").checked && uncertainty && uncertainty[0]) {
      found.push(paint("uncertainty", "", (p) => paintUncertainty(p, uncertainty[0])));
    }
    if (byId("v-quality").checked && quality && quality[0]) {
      const bits = [...document.querySelectorAll("#v-legend input:checked")].map((b) => b.id);
      found.push(paint("quality", bits.join(), (p) => paintFlags(p, quality[0])));
    }
    return found;
  }

  // --------------------------------------------------------------- drawing

  function stageSize() {
    return [canvas.clientWidth, canvas.clientHeight];
  }

  function fitScale() {
    const [width, height] = stageSize();
    return Math.min(width / current().width, height / current().height);
  }

  function clampView() {
    const [width, height] = stageSize();
    const field = current();
    view.scale = Math.min(MAX_SCALE, Math.max(fitScale(), view.scale));
    view.fitted = view.scale <= fitScale() * 1.0001;
    for (const [axis, size, length] of [["x", field.width, width], ["y", field.height, height]]) {
      const half = length / (2 * view.scale);
      view[axis] = half * 2 >= size ? size / 2 : Math.min(size - half, Math.max(half, view[axis]));
    }
    // A finger pans a zoomed image; at the whole image it scrolls the page.
    canvas.style.touchAction = view.fitted ? "pan-y" : "none";
    stage.classList.toggle("zoomed", !view.fitted);
  }

  function fit() {
    view.x = current().width / 2;
    view.y = current().height / 2;
    view.scale = fitScale();
    draw();
  }

  function resize() {
    const field = current();
    const width = stage.clientWidth;
    const room = Math.max(300, Math.min(0.85 * window.innerHeight, 800));
    const height = Math.round(Math.min((width * field.height) / field.width, room));
    stage.style.height = `${height}px`;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    if (view.fitted) fit();
    else draw();
  }

  let waiting = false;
  function draw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      drawNow();
    });
  }

  // Images are stored from the bottom row up, as in FITS.
  function place(picture) {
    const [width, height] = stageSize();
    const field = current();
    const left = width / 2 - view.x * view.scale;
    const top = height / 2 - view.y * view.scale;
    context.save();
    context.translate(left, top + field.height * view.scale);
    context.scale(1, -1);
    context.imageSmoothingEnabled = false;
    context.drawImage(picture, 0, 0, field.width * view.scale, field.height * view.scale);
    context.restore();
  }

  function drawNow() {
    if (!state.planes.output) return;
    clampView();
    const [width, height] = stageSize();
    const ratio = canvas.width / width;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = "#101215";
    context.fillRect(0, 0, width, height);
    const edge = view.split * width;
    const sides = [[byId("v-left").value, 0, edge], [byId("v-right").value, edge, width]];
    for (const [layer, from, to] of sides) {
      context.save();
      context.beginPath();
      context.rect(from, 0, to - from, height);
      context.clip();
      place(picture(layer));
      context.restore();
    }
    overlays().forEach(place);
    drawScaleBar(width, height);
    placeDivider();
  }

  function drawScaleBar(width, height) {
    const scale = current().pixelScale;
    if (!scale) return;
    const wanted = (0.16 * width * scale) / view.scale;
    const steps = [0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800];
    const length = steps.filter((s) => s <= wanted).pop() || 0.5;
    const pixels = (length / scale) * view.scale;
    const [x, y] = [14, height - 16];
    context.font = "600 12px system-ui, sans-serif";
    context.textAlign = "left";
    const text = length < 60 ? `${length}″` : `${length / 60}′`;
    for (const [color, thick] of [["rgba(0,0,0,.75)", 5], ["#fff", 2]]) {
      context.strokeStyle = color;
      context.lineWidth = thick;
      context.beginPath();
      context.moveTo(x, y);
      context.lineTo(x + pixels, y);
      context.stroke();
      context.lineWidth = thick === 5 ? 3 : 0.01;
      context.strokeText(text, x, y - 7);
    }
    context.fillStyle = "#fff";
    context.fillText(text, x, y - 7);
  }

  function placeDivider() {
    const percent = Math.round(100 * view.split);
    divider.style.left = `${100 * view.split}%`;
    divider.setAttribute("aria-valuenow", percent);
    const [left, right] = [layerLabel("v-left"), layerLabel("v-right")];
    divider.setAttribute("aria-valuetext", `${percent} % ${left}, ${100 - percent} % ${right}`);
    byId("v-tag-left").textContent = left;
    byId("v-tag-right").textContent = right;
    byId("v-tag-left").hidden = view.split < 0.12;
    byId("v-tag-right").hidden = view.split > 0.88;
    const band = state.band === "color" ? "color" : `band ${current().bands[state.band].name}`;
    canvas.setAttribute(
      "aria-label",
      `${current().name}, ${band}: ${left} on the left, ${right} on the right`
    );
  }

  function layerLabel(id) {
    const chosen = byId(id).selectedOptions[0];
    return chosen ? chosen.textContent : "";
  }

  // --------------------------------------------------------------- readout

  function positionAt(clientX, clientY) {
    const box = canvas.getBoundingClientRect();
    const x = view.x + (clientX - box.left - box.width / 2) / view.scale;
    const y = view.y + (clientY - box.top - box.height / 2) / view.scale;
    return [x, current().height - y]; // output pixels from the lower left corner
  }

  // Gnomonic projection, of 1-based pixels of the output.
  function sky(wcs, px, py) {
    const rad = Math.PI / 180;
    const [u, v] = [px - wcs.crpix[0], py - wcs.crpix[1]];
    const xi = (wcs.cd[0] * u + wcs.cd[1] * v) * rad;
    const eta = (wcs.cd[2] * u + wcs.cd[3] * v) * rad;
    const [ra0, dec0] = wcs.crval.map((value) => value * rad);
    const below = Math.cos(dec0) - eta * Math.sin(dec0);
    const ra = ra0 + Math.atan2(xi, below);
    const dec = Math.atan2(Math.sin(dec0) + eta * Math.cos(dec0), Math.hypot(xi, below));
    return [((ra / rad) % 360 + 360) % 360, dec / rad];
  }

  const brief = (v) => (Number.isNaN(v) ? "missing" : Number(v.toPrecision(3)).toString());

  function valueText(layer, x, y) {
    const plane = state.planes[layer];
    if (!plane || !plane[0] || state.band === "color") return null;
    const [width] = layerSize(current(), layer);
    const factor = layer === "input" ? current().factor : 1;
    const v = plane[0][Math.floor(y / factor) * width + Math.floor(x / factor)];
    return `${page.labels[layer] || layer} ${brief(v)} σ`;
  }

  function readout(event) {
    const field = current();
    const [x, y] = positionAt(event.clientX, event.clientY);
    if (!(x >= 0 && y >= 0 && x < field.width && y < field.height)) return;
    const parts = [`x ${(x / field.factor - 0.5).toFixed(1)}  y ${(y / field.factor - 0.5).toFixed(1)}`];
    if (field.wcs) {
      const [ra, dec] = sky(field.wcs, x + 0.5, y + 0.5);
      parts.push(`RA ${ra.toFixed(5)}°  Dec ${dec.toFixed(5)}°`);
    }
    for (const layer of ["input", "output", "target"]) parts.push(valueText(layer, x, y));
    const quality = state.planes.quality && state.planes.quality[0];
    if (quality) {
      const bits = quality[Math.floor(y) * field.width + Math.floor(x)];
      const names = page.flags.filter((f) => bits & f.bit).map((f) => f.name);
      if (names.length) parts.push(names.join(" | "));
    }
    byId("v-readout").textContent = parts.filter(Boolean).join("  ·  ");
  }

  // -------------------------------------------------------------- controls

  function option(value, text) {
    const element = document.createElement("option");
    element.value = value;
    element.textContent = text;
    return element;
  }

  function fillBands() {
    const field = current();
    const list = field.bands.map((band, k) => [k, band.name]);
    if (field.color) list.push(["color", "Color"]);
    if (!list.some(([value]) => value === state.band)) state.band = field.firstBand;
    const holder = byId("v-bands");
    holder.replaceChildren(
      ...list.map(([value, name]) => {
        const label = document.createElement("label");
        const input = document.createElement("input");
        input.type = "radio";
        input.name = "v-band";
        input.value = value;
        input.checked = value === state.band;
        input.addEventListener("change", () => {
          state.band = value;
          fillLayers();
          gather();
        });
        const text = document.createElement("span");
        text.textContent = name;
        label.append(input, text);
        return label;
      })
    );
  }

  function fillLayers() {
    for (const [id, usual] of [["v-left", 0], ["v-right", 1]]) {
      const select = byId(id);
      const before = select.value;
      const layers = current().layers.filter(
        (layer) => layer.id !== "difference" || state.band !== "color"
      );
      select.replaceChildren(...layers.map((layer) => option(layer.id, layer.label)));
      const kept = layers.some((layer) => layer.id === before);
      select.value = kept ? before : layers[Math.min(usual, layers.length - 1)].id;
    }
  }

  function fillLegend() {
    const plane = state.planes.quality && state.planes.quality[0];
    const present = plane ? plane.reduce((all, bits) => all | bits, 0) : 0;
    const unchecked = new Set(
      [...document.querySelectorAll("#v-legend input:not(:checked)")].map((box) => box.id)
    );
    byId("v-legend").replaceChildren(
      ...page.flags
        .filter((flag) => present & flag.bit)
        .map((flag) => {
          const label = document.createElement("label");
          const box = document.createElement("input");
          box.type = "checkbox";
          box.id = `v-flag-${flag.bit}`;
          box.checked = !unchecked.has(box.id);
          box.addEventListener("change", draw);
          const swatch = document.createElement("i");
          swatch.style.background = `rgb(${flag.rgb.join()})`;
          const words = document.createElement("span");
          words.textContent = `${flag.name}: ${flag.text}`;
          label.append(box, swatch, words);
          return label;
        })
    );
    const none = present ? "" : "No pixel of this field is flagged.";
    byId("v-legend").append(none);
    byId("v-legend").hidden = !byId("v-quality").checked;
    const has = Boolean(state.planes.uncertainty && state.planes.uncertainty[0]);
    byId("v-uncertainty").disabled = !has;
    byId("v-uncertainty").parentElement.title = has ? "" : "These weights predict no uncertainty";
  }

  function showNumbers() {
    const options = stretchOptions();
    byId("v-softening-value").textContent = `${brief(options.softening)} σ`;
    byId("v-black-value").textContent = `${brief(options.black)} σ`;
    byId("v-white-value").textContent = `${brief(options.white)} σ`;
    byId("v-softening").disabled = options.kind === "linear";
  }

  function autoWhite() {
    if (!state.whiteTouched) byId("v-white").value = Math.log10(current().white);
    showNumbers();
  }

  function choose(index) {
    state.field = (index + page.fields.length) % page.fields.length;
    byId("v-field").value = state.field;
    document.querySelectorAll(".thumb").forEach((thumb, k) => {
      thumb.setAttribute("aria-pressed", k === state.field);
    });
    byId("v-notes").replaceChildren(
      ...current().notes.map((note) => {
        const item = document.createElement("li");
        item.textContent = note;
        return item;
      })
    );
    view.fitted = true;
    fillBands();
    fillLayers();
    autoWhite();
    resize();
    gather();
  }

  function zoom(factor, clientX, clientY) {
    const box = canvas.getBoundingClientRect();
    const dx = (clientX === undefined ? 0 : clientX - box.left - box.width / 2) / view.scale;
    const dy = (clientY === undefined ? 0 : clientY - box.top - box.height / 2) / view.scale;
    const before = view.scale;
    view.scale = Math.min(MAX_SCALE, Math.max(fitScale(), before * factor));
    const kept = 1 - before / view.scale;
    view.x += dx * kept;
    view.y += dy * kept;
    draw();
  }

  function pan(dx, dy) {
    view.x -= dx / view.scale;
    view.y -= dy / view.scale;
    draw();
  }

  function split(value) {
    view.split = Math.min(1, Math.max(0, value));
    draw();
  }

  // Pointers: one pans, two pinch.
  const pointers = new Map();
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, [event.clientX, event.clientY]);
  });
  canvas.addEventListener("pointermove", (event) => {
    readout(event);
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const now = [event.clientX, event.clientY];
    const other = [...pointers.entries()].find(([id]) => id !== event.pointerId);
    if (other) {
      const apart = (p) => Math.hypot(p[0] - other[1][0], p[1] - other[1][1]) || 1;
      zoom(apart(now) / apart(before), (now[0] + other[1][0]) / 2, (now[1] + other[1][1]) / 2);
    } else {
      pan(now[0] - before[0], now[1] - before[1]);
    }
    pointers.set(event.pointerId, now);
  });
  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, (event) => pointers.delete(event.pointerId));
  }
  canvas.addEventListener("dblclick", (event) => zoom(2, event.clientX, event.clientY));
  canvas.addEventListener(
    "wheel",
    (event) => {
      // Only when asked for: otherwise the wheel scrolls the page.
      if (!event.ctrlKey && !event.metaKey && document.activeElement !== canvas) return;
      event.preventDefault();
      zoom(Math.exp(-0.002 * event.deltaY * (event.ctrlKey ? 4 : 1)), event.clientX, event.clientY);
    },
    { passive: false }
  );
  canvas.addEventListener("keydown", (event) => {
    const step = 40;
    const actions = {
      ArrowLeft: () => pan(step, 0),
      ArrowRight: () => pan(-step, 0),
      ArrowUp: () => pan(0, step),
      ArrowDown: () => pan(0, -step),
      "+": () => zoom(1.25),
      "=": () => zoom(1.25),
      "-": () => zoom(0.8),
      0: fit,
    };
    if (event.ctrlKey || event.metaKey || event.altKey || !actions[event.key]) return;
    event.preventDefault();
    actions[event.key]();
  });

  let sliding = false;
  function slideTo(event) {
    const box = stage.getBoundingClientRect();
    split((event.clientX - box.left) / box.width);
  }
  divider.addEventListener("pointerdown", (event) => {
    divider.setPointerCapture(event.pointerId);
    sliding = true;
  });
  divider.addEventListener("pointermove", (event) => sliding && slideTo(event));
  for (const name of ["pointerup", "pointercancel"]) {
    divider.addEventListener(name, () => (sliding = false));
  }
  divider.addEventListener("keydown", (event) => {
    const step = event.shiftKey ? 0.1 : 0.02;
    const moves = {
      ArrowLeft: view.split - step,
      ArrowDown: view.split - step,
      ArrowRight: view.split + step,
      ArrowUp: view.split + step,
      PageDown: view.split - 0.1,
      PageUp: view.split + 0.1,
      Home: 0,
      End: 1,
    };
    if (!(event.key in moves)) return;
    event.preventDefault();
    split(moves[event.key]);
  });

  byId("v-field").append(...page.fields.map((field, k) => option(k, field.name)));
  byId("v-field").addEventListener("change", (event) => choose(Number(event.target.value)));
  byId("v-previous").addEventListener("click", () => choose(state.field - 1));
  byId("v-next").addEventListener("click", () => choose(state.field + 1));
  byId("v-zoom-in").addEventListener("click", () => zoom(1.5));
  byId("v-zoom-out").addEventListener("click", () => zoom(1 / 1.5));
  byId("v-fit").addEventListener("click", fit);
  for (const id of ["v-left", "v-right", "v-invert", "v-uncertainty"]) {
    byId(id).addEventListener("change", draw);
  }
  byId("v-quality").addEventListener("change", () => {
    byId("v-legend").hidden = !byId("v-quality").checked;
    draw();
  });
  for (const id of ["v-stretch", "v-softening", "v-black", "v-white"]) {
    byId(id).addEventListener("input", () => {
      if (id === "v-white") state.whiteTouched = true;
      showNumbers();
      draw();
    });
  }
  byId("v-reset").addEventListener("click", () => {
    state.whiteTouched = false;
    byId("v-stretch").value = "asinh";
    for (const id of ["v-softening", "v-black"]) byId(id).value = byId(id).defaultValue;
    byId("v-invert").checked = false;
    autoWhite();
    draw();
  });
  document.querySelectorAll("[data-field]").forEach((element) => {
    element.addEventListener("click", () => {
      choose(Number(element.dataset.field));
      if (!element.classList.contains("thumb")) root.scrollIntoView();
    });
  });
  // On paper everything is unfolded.
  const folded = new Set();
  window.addEventListener("beforeprint", () => {
    document.querySelectorAll("details:not([open])").forEach((one) => {
      folded.add(one);
      one.open = true;
    });
  });
  window.addEventListener("afterprint", () => {
    folded.forEach((one) => (one.open = false));
    folded.clear();
  });
  new ResizeObserver(resize).observe(stage.parentElement);

  root.hidden = false;
  byId("viewer-missing").hidden = true;
  if (typeof DecompressionStream === "undefined") {
    root.hidden = true;
    byId("viewer-missing").hidden = false;
    byId("viewer-missing").textContent =
      "This browser is too old for the viewer; the tables do not need it.";
    return;
  }
  state.band = page.fields[0].firstBand;
  choose(0);
})();
