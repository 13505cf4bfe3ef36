// What the server does not draw: ages, charts, the dialog, the theme, and whether the page is kept up to date.
"use strict";
(() => {
  const root = document.documentElement;
  const byId = (id) => document.getElementById(id);
  const colour = (name) => getComputedStyle(document.body).getPropertyValue(name).trim();

  // The desk's clock: that of a phone may be off.
  const ahead = Number(root.dataset.now) ? Date.now() - Number(root.dataset.now) : 0;
  const now = () => Date.now() - ahead;

  // Ages: the server sends instants, so that nothing is sent again only because time went on.
  const span = (s) => {
    if (s < 60) return `${s} s`;
    if (s < 3600) return `${Math.floor(s / 60)} min`;
    if (s < 172800) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
    return `${Math.floor(s / 86400)} d`;
  };
  const age = (ms) => `${span(Math.max(0, Math.floor((now() - ms) / 1000)))} ago`;
  const left = (ms) => ms > now() ? `${span(Math.ceil((ms - now()) / 1000))} left` : "over";
  const tellAges = (part) => part.querySelectorAll("time[data-ns], time[data-until]").forEach((time) => {
    const until = time.dataset.until;
    const text = until ? left(Number(until)) : age(Number(time.dataset.ns));
    if (time.textContent !== text) time.textContent = text;
    if (until) time.classList.toggle("over", text === "over");
    else if (time.dataset.old) time.classList.toggle("stale", now() - Number(time.dataset.ns) > Number(time.dataset.old) * 1000);
  });

  // Whether what is shown is kept up to date.
  let lost = null;
  const state = byId("link-state");
  const linkIs = (isUp) => {
    if (!state) return;
    if (isUp) lost = null; else lost = lost ?? now();
    const text = lost ? `no connection, old since ${age(lost)}` : "";
    if (state.textContent !== text) state.textContent = text;
    document.body.classList.toggle("lost", lost !== null);
  };

  // Charts.
  const charts = new Map();
  const money = (value) => value == null ? "–" : value.toLocaleString("en", {maximumFractionDigits: 2});
  const clock = (_, at, __, ___, step) => at.map((s, number) => {
    const text = new Date(s * 1000).toISOString();
    if (step >= 86400) return text.slice(5, 10);
    const time = text.slice(11, step < 60 ? 19 : 16);
    return number === 0 || text.slice(11, 19) === "00:00:00" ? `${time}\n${text.slice(5, 10)}` : time;
  });
  const axes = (time) => [
    {stroke: colour("--soft"), grid: {stroke: colour("--line"), width: 1}, ticks: {stroke: colour("--line")}, space: 75, values: time ? clock : (_, at) => at.map(money)},
    {stroke: colour("--soft"), grid: {stroke: colour("--line"), width: 1}, ticks: {stroke: colour("--line")}, size: 70, values: (_, at) => at.map(money)},
  ];
  const curve = (label, stroke, more = {}) => ({label, stroke: colour(stroke), width: 2, points: {show: false}, value: (_, v) => money(v), ...more});
  // What does not move is drawn in the middle of its surroundings, and not between nothing and its double.
  const range = (_, low, high) => {
    if (low == null) return [0, 1];
    const around = Math.abs(low) / 1000 || 1;
    return low === high ? [low - around, high + around] : uPlot.rangeNum(low, high, .1, true);
  };
  const hues = ["--curve", "--curve-2", "--curve-3", "--curve-4"];
  const words = (name) => name.replace(/_usd$/, ", USD").replaceAll("_", " ").replace("pnl", "P&L");
  const kinds = {
    history: (data, box) => {
      const names = box.dataset.series.split(",");
      return {time: true, zero: box.dataset.zero === "1", data: [data.at_s, ...names.map((name) => data[name])],
        series: [{label: "UTC", value: (_, s) => s == null ? "–" : new Date(s * 1000).toISOString().slice(5, 19).replace("T", " ")},
          ...names.map((name, number) => curve(words(name), hues[number % hues.length]))]};
    },
    payoff: (data) => ({time: false, series: [{label: "price", value: (_, v) => money(v)}, curve("at expiry", "--curve"), curve("now", "--curve-2", {dash: [6, 4]})],
      data: [data.underlying, data.at_expiry, data.now], marks: [data.forward], zero: true}),
    smile: (data) => ({time: false, series: [{label: "strike", value: (_, v) => money(v)}, curve("mark IV, %", "--curve", {points: {show: true, size: 5}})],
      data: [data.strike, data.mark_iv_pct], marks: [data.forward]}),
  };
  const lines = (marks, zero) => ({hooks: {draw: [(plot) => {
    const {ctx, bbox} = plot;
    ctx.save();
    ctx.strokeStyle = colour("--soft");
    ctx.setLineDash([3, 3]);
    ctx.beginPath();
    for (const mark of marks ?? []) {
      if (mark == null) continue;
      const x = Math.round(plot.valToPos(mark, "x", true));
      ctx.moveTo(x, bbox.top); ctx.lineTo(x, bbox.top + bbox.height);
    }
    if (zero) {
      const y = Math.round(plot.valToPos(0, "y", true));
      if (y > bbox.top && y < bbox.top + bbox.height) { ctx.moveTo(bbox.left, y); ctx.lineTo(bbox.left + bbox.width, y); }
    }
    ctx.stroke();
    ctx.restore();
  }]}});
  const empty = (box, text) => {
    charts.get(box)?.destroy();
    charts.delete(box);
    const note = document.createElement("p");
    note.className = "none";
    note.textContent = text;
    box.replaceChildren(note);
  };
  async function draw(box) {
    let data;
    try {
      const answer = await fetch(box.dataset.source, {cache: "no-store", signal: AbortSignal.timeout(10000)});
      data = await answer.json();
      if (!answer.ok || data.reason) { empty(box, data.reason ?? "not known"); return; }
    } catch { return; }
    const kind = kinds[box.dataset.chart](data, box);
    if (!kind.data[0]?.length) { empty(box, "nothing to draw yet"); return; }
    if (kind.time && kind.data[0].length === 1) { empty(box, "one sample so far: a line needs two"); return; }
    const size = {width: box.clientWidth, height: Math.max(200, Math.min(340, box.clientWidth * .45))};
    const old = charts.get(box);
    if (old && old.kind === box.dataset.chart) { old.setData(kind.data); return; }
    box.replaceChildren();
    const plot = new uPlot({...size, series: kind.series, axes: axes(kind.time), scales: {x: {time: kind.time}, y: {range}}, padding: [null, 30, null, null], plugins: [lines(kind.marks, kind.zero)],
      tzDate: (s) => uPlot.tzDate(new Date(s * 1000), "UTC"), cursor: {y: false}}, kind.data, box);
    plot.kind = box.dataset.chart;
    charts.set(box, plot);
  }
  const boxes = () => document.querySelectorAll("[data-chart]");
  const redraw = () => boxes().forEach((box) => { charts.get(box)?.destroy(); charts.delete(box); draw(box); });

  // The dialog: confirmations are loaded into it; without this script they are pages of their own.
  const dialog = byId("dialog");
  async function open(link) {
    await htmx.ajax("GET", link.getAttribute("href"), {target: "#dialog-body", swap: "innerHTML"});
    if (byId("dialog-body").childElementCount && !dialog.open) dialog.showModal();
  }
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-dialog]");
    if (link && dialog && !event.ctrlKey && !event.metaKey && event.button === 0) { event.preventDefault(); open(link); return; }
    if (event.target.closest("[data-close]") && dialog?.open) { event.preventDefault(); dialog.close(); return; }
    if (event.target.closest("[data-theme-switch]")) {
      const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = isDark ? "light" : "dark";
      localStorage.setItem("theme", root.dataset.theme);
      redraw();
      return;
    }
    const range = event.target.closest("[data-range]");
    if (range) {
      document.querySelectorAll('[data-chart="history"]').forEach((box) => {
        box.dataset.source = box.dataset.source.replace(/hours=[^&]*/, `hours=${Number(range.dataset.range)}`);
        draw(box);
      });
      document.querySelectorAll("[data-range]").forEach((each) => each.setAttribute("aria-pressed", String(each === range)));
      return;
    }
    const sheet = document.querySelector(".more[open]");
    if (sheet && !sheet.contains(event.target)) sheet.removeAttribute("open");
  });
  dialog?.addEventListener("close", () => byId("dialog-body").replaceChildren());
  document.addEventListener("change", (event) => {
    const form = event.target.closest("form[data-auto]");
    if (form) { if (event.target.name === "underlying") form.elements.expiry.value = ""; form.requestSubmit(); }
  });
  document.body.addEventListener("htmx:sseOpen", () => linkIs(true));
  document.body.addEventListener("htmx:sseError", () => linkIs(false));
  document.body.addEventListener("htmx:afterSettle", () => tellAges(document));
  document.body.addEventListener("htmx:sseMessage", (event) => { linkIs(true); tellAges(event.target); });
  document.body.addEventListener("htmx:responseError", (event) => {
    if (event.detail.xhr.status === 401) location.href = "/login";
    else if (byId("dialog-body")) byId("dialog-body").textContent = event.detail.xhr.responseText.slice(0, 300);
  });

  let ticks = 0;
  setInterval(() => {
    tellAges(document);
    if (lost) linkIs(false);
    ticks += 1;
    if (document.visibilityState !== "visible") return;
    boxes().forEach((box) => { if (ticks % Number(box.dataset.every ?? 10) === 0) draw(box); });
  }, 1000);
  addEventListener("resize", () => charts.forEach((plot, box) => plot.setSize({width: box.clientWidth, height: plot.height})));
  tellAges(document);
  boxes().forEach(draw);
})();
