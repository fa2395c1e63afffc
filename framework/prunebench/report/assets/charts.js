// Charts: one Vega view a panel, drawn when it comes near the screen, kept in step with the page's choices.

const slots = []; // {chart, panel, part, node, view}

function slotsOf(chart) {
  const seen = new Map();
  for (const row of rowsOf(chart.frame)) {
    const key = JSON.stringify([row.panel, row.part ?? ""]);
    if (!seen.has(key)) seen.set(key, { chart, panel: row.panel, part: row.part ?? "", rows: [] });
    seen.get(key).rows.push(row);
  }
  return [...seen.values()];
}

/** Pixels that a row's name may take in a view of `width` pixels. */
const roomOf = (width) => Math.min(340, Math.max(190, 0.4 * width));
const LETTER = 6.4; // pixels of a usual one in a row's name

/** The theme, with as much room for the names of rows as a view of `width` pixels can spare. */
function configOf(theme, width) {
  const config = structuredClone(page.themes[theme]);
  config.axisY.labelLimit = roomOf(width);
  config.legend = { ...config.legend, orient: "bottom" };
  return config;
}

/** A finger scrolls the page: it neither selects nor zooms. */
const isTouch = matchMedia("(hover: none) and (pointer: coarse)").matches;

/** Whether the chart's height follows from its number of rows. */
const hasRows = (slot) => Boolean(slot.chart.spec.height?.step);

function rowCount(slot, spec) {
  const field = (spec.layer || [spec]).map((one) => one.encoding?.y?.field).find(Boolean);
  return new Set(slot.rows.filter((row) => !state.hidden[`m:${row.method}`]).map((row) => row[field])).size;
}

/** The chart's specification for one panel: its rows, the page's choices, the width of its container. */
function specOf(slot) {
  const spec = structuredClone(slot.chart.spec);
  spec.data = { name: "rows", values: slot.chart.drops ? slot.rows.map(asDrop) : slot.rows };
  spec.width = "container";
  spec.autosize = { type: "fit-x", contains: "padding" };
  spec.description = [slot.chart.title, slot.panel, slot.part, slot.chart.about].filter(Boolean).join(". ");
  if (hasRows(slot)) spec.height = spec.height.step * Math.max(2, rowCount(slot, spec));
  if (isTouch) spec.params = (spec.params || []).filter((param) => !["brush", "zoom"].includes(param.name));
  for (const param of spec.params || []) {
    if (param.name === "hidden") param.value = state.hidden;
    if (param.name === "chosen") param.value = chosenForVega();
    if (param.name === "room") param.value = Math.floor(roomOf(slot.node.clientWidth) / LETTER);
  }
  if (slot.chart.drops) spec.layer.forEach(drawDrops);
  if (slot.chart.near) zoomToNear(slot, spec);
  return spec;
}

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const isPoints = (row) => !row.score_title || row.score_unit === "fraction";

/** A row of scores as differences from its dense network; what was scored is kept for the tooltip. */
function asDrop(row) {
  const dense = row.dense_accuracy;
  const made = { ...row, told_accuracy: row.accuracy, told_dense_accuracy: dense, told_score_floor: row.score_floor };
  for (const name of ["accuracy", "accuracy_low", "accuracy_high", "dense_accuracy", "score_floor", "weaker_floor"]) {
    if (name in row) made[name] = isNumber(row[name]) && isNumber(dense) ? row[name] - dense : null;
  }
  return made;
}

/** A layer of scores with an axis of differences, in points where scores are shares. */
function drawDrops(layer) {
  const { y, tooltip } = layer.encoding || {};
  if (y?.axis) {
    const isShare = y.axis.format === "%";
    const title = `${y.title.replace(" (smaller is better)", "")} minus dense${isShare ? ", points" : ""}`;
    y.title = y.axis.title = title;
    if (y.scale?.type === "log") {  // differences may be zero
      y.scale = { ...y.scale, type: "linear" };
      y.axis.tickCount = 6;
    }
    if (isShare) Object.assign(y.axis, { format: undefined, labelExpr: "format(100 * datum.value, '~r')" });
  }
  for (const one of [tooltip || []].flat()) {
    if (["accuracy", "dense_accuracy", "score_floor"].includes(one.field)) one.field = `told_${one.field}`;
  }
}

/** The range of scores that are nearly as good as dense: five points of accuracy, else what the objective calls so. */
function nearRange(slot) {
  const rows = slot.rows.filter((row) => isNumber(row.accuracy) && isNumber(row.dense_accuracy));
  if (!rows.length) return null;
  const dense = rows.reduce((sum, row) => sum + row.dense_accuracy, 0) / rows.length;
  const told = rowsOf(page.headline).filter((row) => row.panel === slot.panel && isNumber(row.accuracy));
  const near = told.filter((row) => isNumber(row.accuracy_drop) && row.accuracy_drop <= row.nearly);
  const values = [dense, ...near.map((row) => row.accuracy)];
  const limit = isPoints(rows[0]) ? [dense - (near[0]?.nearly ?? 0.05)] : [];
  const [low, high] = [Math.min(...values, ...limit), Math.max(...values)];
  const space = 0.06 * (high - low) || 0.01;
  const ends = rows[0].larger_is_better === false ? [low - space, high] : [low, high + space];
  return ends.map((value) => value - (slot.chart.drops ? dense : 0));
}

function zoomToNear(slot, spec) {
  const domain = nearRange(slot);
  if (!domain) return;
  for (const layer of spec.layer) {
    if (layer.encoding?.y?.scale) layer.encoding.y.scale = { ...layer.encoding.y.scale, domain, padding: 0 };
    layer.mark = { ...(typeof layer.mark === "string" ? { type: layer.mark } : layer.mark), clip: true };
  }
}

async function draw(slot) {
  slot.wanted = true;
  const turn = (slot.turn = (slot.turn || 0) + 1);
  const options = {
    ast: true, actions: false, renderer: "svg", defaultStyle: false, config: configOf(state.theme, slot.node.clientWidth),
    tooltip: { disableDefaultStyle: true, offsetX: 14, offsetY: 14 },
  };
  try {
    const made = await vegaEmbed(slot.node, specOf(slot), options);
    if (turn !== slot.turn) return made.finalize();
    slot.made?.finalize();
    slot.made = made;
    slot.view = made.view;
    slot.node.classList.add("drawn");
    if (slot.chart.brush && !isTouch) listenToBrush(slot);
  } catch (error) {
    slot.node.replaceChildren(element("p", { class: "empty" }, `This chart could not be drawn: ${error.message}`));
    console.error(error);
  }
}

/** Settings of the headline table whose values lie inside the rectangle drawn in `slot`. */
function settingsInside(slot, area) {
  const { x, y } = slot.chart.brush;
  const column = { [x]: slot.part ? `${x} ${slot.part}` : x, [y]: y };
  const dense = new Map(slot.chart.drops ? slot.rows.map((row) => [row.setting, row.dense_accuracy]) : []);
  const inside = (row, field) => {
    const range = area[field === x ? "x" : "y"];
    const given = row[column[field]];
    const value = field === y && slot.chart.drops && isNumber(given) ? given - dense.get(row.setting) : given;
    return !range || (value !== null && value !== undefined && value >= Math.min(...range) && value <= Math.max(...range));
  };
  const rows = rowsOf(page.headline).filter((row) => row.panel === slot.panel && inside(row, x) && inside(row, y));
  return new Set(rows.map(keyOf));
}

let brushed = null;
function listenToBrush(slot) {
  slot.view.addSignalListener("brush", (_, area) => {
    if (!area || !Object.keys(area).length) {
      if (brushed === slot) { brushed = null; change("chosen", null); }
      return;
    }
    if (brushed && brushed !== slot) draw(brushed);
    brushed = slot;
    change("chosen", settingsInside(slot, { x: area.x, y: area.accuracy }));
  });
}

function clearBrush() {
  const slot = brushed;
  brushed = null;
  change("chosen", null);
  if (slot) draw(slot);
}

const signalling = {};
function tell(name, value) {
  cancelAnimationFrame(signalling[name]);
  signalling[name] = requestAnimationFrame(() => {
    for (const slot of slots) {
      if (slot.view && (slot.chart.spec.params || []).some((param) => param.name === name)) {
        slot.view.signal(name, value).runAsync();
      }
    }
  });
}

const nearScreen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const slot = slots.find((one) => one.node === entry.target);
    if (entry.isIntersecting && slot && !slot.wanted) draw(slot);
  }
}, { rootMargin: "600px 0px" });

function panelNode(slot, isOnly) {
  slot.node = element("div", { class: "view" });
  const name = [isOnly && page.panels.includes(slot.panel) ? "" : slot.panel, slot.part].filter(Boolean).join(" · ");
  return element("div", { class: "panel" }, name ? element("h4", {}, name) : null, slot.node);
}

/** Fill a figure with the panels that the reader has chosen. */
function fill(chart) {
  const box = chart.node.querySelector(".panels");
  for (const slot of slots.filter((one) => one.chart === chart)) {
    nearScreen.unobserve(slot.node);
    slot.made?.finalize();
    slots.splice(slots.indexOf(slot), 1);
  }
  const wanted = slotsOf(chart).filter(isShown);
  const isOnly = new Set(page.panels.filter((panel) => isShown({ panel }))).size < 2;
  box.replaceChildren(...wanted.map((slot) => panelNode(slot, isOnly)));
  if (!wanted.length) box.append(element("p", { class: "empty" }, chart.empty));
  chart.node.classList.toggle("wide", chart.wide || wanted.length > 1);
  slots.push(...wanted);
  wanted.forEach((slot) => nearScreen.observe(slot.node));
}

/** Draw the panels of a chart again that are drawn already. */
const redraw = (chart) => slots.filter((slot) => slot.chart === chart && slot.wanted).forEach(draw);

function drawRest() {
  const idle = window.requestIdleCallback || ((work) => setTimeout(work, 200));
  const next = slots.find((slot) => !slot.wanted);
  if (next && slots.length <= 60) idle(async () => { if (!next.wanted) await draw(next); drawRest(); });
}

function startCharts() {
  for (const chart of page.charts) {
    chart.node = byId(`chart-${chart.name}`);
    startTools(chart);
  }
  const fillAll = () => { brushed = null; if (state.chosen) change("chosen", null); page.charts.forEach(fill); drawRest(); };
  fillAll();
  on("panel", fillAll);
  on("hidden", () => {
    tell("hidden", state.hidden);
    slots.filter((slot) => slot.wanted && hasRows(slot)).forEach(draw);
  });
  on("chosen", () => tell("chosen", chosenForVega()));
  on("theme", () => slots.filter((slot) => slot.wanted).forEach(draw));
}
