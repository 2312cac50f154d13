// Unpacks plotly and draws the page's figures in its colours; draws them again when the colours change.
"use strict";
(() => {
  const isTouch = matchMedia("(pointer: coarse)").matches;

  const unpack = (id) => {
    const packed = atob(document.getElementById(`packed-${id}`).textContent);
    const bytes = Uint8Array.from(packed, (letter) => letter.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  };

  // "--name" stands for a CSS variable.
  const coloured = (value, style) => {
    if (typeof value === "string") return value.startsWith("--") ? style.getPropertyValue(value).trim() : value;
    if (Array.isArray(value)) return value.map((part) => coloured(part, style));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, coloured(part, style)]));
  };

  const draw = ({ labels, figures }) => {
    const style = getComputedStyle(document.documentElement);
    const family = getComputedStyle(document.body).fontFamily;
    for (const plot of document.querySelectorAll(".plot")) {
      const figure = coloured(figures[plot.id.replace("plot-", "")], style);
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

  const start = async () => {
    const data = JSON.parse(await unpack("data"));
    const script = document.createElement("script");
    script.textContent = await unpack("plotly");
    document.head.append(script);
    draw(data);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw(data));
  };

  start().catch((error) => {
    for (const plot of document.querySelectorAll(".plot")) plot.textContent = "This browser cannot draw the picture.";
    console.error(error);
  });
})();
