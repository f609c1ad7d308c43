// The review queue: a person decides per track, and saves the decisions as a plan.

const ROWS_OF_A_PAGE = 12;
const MOST_IN_A_LIST = 500; // genres of a select
const COMMAND = "ccmusic tag apply";
const queue = { kind: null, search: "", genre: "", page: 0 };
const decisions = new Map(); // key of a track → genre to write, or null: leave the file as it is
const KEY = `ccmusic-report ${library.made} ${library.counts.total}`;

for (const [key, genre] of remember(KEY) ?? []) decisions.set(key, genre);

// A path that is not UTF-8 has its bytes beside its text.
function keyOf(row) {
  return row.path_base64 ?? row.path;
}

// What is written into a file for a genre; nothing for some groups.
function written(id) {
  return byId.get(id)?.written ?? [];
}

function kinds() {
  return Object.keys(library.queue.counts).filter((kind) => library.queue.counts[kind] > 0);
}

function rowsOf(kind) {
  const wanted = queue.search.trim().toLowerCase();
  return library.queue.rows.filter((row) =>
    (kind === "decided" ? decisions.has(keyOf(row)) : row.kind === kind)
    && (!wanted || row.path.toLowerCase().includes(wanted))
    && (!queue.genre || row.genre === queue.genre));
}

function queueCard() {
  queue.kind ??= kinds()[0] ?? "uncertain";
  const unread = !library.queue.read && library.queue.rows.length > 0;
  const found = card("queue", t("queue.title"), el("p.lead", {}, t("queue.lead", { command: COMMAND })),
    unread && el("p.notice", {}, t("queue.unread")), el("div.tabs"), filters(),
    el("div.list"), el("div.plan"));
  drawQueue(found);
  return found;
}

function filters() {
  const present = [...new Set(library.queue.rows.map((row) => row.genre))].sort((a, b) => nameOf(a).localeCompare(nameOf(b)));
  const select = el("select", { "aria-label": t("queue.genre"), onchange: (event) => search({ genre: event.target.value }) },
    el("option", { value: "" }, t("queue.all")), present.map((id) => el("option", { value: id }, nameOf(id))));
  select.value = queue.genre;
  return el("div.filters", {}, el("input", { type: "search", value: queue.search, placeholder: t("queue.search"),
    "aria-label": t("queue.search"), oninput: (event) => search({ search: event.target.value }) }), select);
}

function search(changes) {
  Object.assign(queue, { page: 0 }, changes);
  drawQueue(document.querySelector(".queue"));
}

function drawQueue(root) {
  keepFocus(() => {
    const tabs = [...kinds(), ...(decisions.size ? ["decided"] : [])].map((kind) => {
      const count = kind === "decided" ? decisions.size : library.queue.counts[kind];
      return [kind, `${t(`kind.${kind}`)} ${number(count)}`];
    });
    root.querySelector(".tabs").replaceChildren(choice("kind", tabs, queue.kind, (kind) => search({ kind }), t("queue.title")));
    root.querySelector(".list").replaceChildren(...listOf());
    root.querySelector(".plan").replaceChildren(...planBar());
  });
}

function listOf() {
  const rows = rowsOf(queue.kind);
  const total = library.queue.counts[queue.kind] ?? 0;
  const here = library.queue.rows.filter((row) => row.kind === queue.kind).length;
  const some = here < total && el("p.note", {}, t("queue.some", { shown: number(here), total: number(total) }));
  if (rows.length === 0) return [el("p.lead", {}, t("queue.none"))];
  const pages = Math.ceil(rows.length / ROWS_OF_A_PAGE);
  queue.page = Math.min(queue.page, pages - 1);
  const start = queue.page * ROWS_OF_A_PAGE;
  const shown = rows.slice(start, start + ROWS_OF_A_PAGE);
  const turn = (by, text) => el("button", { type: "button", disabled: queue.page + by < 0 || queue.page + by >= pages, "data-focus": `turn:${by}`,
    onclick: () => search({ page: queue.page + by }) }, text);
  const values = { from: number(start + 1), to: number(start + shown.length), n: number(rows.length) };
  const writable = queue.kind === "uncertain" || queue.kind === "decided" ? [] : rows.filter((row) => written(row.genre).length);
  const all = writable.length > 0 && el("button", { type: "button", "data-focus": "all", onclick: () => {
    for (const row of writable) decisions.set(keyOf(row), row.genre);
    decided();
  } }, t("decide.all", { n: number(writable.length) }));
  return [some, el("ol.rows", { start: start + 1 }, shown.map(rowItem)),
    el("div.turn", {}, turn(-1, t("page.back")), el("span", {}, t("page.of", values)), turn(1, t("page.next")), all)].filter(Boolean);
}

function rowItem(row) {
  const path = visible(row.path);
  const cut = path.lastIndexOf("/") + 1;
  const own = row.own === null ? el("em", {}, t("queue.unknown")) : row.own.length === 0 ? el("em", {}, t("queue.nothing"))
    : row.own.map((genre) => el("span.chip", {}, el("bdi", {}, visible(genre))));
  return el("li.row", { "data-kind": row.kind }, el("div.track", {}, nameElement(path.slice(cut), "strong"), nameElement(path.slice(0, cut), "small")),
    el("div.own", {}, el("small", {}, t("queue.file")), el("div", {}, own)), answerCell(row), decisionCell(row, path.slice(cut)));
}

function reasonOf(row) {
  if (row.level) return t("queue.answer");
  return t(`why.${row.whyNot}`, { odd: row.odd && t(`odd.${row.odd}`) });
}

function answerCell(row) {
  const chips = row.guesses.length ? row.guesses : [[row.genre, row.probability]];
  return el("div.answer", {}, el("small", {}, reasonOf(row)),
    el("div", {}, chips.map(([id, probability]) => el("span.chip", { class: row.level ? "chip" : "chip guess" },
      el("b", { css: { background: colourOf(id) } }), nameOf(id), " ", el("i", {}, percent(probability))))));
}

function decisionCell(row, name) {
  const key = keyOf(row);
  const decision = decisions.get(key); // undefined: none yet
  const button = (value, text, options = {}) => el("button", { type: "button", "aria-pressed": String(decision === value), "data-focus": `${text}:${key}`,
    onclick: () => decide(key, decision === value ? undefined : value), ...options }, text);
  const other = decision !== undefined && decision !== null && decision !== row.genre;
  const offered = [...byId.values()].filter((genre) => genre.written.length).slice(0, MOST_IN_A_LIST);
  const select = el("select", { "aria-label": t("decide.other"), "data-focus": `other:${key}`, class: other ? "chosen" : null,
    onchange: (event) => decide(key, event.target.value || undefined) },
    el("option", { value: "" }, t("decide.other")), offered.map((genre) => el("option", { value: genre.id }, genreName(genre))));
  if (other) select.value = decision;
  const nothing = written(row.genre).length === 0;
  const write = button(row.genre, t("decide.write"), nothing ? { disabled: true, title: t("decide.nothing") } : { title: written(row.genre).join("; ") });
  return el("div.decision", { role: "group", "aria-label": t("decide.label", { name }) }, write, button(null, t("decide.keep")), select,
    decision && el("small", {}, t("decide.writes", { genres: written(decision).join("; ") })));
}

function decide(key, genre) {
  if (genre === undefined) decisions.delete(key);
  else decisions.set(key, genre);
  decided();
}

function decided() {
  remember(KEY, [...decisions]);
  if (queue.kind === "decided" && decisions.size === 0) queue.kind = kinds()[0];
  drawQueue(document.querySelector(".queue"));
}

function planBar() {
  const write = [...decisions.values()].filter((genre) => genre !== null).length;
  return [el("span", { role: "status" }, t("plan.count", { n: number(decisions.size), write: number(write) })),
    el("button", { type: "button", disabled: decisions.size === 0, "data-focus": "clear", onclick: () => { decisions.clear(); decided(); } }, t("decide.clear")),
    el("button.main", { type: "button", disabled: decisions.size === 0, "data-focus": "save", onclick: save }, t("plan.save"))];
}

// A plan as `ccmusic tag plan` writes it (ccmusic.batch.plan_format).
function planText() {
  const { version, write, keep } = library.queue.plan;
  const lines = [{ plan: version, made_by: library.program, mode: "review" }];
  for (const row of library.queue.rows) {
    if (!decisions.has(keyOf(row))) continue;
    const genre = decisions.get(keyOf(row));
    const line = { path: row.path, path_base64: row.path_base64, action: genre === null ? keep : write, genres_now: row.own ?? [] };
    if (genre === null) line.reason = "review";
    else Object.assign(line, { genres: written(genre), payload: row.payload ?? undefined });
    line.answer = { label: row.genre, level: row.level, probability: row.probability };
    lines.push(line);
  }
  return lines.map((line) => JSON.stringify(line) + "\n").join("");
}

function save() {
  const address = URL.createObjectURL(new Blob([planText()], { type: "application/jsonl" }));
  el("a", { href: address, download: "ccmusic-plan.jsonl" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
}
