// The map: one WebGL trace, so that ten thousand points move smoothly; hover, selection and its CSV.
const plot = byId("plot");
let selected = [];

function colouring(by) {
  if (by === "confidence") {
    return { color: data.confidence.slice(0, drawn()), colorscale: "Cividis", cmin: 0, cmax: 1, symbol: "circle", showscale: true,
             colorbar: { title: { text: "confidence" }, thickness: 12, len: 0.6 } };
  }
  const places = by === "label" ? data.label : data.cluster.map(placeOfCluster);
  const marks = places.slice(0, drawn()).map(mark);
  return { color: marks.map((one) => one.colour), symbol: marks.map((one) => one.symbol), showscale: false };
}
const drawn = () => data.map[0].x.length;

function middle(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}
function numbers(by, points) {  // each cluster's number at its middle: the map reads without any colour
  if (by !== "cluster" || placeOf.size > 60) return [];
  return [...placeOf.keys()].flatMap((cluster) => {
    const inside = [...points.x.keys()].filter((at) => data.cluster[at] === cluster);
    if (!inside.length) return [];
    return [{ x: middle(inside.map((at) => points.x[at])), y: middle(inside.map((at) => points.y[at])), text: String(cluster),
              showarrow: false, font: { size: 13, color: "#000" }, bgcolor: "rgba(255,255,255,0.82)", bordercolor: "#777", borderpad: 1 }];
  });
}
function trace(by, points) {
  return { type: "scattergl", mode: "markers", x: points.x, y: points.y, hoverinfo: "none", selectedpoints: null,
           marker: { size: drawn() > 4000 ? 5 : 7, opacity: 0.8, ...colouring(by) },
           selected: { marker: { opacity: 1 } }, unselected: { marker: { opacity: 0.12 } } };
}
function layout(by, points, dragmode) {
  const axis = { visible: false, zeroline: false, showgrid: false };
  return { margin: { l: 8, r: 8, t: 8, b: 8 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: ink() },
           xaxis: axis, yaxis: { ...axis, scaleanchor: "x" }, dragmode, hovermode: "closest", showlegend: false,
           annotations: numbers(by, points) };
}
const chosen = () => [byId("colour").value, data.map[Number(byId("method").value)]];
function redraw() {
  const [by, points] = chosen(), drag = document.querySelector("[data-drag][aria-pressed=true]").dataset.drag;
  Plotly.react(plot, [trace(by, points)], layout(by, points, drag));
  legend(by);
  select([]);
}
function legend(by) {
  const rows = by === "label" ? data.labels.map((title, place) => ({ title, place, has: (at) => data.label[at] === place }))
    : data.clusters.filter((one) => one.size).map((one) => ({ ...one, place: placeOfCluster(one.id), has: (at) => data.cluster[at] === one.id }));
  byId("legend").replaceChildren(...rows.map((row) => {
    const button = document.createElement("button"), sign = document.createElement("span"), text = document.createElement("span");
    button.type = "button";
    sign.className = "swatch";
    if (by !== "confidence") swatch(sign, row.place);
    text.textContent = row.id === undefined ? row.title : named(row.id);
    if (row.id !== undefined) text.dataset.named = row.id;
    button.append(sign, " ", text, row.size ? ` (${row.size.toLocaleString("en")})` : "");
    button.addEventListener("click", () => select([...Array(drawn()).keys()].filter(row.has), true));
    return button;
  }));
}

function select(points, show) {
  selected = points;
  byId("selected").textContent = points.length ? `${points.length.toLocaleString("en")} images are selected.` : "No image is selected.";
  for (const id of ["csv", "mark", "clear"]) byId(id).disabled = !points.length;
  byId("peek").replaceChildren(...points.slice(0, 48).filter((at) => data.tiles[at] >= 0).map((at) => {
    const canvas = tileCanvas(at);
    canvas.title = data.names[at];
    canvas.style.width = "100%";
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", data.names[at]);
    return canvas;
  }));
  if (show) Plotly.restyle(plot, { selectedpoints: [points.length ? points : null] });
}
function selectionCsv() {
  // an apostrophe before what a spreadsheet would run as a formula, as in the files of `imcswav`
  const guarded = (value) => typeof value === "string" && /^'*[=+\-@\t\r\n]/.test(value) && !Number.isFinite(Number(value)) ? `'${value}` : String(value);
  const quoted = (value) => /[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
  const header = ["image", "cluster", "name", "confidence", ...(data.labels.length ? ["label"] : [])];
  const rows = selected.map((at) => [data.names[at], data.cluster[at], titles.get(data.cluster[at]), data.confidence[at],
                                     ...(data.labels.length ? [data.labels[data.label[at]] ?? ""] : [])]);
  return [header, ...rows].map((row) => row.map((value) => quoted(guarded(value))).join(",")).join("\r\n") + "\r\n";
}

function showHover(event) {
  const at = event.points[0].pointIndex, box = byId("hover"), { clientX, clientY } = event.event;
  const cluster = data.cluster[at], second = data.second[at];
  const lines = [data.names[at], `${named(cluster)}, confidence ${data.confidence[at].toFixed(2)}`];
  if (second >= 0 && second !== cluster) lines.push(`second choice: ${named(second)}`);
  if (data.label[at] >= 0) lines.push(`label: ${data.labels[data.label[at]]}`);
  if (data.copy_of[at] !== undefined) lines.push(`near duplicate of ${data.copy_of[at]}`);
  box.querySelector("p").textContent = lines.join("\n");
  box.querySelector("canvas").hidden = data.tiles[at] < 0;
  drawTile(box.querySelector("canvas"), at);
  box.hidden = false;
  const { width, height } = box.getBoundingClientRect();
  box.style.left = `${clientX + 16 + width > innerWidth ? Math.max(4, clientX - 16 - width) : clientX + 16}px`;
  box.style.top = `${Math.max(4, Math.min(clientY + 16, innerHeight - height - 8))}px`;
}

function startMap() {
  const [by, points] = chosen();
  const config = { responsive: true, scrollZoom: true, displayModeBar: false, doubleClick: "reset",
                   plotGlPixelRatio: Math.min(2, devicePixelRatio || 1) };  // by itself plotly draws four times the pixels
  Plotly.newPlot(plot, [trace(by, points)], layout(by, points, "pan"), config).then(() => {
    plot.on("plotly_hover", showHover);
    plot.on("plotly_unhover", () => { byId("hover").hidden = true; });
    plot.on("plotly_selected", (event) => select(event ? event.points.map((point) => point.pointIndex) : []));
    plot.on("plotly_deselect", () => select([], true));
    document.body.dataset.map = "ready";
  });
  legend(by);
  byId("method").addEventListener("change", redraw);
  byId("colour").addEventListener("change", redraw);
  each("[data-drag]", (button) => button.addEventListener("click", () => {
    each("[data-drag]", (other) => other.setAttribute("aria-pressed", String(other === button)));
    Plotly.relayout(plot, { dragmode: button.dataset.drag });
  }));
  byId("whole").addEventListener("click", () => Plotly.relayout(plot, { "xaxis.autorange": true, "yaxis.autorange": true }));
  byId("csv").addEventListener("click", () => download("selection.csv", "text/csv", selectionCsv()));
  byId("clear").addEventListener("click", () => { Plotly.relayout(plot, { selections: [] }); select([], true); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => Plotly.relayout(plot, { "font.color": ink() }));
}
if (plot) startMap();
