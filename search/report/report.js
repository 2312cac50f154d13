// Draws the page's figures, in its colours; draws them again when the colours change.
"use strict";
(() => {
  const read = (element) => JSON.parse(element.textContent);
  const labels = read(document.getElementById("data-trial-labels"));
  const isTouch = matchMedia("(pointer: coarse)").matches;

  // "--name" stands for a CSS variable.
  const coloured = (value, style) => {
    if (typeof value === "string") return value.startsWith("--") ? style.getPropertyValue(value).trim() : value;
    if (Array.isArray(value)) return value.map((part) => coloured(part, style));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, coloured(part, style)]));
  };

  const draw = () => {
    const style = getComputedStyle(document.documentElement);
    const family = getComputedStyle(document.body).fontFamily;
    for (const plot of document.querySelectorAll(".plot")) {
      const figure = coloured(read(document.getElementById(plot.id.replace("plot-", "data-"))), style);
      for (const trace of figure.data) {
        // One text a trial, shared by all its points.
        if (trace.meta === "trials") trace.hovertext = trace.customdata.map((number) => labels[number]);
      }
      figure.layout.font.family = family;
      if (isTouch) figure.layout.dragmode = false; // a finger scrolls the page
      Plotly.react(plot, figure.data, figure.layout, { displayModeBar: false, responsive: true });
    }
    document.documentElement.dataset.drawn = "true";
  };

  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
