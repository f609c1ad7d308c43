// Files without an answer, by reason, each with what to do; and what the answers remark.

function failuresCard() {
  const { failures, odd, flags } = library;
  const list = failures.length === 0 ? el("p.lead", {}, t("failures.none")) : el("ul.reasons", {}, failures.map(reasonItem));
  return card("failures", t("failures.title"), list,
    odd.length > 0 && el("h3", {}, t("odd.title")), odd.length > 0 && el("p.lead", {}, t("odd.lead")),
    odd.length > 0 && counted(odd, "odd"), flags.length > 0 && el("h3", {}, t("flags.title")), flags.length > 0 && counted(flags, "flag"));
}

function reasonItem({ reason, count, examples }) {
  const values = { n: number(count), shown: number(examples.length) };
  const title = has(`reason.${reason}`) ? t(`reason.${reason}`) : reason;
  return el("li", {}, el("h3", {}, el("span.number", {}, number(count)), " ", title),
    el("p", {}, has(`todo.${reason}`) ? t(`todo.${reason}`) : t("todo.other")),
    el("details", {}, el("summary", {}, t("failures.examples", values)),
      el("ul.files", {}, examples.map(([file, detail]) => el("li", {}, nameElement(file, "code"), nameElement(detail, "span.detail"))))));
}

function counted(pairs, kind) {
  return el("ul.counted", {}, pairs.map(([key, count]) =>
    el("li", {}, has(`${kind}.${key}`) ? t(`${kind}.${key}`) : key, el("b", {}, number(count)))));
}
