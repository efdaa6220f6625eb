// Curves: drawn when they come into view; lines differ in dash and marker too.
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash"];
function drawCurve(element) {
  const panel = data.curves[Number(element.dataset.curve)];
  const lines = panel.series.map((series, place) => ({
    type: "scatter", mode: series.x.length > 30 ? "lines" : "lines+markers", x: series.x, y: series.y,
    name: series.name.replaceAll("&", "&amp;").replaceAll("<", "&lt;"),  // plotly reads a little HTML in names
    line: { color: COLOURS[place % COLOURS.length], dash: DASHES[place % DASHES.length], width: 2 },
    marker: { symbol: SYMBOLS[place % SYMBOLS.length], size: 6 },
  }));
  const grid = { gridcolor: "rgba(128,128,128,0.25)", zeroline: false };
  const layout = { margin: { l: 50, r: 10, t: 10, b: 40 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
                   font: { color: ink() }, xaxis: { title: { text: "step" }, ...grid }, yaxis: grid, showlegend: true,
                   legend: { orientation: "h", y: 1.02, yanchor: "bottom" }, hovermode: "x" };
  Plotly.newPlot(element, lines, layout, { responsive: true, displayModeBar: false });
}
const curvesSeen = new IntersectionObserver((entries) => entries.filter((entry) => entry.isIntersecting).forEach(({ target }) => {
  curvesSeen.unobserve(target);
  drawCurve(target);
}), { rootMargin: "300px" });
each(".curve", (element) => curvesSeen.observe(element));
window.addEventListener("beforeprint", () => each(".curve:not(.js-plotly-plot)", drawCurve));
