"use strict";
// What all parts share: the data, colours with symbols, pictures, downloads. Names only ever become text nodes.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const each = (selector, act) => document.querySelectorAll(selector).forEach(act);

// Okabe and Ito's colours, yellow darkened for white paper; 7 of them and 8 symbols make 56 different marks
const COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#A89B00"];
const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "triangle-down", "x", "star"];
const SHAPES = {
  circle: "M8 2a6 6 0 1 0 .01 0z", square: "M3 3h10v10H3z", diamond: "M8 1l7 7-7 7-7-7z", "triangle-up": "M8 2l7 12H1z",
  cross: "M6 1h4v5h5v4h-5v5H6v-5H1V6h5z", "triangle-down": "M8 14L1 2h14z",
  x: "M4 1l4 4 4-4 3 3-4 4 4 4-3 3-4-4-4 4-3-3 4-4-4-4z", star: "M8 1l2 5h5l-4 3.2 1.6 5.3L8 11.3l-4.6 3.2L5 9.2 1 6h5z",
};
const NONE = { colour: "#8a8f95", symbol: "circle" };
const mark = (place) => place < 0 ? NONE : { colour: COLOURS[place % COLOURS.length], symbol: SYMBOLS[place % SYMBOLS.length] };
const placeOf = new Map(data.clusters.filter((one) => one.id >= 0).map((one, place) => [one.id, place]));
const titles = new Map(data.clusters.map((one) => [one.id, one.title]));
function named(cluster) {  // "cluster 3", and once it has a name "3 deer"
  const title = titles.get(cluster);
  return cluster < 0 || title === `cluster ${cluster}` ? title : `${cluster} ${title}`;
}
const placeOfCluster = (cluster) => placeOf.has(cluster) ? placeOf.get(cluster) : -1;

function swatch(element, place) {
  const { colour, symbol } = mark(place);
  element.innerHTML = `<svg viewBox="0 0 16 16" aria-hidden="true"><path fill="${colour}" d="${SHAPES[symbol]}"/></svg>`;
}
each(".swatch", (element) => swatch(element, placeOfCluster(Number(element.dataset.cluster))));

// Sheets become pictures when the first of their tiles is wanted
const sheets = document.getElementsByClassName("sheet");
const decoded = [];
function sheet(number) {
  if (!decoded[number]) {
    const bytes = Uint8Array.from(atob(sheets[number].textContent), (sign) => sign.charCodeAt(0));
    const image = new Image();
    image.src = URL.createObjectURL(new Blob([bytes], { type: "image/jpeg" }));
    decoded[number] = image.decode().then(() => image);
  }
  return decoded[number];
}
async function drawTile(canvas, at) {
  const place = data.tiles[at], perSheet = data.side * data.side, context = canvas.getContext("2d");
  canvas.dataset.at = at;
  if (place < 0) { context.clearRect(0, 0, canvas.width, canvas.height); return; }
  const image = await sheet(Math.floor(place / perSheet));
  if (canvas.dataset.at !== String(at)) return;  // another one was asked for meanwhile
  const within = place % perSheet, x = within % data.side, y = Math.floor(within / data.side);
  context.drawImage(image, x * data.tile, y * data.tile, data.tile, data.tile, 0, 0, canvas.width, canvas.height);
}
function tileCanvas(at) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = data.tile;
  drawTile(canvas, at);
  return canvas;
}
const seen = new IntersectionObserver((entries) => entries.filter((entry) => entry.isIntersecting).forEach(({ target }) => {
  seen.unobserve(target);
  const canvas = tileCanvas(Number(target.closest("[data-at]").dataset.at));
  canvas.className = "tile";
  target.append(canvas);
}), { rootMargin: "600px" });
each(".picture > .tile", (element) => seen.observe(element));

function download(name, type, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
const ink = () => getComputedStyle(document.body).color;
window.addEventListener("beforeprint", () => each("details", (element) => { element.open = true; }));
