// drawFigures draws a page's figures with plotly, in the colours of the page.
"use strict";
(() => {
  const isTouch = matchMedia("(pointer: coarse)").matches;

  // "--name" stands for a CSS variable.
  const coloured = (value, style) => {
    if (typeof value === "string") return value.startsWith("--") ? style.getPropertyValue(value).trim() : value;
    if (Array.isArray(value)) return value.map((part) => coloured(part, style));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, coloured(part, style)]));
  };

  window.drawFigures = ({ labels, figures }) => {
    const style = getComputedStyle(document.documentElement);
    const family = getComputedStyle(document.body).fontFamily;
    for (const plot of document.querySelectorAll(".plot")) {
      const found = figures[plot.id.replace("plot-", "")];
      if (!found) continue;
      const figure = coloured(found, style);
      for (const trace of figure.data) {
        // One text per trial, shared by all its points.
        if (trace.meta === "trials") trace.hovertext = trace.customdata.map((number) => labels[number]);
      }
      figure.layout.font.family = family;
      if (isTouch) figure.layout.dragmode = false; // a finger scrolls the page
      Plotly.react(plot, figure.data, figure.layout, { displayModeBar: false, responsive: true });
    }
    document.documentElement.dataset.drawn = "true";
  };
})();
