// Paper: what the screen folds, filters or leaves to a press is written out, and every chart has its own legend.

const PRINTED = 2000; // rows of the table of settings
const preparations = []; // each does something for paper and returns what undoes it
const forPrint = (prepare) => preparations.push(prepare);
let undo = null;

function beforePrint() {
  if (undo) return;
  undo = preparations.map((prepare) => prepare()).filter(Boolean);
}

function afterPrint() {
  (undo || []).reverse().forEach((one) => one());
  undo = null;
}

/** A method's mark and name. */
function keyMark(series) {
  const mark = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  mark.setAttribute("viewBox", "-1 -1 2 2");
  mark.setAttribute("aria-hidden", "true");
  path.setAttribute("d", series.path);
  path.setAttribute("fill", series.colours[state.theme]);
  mark.append(path);
  return mark;
}

/** The methods that a chart draws in their colours, in the legend's order; none where colour means something else. */
function drawnIn(chart) {
  if (!JSON.stringify(chart.spec).includes('"range":"category"')) return [];
  const names = new Set(slots.filter((slot) => slot.chart === chart).flatMap((slot) => slot.rows.map((row) => row.method)));
  return page.series.filter((series) => names.has(series.name) && !state.hidden[`m:${series.name}`]);
}

/** A legend under every chart that needs one. */
function addKeys() {
  const keys = page.charts.map((chart) => {
    const shown = drawnIn(chart);
    if (!shown.length) return null;
    const key = element("ul", { class: "key", "aria-label": `Methods in ${chart.title}` },
      ...shown.map((series) => element("li", {}, keyMark(series), element("span", {}, series.name))));
    chart.node.querySelector(".panels").after(key);
    return key;
  });
  return () => keys.forEach((key) => key?.remove());
}

/** What the reader has left out, said where the charts begin. */
function sayWhatIsLeftOut() {
  const hidden = page.series.filter((series) => state.hidden[`m:${series.name}`]).map((series) => series.name);
  const said = [
    state.panel ? `Shown: ${state.panel}, one of ${page.panels.length} pairs of data set and model.` : "",
    hidden.length ? `Hidden: ${hidden.join(", ")}.` : "",
    state.chosen ? "The table has the settings that were selected in a chart." : "",
  ].filter(Boolean).join(" ");
  const place = byId("charts-title");
  if (!said || !place) return null;
  const note = element("p", { class: "note printed" }, said);
  place.after(note);
  return () => note.remove();
}

/** Nothing is folded on paper. */
function openAll() {
  const closed = [...document.querySelectorAll("details:not([open])")];
  closed.forEach((one) => (one.open = true));
  return () => closed.forEach((one) => (one.open = false));
}

function startPrint() {
  [addKeys, sayWhatIsLeftOut, openAll].forEach(forPrint);
  addEventListener("beforeprint", beforePrint);
  addEventListener("afterprint", afterPrint);
}
