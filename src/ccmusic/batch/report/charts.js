// The genre mix and the histogram of certainty.

function levelChoice(where) {
  if (library.taxonomy.length < 2) return null;
  const items = library.taxonomy.map(({ size }, i) => [i, t(i === 0 ? "level.n" : "level.groups", { n: size })]);
  return choice(`level-${where}`, items, state.level, (level) => change({ level, genre: null }), t("level"));
}

function mixCard() {
  const counts = library.levels[state.level];
  const rows = genres().map((genre, i) => ({ genre, i, sure: counts.sure[i], unsure: counts.unsure[i], seconds: counts.seconds[i] }));
  rows.sort((a, b) => b.sure + b.unsure - a.sure - a.unsure || a.i - b.i);
  const total = Math.max(1, library.counts.answered);
  const most = Math.max(1, ...rows.map((row) => row.sure + row.unsure));
  const bars = rows.map((row) => {
    const n = row.sure + row.unsure;
    const meaning = t("mix.tracks", { n: number(n), sure: number(row.sure), hours: hours(row.seconds) });
    const part = (count, kind) => el(`b.${kind}`, { css: { width: `${(100 * count) / most}%`, "--genre": row.genre.colour } });
    return el("li", {}, el("button", {
      type: "button", title: meaning, "aria-pressed": String(state.genre === row.i), "data-focus": `mix:${row.i}`,
      onclick: () => change({ genre: state.genre === row.i ? null : row.i }),
    }, el("span.genre", {}, genreName(row.genre)), el("i", { "aria-hidden": "true" }, part(row.sure, "sure"), part(row.unsure, "unsure")),
      el("span.count", {}, number(n)), el("span.share", {}, percent(n / total, n / total < 0.1 ? 1 : 0)),
      el("span.hidden", {}, meaning)));
  });
  return card("mix", t("mix.title"), el("p.lead", {}, t("mix.lead")), levelChoice("mix"), el("ul.bars", {}, bars), sureLegend());
}

function sureLegend() {
  return el("p.legend-sure", { "aria-hidden": "true" }, el("b.sure"), t("mix.sure"), el("b.unsure"), t("mix.unsure"));
}

function certaintyCard() {
  const { sureBins, unsureBins } = library.levels[state.level];
  const n = sureBins.length;
  const most = Math.max(1, ...sureBins.map((count, i) => count + unsureBins[i]));
  const [width, height, left, bottom, top] = [560, 430, 46, 34, 8];
  const step = (width - left) / n;
  const scale = (height - bottom - top) / most;
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": t("certainty.lead") });
  for (const tick of ticks(most)) {
    const y = height - bottom - tick * scale;
    picture.append(svg("line", { x1: left, x2: width, y1: y, y2: y, class: "grid" }),
      svg("text", { x: left - 6, y: y + 4, "text-anchor": "end" }, shortNumber(tick)));
  }
  const table = [];
  for (let i = 0; i < n; i += 1) {
    const [sure, unsure] = [sureBins[i] * scale, unsureBins[i] * scale];
    const values = { from: percent(i / n), to: percent((i + 1) / n), sure: number(sureBins[i]), unsure: number(unsureBins[i]) };
    const bar = svg("g", {}, svg("title", {}, t("certainty.bin", values)));
    const box = { x: left + i * step + 1.5, width: step - 3 };
    bar.append(svg("rect", { ...box, y: top, height: height - bottom - top, class: "reach" }),
      svg("rect", { ...box, y: height - bottom - sure, height: sure, class: "sure" }),
      svg("rect", { ...box, y: height - bottom - sure - unsure, height: unsure, class: "unsure" }));
    picture.append(bar);
    if (sureBins[i] + unsureBins[i]) table.push([`${values.from} – ${values.to}`, values.sure, values.unsure]);
  }
  for (let share = 0; share <= 1; share += 0.25) {
    picture.append(svg("text", { x: left + share * (width - left), y: height - 12,
      "text-anchor": share === 1 ? "end" : share === 0 ? "start" : "middle" }, percent(share)));
  }
  return card("certainty", t("certainty.title"), el("p.lead", {}, t("certainty.lead")), picture, sureLegend(),
    el("details", {}, el("summary", {}, t("table")),
      tableOf([t("certainty.axis"), t("certainty.sure"), t("certainty.unsure")], table)));
}

function ticks(most) {
  const rough = most / 4;
  const power = 10 ** Math.floor(Math.log10(Math.max(rough, 1)));
  const step = Math.max(1, [1, 2, 5, 10].find((factor) => factor * power >= rough) * power);
  const found = [];
  for (let tick = 0; tick <= most; tick += step) found.push(tick);
  return found;
}

function tableOf(head, rows) {
  return el("table", {}, el("thead", {}, el("tr", {}, head.map((text) => el("th", { scope: "col" }, text)))),
    el("tbody", {}, rows.map((row) => el("tr", {}, row.map((cell, i) => el(i ? "td" : "th", i ? {} : { scope: "row" }, cell))))));
}
