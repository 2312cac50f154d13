// Unpacks plotly and draws the page's figures; draws them again when the colours change.
"use strict";
(() => {
  const unpack = (id) => {
    const packed = atob(document.getElementById(`packed-${id}`).textContent);
    const bytes = Uint8Array.from(packed, (letter) => letter.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  };

  const start = async () => {
    const data = JSON.parse(await unpack("data"));
    const script = document.createElement("script");
    script.textContent = await unpack("plotly");
    document.head.append(script);
    drawFigures(data);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawFigures(data));
  };

  start().catch((error) => {
    for (const plot of document.querySelectorAll(".plot")) plot.textContent = "This browser cannot draw the picture.";
    console.error(error);
  });
})();
