"use strict";
// Image a over image b: swipe, blend, squares and blink; residual arrows.
const MODES = {
  swipe: { label: "Swipe", min: 0, max: 100, step: 0.5, value: 50, text: (v) => `${Math.round(v)} %` },
  blend: { label: "A over B", min: 0, max: 100, step: 1, value: 50, text: (v) => `${v} %` },
  squares: { label: "Squares", min: 2, max: 24, step: 1, value: 8, text: (v) => `${v} along the longer side` },
};
const SCALES = [1, 2, 5, 10, 20, 50, 100, 200, 500];
const LENGTHS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50];
const overlay = get("overlay");
const { width, height } = data.b;
let mode = "swipe";
let blinking = null; // "a" or "b" where one is shown alone

function draw() {
  const { value, text } = MODES[mode];
  const whole = `M-0.5 -0.5h${width}v${height}h${-width}z`;
  const line = (width * value) / 100;
  let shape = whole;
  if (!blinking && mode === "swipe") shape = `M-0.5 -0.5h${line}v${height}h${-line}z`;
  if (!blinking && mode === "squares") shape = squares(value);
  get("shown").setAttribute("d", shape);
  get("moved").style.opacity = blinking ? Number(blinking === "a") : mode === "blend" ? value / 100 : 1;
  get("divider").classList.toggle("off", Boolean(blinking) || mode !== "swipe");
  get("divider").setAttribute("transform", `translate(${line - 0.5} 0)`);
  get("grip").setAttribute("transform", `translate(0 ${height / 2})`);
  overlay.dataset.mode = mode;
  overlay.dataset.shows = blinking ?? "both";
  get("slider").value = value;
  get("slider-value").textContent = text(value);
  get("blink").setAttribute("aria-pressed", Boolean(blinking));
  get("blinking").textContent = blinking ? `Showing ${blinking.toUpperCase()}` : "";
}

function squares(count) {
  const side = Math.max(width, height) / count;
  let path = "";
  for (let row = 0; row * side < height; row++)
    for (let column = row % 2; column * side < width; column += 2)
      path += `M${column * side - 0.5} ${row * side - 0.5}h${side}v${side}h${-side}z`;
  return path;
}

function setMode(name) {
  [mode, blinking] = [name, null];
  const slider = get("slider");
  for (const key of ["min", "max", "step"]) slider[key] = MODES[name][key];
  get("slider-label").textContent = MODES[name].label;
  draw();
}

function slide(value) {
  const { min, max } = MODES[mode];
  MODES[mode].value = Math.min(Math.max(value, min), max);
  blinking = null;
  draw();
}

function blink() {
  blinking = blinking === "a" ? "b" : "a";
  draw();
}

function drag(event) {
  slide((100 * (position(overlay, event).x + 0.5)) / width);
}

function arrows() {
  const layer = get("arrows");
  layer.replaceChildren();
  get("scale").hidden = !get("show-arrows").checked;
  if (get("scale").hidden) return;
  const { unit } = views.overlay;
  const scale = Number(get("arrow-scale").value);
  const paths = shown.points.map(([, , xb, yb], k) => {
    const [x, y] = shown.mapped[k];
    const [dx, dy] = [scale * (xb - x), scale * (yb - y)];
    const head = Math.min(0.35, (8 * unit) / Math.max(Math.hypot(dx, dy), 1e-9));
    const barb = (side) => `${x + dx - head * (dx - side * 0.5 * dy)} ${y + dy - head * (dy + side * 0.5 * dx)}`;
    return `M${x} ${y}L${x + dx} ${y + dy}M${barb(1)}L${x + dx} ${y + dy}L${barb(-1)}`;
  });
  element("path", { class: "halo", d: paths.join("") }, layer);
  paths.forEach((d, k) => element("path", { class: "arrow", d, stroke: colour(k) }, layer));
  const fitting = LENGTHS.filter((length) => (length * scale) / unit <= 120);
  const length = fitting.length ? fitting[fitting.length - 1] : LENGTHS[0];
  get("bar").style.width = `${(length * scale) / unit}px`;
  get("bar-label").textContent = `${length} px`;
}

function addScales() {
  // The longest arrows take about a twentieth of the image.
  const best = SCALES.filter((scale) => scale * worst <= Math.max(width, height) / 20).pop() ?? 1;
  for (const scale of SCALES) get("arrow-scale").append(new Option(`× ${scale}`, scale, scale === best, scale === best));
}

addView("overlay", overlay, get("points"), shown.points.map(([, , x, y]) => [x, y]));
addScales();
redrawn.push(arrows);
toggle("show-points", ["points", "pair-points"]);
toggle("show-rejected", ["pair-rejected"]);
toggle("show-arrows", ["arrows"]);
get("show-arrows").addEventListener("change", arrows);
get("arrow-scale").addEventListener("change", arrows);
get("slider").addEventListener("input", (event) => slide(Number(event.target.value)));
get("blink").addEventListener("click", blink);
for (const radio of document.querySelectorAll("[name=mode]")) radio.addEventListener("change", () => setMode(radio.value));
for (const radio of document.querySelectorAll("[name=view]"))
  radio.addEventListener("change", () => {
    document.body.dataset.view = radio.value;
    setZoom(0);
  });
overlay.addEventListener("pointerdown", (event) => {
  if (event.defaultPrevented || event.button || mode !== "swipe") return;
  overlay.setPointerCapture(event.pointerId);
  drag(event);
});
overlay.addEventListener("pointermove", (event) => {
  if (overlay.hasPointerCapture(event.pointerId)) drag(event);
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.body.dataset.view !== "overlay") return;
  const key = event.key.toLowerCase();
  const sideways = { arrowleft: -1, arrowright: 1 }[key];
  if (key === "b" && !event.repeat) blink();
  else if (key === "p") get("show-points").click();
  else if (key === "r") get("show-arrows").click();
  else if (key === "escape" && blinking) slide(MODES[mode].value);
  else if (sideways && !event.target.closest("input, select, .point")) {
    slide(MODES[mode].value + sideways * (event.shiftKey ? 5 : 1));
    event.preventDefault();
  }
});
setMode("swipe");
