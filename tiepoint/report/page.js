"use strict";
// What both views share: marks on the images, zoom. panel.js shows the chosen mark, overlay.js adds the overlay.
const SVG = "http://www.w3.org/2000/svg";
const ZOOMS = [1, 1.5, 2, 3, 4, 6, 8, 12, 16];
const REACH = 10; // screen pixels around a mark that choose it
const get = (id) => document.getElementById(id);
const data = JSON.parse(get("data").textContent);
const { shown, registration } = data;
const [AGREES, PALE] = ["--agrees", "--pale"].map((name) => getComputedStyle(document.body).getPropertyValue(name).split(",").map(Number));
const noun = registration.accepted ? "Tie point" : "Match";
const worst = shown.residuals && shown.residuals.length ? Math.max(...shown.residuals, 0.01) : null;
const views = {}; // name: { svg, places: mark -> [x, y], others: of image b in the side-by-side view, layer, unit }
let chosen = -1;
let zoom = 0;

function element(name, attributes, parent) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  parent.append(node);
  return node;
}

function colour(k) {
  const share = worst ? Math.min(shown.residuals[k] / worst, 1) : 0; // the larger the residual, the paler
  const mixed = AGREES.map((v, i) => Math.round(v + share * (PALE[i] - v)));
  return `rgb(${mixed.join(", ")})`;
}

const named = (k) => `${noun} ${shown.rows[k] + 1}`;

function addView(name, svg, layer, places, others) {
  const view = (views[name] = { svg, layer, places, others, unit: 1, circles: [] });
  for (let k = places.length - 1; k >= 0; k--) { // the largest residuals on top
    const [x, y] = places[k];
    const label = shown.residuals ? `${named(k)}, residual ${shown.residuals[k].toFixed(2)} px` : named(k);
    const mark = { class: "point", cx: x, cy: y, r: 4, fill: colour(k), "data-k": k };
    view.circles[k] = element("circle", { ...mark, role: "button", tabindex: k ? -1 : 0, "aria-label": label }, layer);
    if (others) element("circle", { ...mark, cx: others[k][0], cy: others[k][1], "aria-hidden": "true" }, layer);
  }
  svg.style.setProperty("--dot", places.length > 300 ? "3.5px" : "4.5px");
  svg.style.setProperty("--faint", Math.min(0.6, Math.max(0.15, 60 / places.length)));
  view.rings = [];
  for (const _ of others ? [0, 1] : [0])
    view.rings.push(...["ring under", "ring"].map((kind) => element("circle", { class: `${kind} off`, r: 9 }, layer)));
  svg.addEventListener("pointerdown", (event) => {
    const k = event.button ? -1 : hit(view, event);
    if (k < 0) return;
    event.preventDefault(); // it is no drag
    choose(k);
  });
  layer.addEventListener("click", (event) => {
    const mark = event.target.closest(".point"); // of a screen reader, which presses no pointer
    if (mark && !event.pointerType) choose(Number(mark.dataset.k));
  });
  layer.addEventListener("keydown", (event) => walk(view, event));
}

function position(svg, event) {
  return new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
}

function hit(view, event) {
  if (view.layer.classList.contains("off")) return -1;
  if (event.target.matches(".point")) return Number(event.target.dataset.k);
  const at = position(view.svg, event);
  let best = -1;
  let least = REACH * view.unit;
  for (const places of [view.places, view.others ?? []])
    places.forEach(([x, y], k) => {
      const distance = Math.hypot(x - at.x, y - at.y);
      if (distance < least) [best, least] = [k, distance];
    });
  return best;
}

function walk(view, event) {
  const k = Number(event.target.dataset.k);
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (event.key === "Enter" || event.key === " ") choose(k);
  else if (step) {
    const next = neighbour(view.places, k, step);
    if (next >= 0) {
      choose(next);
      view.circles[next].focus();
    }
  } else return;
  event.preventDefault();
}

function neighbour(places, k, [dx, dy]) {
  let best = -1;
  let least = Infinity;
  places.forEach((place, other) => {
    const [x, y] = [place[0] - places[k][0], place[1] - places[k][1]];
    const along = x * dx + y * dy;
    const across = Math.abs(x * dy - y * dx);
    if (along > 0 && across <= along && along + across < least) [best, least] = [other, along + across];
  });
  return best;
}

function choose(k) {
  chosen = k;
  for (const view of Object.values(views)) {
    view.circles.forEach((circle, i) => circle.setAttribute("tabindex", i === k ? 0 : -1));
    view.rings.forEach((ring, i) => {
      const [x, y] = (i < 2 ? view.places : view.others)[k];
      ring.setAttribute("cx", x);
      ring.setAttribute("cy", y);
      ring.classList.remove("off");
    });
  }
  lines.forEach((line, i) => line.classList.toggle("chosen", i === k));
  describe(k);
}

const redrawn = []; // called when a screen pixel has become another length in an image
function layout() {
  const view = views[document.body.dataset.view];
  const stage = get("stage");
  const { width, height } = view.svg.viewBox.baseVal;
  const fit = Math.min(stage.clientWidth, (0.7 * window.innerHeight * width) / height);
  const wide = Math.max(1, Math.floor(fit * ZOOMS[zoom]));
  view.unit = width / wide;
  view.svg.style.width = `${wide}px`;
  view.svg.style.height = `${height / view.unit}px`;
  view.svg.style.setProperty("--unit", view.unit);
  get("zoom-out").disabled = zoom === 0;
  get("zoom-in").disabled = zoom === ZOOMS.length - 1;
  redrawn.forEach((draw) => draw());
}

function setZoom(value) {
  const stage = get("stage");
  const x = (stage.scrollLeft + stage.clientWidth / 2) / stage.scrollWidth;
  const y = (stage.scrollTop + stage.clientHeight / 2) / stage.scrollHeight;
  zoom = Math.min(Math.max(value, 0), ZOOMS.length - 1);
  layout();
  stage.scrollTo(x * stage.scrollWidth - stage.clientWidth / 2, y * stage.scrollHeight - stage.clientHeight / 2);
}

const lines = [];
function addPair() {
  // The images take one height. A pixel's centre is at an integer, its edges half a pixel about it.
  const high = Math.max(data.a.height, data.b.height);
  const [fa, fb] = [high / data.a.height, high / data.b.height];
  const start = data.a.width * fa + 0.02 * high;
  const svg = get("pair");
  svg.setAttribute("viewBox", `0 0 ${start + data.b.width * fb} ${high}`);
  get("pair-a").setAttribute("transform", `scale(${fa}) translate(0.5 0.5)`);
  get("pair-b").setAttribute("transform", `translate(${start} 0) scale(${fb}) translate(0.5 0.5)`);
  const inA = ([x, y]) => [(x + 0.5) * fa, (y + 0.5) * fa];
  const inB = ([, , x, y]) => [start + (x + 0.5) * fb, (y + 0.5) * fb];
  const path = (row) => `M${inA(row).join(" ")}L${inB(row).join(" ")}`;
  shown.points.forEach((row, k) => lines.push(element("path", { d: path(row), stroke: colour(k) }, get("pair-lines"))));
  element("path", { d: data.rejected.map(path).join("") }, get("pair-rejected"));
  addView("pair", svg, get("pair-points"), shown.points.map(inA), shown.points.map(inB));
}

function toggle(box, layers) {
  const update = () => layers.forEach((layer) => get(layer).classList.toggle("off", !get(box).checked));
  get(box).addEventListener("change", update);
  update();
}

addPair();
toggle("show-lines", ["pair-lines"]);
if (worst) {
  get("legend").hidden = false;
  get("ramp-end").textContent = `${worst.toFixed(2)} px`;
}
get("zoom-in").addEventListener("click", () => setZoom(zoom + 1));
get("zoom-out").addEventListener("click", () => setZoom(zoom - 1));
get("zoom-fit").addEventListener("click", () => setZoom(0));
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const value = { "+": zoom + 1, "=": zoom + 1, "-": zoom - 1, 0: 0 }[event.key];
  if (value !== undefined) setZoom(value);
});
window.addEventListener("resize", layout);
document.addEventListener("DOMContentLoaded", layout); // when overlay.js, if there is one, has run
