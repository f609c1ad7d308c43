// The page as a whole: header, numbers, the cards, and what is drawn again when a choice changes.

const CARDS = { mix: mixCard, certainty: certaintyCard, map: mapCard, failures: failuresCard, queue: queueCard };
const OF_THE_LEVEL = ["mix", "certainty", "map"];

Object.assign(state, remember("ccmusic-report") ?? {}, { level: 0, genre: null });

// Draws, and gives the focus back to the element that had it before it was made again.
function keepFocus(draw) {
  const key = document.activeElement?.dataset?.focus;
  draw();
  if (!key || document.activeElement?.dataset?.focus === key) return;
  for (const element of document.querySelectorAll("[data-focus]")) if (element.dataset.focus === key) { element.focus({ preventScroll: true }); return; }
}

function change(changes) {
  Object.assign(state, changes);
  keepFocus(() => {
    for (const kind of OF_THE_LEVEL) {
      document.querySelector(`.card.${kind}`)?.replaceWith(CARDS[kind]());
    }
  });
}

function switchTo(changes) {
  Object.assign(state, changes);
  remember("ccmusic-report", { language: state.language, theme: state.theme });
  keepFocus(draw);
}

function header() {
  const model = library.model ? `${library.model.name} ${library.model.version} (${library.model.sha256.slice(0, 12)})` : "–";
  const made = new Intl.DateTimeFormat(state.language, { dateStyle: "medium", timeStyle: "short" }).format(new Date(library.made));
  const values = { tracks: number(library.counts.total), hours: hours(library.seconds), model, made };
  const logo = document.querySelector("#logo svg").cloneNode(true);
  return el("header", {}, el("div.brand", {}, logo, el("div", {}, el("p", {}, "CCMusic"), el("h1", {}, t("title")))),
    el("div.switches", {}, choice("language", [["en", "English"], ["zh", "中文"]], state.language, (language) => switchTo({ language }), t("language")),
      choice("theme", ["auto", "light", "dark"].map((theme) => [theme, t(`theme.${theme}`)]), state.theme, (theme) => switchTo({ theme }), t("theme"))),
    el("p.lead", {}, t("lead", values)));
}

function tiles() {
  const { counts } = library;
  const failed = (counts.failed ?? 0) + (counts.skipped ?? 0);
  const shown = [["answered", counts.answered], ["sure", counts.sure], ["unsure", counts.unsure], ["odd", counts.odd], ["same", counts.same],
    ["failed", failed], ["waiting", counts.waiting ?? 0]].filter(([kind, n]) => n > 0 || kind === "answered" || kind === "failed");
  return el("ul.tiles", {}, shown.map(([kind, n]) => {
    const part = kind === "sure" || kind === "unsure" ? n / Math.max(1, counts.answered) : null;
    return el(`li.${kind}`, {}, el("strong", {}, number(n), part !== null && el("small", {}, percent(part))), el("span", {}, t(`tile.${kind}`)));
  }));
}

function notices() {
  return ["stale", "other"].filter((kind) => library.counts[kind] > 0).map((kind) =>
    el("p.notice", {}, t(kind, { n: number(library.counts[kind]) })));
}

function draw() {
  document.documentElement.lang = state.language === "zh" ? "zh-CN" : "en";
  document.documentElement.dataset.theme = state.theme;
  document.title = `CCMusic: ${t("title")}`;
  document.getElementById("app").replaceChildren(header(),
    el("main", {}, tiles(), notices(), el("div.pair", {}, mixCard(), certaintyCard()), mapCard(), queueCard(), failuresCard()),
    el("footer", {}, t("foot", { program: library.program })));
}

// What is drawn on the canvas has the colours of the theme.
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => change({}));
draw();
