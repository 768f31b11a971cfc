/* What a point is: beside the pointer, or at the corner of a chart in focus. */
"use strict";

function showTip(text, x, y) {
  const tip = byId("tip");
  tip.textContent = text;
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  const width = document.documentElement.clientWidth;
  const left = x + 14 + box.width > width ? x - 14 - box.width : x + 14;
  tip.style.left = `${Math.max(4, left)}px`;
  tip.style.top = `${Math.max(4, y - box.height - 10)}px`;
}

const hideTip = () => (byId("tip").hidden = true);

/* Plotly's hover on a chart; `words` says what a point is. */
function tipOnHover(chart, words) {
  chart.removeAllListeners("plotly_hover");
  chart.removeAllListeners("plotly_unhover");
  chart.on("plotly_hover", ({ points, event }) => {
    showTip(words(points[0]), event.clientX, event.clientY);
  });
  chart.on("plotly_unhover", hideTip);
}
