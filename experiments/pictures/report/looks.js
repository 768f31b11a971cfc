/* Colours: those of the project's pictures, lighter on a dark page. */
"use strict";

const isDark = window.matchMedia("(prefers-color-scheme: dark)");
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function shade(colour) {
  if (!isDark.matches) return colour;
  const parts = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
  const [r, g, b] = parts;
  const light = (0.299 * r + 0.587 * g + 0.114 * b) / 255;
  const mix = Math.max(0, 0.6 - light); // how far towards white
  return `#${parts.map((p) => Math.round(p + (255 - p) * mix).toString(16).padStart(2, "0")).join("")}`;
}

/* The chosen way to colour runs. */
const colouring = (data) => data.colourings[byId("colour").value] ?? data.colourings[""];

function layoutOf(x, y) {
  const colours = { gridcolor: css("--grid"), linecolor: css("--line") };
  const axis = { ...colours, zeroline: false, automargin: true };
  return {
    margin: { l: 50, r: 12, t: 8, b: 42 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: css("--ink"), family: "system-ui, sans-serif", size: 12 },
    showlegend: false,
    hovermode: "closest",
    // A finger that scrolls the page over a chart is not to zoom.
    dragmode: window.matchMedia("(pointer: coarse)").matches ? false : "zoom",
    xaxis: { ...axis, ...x },
    yaxis: { ...axis, ...y },
  };
}

const CONFIG = { displayModeBar: false, responsive: true, doubleClick: false };
