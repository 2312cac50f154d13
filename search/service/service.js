// Keeps a page up to date: on each event it fetches the page again and replaces the parts that are marked live.
"use strict";
(() => {
  const INTERVAL_MS = 2000;
  const FIGURES_MS = 5000;
  const AGAIN_MS = 5000;

  // At most one call in each interval, the last one never lost.
  const throttled = (call, interval) => {
    let timer = null;
    let last = 0;
    return () => {
      if (timer !== null) return;
      timer = setTimeout(async () => {
        timer = null;
        last = Date.now();
        try { await call(); } catch (error) { console.info("the service does not answer", error); }
      }, Math.max(0, last + interval - Date.now()));
    };
  };

  const isBusy = (part) => part.contains(document.activeElement) && document.activeElement.matches("input:not([type=checkbox]), textarea, select, summary");

  // What the service said of each live part last: what is typed or answered in it is no reason to replace it.
  const said = new WeakMap();
  const liveParts = (page) => page.querySelectorAll("[data-live], [data-live-with]");
  liveParts(document).forEach((part) => said.set(part, part.innerHTML));

  const focusables = (part) => [...part.querySelectorAll("a, button, input, select, textarea, summary, [tabindex]")];

  const refresh = async () => {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (answer.redirected) location.assign(answer.url); // the login has ended
    if (answer.status === 404) location.reload(); // the run was removed
    if (!answer.ok || answer.redirected) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const parts = liveParts(document);
    const fresher = liveParts(fresh);
    if (parts.length !== fresher.length) return;
    parts.forEach((part, index) => {
      if (isBusy(part) || said.get(part) === fresher[index].innerHTML) return;
      const focused = focusables(part).indexOf(document.activeElement);
      const id = focused < 0 ? "" : document.activeElement.id;
      const picked = [...part.querySelectorAll("input:checked")].map((box) => box.id);
      const scrolls = [...part.querySelectorAll(".scroll, pre")].map((box) => [box.scrollTop, box.scrollLeft]);
      part.innerHTML = fresher[index].innerHTML;
      said.set(part, part.innerHTML);
      part.querySelectorAll(".scroll, pre").forEach((box, at) => { [box.scrollTop, box.scrollLeft] = scrolls[at] || [0, 0]; });
      for (const id of picked) { const box = document.getElementById(id); if (box) box.checked = true; }
      if (focused >= 0) (id ? document.getElementById(id) : focusables(part)[focused])?.focus({ preventScroll: true });
    });
  };

  const drawn = document.querySelector("[data-figures]");
  const draw = async () => {
    const answer = await fetch(drawn.dataset.figures);
    if (answer.ok) drawFigures(await answer.json());
  };

  const watch = (address, ...calls) => {
    const events = new EventSource(address);
    events.onmessage = () => calls.forEach((call) => call());
    // The browser tries again after a lost connection, but not after an error, such as a proxy's of a service that restarts.
    events.onerror = () => {
      if (events.readyState !== EventSource.CLOSED) return;
      calls.forEach((call) => call());
      setTimeout(() => watch(address, ...calls), AGAIN_MS);
    };
  };

  const live = document.querySelector("[data-live]");
  const calls = [];
  if (live) calls.push(throttled(refresh, INTERVAL_MS));
  if (drawn) {
    const again = throttled(draw, FIGURES_MS);
    calls.push(again);
    again();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  }
  if (live) watch(live.dataset.live, ...calls);

  const send = async (form, method, address, file, say) => {
    const output = form.querySelector("output");
    output.textContent = "sending ...";
    try {
      const answer = await fetch(address, { method, body: file });
      const body = await answer.json();
      output.textContent = answer.ok ? say(body) : body.errors.map((error) => error.message).join("\n");
    } catch (error) {
      output.textContent = `It was not sent: ${error.message}`;
    }
  };

  document.addEventListener("submit", (event) => {
    const form = event.target;
    const file = form.querySelector("input[type=file]")?.files[0];
    if (form.dataset.predict) {
      event.preventDefault();
      send(form, "POST", form.dataset.predict, file, (body) =>
        Object.entries(body).sort((a, b) => b[1] - a[1]).slice(0, 5).map(([name, value]) => `${name}: ${(100 * value).toFixed(2)} %`).join("\n"));
    } else if (form.dataset.upload) {
      event.preventDefault();
      const name = form.querySelector("[name=name]").value;
      send(form, "PUT", form.dataset.upload + encodeURIComponent(name), file, (body) => body.survey.join("\n"));
    }
  });
})();
