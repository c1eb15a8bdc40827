"use strict";
// The panel of the chosen mark: its two patches, its numbers, and the way to the next.
const pixels = (x, y) => `${x.toFixed(2)}, ${y.toFixed(2)}`;

function describe(k) {
  const [xa, ya, xb, yb] = shown.points[k];
  get("panel-title").textContent = named(k);
  get("panel-hint").hidden = true;
  get("panel-body").hidden = false;
  const rows = [];
  if (shown.residuals) rows.push(["Residual", `${shown.residuals[k].toFixed(2)} px`]);
  if (shown.probabilities) rows.push(["Match probability", shown.probabilities[k].toFixed(3)]);
  rows.push(["Similarity", shown.similarities[k].toFixed(3)], ["x, y in A", pixels(xa, ya)], ["x, y in B", pixels(xb, yb)]);
  if (shown.mapped) rows.push(["A mapped to B", pixels(...shown.mapped[k])]);
  const values = get("values");
  values.replaceChildren();
  for (const [term, value] of rows) {
    const [dt, dd] = [document.createElement("dt"), document.createElement("dd")];
    [dt.textContent, dd.textContent] = [term, value];
    if (term === "Residual") {
      const swatch = document.createElement("span");
      swatch.className = "swatch";
      swatch.style.background = colour(k);
      dd.prepend(swatch);
    }
    values.append(dt, dd);
  }
  get("position").textContent = `${k + 1} of ${shown.rows.length}, ${worst ? "largest residual" : "least similar"} first`;
  patch("a", k, 0);
  patch("b", k, 1);
}

function patch(name, k, side) {
  const [sheet, canvas] = [get("patches"), get(`patch-${name}`)];
  const size = sheet.naturalWidth / (2 * data.sprite.columns);
  const [left, top] = [2 * (k % data.sprite.columns) + side, Math.floor(k / data.sprite.columns)];
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.imageSmoothingEnabled = false;
  pen.drawImage(sheet, left * size, top * size, size, size, 0, 0, canvas.width, canvas.height);
  stretch(pen, canvas);
  const middle = canvas.width / 2;
  for (const [width, style] of [[4, "rgba(16, 16, 16, 0.55)"], [1.5, "#fff"]]) {
    [pen.lineWidth, pen.strokeStyle] = [width, style];
    pen.beginPath();
    for (const [x, y] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      pen.moveTo(middle + 8 * x, middle + 8 * y);
      pen.lineTo(middle + 20 * x, middle + 20 * y);
    }
    pen.stroke();
  }
}

function stretch(pen, { width, height }) {
  // Half a percent of the samples at each end aside, the patch fills the range from black to white.
  const picture = pen.getImageData(0, 0, width, height);
  const levels = [...picture.data.filter((_, i) => i % 4 === 0)].sort((a, b) => a - b);
  const [low, high] = [0.005, 0.995].map((part) => levels[Math.round(part * (levels.length - 1))]);
  if (high <= low) return;
  picture.data.forEach((level, i) => {
    if (i % 4 < 3) picture.data[i] = (255 * (level - low)) / (high - low); // the array itself cuts to 0..255
  });
  pen.putImageData(picture, 0, 0);
}

function step(by) {
  if (shown.rows.length) choose(chosen < 0 ? 0 : (chosen + by + shown.rows.length) % shown.rows.length);
}

get("previous").addEventListener("click", () => step(-1));
get("next").addEventListener("click", () => step(1));
get("previous").disabled = get("next").disabled = !shown.rows.length;
