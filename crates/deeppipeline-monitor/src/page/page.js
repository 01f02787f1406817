// What the page shows of one pipeline, drawn anew with each event. Names are the user's, so they only ever become text.
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const query = new URLSearchParams(location.search);
const token = query.get("token");
const get = (id) => document.getElementById(id);

/** Makes an element of the page, or of a picture, with its attributes and children. */
function make(kind, attributes = {}, ...children) {
  const element = document.createElement(kind);
  return fill(element, attributes, children);
}

function draw(kind, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, kind), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// Numbers as people read them.

function count(number) {
  return Math.round(number).toLocaleString("en");
}

function seconds(time) {
  if (time === null || time === undefined) return "–";
  if (time === 0) return "0";
  if (time < 1e-3) return `${three(time * 1e6)} µs`;
  if (time < 1) return `${three(time * 1e3)} ms`;
  if (time < 120) return `${three(time)} s`;
  return long(time);
}

function long(time) {
  const [hours, minutes, rest] = [Math.floor(time / 3600), Math.floor(time / 60) % 60, Math.floor(time) % 60];
  const two = (number) => String(number).padStart(2, "0");
  return hours > 0 ? `${hours}:${two(minutes)}:${two(rest)} h` : `${minutes}:${two(rest)} min`;
}

function three(number) {
  return number >= 100 ? number.toFixed(0) : number >= 10 ? number.toFixed(1) : number.toFixed(2);
}

function rate(number) {
  return `${number >= 1000 ? count(number) : three(number)}/s`;
}

const percent = (share) => `${Math.round(100 * share)} %`;

// What a report says.

const dropped = ({ dropped_oldest, dropped_newest, superseded, expired }) =>
  dropped_oldest + dropped_newest + superseded + expired;

const REASONS = [
  ["dropped_oldest", "oldest"], ["dropped_newest", "newest"], ["superseded", "superseded"],
  ["expired", "expired"], ["flushed", "flushed"], ["discarded", "discarded"],
];

/** A block has a row without a buffer or a worker: samples only pass it. */
const isBlock = (stage) => stage.workers === 0 && stage.buffer_size === 0;

/** The end stages: nothing comes behind them. */
const ends = (report) => report.stages.filter((stage) => stage.next.length === 0);

/** The age of the newest sample that has come out, where several stages end: the oldest of those. */
function ageOfInformation(report) {
  const ages = ends(report).map((stage) => stage.age_of_information).filter((age) => age !== null);
  return ages.length > 0 ? Math.max(...ages) : null;
}

// The tiles.

function showTiles(report) {
  const last = ends(report);
  const all = (of) => report.stages.reduce((sum, stage) => sum + of(stage), 0);
  const failed = all((stage) => stage.counts.failed);
  const lost = all((stage) => stage.counts.lost);
  const restarts = all((stage) => stage.restarts);
  const drops = all((stage) => dropped(stage.buffer));
  const tiles = [
    ["rate at the end", rate(last.reduce((sum, stage) => sum + stage.recent.rate, 0))],
    ["age at the end, p50", seconds(report.recent_age.p50)],
    ["age at the end, p99", seconds(report.recent_age.p99)],
    ["age of information", seconds(ageOfInformation(report))],
    ["dropped", count(drops)],
    ["failed", count(failed), failed > 0],
    ["lost", count(lost), lost > 0],
    ["restarts", count(restarts), restarts > 0],
  ];
  get("tiles").replaceChildren(
    ...tiles.map(([name, value, isBad]) => make("div", {}, make("dt", {}, name), make("dd", { class: isBad ? "bad" : null }, value)))
  );
}

// The graph: each stage in its column and its lane, which the program says.

const CARD = { width: 156, height: 104, across: 36, down: 22 };

function shortened(name, letters) {
  return name.length > letters ? `${name.slice(0, letters - 1)}…` : name;
}

function bar(x, y, width, height, shares) {
  const parts = [];
  let from = x;
  for (const [kind, share] of shares) {
    const part = Math.max(0, Math.min(1, share)) * width;
    parts.push(draw("rect", { class: kind, x: from, y, width: part, height }));
    from += part;
  }
  return parts;
}

function card(stage, [x, y], limits) {
  const { width, height } = CARD;
  if (isBlock(stage)) {
    return draw("g", {},
      draw("rect", { class: "card", x, y: y + height / 2 - 15, width, height: 30, rx: 15 }),
      draw("text", { class: "strong", x: x + width / 2, y: y + height / 2 + 4, "text-anchor": "middle" }, shortened(stage.name, 22)));
  }
  const { busy, blocked, starved } = stage.recent.shares;
  const waits = stage.buffer.waiting;
  const size = Math.max(stage.buffer_size, 1);
  const longest = stage.doing.filter(({ doing, since }) => doing === "working" && since > 1).sort((a, b) => b.since - a.since)[0];
  const notes = [
    longest ? `in a call for ${seconds(longest.since)}` : null,
    stage.workers > 1 ? `${stage.workers} workers` : null,
    stage.paused ? "paused" : null,
    stage.restarts > 0 ? `${stage.restarts} restarts` : null,
    stage.counts.failed > 0 ? `${count(stage.counts.failed)} failed` : null,
    stage.counts.lost > 0 ? `${count(stage.counts.lost)} lost` : null,
  ].filter(Boolean).join(", ");
  const drops = dropped(stage.buffer);
  const kind = ["card", stage.paused ? "paused" : "", limits ? "limits" : ""].join(" ").trim();
  const words = `${stage.name}${limits ? ", which limits" : ""}: ${rate(stage.recent.rate)}, busy ${percent(busy)}, waits for room ${percent(blocked)}, `
    + `${waits} of ${stage.buffer_size} wait in front, ${count(drops)} dropped`;
  return draw("g", { "aria-label": words },
    draw("title", {}, words),
    draw("rect", { class: kind, x, y, width, height, rx: 8 }),
    draw("text", { class: "strong", x: x + 12, y: y + 20 }, shortened(stage.name, 20)),
    draw("text", { x: x + 12, y: y + 38 }, rate(stage.recent.rate)),
    draw("text", { class: "soft", x: x + width - 12, y: y + 38, "text-anchor": "end" }, `${seconds(stage.recent.run.p50)} a call`),
    ...bar(x + 12, y + 46, width - 24, 9, [["busy", busy], ["blocked", blocked], ["starved", starved]]),
    // What waits in front, as far as the buffer is full.
    draw("rect", { class: "room", x: x + 12, y: y + 62, width: width - 24, height: 6 }),
    draw("rect", { class: "queue", x: x + 12, y: y + 62, width: (width - 24) * Math.min(1, waits / size), height: 6 }),
    draw("text", { class: drops > 0 ? "bad" : "soft", x: x + 12, y: y + 83 }, drops > 0 ? `${count(drops)} dropped` : `${waits} of ${stage.buffer_size} wait`),
    draw("text", { class: stage.counts.failed + stage.counts.lost > 0 ? "bad" : "soft", x: x + 12, y: y + 98 }, shortened(notes, 26)));
}

function arrow([x, y], [toX, toY]) {
  const middle = (x + toX) / 2;
  return draw("path", { class: "edge", "marker-end": "url(#head)", d: `M${x} ${y} C${middle} ${y} ${middle} ${toY} ${toX - 2} ${toY}` });
}

const MOST_SOURCES = 6;

function showGraph(report, places, limit) {
  const { stages } = report;
  const columns = Math.max(...places.map(([column]) => column)) + 1;
  const height = (Math.max(...places.map(([, lane]) => lane)) + 1) * (CARD.height + CARD.down) - CARD.down;
  const sources = report.sources.slice(0, MOST_SOURCES);
  const left = sources.length > 0 ? 132 : 30;
  const tall = Math.max(height, sources.length * 34 + (report.sources.length > sources.length ? 22 : 0));
  const width = left + columns * (CARD.width + CARD.across) - CARD.across + 4;
  const down = (tall - height) / 2;
  const place = (index) => {
    const [column, lane] = places[index];
    return [left + column * (CARD.width + CARD.across), down + lane * (CARD.height + CARD.down)];
  };
  const middle = (index) => [place(index)[0], place(index)[1] + CARD.height / 2];
  const first = middle(0);
  const parts = [draw("defs", {}, draw("marker", { id: "head", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" },
    draw("path", { d: "M0 0 L8 4 L0 8 z", class: "soft" })))];
  if (sources.length === 0) parts.push(arrow([4, first[1]], first));
  const begin = (tall - sources.length * 34) / 2;
  sources.forEach((source, index) => {
    const y = begin + index * 34;
    const isBad = ["failed", "stalled", "waiting"].includes(source.state);
    parts.push(
      draw("rect", { class: "card", x: 1, y: y + 2, width: 104, height: 28, rx: 14 }, draw("title", {}, `${source.name}: ${source.state}`)),
      draw("text", { x: 53, y: y + 14, "text-anchor": "middle" }, shortened(source.name, 14)),
      draw("text", { class: isBad ? "bad" : "soft", x: 53, y: y + 26, "text-anchor": "middle" }, source.state),
      arrow([106, y + 16], first));
  });
  if (report.sources.length > sources.length) {
    parts.push(draw("text", { class: "soft", x: 53, y: begin + sources.length * 34 + 14, "text-anchor": "middle" }, `and ${report.sources.length - sources.length} more`));
  }
  stages.forEach((stage, index) => stage.next.forEach((next) => {
    const [x, y] = middle(index);
    parts.push(arrow([x + CARD.width, y], middle(next)));
  }));
  stages.forEach((stage, index) => parts.push(card(stage, place(index), stage.name === limit)));
  const svg = get("graph");
  // A little smaller where all of it can be seen then; otherwise it is scrolled.
  const scale = Math.max(0.8, Math.min(1, widthOf(svg) / width));
  fill(svg, { width: width * scale, height: (tall + 2) * scale, viewBox: `0 -1 ${width} ${tall + 2}`, "aria-label": `The ${stages.length} stages and what goes from one to the next` }, []);
  svg.replaceChildren(...parts);
}

// Where a sample's time goes.

function widthOf(svg) {
  return Math.max(260, svg.closest("section").clientWidth - 34);
}

function showFall(report) {
  const rows = report.stages.filter((stage) => !isBlock(stage) && stage.recent.age.count > 0);
  const svg = get("fall");
  const width = widthOf(svg);
  const name = Math.min(130, width / 3);
  const end = Math.max(...rows.map((stage) => stage.recent.age.mean + stage.recent.run.mean), report.recent_age.p50, 1e-9);
  const scale = (time) => name + (time / end) * (width - name - 4);
  const parts = [];
  rows.forEach((stage, row) => {
    const y = row * 24;
    const taken = stage.recent.age.mean;
    const from = Math.max(0, taken - stage.recent.wait.mean);
    const words = `${stage.name}: waits ${seconds(taken - from)}, runs ${seconds(stage.recent.run.mean)}`;
    parts.push(draw("g", { "aria-label": words }, draw("title", {}, words),
      draw("text", { x: 0, y: y + 15 }, shortened(stage.name, 17)),
      draw("rect", { class: "wait", x: scale(from), y: y + 4, width: Math.max(0, scale(taken) - scale(from)), height: 14 }),
      draw("rect", { class: "busy", x: scale(taken), y: y + 4, width: Math.max(1, (stage.recent.run.mean / end) * (width - name - 4)), height: 14 })));
  });
  const height = Math.max(1, rows.length) * 24 + 18;
  if (rows.length > 0) {
    parts.push(draw("line", { class: "axis", x1: name, x2: width - 4, y1: height - 16, y2: height - 16 }),
      draw("text", { class: "soft", x: name, y: height - 3 }, "0"),
      draw("text", { class: "soft", x: width - 4, y: height - 3, "text-anchor": "end" }, seconds(end)));
  } else {
    parts.push(draw("text", { class: "soft", x: 0, y: 15 }, "nothing has been taken in the last ten seconds"));
  }
  fill(svg, { width, height, viewBox: `0 0 ${width} ${height}`, "aria-label": "Waiting and running, stage by stage" }, []);
  svg.replaceChildren(...parts);
}

// The ages since the page was opened. A day has one point for every few seconds: neighbours are put together.

const MOST_POINTS = 600;
let past = [];

function remember(report) {
  past.push({ at: report.elapsed, p50: report.recent_age.p50, p99: report.recent_age.p99, aoi: ageOfInformation(report) });
  if (past.length > 2 * MOST_POINTS) {
    const worst = (a, b) => ({ at: b.at, p50: Math.max(a.p50, b.p50), p99: Math.max(a.p99, b.p99), aoi: Math.max(a.aoi ?? 0, b.aoi ?? 0) });
    past = Array.from({ length: past.length >> 1 }, (_, pair) => worst(past[2 * pair], past[2 * pair + 1]));
  }
}

function showAges() {
  const svg = get("age");
  const [width, height, left, below] = [widthOf(svg), 170, 56, 18];
  const most = Math.max(...past.map((point) => Math.max(point.p99, point.aoi ?? 0)), 1e-6) * 1.1;
  const [begin, end] = [past[0].at, Math.max(past[past.length - 1].at, past[0].at + 10)];
  const x = (at) => left + ((at - begin) / (end - begin)) * (width - left - 6);
  const y = (age) => 6 + (1 - age / most) * (height - below - 6);
  const curve = (of) => {
    const points = past.filter((point) => point[of] !== null).map((point) => `${x(point.at).toFixed(1)},${y(point[of]).toFixed(1)}`);
    return draw("polyline", { class: `curve ${of}`, points: points.join(" ") });
  };
  const lines = [0, 0.5, 1].map((share) => {
    const age = (most / 1.1) * share;
    return draw("g", {}, draw("line", { class: "axis", x1: left, x2: width - 6, y1: y(age), y2: y(age) }),
      draw("text", { class: "soft", x: left - 6, y: y(age) + 4, "text-anchor": "end" }, seconds(age)));
  });
  const times = [draw("text", { class: "soft", x: left, y: height - 3 }, long(begin)),
    draw("text", { class: "soft", x: width - 6, y: height - 3, "text-anchor": "end" }, long(end))];
  const now = past[past.length - 1];
  fill(svg, { width, height, viewBox: `0 0 ${width} ${height}`, "aria-label": `The age of what comes out: now half are no older than ${seconds(now.p50)}, 99 of 100 than ${seconds(now.p99)}` }, []);
  svg.replaceChildren(...lines, curve("aoi"), curve("p99"), curve("p50"), ...times);
}

// The tables.

function cell(value, isText) {
  if (isText) return make("td", { class: "text" }, value);
  return make("td", { class: value === 0 ? "zero" : null }, typeof value === "number" ? count(value) : value);
}

function table(element, caption, titles, rows) {
  const head = make("tr", {}, ...titles.map((title) => make("th", { scope: "col" }, title)));
  const lines = rows.map(([name, ...cells]) => make("tr", {}, make("th", { scope: "row" }, name), ...cells.map(([value, isText]) => cell(value, isText))));
  element.replaceChildren(make("thead", {}, head), make("tbody", {}, ...lines));
  element.setAttribute("aria-label", caption);
}

function showLedger(report) {
  const inFront = [["entered", "entered"], ["waiting", "waiting"], ...REASONS, ["taken", "taken"]];
  const inside = [["in_flight", "in work"], ["used", "used"], ["absorbed", "absorbed"], ["skipped", "skipped"], ["failed", "failed"], ["lost", "lost"], ["flushed", "flushed inside"], ["gave", "gave"]];
  // A column without a sample says nothing.
  const some = (part) => ([field]) => report.stages.some((stage) => stage[part][field] > 0);
  const always = new Set(["entered", "waiting", "taken", "in_flight", "used"]);
  const shown = (part, columns) => columns.filter((column) => always.has(column[0]) || some(part)(column)).map((column) => [part, ...column]);
  const columns = [...shown("buffer", inFront), ...shown("counts", inside)];
  const rows = report.stages.map((stage) => [stage.name, ...columns.map(([part, field]) => [stage[part][field]])]);
  table(get("ledger"), "Every sample's fate, stage by stage", ["stage", ...columns.map(([, , title]) => title)], rows);
}

function showSources(report) {
  const named = report.sources;
  get("sources-section").hidden = named.length === 0;
  const rows = named.map(({ name, state, counts, wait, restarts, last_error }) => [name, [state, true], [counts.entered], [counts.waiting], [counts.taken],
    [dropped(counts)], [counts.flushed + counts.discarded], [seconds(wait)], [restarts], [last_error ?? "", true]]);
  table(get("sources"), "Sources and entrances", ["source", "state", "entered", "waiting", "taken", "dropped", "given up", "asked for", "restarts", "last error"], rows);
}

// The last seconds, as the program draws them. It has the names as text, so its picture is taken in as it is, but for its
// style: the page has its own.

let asks = false;

function aboutTimeline(more) {
  const about = new URLSearchParams({ pipeline: shownName, ...more });
  if (token !== null) about.set("token", token);
  return about;
}

async function showTimeline() {
  get("timeline-save").href = `/api/timeline?${aboutTimeline({})}`;
  // One at a time: a picture that comes late is not waited for by others.
  if (asks || latest === null || get("timeline-hold").getAttribute("aria-pressed") === "true") return;
  asks = true;
  try {
    const answer = await fetch(`/api/timeline.svg?${aboutTimeline({ last: get("timeline-last").value })}`);
    if (!answer.ok) return;
    const text = (await answer.text()).replace(/<style>[^<]*<\/style>/, "");
    const picture = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
    if (picture.nodeName !== "svg") return;
    get("timeline").replaceChildren(document.importNode(picture, true));
    follow();
  } catch {
    // The events tell that the program does not answer.
  } finally {
    asks = false;
  }
}

/** Shows the way of the sample that is followed, in the picture that is there, and leaves the others pale. */
function follow() {
  const number = get("timeline-follow").value;
  const bars = [...get("timeline").querySelectorAll("[data-sample]")];
  const isFollowed = (bar) => bar.dataset.sample === number;
  bars.forEach((bar) => bar.classList.toggle("aside", number !== "" && !isFollowed(bar)));
  get("timeline").querySelector(".f")?.remove();
  const points = bars.filter(isFollowed).flatMap((bar) => {
    const { x, y, width, height } = bar.querySelector("rect");
    const middle = y.baseVal.value + height.baseVal.value / 2;
    return [`${x.baseVal.value},${middle}`, `${x.baseVal.value + width.baseVal.value},${middle}`];
  });
  if (points.length > 0) get("timeline").firstElementChild.append(draw("polyline", { class: "f", points: points.join(" ") }));
}

get("timeline").addEventListener("click", (event) => {
  const bar = event.target.closest("[data-sample]");
  get("timeline-follow").value = bar === null ? "" : bar.dataset.sample;
  follow();
});
get("timeline-hold").addEventListener("click", ({ target }) => {
  target.setAttribute("aria-pressed", target.getAttribute("aria-pressed") !== "true");
  showTimeline();
});
get("timeline-last").addEventListener("change", showTimeline);
get("timeline-follow").addEventListener("input", follow);

// What comes from the program.

let shownName = query.get("pipeline");
let events = null;
let latest = null;

function showList(pipelines, name) {
  const select = get("pipelines");
  const names = pipelines.map((pipeline) => `${pipeline.name}\u0000${pipeline.outcome}`).join("\u0001");
  get("chooser").hidden = pipelines.length < 2;
  if (select.dataset.names !== names) {
    select.dataset.names = names;
    select.replaceChildren(...pipelines.map((pipeline) => make("option", { value: pipeline.name }, pipeline.outcome === "running" ? pipeline.name : `${pipeline.name} (${pipeline.outcome})`)));
  }
  select.value = name;
}

function show({ pipelines, shown }) {
  get("nothing").hidden = shown !== null;
  get("main").hidden = shown === null;
  if (shown === null) return;
  const { name, report, failure, is_there } = shown;
  if (latest?.name !== name || report.elapsed < latest.report.elapsed) past = [];
  latest = shown;
  shownName = name;
  showList(pipelines, name);
  document.title = `${name} – DeepPipeline`;
  const outcome = is_there || report.outcome !== "running" ? report.outcome : "gone";
  get("outcome").textContent = outcome;
  get("outcome").className = `badge ${outcome}`;
  get("elapsed").textContent = `${name}, ${long(report.elapsed)}`;
  get("failure").hidden = failure === null;
  get("failure").textContent = failure ?? "";
  if (report.outcome === "running" || past.length === 0) remember(report);
  redraw();
  showTimeline();
}

function redraw() {
  if (latest === null) return;
  const { report, explanation, places } = latest;
  if (get("explanation").textContent !== explanation.text) get("explanation").textContent = explanation.text;
  showTiles(report);
  showGraph(report, places, explanation.limit);
  showFall(report);
  showAges();
  showLedger(report);
  showSources(report);
}

function connect() {
  events?.close();
  const about = new URLSearchParams();
  if (shownName !== null) about.set("pipeline", shownName);
  if (token !== null) about.set("token", token);
  events = new EventSource(`/api/events?${about}`);
  events.onmessage = (event) => {
    get("connection").textContent = "live";
    get("connection").className = "";
    show(JSON.parse(event.data));
  };
  events.onerror = () => {
    get("connection").textContent = "the program does not answer: what is shown is the last that it said";
    get("connection").className = "lost";
    // The browser tries again by itself unless the answer was an error.
    if (events.readyState === EventSource.CLOSED) setTimeout(connect, 3000);
  };
}

get("pipelines").addEventListener("change", (event) => {
  shownName = event.target.value;
  connect();
});
addEventListener("resize", redraw);
connect();
