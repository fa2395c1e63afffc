// Tables: the data behind a chart, and the headline table that sorts, searches and follows the brush.

function cell(column, value) {
  const numeric = isNumeric(column.kind);
  return element("td", { class: numeric ? "number" : "wordy" }, column.name === "seed_count" ? seeds(value) : shown(column.kind, value));
}

/** A plain table of the first rows of a frame. */
function plainTable(frame, most = 300) {
  const rows = rowsOf(frame);
  const head = frame.columns.map((column) =>
    element("th", { scope: "col", class: isNumeric(column.kind) && "number" }, column.title));
  const body = rows.slice(0, most).map((row) =>
    element("tr", {}, ...frame.columns.map((column) => cell(column, row[column.name]))));
  const table = element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...body));
  const more = rows.length > most ? element("p", { class: "note" },
    `The first ${most} of ${digits(rows.length, 0, 0)} rows; the download has all of them.`) : null;
  return element("div", {}, element("div", { class: "scroll tall", tabindex: "0" }, table), more);
}

/** The rows of a chart that the reader has not hidden. */
function shownFrame(chart) {
  const rows = rowsOf(chart.frame).filter((row) => isShown(row) && !state.hidden[`m:${row.method}`]);
  return { columns: chart.frame.columns, rows };
}

/** What one press does to the axis of scores. */
function axisButtons(chart) {
  if (!chart.brush) return [];
  const isShare = rowsOf(chart.frame).every(isPoints);
  const choices = { near: isShare ? "Within 5 points" : "Near dense", drops: "Drop from dense" };
  return Object.entries(choices).map(([name, title]) => {
    const button = element("button", { type: "button", class: "quiet axis", "aria-pressed": "false" }, title);
    button.addEventListener("click", () => {
      chart[name] = !chart[name];
      button.setAttribute("aria-pressed", String(chart[name]));
      if (brushed?.chart === chart) clearBrush();
      redraw(chart);
    });
    return button;
  });
}

/** The buttons under a chart: its query, its data, and downloads. */
function startTools(chart) {
  const tools = chart.node.querySelector(".tools");
  const drawer = chart.node.querySelector(".drawer");
  const contents = {
    Query: () => element("div", {},
      element("pre", { tabindex: "0" }, element("code", {}, chart.sql)),
      element("button", { type: "button", onclick: (event) => copy(chart.sql, event.target) }, "Copy")),
    Data: () => plainTable(shownFrame(chart)),
  };
  const again = () => {
    if (drawer.firstChild && tools.querySelector("[aria-expanded=true]")?.textContent === "Data") drawer.replaceChildren(contents.Data());
  };
  ["panel", "hidden"].forEach((what) => on(what, again));
  for (const name of Object.keys(contents)) {
    const button = element("button", { type: "button", class: "quiet", "aria-expanded": "false" }, name);
    button.addEventListener("click", () => {
      const open = button.getAttribute("aria-expanded") === "true";
      tools.querySelectorAll("[aria-expanded]").forEach((one) => one.setAttribute("aria-expanded", "false"));
      button.setAttribute("aria-expanded", String(!open));
      drawer.replaceChildren(...(open ? [] : [contents[name]()]));
    });
    tools.append(button);
  }
  const save = (ending, make, type) => element("button", { type: "button", class: "quiet",
    onclick: () => download(`${chart.name}.${ending}`, make(shownFrame(chart)), type) }, ending.toUpperCase());
  tools.append(save("csv", csvOf, "text/csv"), save("json", jsonOf, "application/json"), ...axisButtons(chart));
}

const verdictTone = (word) =>
  /^(faster|better)/.test(word) ? "good" : /^(slower|worse)/.test(word) ? "bad" : "soft";

/** Whether a network is no better than none, or hardly. */
const floorWords = (row) => (row.is_at_floor ? "at its floor" : row.is_near_floor ? "near its floor" : "");

/** Speedup with its interval and verdict in one cell. */
function timingCell(row, part) {
  const speedup = row[`speedup ${part}`];
  if (speedup === null || speedup === undefined) return element("td", { class: "number" }, "–");
  const [low, high] = [row[`speedup_low ${part}`], row[`speedup_high ${part}`]];
  const interval = low === null || low === undefined ? null : element("small", {}, ` ${digits(low, 2, 2)}–${digits(high, 2, 2)}`);
  const verdict = row[`verdict ${part}`];
  const floor = floorWords(row);
  const told = verdict && floor ? `${verdict}, ${floor}` : verdict;
  const tone = floor ? "soft" : verdictTone(verdict);
  const word = verdict ? element("span", { class: `verdict ${tone}` }, told) : null;
  return element("td", { class: "number" }, shown("ratio", speedup), interval, word);
}

function accuracyCell(row) {
  const isShare = isPoints(row);
  const much = row.is_at_floor ? "no" : row.is_near_floor ? "hardly" : "";
  const floor = much ? element("small", { class: "bad" }, ` ${much} better than without a network`) : null;
  const told = row.seed_count === 1 ? seeds(1) : row.accuracy_std === null ? "" : `± ${shown(isShare ? "points" : "number", row.accuracy_std)}`;
  const spread = told ? element("small", {}, ` ${told}`) : null;
  return element("td", { class: "number" }, shown(isShare ? "share" : "number", row.accuracy), spread, floor);
}

function lossCell(row) {
  const kind = isPoints(row) ? "points" : "number";
  return cell({ kind }, row.accuracy_drop);
}

/** The score's own title where all rows have one. */
function scoreTitle() {
  const frame = page.headline.columns.find((column) => column.name === "score_title");
  const words = frame && frame.words ? frame.words : [];
  return words.length === 1 ? words[0] : words.length ? "score" : "top-1 accuracy";
}

/** The short name of a setting; the whole one is in its title. */
function settingCell(row) {
  const rest = row.label.startsWith(row.method) ? row.label.slice(row.method.length) : "";
  return element("td", { class: "wordy", title: row.setting }, rest ? row.method : row.label, rest ? element("small", {}, rest) : null);
}

function headlineColumns() {
  const plain = (name, title, kind) => ({ name, title, kind, draw: (row) => cell({ kind }, row[name]) });
  const timings = page.parts.map((part) => ({
    name: `speedup ${part}`, title: `speedup, ${part}`, kind: "ratio", draw: (row) => timingCell(row, part),
  }));
  const pair = page.panels.length > 1 ? [plain("panel", "data set · model", "text")] : [];
  return [
    ...pair,
    { name: "label", title: "method and setting", kind: "text", draw: settingCell },
    plain("seed_count", "seeds", "integer"),
    { name: "accuracy", title: scoreTitle(), kind: "share", draw: accuracyCell },
    { name: "accuracy_drop", title: scoreTitle() === "top-1 accuracy" ? "drop, points" : "worse by", kind: "points", draw: lossCell },
    plain("compression_ratio", "smaller", "ratio"),
    plain("theoretical_speedup", "fewer MACs", "ratio"),
    plain("stored_bytes", "stored", "bytes"),
    ...timings,
  ];
}

function compare(a, b) {
  if (a === null || a === undefined) return 1;
  if (b === null || b === undefined) return -1;
  return typeof a === "number" && typeof b === "number" ? a - b : compareText(String(a), String(b));
}

const NUMBER = /(\d+(?:\.\d+)?(?:e[+-]?\d+)?)/i;

/** Texts by their words and, where both have one, by the value of their numbers: 2, 16, 32; 0.0625, 0.25. */
function compareText(a, b) {
  const [left, right] = [a.split(NUMBER), b.split(NUMBER)];
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const order = i % 2 ? Number(left[i]) - Number(right[i]) : left[i].localeCompare(right[i], "en");
    if (order) return order;
  }
  return left.length - right.length;
}

function startHeadline() {
  const table = byId("headline");
  if (!table) return;
  const columns = headlineColumns();
  const view = { sort: null, down: false, most: 60 };
  const heads = columns.map((column) => {
    const press = element("button", { type: "button" }, column.title);
    const head = element("th", { scope: "col", class: isNumeric(column.kind) && "number" }, press);
    press.addEventListener("click", () => {
      view.down = view.sort === column ? !view.down : isNumeric(column.kind);
      view.sort = column;
      show();
    });
    return head;
  });
  const body = element("tbody");
  table.append(element("thead", {}, element("tr", {}, ...heads)), body);

  function wanted() {
    const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    return rowsOf(page.headline).filter((row) => {
      const text = `${row.panel} ${row.setting}`.toLowerCase();
      return isShown(row) && !state.hidden[`m:${row.method}`] && (!state.chosen || state.chosen.has(keyOf(row)))
        && words.every((word) => text.includes(word));
    });
  }

  function ordered() {
    const rows = wanted();
    if (view.sort) {
      const name = view.sort.name;
      const missing = (row) => row[name] === null || row[name] === undefined;
      rows.sort((a, b) => (missing(a) || missing(b) || !view.down ? compare(a[name], b[name]) : compare(b[name], a[name])));
    }
    return rows;
  }

  function show() {
    const rows = ordered();
    heads.forEach((head, i) => {
      if (columns[i] === view.sort) head.setAttribute("aria-sort", view.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    table.classList.toggle("one-panel", Boolean(state.panel));
    body.replaceChildren(...rows.slice(0, view.most).map((row) =>
      element("tr", { class: row.control && "control" }, ...columns.map((column) => column.draw(row)))));
    const all = page.headline.length;
    byId("count").textContent = rows.length === all ? `${digits(all, 0, 0)} settings` : `${digits(rows.length, 0, 0)} of ${digits(all, 0, 0)} settings`;
    byId("clear").hidden = !state.chosen;
    byId("more").hidden = rows.length <= view.most;
    byId("more").textContent = `Show ${digits(Math.min(200, rows.length - view.most), 0, 0)} more`;
  }

  byId("search").addEventListener("input", () => { view.most = 60; show(); });
  byId("more").addEventListener("click", () => { view.most += 200; show(); });
  byId("clear").addEventListener("click", clearBrush);
  byId("table-csv").addEventListener("click", () => download("headline.csv", csvOf({ columns: page.headline.columns, rows: ordered() }), "text/csv"));
  forPrint(() => { const before = view.most; view.most = PRINTED; show(); return () => { view.most = before; show(); }; });
  ["panel", "hidden", "chosen"].forEach((what) => on(what, show));
  show();
}

/** Tables that Python wrote: their rows follow the choice of data set and model. */
function startFirstTables() {
  const rows = [...document.querySelectorAll("tr[data-panel]")];
  const show = () => {
    rows.forEach((row) => (row.hidden = !isShown({ panel: row.dataset.panel })));
    new Set(rows.map((row) => row.closest(".scroll"))).forEach((box) => (box.hidden = !box.querySelector("tbody tr:not([hidden])")));
  };
  on("panel", show);
  show();
}
