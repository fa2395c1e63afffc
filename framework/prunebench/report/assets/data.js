// What Python left in the page, and how values are written.

const page = JSON.parse(document.getElementById("page-data").textContent);
const byId = (id) => document.getElementById(id);

/** A new element; text is always set as text, never as markup. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") made.className = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** The rows of a frame as objects; a column of repeated words is stored as codes into its list of words. */
function rowsOf(frame) {
  if (!frame.rows) {
    const columns = frame.columns.map((column) => ({
      name: column.name,
      at: column.words ? (i) => (column.codes[i] < 0 ? null : column.words[column.codes[i]]) : (i) => column.values[i],
    }));
    frame.rows = Array.from({ length: frame.length }, (_, i) => {
      const row = {};
      for (const column of columns) row[column.name] = column.at(i);
      return row;
    });
  }
  return frame.rows;
}

const digits = (value, least, most) =>
  value.toLocaleString("en-US", { minimumFractionDigits: least, maximumFractionDigits: most });

const forms = {
  text: (value) => String(value),
  bool: (value) => (value ? "yes" : "no"),
  integer: (value) => digits(value, 0, 0),
  number: (value) => (Math.abs(value) >= 1e-3 && Math.abs(value) < 1e7 ? digits(value, 0, 4) : value.toExponential(3)),
  share: (value) => `${digits(100 * value, 2, 2)} %`,
  points: (value) => digits(100 * value, 2, 2),
  ratio: (value) => `${digits(value, 2, 2)}×`,
  ms: (value) => `${digits(value, value < 10 ? 3 : 1, value < 10 ? 3 : 1)} ms`,
  seconds: (value) => `${digits(value, value < 10 ? 2 : 0, value < 10 ? 2 : 0)} s`,
  bytes: (value) => {
    const step = [[1e9, "GB"], [1e6, "MB"], [1e3, "kB"]].find(([size]) => value >= size);
    return step ? `${digits(value / step[0], 1, value / step[0] < 10 ? 2 : 1)} ${step[1]}` : `${digits(value, 0, 0)} B`;
  },
};

/** A value as people read it; what is missing is a dash. */
function shown(kind, value) {
  return value === null || value === undefined ? "–" : (forms[kind] || forms.text)(value);
}

/** Seeds as they are counted in a table: a single one is marked. */
const seeds = (count) => (count === 1 ? "(1 seed)" : shown("integer", count));

const isNumeric = (kind) => kind !== "text" && kind !== "bool";

/** One CSV cell; text that a spreadsheet would take for a formula is defused. */
function csvCell(value) {
  if (value === null || value === undefined) return "";
  const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function csvOf(frame) {
  const names = frame.columns.map((column) => column.name);
  const lines = rowsOf(frame).map((row) => names.map((name) => csvCell(row[name])).join(","));
  return [names.map(csvCell).join(","), ...lines].join("\r\n") + "\r\n";
}

function jsonOf(frame) {
  return JSON.stringify(rowsOf(frame), null, 1);
}

function download(name, text, type) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = element("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = element("textarea", { readonly: true });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  const before = button.textContent;
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = before), 1500);
}

/** What the browser keeps between visits, where it lets us. */
const memory = {
  get: (key) => { try { return sessionStorage.getItem(key); } catch { return null; } },
  set: (key, value) => { try { sessionStorage.setItem(key, value); } catch { /* a file opened without storage */ } },
};
