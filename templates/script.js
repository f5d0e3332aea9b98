"use strict";
// The page is complete without this script. It adds filters, the detail of every case, and the theme switch.
// Text from a run reaches the document through textContent and setAttribute alone, never as markup.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const words = data.words;
  const panel = document.getElementById("panel");
  const title = document.getElementById("panel-h");
  const body = document.getElementById("panel-body");
  const back = document.getElementById("back");
  const PASS = data.verdicts.findIndex((v) => v.name === "pass");
  const numberOf = new Map(data.id.map((id, n) => [id, n]));
  let history_ = [];

  const word = (key, values = {}) => words[key].replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);

  function element(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) {
      if (key === "onclick") node.addEventListener("click", value);
      else node.setAttribute(key, value);
    }
    node.append(...children.filter((child) => child !== null && child !== undefined));
    return node;
  }

  const isolated = (text, attributes = {}) => element("bdi", attributes, String(text));

  function badge(verdict) {
    const v = data.verdicts[verdict];
    const symbol = element("span", { class: "symbol", "aria-hidden": "true" }, v.symbol);
    return element("span", { class: "badge v-" + v.name }, symbol, " " + word("verdict." + v.name));
  }

  // As a POSIX shell wants it: the same rule as Python's shlex.quote.
  const quote = (text) =>
    /^[\w@%+=:,./-]+$/.test(text) && /^[\x00-\x7f]*$/.test(text) ? text : "'" + text.replaceAll("'", "'\"'\"'") + "'";

  const further = new Set(data.further);

  function commands(n) {
    const reproduce = data.reproduce;
    const source = data.sources[data.source[n]];
    const start = source === "vector" ? reproduce.vectors : further.has(n) ? reproduce.further : reproduce.run;
    const only =
      source === "operator"
        ? ["--operator", data.operators[data.operator[n]], "--dtype", data.dtypes[data.dtype[n]]]
        : source === "vector"
          ? ["--vectors", data.id[n].replace(/^vectors\//, "")]
          : ["--model", data.models[data.model[n]]];
    return [
      ["conformance", "export", reproduce.folder, data.id[n], "-o", "reproduction"].map(quote).join(" "),
      start + " " + [...only, "-o", "again"].map(quote).join(" "),
    ];
  }

  function copyable(text) {
    const code = element("code", { class: "command", translate: "no" }, text);
    if (!navigator.clipboard) return element("div", { class: "copy" }, code);
    const button = element("button", { type: "button" }, word("copy"));
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(text);
      button.textContent = word("copied");
    });
    return element("div", { class: "copy" }, code, button);
  }

  function show(heading, content, address) {
    title.textContent = heading;
    body.replaceChildren(...content);
    body.scrollTop = 0;
    back.hidden = history_.length < 2;
    if (address) history.replaceState(null, "", "#" + address);
    if (!panel.open) panel.showModal();
    title.focus();
  }

  function open(view) {
    history_.push(view);
    view();
  }

  function showCase(n) {
    const id = data.id[n];
    const detail = data.detail[n] ?? {};
    const message = data.texts[data.message[n]];
    const rows = [];
    const row = (key, value) => {
      if (value !== null && value !== undefined && value !== "") rows.push(element("dt", {}, word(key)), element("dd", {}, isolated(value)));
    };
    row("operator", data.operators[data.operator[n]]);
    row("dtype", data.dtypes[data.dtype[n]]);
    row("source", word("source." + data.sources[data.source[n]]));
    row("model", data.models[data.model[n]]);
    row("units", data.units[n]);
    row("ulp", detail.ulp);
    row("bits", detail.bits);
    row("median", detail.median_units);
    row("share", typeof detail.share === "number" ? Math.ceil(detail.share * 1e6) / 1e4 + " %" : detail.share);
    row("elements", detail.elements);
    row("output", detail.output);
    row("index", Array.isArray(detail.index) ? "[" + detail.index.join(", ") + "]" : detail.index);
    row("actual", detail.actual);
    row("expected", detail.expected);
    row("allowed", detail.allowed);
    if (detail.similar !== undefined) row("similar", detail.similar ? word("similar.yes") : word("similar.no"));
    row("after", detail.after);
    if (detail.differs) row("repeat", word("differs"));
    const content = [element("p", {}, badge(data.verdict[n]))];
    if (message) content.push(element("p", { class: "said" }, isolated(message)));
    content.push(element("dl", { class: "pairs" }, ...rows));
    const places = occurrences(n);
    if (places.length) {
      content.push(element("h3", {}, word("stands", { count: places.reduce((sum, p) => sum + p[1].length, 0) })));
      const list = places.map(([model, at]) => element("li", {}, isolated(model), " — ", isolated(at.slice(0, 12).join(", ") + (at.length > 12 ? " …" : ""))));
      content.push(element("ul", {}, ...list));
    }
    content.push(element("h3", {}, word("reproduce")), ...commands(n).map(copyable));
    if (detail.log !== undefined) content.push(element("h3", {}, word("log")), element("pre", { tabindex: "0", dir: "ltr" }, data.texts[detail.log]));
    if (data.shortened) content.push(element("p", { class: "quiet" }, word("shortened")));
    show(id, content, "case=" + encodeURIComponent(id));
  }

  // Where a case stands: [model, node names], from the strips.
  function occurrences(n) {
    const found = [];
    data.nodes.forEach((numbers, m) => {
      const at = [];
      numbers.forEach((number, k) => number === n && at.push(data.names[m][k]));
      if (at.length) found.push([data.strips[m], at]);
    });
    return found;
  }

  const rank = (n) => data.verdicts[data.verdict[n]].rank; // the gravest first: what the field in the heatmap shows

  function showList(heading, numbers) {
    const sorted = [...numbers].sort((a, b) => rank(a) - rank(b) || a - b);
    const failing = sorted.filter((n) => data.verdict[n] !== PASS).length;
    const items = sorted.map((n) => {
      const link = element("button", { type: "button", class: "link", translate: "no", onclick: () => open(() => showCase(n)) }, isolated(data.id[n]));
      const message = data.texts[data.message[n]];
      const units = data.units[n];
      return element("li", {}, badge(data.verdict[n]), " ", link,
        units !== null && units !== undefined ? element("span", { class: "quiet" }, " " + word("times", { units })) : null,
        message ? element("p", { class: "said" }, isolated(message)) : null);
    });
    show(heading, [element("p", {}, word("list", { total: sorted.length, failing })), element("ul", { class: "list" }, ...items)]);
  }

  function shut() {
    panel.close();
  }
  document.getElementById("close").addEventListener("click", shut);
  panel.addEventListener("click", (event) => event.target === panel && shut());
  panel.addEventListener("close", () => {
    history_ = [];
    if (location.hash.startsWith("#case=")) history.replaceState(null, "", location.pathname + location.search);
  });
  back.addEventListener("click", () => {
    history_.pop();
    history_[history_.length - 1]();
  });

  function fromAddress() {
    if (!location.hash.startsWith("#case=")) return;
    let id;
    try {
      id = decodeURIComponent(location.hash.slice(6));
    } catch {
      return; // a mangled address names no case
    }
    if (numberOf.has(id) && !(panel.open && title.textContent === id)) open(() => showCase(numberOf.get(id)));
  }
  addEventListener("hashchange", fromAddress);

  // Names of cases in the text lead to their detail.
  for (const link of document.querySelectorAll("a[data-case]")) {
    const n = Number(link.dataset.case);
    link.href = "#case=" + encodeURIComponent(data.id[n]);
  }

  // The heatmap: one tab stop, arrows move, Enter opens.
  const heat = document.getElementById("heat");
  const cells = new Map();
  data.id.forEach((_, n) => {
    const source = data.sources[data.source[n]];
    if (source !== "operator" && source !== "model") return;
    const key = data.operator[n] + " " + data.dtype[n];
    if (!cells.has(key)) cells.set(key, []);
    cells.get(key).push(n);
  });
  const operatorNumber = new Map(data.operators.map((name, k) => [name, k]));
  const dtypeNumber = new Map(data.dtypes.map((name, k) => [name, k]));
  function openCell(cell) {
    const operator = cell.parentNode.dataset.op;
    const dtype = cell.dataset.d;
    const numbers = cells.get(operatorNumber.get(operator) + " " + dtypeNumber.get(dtype)) ?? [];
    open(() => showList(operator + " · " + dtype, numbers));
  }
  for (const cell of heat.querySelectorAll("td.cell")) cell.tabIndex = -1;
  // The one tab stop must be a cell that shows: a filter that hid it would shut the keyboard out of the heatmap.
  function tabStop() {
    const stop = heat.querySelector('td.cell[tabindex="0"]');
    if (stop?.checkVisibility()) return;
    if (stop) stop.tabIndex = -1;
    const first = heat.querySelector("tbody:not([hidden]) tr:not([hidden]) > td.cell");
    if (first) first.tabIndex = 0;
  }
  heat.addEventListener("click", (event) => {
    const cell = event.target.closest("td.cell");
    if (cell) openCell(cell);
  });
  heat.addEventListener("focusin", (event) => {
    if (!event.target.matches("td.cell")) return;
    for (const cell of heat.querySelectorAll('td.cell[tabindex="0"]')) cell.tabIndex = -1;
    event.target.tabIndex = 0;
  });
  heat.addEventListener("keydown", (event) => {
    const cell = event.target.closest("td.cell");
    if (!cell) return;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      openCell(cell);
      return;
    }
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!step) return;
    event.preventDefault();
    const rows = [...heat.querySelectorAll("tr[data-op]")].filter((r) => !r.hidden && !r.parentNode.hidden);
    let y = rows.indexOf(cell.parentNode);
    let x = cell.cellIndex;
    for (;;) {
      y += step[0];
      x += step[1];
      const next = rows[y]?.cells[x];
      if (!next || x < 1) return;
      if (next.matches("td.cell")) {
        next.focus();
        return;
      }
    }
  });

  const filters = document.getElementById("filters");
  const shown = document.getElementById("shown");
  function filter() {
    const text = filters.elements.text.value.trim().toLowerCase();
    const family = filters.elements.family.value;
    const set = filters.elements.set.value;
    const verdict = filters.elements.verdict.value;
    let count = 0;
    let total = 0;
    for (const group of heat.tBodies) {
      let any = false;
      for (const row of group.querySelectorAll("tr[data-op]")) {
        const verdicts = row.dataset.v.trim().split(" ");
        const keep =
          row.dataset.op.toLowerCase().includes(text) &&
          (family === "" || group.dataset.family === family) &&
          (set === "" || set in row.dataset) &&
          (verdict === "" || (verdict === "failing" ? verdicts.some((v) => v && v !== "pass") : verdicts.includes(verdict)));
        row.hidden = !keep;
        any ||= keep;
        count += keep;
        total += 1;
      }
      group.hidden = !any;
    }
    shown.textContent = word("shown", { count, total });
    tabStop();
  }
  filters.addEventListener("input", filter);
  filters.addEventListener("reset", () => setTimeout(filter));
  filters.addEventListener("submit", (event) => event.preventDefault());
  filter();

  // The strips: the pointer or the arrow keys choose a node, a line below says which, Enter or a click opens it.
  for (const strip of document.querySelectorAll(".strip")) {
    const m = Number(strip.dataset.model);
    const nodes = strip.children;
    const line = element("p", { class: "reading", "aria-hidden": "true" });
    strip.after(line);
    strip.tabIndex = 0;
    strip.setAttribute("role", "slider");
    strip.setAttribute("aria-label", word("strip.label", { model: data.strips[m] }));
    strip.setAttribute("aria-valuemin", "1");
    strip.setAttribute("aria-valuemax", String(nodes.length));
    strip.setAttribute("aria-valuenow", "1");
    let at = -1;
    const place = (target) => (target.parentNode === strip ? Array.prototype.indexOf.call(nodes, target) : -1);
    function choose(k) {
      if (k < 0 || k >= nodes.length || k === at) return;
      if (at >= 0) nodes[at].classList.remove("at");
      at = k;
      nodes[at].classList.add("at");
      const n = data.nodes[m][k];
      const verdict = n === null ? word("unselected") : data.verdicts[data.verdict[n]].symbol + " " + word("verdict." + data.verdicts[data.verdict[n]].name);
      const where = word("strip.place", { place: k + 1, total: nodes.length }) + " ";
      line.replaceChildren(where, isolated(data.names[m][k], { class: "name" }), " — " + verdict);
      strip.setAttribute("aria-valuenow", String(k + 1));
      strip.setAttribute("aria-valuetext", line.textContent);
    }
    const enter = () => at >= 0 && data.nodes[m][at] !== null && open(() => showCase(data.nodes[m][at]));
    strip.addEventListener("pointermove", (event) => choose(place(event.target)));
    strip.addEventListener("click", (event) => {
      choose(place(event.target));
      if (place(event.target) >= 0) enter();
    });
    strip.addEventListener("keydown", (event) => {
      const failing = (k) => data.nodes[m][k] !== null && data.verdict[data.nodes[m][k]] !== PASS;
      const seek = (step) => {
        for (let k = at + step; k >= 0 && k < nodes.length; k += step) if (failing(k)) return k;
        return at;
      };
      const moves = { ArrowRight: () => at + 1, ArrowLeft: () => at - 1, ArrowDown: () => seek(1), ArrowUp: () => seek(-1), Home: () => 0, End: () => nodes.length - 1 };
      if (event.key in moves) choose(moves[event.key]());
      else if (event.key === "Enter" || event.key === " ") enter();
      else return;
      event.preventDefault();
    });
  }

  // The theme: what the system says, until the reader says otherwise.
  const root = document.documentElement;
  const toggle = document.getElementById("theme");
  const dark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const remember = (value) => {
    try {
      return value === undefined ? localStorage.getItem("theme") : localStorage.setItem("theme", value);
    } catch {
      return null; // a browser that keeps nothing for local files
    }
  };
  const kept = remember();
  if (kept === "dark" || kept === "light") root.dataset.theme = kept;
  toggle.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    remember(root.dataset.theme);
    toggle.setAttribute("aria-pressed", String(dark()));
  });
  toggle.setAttribute("aria-pressed", String(dark()));

  // On paper, short lists are open; long ones stay a count, or they would bury the rest.
  addEventListener("beforeprint", () => {
    for (const part of document.querySelectorAll("details.brief")) part.open = true;
  });
  for (const part of document.querySelectorAll(".script")) part.hidden = false;
  fromAddress();
})();
