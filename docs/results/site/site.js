"use strict";
// The page over published results. Everything shown is set as text: names in results come from strangers.
(() => {
  const columns = {}; // name -> values of all rows that have arrived
  const parts = {}; // number of a file of details -> trial -> its parts
  const waiting = {};
  let front = null, count = 0, haystacks = [], place = {};
  const PAGE = 100;

  window.prunebench = (what, number, value) => {
    if (what === "front") { front = value; begin(); }
    if (what === "rows") addRows(value);
    if (what === "details") { parts[number] = value; (waiting[number] || []).forEach((done) => done()); }
  };

  const load = (file) => new Promise((done, failed) => {
    const script = document.createElement("script");
    script.src = file; script.onload = done; script.onerror = () => failed(new Error(file + " is missing"));
    document.head.append(script);
  });

  function addRows(chunk) {
    let added = 0;
    for (const [name, column] of Object.entries(chunk)) {
      const values = column.values || column.numbers.map((number) => column.texts[number]);
      (columns[name] ||= []).push(...values);
      added = values.length;
    }
    for (let row = count; row < count + added; row++) place[columns.id[row]] = row;
    count += added;
  }

  async function begin() {
    const title = front.title || front.runs.map((run) => run.name).filter((name, at, all) => all.indexOf(name) === at).slice(0, 3).join(", ");
    document.title = title || "Results";
    document.getElementById("title").textContent = document.title;
    document.getElementById("footer").append(el("p", { class: "note" }, `${front.row_count.toLocaleString("en")} trials`
      + (front.publisher ? `, published by ${front.publisher}` : "") + `, ${front.published_at.slice(0, 10)}; `
      + `licence of the numbers: ${front.licence || "none stated"}. `, link("trials.csv", "trials.csv"), ", ", link("README.md", "card"), ", ", link("manifest.json", "manifest"), "."));
    window.addEventListener("hashchange", show);
    try {
      for (const file of front.row_files) { await load(file); show(); }
    } catch (error) { main(el("p", {}, `${error.message}: the folder is incomplete.`)); }
    document.documentElement.dataset.ready = "yes";
  }

  // ---- small helpers
  function el(tag, attributes, ...children) {
    const made = tag === "svg" || SVG.has(tag) ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value);
    }
    made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined).map((child) => child instanceof Node ? child : String(child)));
    return made;
  }
  const SVG = new Set(["line", "polyline", "circle", "rect", "text", "g", "title"]);
  const link = (href, text) => el("a", { href }, text);
  const main = (...children) => { const at = document.getElementById("main"); at.replaceChildren(...children.flat().filter(Boolean)); };
  const at = (name, row) => columns[name] ? columns[name][row] : null;
  const number = (value, digits = 4) => value === null || value === undefined ? "" : Number(value.toPrecision(digits)).toLocaleString("en", { maximumSignificantDigits: digits });
  const times = (value) => value === null || value === undefined ? "" : `${number(value, 3)}×`;
  const scored = (value, unit) => value === null || value === undefined ? "" : unit === "fraction" ? `${(100 * value).toFixed(2)} %` : number(value);
  const seconds = (value) => value === null || value === undefined ? "" : `${number(value, 3)} s`;
  const bytes = (value) => value === null || value === undefined ? "" : value < 1e6 ? `${number(value / 1e3, 3)} kB` : `${number(value / 1e6, 3)} MB`;

  function address() {
    const [path, query] = location.hash.replace(/^#/, "").split("?");
    return { path: path || "/", state: Object.fromEntries(new URLSearchParams(query || "")) };
  }
  function hash(path, state) {
    const kept = Object.entries(state).filter(([, value]) => value !== "" && value !== null && value !== undefined);
    return "#" + path + (kept.length ? "?" + new URLSearchParams(kept) : "");
  }
  function show() {
    const { path, state } = address();
    if (path.startsWith("/trial/")) trialPage(decodeURIComponent(path.slice(7)));
    else if (path === "/table") tablePage(state);
    else if (path === "/compare") comparePage(state);
    else frontPage();
  }

  function table(heads, rows, caption) {
    return el("div", { class: "wide" }, el("table", {}, caption ? el("caption", {}, caption) : null,
      el("thead", {}, el("tr", {}, heads.map(([text, kind]) => el("th", { class: kind, scope: "col" }, text)))),
      el("tbody", {}, rows.map((row) => el("tr", {}, row.map((cell, index) => el("td", { class: heads[index][1] }, cell)))))));
  }

  // ---- the front page: what was asked, and what came out
  function frontPage() {
    const findings = front.findings;
    const best = findings.filter((row) => row.compression_ratio && !row.is_control);
    const panels = [...new Set(findings.map((row) => row.panel))];
    const sentences = panels.slice(0, 12).map((panel) => {
      const rows = best.filter((row) => row.panel === panel).sort((a, b) => b.compression_ratio - a.compression_ratio);
      if (!rows.length) return el("p", { class: "finding" }, `${panel}: no method stayed as good as its dense network.`);
      const [first] = rows;
      return el("p", { class: "finding" }, `${panel}: `, el("b", {}, first.label), ` goes furthest while it stays as good as dense, ${times(first.compression_ratio)} fewer parameters`,
        first.speedup ? `; measured ${times(first.speedup)} as fast (${first.batch}): ${first.verdict || "can't tell"}` : "", `; ${first.seeds} seed${first.seeds === 1 ? "" : "s"}.`);
    });
    main(
      el("h1", {}, document.title),
      el("h2", {}, "What came out"), sentences,
      el("p", { class: "note" }, "The furthest setting of each method within what its objective calls as good as dense; of accuracy, one point."),
      table([["data set · model", ""], ["method", ""], ["furthest setting", ""], ["times smaller", "number"], ["score", "number"], ["as fast", "number"], ["verdict", ""], ["seeds", "number"]],
        findings.map((row) => [row.panel, link(hash("/table", { method: row.method }), row.method), row.label || "none is as good as dense", times(row.compression_ratio), scored(row.score, row.unit), times(row.speedup), row.verdict || "", row.seeds || ""])),
      el("h2", {}, "What was asked"),
      front.runs.map((run) => el("details", {}, el("summary", {}, `${run.name} (${run.id}): ${run.results} results, ${run.ok} ok, ${run.declined} declined, ${run.failed} failed`
        + (run.origin ? `; from ${run.origin}${run.publisher ? " by " + run.publisher : ""}` : "")),
        el("p", {}, link(hash("/table", { run: run.name }), "its trials")), el("pre", {}, run.grid))),
      el("h2", {}, "Machines"),
      el("p", { class: "note" }, "Each speed compares a network with its own dense one on one machine. Latencies of different machines are not compared."),
      table([["machine", ""], ["processor", ""], ["GPU", ""], ["torch", ""], ["trials", "number"]], front.machines.map((m) => [m.environment_id, m.cpu, m.gpu, m.torch, m.trial_count])));
  }

  // ---- the table
  const floored = (row) => at("is_at_floor", row) ? "at its floor" : at("is_near_floor", row) ? "near its floor" : "";
  const speedWords = (row) => !at("speed_verdict", row) ? "" : at("speed_verdict", row) + (floored(row) ? `, ${floored(row)}` : "");
  const FILTERS = ["dataset", "model", "method", "status", "score_verdict", "speed_verdict", "run", "machine"];
  const WORDS = { dataset: "data set", model: "model", method: "method", status: "status", score_verdict: "score against dense", speed_verdict: "speed against dense", run: "run", machine: "machine" };
  const SHOWN = [
    ["dataset", "data set", "", (row) => at("dataset", row)], ["model", "model", "", (row) => at("model", row)],
    ["label", "method and setting", "", (row) => link("#/trial/" + encodeURIComponent(at("id", row)), at("label", row))], ["seed", "seed", "number", (row) => at("seed", row)],
    ["score", "score", "number", (row) => at("status", row) === "ok" ? scored(at("score", row), at("score_unit", row)) + (at("is_at_floor", row) ? " (no better than chance)" : at("is_near_floor", row) ? " (hardly better than chance)" : "") : at("status", row)],
    ["score_loss", "lost", "number", (row) => scored(at("score_loss", row), at("score_unit", row))],
    ["score_verdict", "verdict", "", (row) => el("span", { class: at("score_verdict", row) }, at("score_verdict", row) || "")],
    ["compression_ratio", "fewer parameters", "number", (row) => times(at("compression_ratio", row))], ["stored_ratio", "smaller on disk", "number", (row) => times(at("stored_ratio", row))],
    ["speedup", "as fast", "number", (row) => times(at("speedup", row))], ["speed_verdict", "speed", "", (row) => el("span", { class: floored(row) ? "note" : at("speed_verdict", row) }, speedWords(row))],
    ["run", "run", "", (row) => at("run", row) + (at("origin", row) ? ` (${at("origin", row)})` : "")],
  ];
  function haystack(row) {
    return haystacks[row] ||= ["dataset", "model", "label", "run", "origin", "status", "score_verdict", "speed_verdict", "reason", "id"].map((name) => at(name, row) || "").join("\n").toLowerCase();
  }
  function matching(state) {
    const words = (state.q || "").toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = FILTERS.filter((name) => state[name]);
    const found = [];
    for (let row = 0; row < count; row++) {
      if (wanted.every((name) => columns[name][row] === state[name]) && words.every((word) => haystack(row).includes(word))) found.push(row);
    }
    return sorted(found, state.sort || "");
  }
  function sorted(rows, sort) {
    const name = sort.replace(/^-/, ""), sign = sort.startsWith("-") ? -1 : 1, values = columns[name];
    if (!values) return rows;
    const texts = [...new Set(values)].filter((value) => typeof value === "string").sort(byNumber);
    const rank = new Map(texts.map((text, order) => [text, order]));
    const keys = rows.map((row) => [row, rank.get(values[row]) ?? (values[row] === null ? null : Number(values[row]))]);
    keys.sort(([, x], [, y]) => x === null || y === null ? (x === null) - (y === null) : sign * (x - y));
    return keys.map(([row]) => row);
  }
  // Texts by their words and by the value of their numbers: 2, 16, 32; 0.0625, 0.25.
  const words = new Intl.Collator("en"), NUMBER = /(\d+(?:\.\d+)?(?:e[+-]?\d+)?)/i;
  function byNumber(a, b) {
    const [left, right] = [a.split(NUMBER), b.split(NUMBER)];
    for (let i = 0; i < Math.min(left.length, right.length); i++) {
      const order = i % 2 ? Number(left[i]) - Number(right[i]) : words.compare(left[i], right[i]);
      if (order) return order;
    }
    return left.length - right.length;
  }
  function tablePage(state) {
    const begun = performance.now(), found = matching(state), pages = Math.max(1, Math.ceil(found.length / PAGE));
    const page = Math.min(Math.max(1, Number(state.page) || 1), pages);
    const kept = document.querySelector("form.filter") && document.getElementById("rows");
    if (!kept) main(el("h1", {}, "Trials"), filterForm(), el("p", { id: "found", role: "status" }), el("p", {},
      el("button", { class: "act", onclick: () => save("csv") }, "Download these as CSV"), " ", el("button", { class: "act", onclick: () => save("json") }, "as JSON")), el("div", { id: "rows" }));
    fillForm(state);
    document.getElementById("found").textContent = `${found.length.toLocaleString("en")} of ${count.toLocaleString("en")} trials`
      + (count < front.row_count ? `; ${(front.row_count - count).toLocaleString("en")} more are loading` : "");
    document.getElementById("rows").replaceChildren(el("div", { class: "wide" }, el("table", {},
      el("thead", {}, el("tr", {}, SHOWN.map(([name, text, kind]) => el("th", { class: kind, scope: "col", "aria-sort": state.sort === name ? "ascending" : state.sort === "-" + name ? "descending" : null },
        el("button", { onclick: () => go({ sort: state.sort === name ? "-" + name : name, page: "" }) }, text + (state.sort === name ? " ▲" : state.sort === "-" + name ? " ▼" : "")))))),
      el("tbody", {}, found.slice((page - 1) * PAGE, page * PAGE).map((row) => el("tr", {}, SHOWN.map(([, , kind, cell]) => el("td", { class: kind }, cell(row)))))))),
      el("p", { class: "pages" }, page > 1 ? link(hash("/table", { ...state, page: page - 1 }), "previous") : "", ` page ${page} of ${pages} `, page < pages ? link(hash("/table", { ...state, page: page + 1 }), "next") : ""));
    document.documentElement.dataset.filterMs = (performance.now() - begun).toFixed(1);
  }
  // A click adds an entry to the history; typing replaces the last one.
  function go(change, typed) {
    const { state } = address(), target = hash("/table", { ...state, ...change });
    if (typed) { history.replaceState(null, "", target); show(); } else location.hash = target;
  }
  function filterForm() {
    const choice = (name) => el("label", {}, WORDS[name], el("select", { name, onchange: (event) => go({ [name]: event.target.value, page: "" }) }));
    return el("form", { class: "filter", onsubmit: (event) => event.preventDefault() },
      el("label", {}, "search", el("input", { name: "q", type: "search", oninput: (event) => go({ q: event.target.value, page: "" }, true) })), FILTERS.map(choice));
  }
  function fillForm(state) {
    const form = document.querySelector("form.filter");
    if (document.activeElement !== form.elements.q) form.elements.q.value = state.q || "";
    for (const name of FILTERS) {
      const select = form.elements[name];
      if (select.dataset.rows !== String(count)) {
        const values = [...new Set(columns[name])].filter((value) => value !== null).sort((a, b) => byNumber(String(a), String(b)));
        select.replaceChildren(el("option", { value: "" }, "all"), ...values.map((value) => el("option", { value }, value)));
        select.dataset.rows = count;
      }
      select.value = state[name] || "";
    }
  }
  function save(kind) {
    const rows = matching(address().state), names = Object.keys(columns);
    const quote = (value) => value === null ? "" : /[",\n\r]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value);
    const text = kind === "json" ? JSON.stringify(rows.map((row) => Object.fromEntries(names.map((name) => [name, at(name, row)]))))
      : [names.join(","), ...rows.map((row) => names.map((name) => quote(at(name, row))).join(","))].join("\n") + "\n";
    const url = URL.createObjectURL(new Blob([text], { type: kind === "json" ? "application/json" : "text/csv" }));
    const anchor = el("a", { href: url, download: `trials.${kind}` });
    document.body.append(anchor); anchor.click(); anchor.remove();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  }

  // ---- two methods or two runs side by side
  function comparePage(state) {
    const by = state.by === "run" ? "run_id" : "method";
    const names = [...new Set(columns[by] || [])].sort();
    const a = names.includes(state.a) ? state.a : names.find((name) => name !== "dense") || names[0], b = names.includes(state.b) ? state.b : names.filter((name) => name !== a && name !== "dense")[0] || a;
    const move = (change) => { location.hash = hash("/compare", { by: state.by, a, b, ...change }); };
    const choose = (text, name, values, value) => el("label", {}, text, el("select", { name, onchange: (event) => move({ [name]: event.target.value, ...(name === "by" ? { a: "", b: "" } : {}) }) },
      values.map(([key, shown]) => el("option", { value: key, selected: key === value ? "" : null }, shown))));
    const pairs = names.map((name) => [name, name]);
    main(el("h1", {}, "Side by side"), el("form", { class: "filter" }, choose("compare", "by", [["method", "two methods"], ["run", "two runs"]], state.by || "method"), choose("A", "a", pairs, a), choose("B", "b", pairs, b)),
      by === "method" ? methods(a, b) : runs(a, b));
  }
  const groupKey = (row) => [at("dataset", row), at("model", row), at("protocol", row), at("machine", row)].join("\n");
  function settings(name) {
    const groups = {};
    for (let row = 0; row < count; row++) {
      if (at("method", row) !== name || at("status", row) !== "ok") continue;
      ((groups[groupKey(row)] ||= {})[at("label", row)] ||= []).push(row);
    }
    return groups;
  }
  const mean = (rows, name, log) => {
    const values = rows.map((row) => at(name, row)).filter((value) => value !== null && (!log || value > 0));
    if (!values.length) return null;
    return log ? Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length) : values.reduce((sum, value) => sum + value, 0) / values.length;
  };
  function averaged(group) {
    return Object.entries(group || {}).map(([label, rows]) => ({ label, seeds: rows.length, score: mean(rows, "score"), unit: at("score_unit", rows[0]), ratio: mean(rows, "compression_ratio"), speedup: mean(rows, "speedup", true) }))
      .sort((x, y) => (x.ratio || 0) - (y.ratio || 0));
  }
  function methods(a, b) {
    const [left, right] = [settings(a), settings(b)], keys = [...new Set([...Object.keys(left), ...Object.keys(right)])].sort();
    const several = (index) => new Set(keys.map((key) => key.split("\n")[index])).size > 1;
    return keys.map((key) => {
      const [dataset, model, protocol, machine] = key.split("\n"), [ours, theirs] = [averaged(left[key]), averaged(right[key])];
      const rows = ours.map((x) => {
        const near = theirs.filter((y) => y.ratio && x.ratio).sort((y, z) => Math.abs(Math.log(y.ratio / x.ratio)) - Math.abs(Math.log(z.ratio / x.ratio)))[0];
        const close = near && Math.abs(Math.log(near.ratio / x.ratio)) < Math.log(1.25) ? near : null;
        return [x.label, times(x.ratio), scored(x.score, x.unit), times(x.speedup), close ? close.label : "none near", close ? times(close.ratio) : "", close ? scored(close.score, close.unit) : "", close ? times(close.speedup) : "", close ? scored(close.score - x.score, x.unit) : ""];
      });
      return el("section", {}, el("h2", {}, `${dataset} · ${model}` + (several(2) ? ` · protocol ${protocol.slice(0, 6)}` : "") + (several(3) ? ` · machine ${machine.slice(0, 6)}` : "")),
        scatter(ours, theirs, a, b), table([[a, "a"], ["smaller", "number"], ["score", "number"], ["as fast", "number"], [`${b}, nearest`, "b"], ["smaller", "number"], ["score", "number"], ["as fast", "number"], ["B − A", "number"]], rows));
    });
  }
  function runs(a, b) {
    const key = (row) => [at("dataset", row), at("model", row), at("label", row), at("seed", row)].join("\n"), theirs = {};
    for (let row = 0; row < count; row++) if (at("run_id", row) === b) (theirs[key(row)] ||= []).push(row);
    const rows = [];
    for (let row = 0; row < count; row++) for (const other of at("run_id", row) === a ? theirs[key(row)] || [] : []) {
      const same = at("machine", row) === at("machine", other), both = at("score", row) !== null && at("score", other) !== null;
      rows.push([at("dataset", row), at("model", row), link("#/trial/" + at("id", row), at("label", row)), at("seed", row), scored(at("score", row), at("score_unit", row)), scored(at("score", other), at("score_unit", other)),
        both ? scored(at("score", other) - at("score", row), at("score_unit", row)) : "", times(at("speedup", row)), times(at("speedup", other)), same ? times(at("speedup", other) / at("speedup", row)) : "other machine", at("protocol", row) === at("protocol", other) ? "same" : "other"]);
    }
    return [el("p", { class: "note" }, `${rows.length} pairs of data set, model, method with its setting, and seed. Speeds are compared on one machine only.`),
      table([["data set", ""], ["model", ""], ["method", ""], ["seed", "number"], ["score A", "number"], ["score B", "number"], ["B − A", "number"], ["speedup A", "number"], ["speedup B", "number"], ["B / A", "number"], ["protocol", ""]], rows.slice(0, 1000))];
  }

  // ---- drawings
  function frame(width, height, x, y, xText, yText) {
    const lines = [el("line", { x1: 50, y1: height - 30, x2: width - 10, y2: height - 30, stroke: "currentColor" }), el("line", { x1: 50, y1: 10, x2: 50, y2: height - 30, stroke: "currentColor" })];
    const put = (px, py, text, anchor) => lines.push(el("text", { x: px, y: py, "text-anchor": anchor }, text));
    put(50, height - 15, number(x[0], 3), "start"); put(width - 10, height - 15, number(x[1], 3), "end"); put((width + 40) / 2, height - 3, xText, "middle");
    put(46, height - 30, number(y[0], 3), "end"); put(46, 18, number(y[1], 3), "end"); put(56, 14, yText, "start");
    return lines;
  }
  const range = (values) => { const low = Math.min(...values), high = Math.max(...values); return low === high ? [low - Math.abs(low) * 0.01 - 1e-9, high + Math.abs(high) * 0.01 + 1e-9] : [low, high]; };
  function scatter(ours, theirs, a, b) {
    const all = [...ours, ...theirs].filter((point) => point.ratio > 0 && point.score !== null);
    if (!all.length) return null;
    const [width, height] = [520, 260], percent = all[0].unit === "fraction" ? 100 : 1, x = range(all.map((point) => Math.log(point.ratio))), y = range(all.map((point) => percent * point.score));
    const px = (point) => 55 + (Math.log(point.ratio) - x[0]) / (x[1] - x[0]) * (width - 75), py = (point) => height - 36 - (percent * point.score - y[0]) / (y[1] - y[0]) * (height - 60);
    const tip = (point) => el("title", {}, `${point.label}: ${times(point.ratio)}, ${scored(point.score, point.unit)}`);
    const one = (point) => el("circle", { cx: px(point), cy: py(point), r: 5, fill: "none", stroke: "var(--a)", "stroke-width": 2 }, tip(point)), two = (point) => el("rect", { x: px(point) - 4, y: py(point) - 4, width: 8, height: 8, fill: "var(--b)" }, tip(point));
    const good = (points) => points.filter((point) => all.includes(point));
    return el("div", {}, el("p", {}, el("span", { class: "a" }, `○ ${a} (A)`), " ", el("span", { class: "b" }, `■ ${b} (B)`)), el("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `score by compression of ${a} and ${b}` },
      frame(width, height, x.map(Math.exp), y, "times fewer parameters", percent === 100 ? "score, %" : "score"), good(ours).map(one), good(theirs).map(two)));
  }
  function drawn(series, xText, yText) {
    const all = series.flatMap((line) => line.points);
    if (!all.length) return null;
    const [width, height] = [520, 220], x = range(all.map((point) => point[0])), y = range(all.map((point) => point[1]));
    const spot = ([px, py]) => `${(55 + (px - x[0]) / (x[1] - x[0]) * (width - 75)).toFixed(1)},${(height - 36 - (py - y[0]) / (y[1] - y[0]) * (height - 60)).toFixed(1)}`;
    return el("div", {}, el("p", {}, series.map((line, index) => el("span", { class: index ? "b" : "a" }, `${index ? "- - " : "— "}${line.name} `))), el("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `${yText} by ${xText}` },
      frame(width, height, x, y, xText, yText), series.map((line, index) => el("polyline", { points: line.points.map(spot).join(" "), fill: "none", stroke: index ? "var(--b)" : "var(--a)", "stroke-width": 1.5, "stroke-dasharray": index ? "5 3" : null }))));
  }

  // ---- a trial's own page
  async function trialPage(id) {
    const row = place[id];
    if (row === undefined) { main(el("h1", {}, "Trial"), el("p", {}, count < front.row_count ? "Loading …" : `No trial ${id} in this folder.`)); return; }
    const file = Math.floor(row / front.trials_per_file);
    if (!parts[file]) {
      main(el("h1", {}, at("label", row)), el("p", {}, "Loading …"));
      try { await load(`site/trials-${file}.js`); } catch (error) { main(el("p", {}, `${error.message}: the folder is incomplete.`)); return; }
      if (address().path !== "/trial/" + encodeURIComponent(id) && address().path !== "/trial/" + id) return;
    }
    const found = parts[file][id] || {}, unit = at("score_unit", row);
    const facts = [["status", at("status", row) + (at("reason", row) ? `: ${at("reason", row)}` : "")], ["data set", at("dataset", row)], ["model", at("model", row)], ["method", at("label", row)], ["seed", at("seed", row)],
      [at("score_title", row) || "score", scored(at("score", row), unit)], ["dense", scored(at("dense_score", row), unit)], ["lost", scored(at("score_loss", row), unit) + (at("score_verdict", row) ? ` (${at("score_verdict", row)})` : "")],
      ["fewer parameters", times(at("compression_ratio", row))], ["smaller on disk", `${times(at("stored_ratio", row))} ${bytes(at("stored_bytes", row))}`], ["fewer operations", times(at("theoretical_speedup", row))],
      ["as fast", at("speedup", row) === null ? "" : `${times(at("speedup", row))} (${times(at("speedup_low", row))} to ${times(at("speedup_high", row))}, batch ${at("batch", row)}) ${speedWords(row)}`],
      ["pruned in", seconds(at("prune_seconds", row))], ["run", at("run", row) + ` (${at("run_id", row)})`], ["from", at("origin", row)], ["trial", id]];
    const machine = front.machines.find((one) => one.environment_id === at("machine", row)), made = front.provenances.find((one) => one.provenance_id === at("provenance", row));
    const listed = (title, part) => part && part.rows.length ? [el("h2", {}, title), table(part.columns.map((name) => [name.replaceAll("_", " "), typeof part.rows[0][part.columns.indexOf(name)] === "number" ? "number" : ""]), part.rows.map((line) => line.map((cell) => typeof cell === "number" ? number(cell, 5) : cell === null ? "" : String(cell))))] : [];
    main(el("h1", {}, at("label", row)), el("p", { class: "note" }, `${at("dataset", row)} · ${at("model", row)} · seed ${at("seed", row)} · `, link(hash("/table", { dataset: at("dataset", row), model: at("model", row), method: at("method", row), q: at("setting", row) || "" }), "the same setting"), " · ", link(location.hash, "permalink")),
      el("dl", {}, facts.filter(([, value]) => value !== "" && value !== null && value !== undefined).map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])),
      el("h2", {}, "Grid lines that repeat it"), el("pre", { id: "grid" }, gridLines(row, found)),
      curve(found.curve), samples(found.samples), listed("Speed", found.speed), listed("Layers", found.layers), listed("Attempts", found.attempts),
      el("h2", {}, "Provenance"), el("dl", {}, Object.entries({ ...machine, ...made }).filter(([, value]) => value !== null && value !== "").map(([name, value]) => [el("dt", {}, name.replaceAll("_", " ")), el("dd", {}, value)])));
  }
  function gridLines(row, found) {
    const [dataset, model, method] = (found.choices || []).map((key) => front.choices[key]);
    return `name = "again"\n\n${front.protocols[at("protocol", row)] || ""}\n\n[[block]]\ndataset = [${dataset}]\nmodel = [${model}]\nmethod = [${method}]\nseed = ${at("seed", row)}\n`;
  }
  function curve(part) {
    if (!part) return [];
    const points = (phase) => part.rows.filter((line) => line[0] === phase && line[5] !== null).map((line) => [line[1], line[5]]);
    const series = [...new Set(part.rows.map((line) => line[0]))].map((phase) => ({ name: phase, points: points(phase) })).filter((line) => line.points.length);
    return series.length ? [el("h2", {}, "Training"), drawn(series, "epoch", "validation score")] : [];
  }
  function samples(part) {
    if (!part) return [];
    return [el("h2", {}, "Timing samples"), ...[...new Set(part.rows.map((line) => line[0]))].map((batch) => {
      const rows = part.rows.filter((line) => line[0] === batch);
      return el("div", {}, el("p", {}, `batch ${batch}, milliseconds per call in each block`), drawn([{ name: "dense", points: rows.map((line) => [line[1], line[2]]) }, { name: "pruned", points: rows.map((line) => [line[1], line[3]]) }], "block", "ms"));
    })];
  }
})();
