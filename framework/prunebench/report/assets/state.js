// What the reader has chosen: theme, panel, hidden methods, settings inside a brush. Views subscribe.

const state = {
  theme: "light",
  panel: "",
  hidden: {}, // "m:<method>" -> true
  chosen: null, // null for all, else a Set of "<panel>|<setting>"
};
const listeners = { theme: [], panel: [], hidden: [], chosen: [] };
const on = (what, listener) => listeners[what].push(listener);
function change(what, value) {
  state[what] = value;
  listeners[what].forEach((listener) => listener(value));
}

const keyOf = (row) => `${row.panel}|${row.setting}`;
/** A panel that the reader cannot choose, as a figure of a paper has, is always shown. */
const isShown = (row) => !state.panel || row.panel === state.panel || !page.panels.includes(row.panel);

/** Chosen settings as Vega sees them: an object that answers `chosen[key]`. */
function chosenForVega() {
  if (!state.chosen) return { all: true };
  return Object.fromEntries([...state.chosen].map((key) => [`k:${key}`, true]));
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  const button = byId("theme");
  button.textContent = theme === "dark" ? "Light" : "Dark";
  button.setAttribute("aria-label", `Switch to the ${theme === "dark" ? "light" : "dark"} theme`);
  change("theme", theme);
}

function startTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  setTheme(memory.get("theme") || (dark.matches ? "dark" : "light"));
  dark.addEventListener("change", () => memory.get("theme") || setTheme(dark.matches ? "dark" : "light"));
  byId("theme").addEventListener("click", () => {
    const next = state.theme === "dark" ? "light" : "dark";
    memory.set("theme", next);
    setTheme(next);
  });
}

/** One chip a method: a press hides or shows it everywhere; controls are always drawn. */
function legendChip(series) {
  const chip = element("button", { type: "button", class: "chip", "aria-pressed": "true", "data-method": series.name });
  chip.disabled = series.control;
  chip.title = series.control ? `${series.name}: a control, always drawn` : `Show or hide ${series.name}`;
  const mark = keyMark(series);
  chip.append(mark, element("span", {}, series.name));
  on("theme", () => mark.firstChild.setAttribute("fill", series.colours[state.theme]));
  on("hidden", () => chip.setAttribute("aria-pressed", String(!state.hidden[`m:${series.name}`])));
  chip.addEventListener("click", () => {
    const hidden = { ...state.hidden };
    if (hidden[`m:${series.name}`]) delete hidden[`m:${series.name}`];
    else hidden[`m:${series.name}`] = true;
    change("hidden", hidden);
  });
  return chip;
}

/** The bar stays on the screen while it leaves three quarters of it to what it steers. */
function keepWhatFits() {
  const bar = document.querySelector(".bar");
  const fit = () => bar.classList.toggle("tall", bar.offsetHeight > Math.max(150, 0.25 * innerHeight));
  new ResizeObserver(fit).observe(bar);
  addEventListener("resize", fit);
}

function startLegend() {
  const legend = byId("legend");
  legend.append(...page.series.map(legendChip));
  legend.classList.toggle("many", page.series.length > 10);
  const plain = page.series.filter((series) => !series.control);
  if (plain.length > 8) {
    const none = element("button", { type: "button", class: "quiet", onclick: () => {
      const all = Object.keys(state.hidden).length > 0;
      change("hidden", all ? {} : Object.fromEntries(plain.map((series) => [`m:${series.name}`, true])));
    } }, "Hide all");
    on("hidden", () => (none.textContent = Object.keys(state.hidden).length ? "Show all" : "Hide all"));
    legend.prepend(none);
  }
  keepWhatFits();
}

/** Which pair of data set and model is shown: buttons for a few, a list for many. */
function startPanels() {
  const box = byId("panels");
  box.hidden = page.panels.length < 2;
  state.panel = page.panels.length > 2 ? page.panels[0] : "";
  const names = [...page.panels, ""];
  const title = (panel) => panel || `All ${page.panels.length}`;
  if (page.panels.length > 6 || names.join("").length > 70) {
    const select = element("select", { "aria-label": "Data set and model" });
    select.append(...names.map((panel) => element("option", { value: panel }, title(panel))));
    select.value = state.panel;
    select.addEventListener("change", () => change("panel", select.value));
    return box.append(select);
  }
  for (const panel of names) {
    const tab = element("button", { type: "button", class: "tab", onclick: () => change("panel", panel) }, title(panel));
    const mark = () => tab.setAttribute("aria-pressed", String(state.panel === panel));
    on("panel", mark);
    mark();
    box.append(tab);
  }
}
