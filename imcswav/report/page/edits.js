// Edits: kept here as a list until they are saved as the JSON that `imcswav edit RUN apply` takes.
const OUTLIER = -1;
const edits = [], marked = new Set();
let saved = 0;

function state() {  // what the edits so far come to
  const names = new Map(data.clusters.map((one) => [one.id, one.title])), into = new Map(), moved = new Map();
  for (const edit of edits) {
    if (edit.op === "rename") names.set(edit.cluster, edit.name);
    if (edit.op === "merge") {
      const [kept, ...gone] = edit.clusters, titled = edit.clusters.find((cluster) => names.get(cluster) !== `cluster ${cluster}`);
      gone.forEach((cluster) => into.set(cluster, kept));
      if (titled !== undefined) names.set(kept, names.get(titled));
    }
    if (edit.op === "assign") edit.images.forEach((name) => moved.set(name, edit.cluster));
  }
  return { names, into, moved };
}
function sentence(edit) {
  const images = edit.images && `${edit.images.length} ${edit.images.length === 1 ? "image" : "images"}`;
  if (edit.op === "rename") return `Cluster ${edit.cluster} is called “${edit.name}”`;
  if (edit.op === "merge") return `Clusters ${edit.clusters.join(", ")} become cluster ${edit.clusters[0]}`;
  return edit.cluster === OUTLIER ? `${images}: wrong, out of all clusters` : `${images}: to cluster ${edit.cluster}`;
}
const picked = () => [...document.querySelectorAll("[data-pick]:checked")].map((box) => Number(box.dataset.pick)).sort((a, b) => a - b);

function showCards({ into, moved }) {
  each("[data-card]", (card) => {
    const cluster = Number(card.dataset.card), gone = into.has(cluster), fate = card.querySelector(".fate");
    card.classList.toggle("gone", gone);
    fate.hidden = !gone;
    fate.textContent = gone ? `becomes part of cluster ${into.get(cluster)}` : "";
    card.querySelectorAll("[data-pick], [data-rename]").forEach((control) => { control.disabled = gone; });
    if (gone) card.querySelectorAll("[data-pick]").forEach((box) => { box.checked = false; });
  });
  each(".picture", (picture) => {
    const at = Number(picture.dataset.at), badge = picture.querySelector(".badge"), to = moved.get(data.names[at]);
    picture.setAttribute("aria-pressed", String(marked.has(at)));
    badge.hidden = to === undefined;
    badge.textContent = to === undefined ? "" : to === OUTLIER ? "wrong" : `→ ${to}`;
  });
}
function showBar({ into }) {
  byId("marked").textContent = marked.size ? `${marked.size} ${marked.size === 1 ? "image" : "images"} marked.` : "No image is marked.";
  for (const id of ["wrong", "move", "unmark", "target"]) byId(id).disabled = !marked.size;
  const target = byId("target"), before = target.value;
  const options = [...placeOf.keys()].filter((cluster) => !into.has(cluster)).map((cluster) => new Option(named(cluster), cluster));
  target.replaceChildren(...options);
  if (options.some((option) => option.value === before)) target.value = before;
  const many = picked();
  byId("merge").disabled = many.length < 2;
  byId("merge").textContent = many.length < 2 ? "Merge clusters" : `Merge clusters ${many.length > 5 ? `(${many.length})` : many.join(" and ")}`;
  byId("undo").disabled = !edits.length;
  byId("save").disabled = !edits.length;
  const count = edits.length === 1 ? "1 edit" : `${edits.length} edits`;
  byId("count").textContent = !edits.length ? "No edits yet" : saved === edits.length ? `${count}, saved` : `${count}, not saved yet`;
  byId("list").replaceChildren(...edits.map((edit) => {
    const row = document.createElement("li");
    row.textContent = sentence(edit);
    return row;
  }));
}
function show() {
  const now = state();
  now.names.forEach((title, cluster) => titles.set(cluster, title));
  each("[data-title-of]", (element) => { element.textContent = titles.get(Number(element.dataset.titleOf)); });
  each("[data-named]", (element) => { element.textContent = named(Number(element.dataset.named)); });
  showCards(now);
  showBar(now);
}
function add(edit) {
  edits.push(edit);
  saved = -1;
  show();
}
function assign(cluster) {
  add({ op: "assign", images: [...marked].map((at) => data.names[at]), cluster });
  marked.clear();
  show();
}

// one line without characters that can't be seen
const cleaned = (name) => name.replace(/\s+/g, " ").replace(/\p{C}/gu, "").trim();
function refusal(cluster, name) {  // as `imcswav edit` has it: a file that it would refuse must not be made
  const { into } = state();
  if ([...name].length > 100) return "A name has at most 100 characters.";
  if (name === "outliers" || (/^cluster -?\d+$/.test(name) && name !== `cluster ${cluster}`)) return `“${name}” names others already.`;
  const taken = [...titles].find(([other, title]) => other !== cluster && !into.has(other) && title === name);
  return taken ? `“${name}” is the name of cluster ${taken[0]} already.` : "";
}
function rename(button) {
  const cluster = Number(button.dataset.rename), input = document.createElement("input");
  input.className = "name";
  input.value = titles.get(cluster);
  input.setAttribute("aria-label", `name of cluster ${cluster}`);
  button.replaceWith(input);
  input.select();
  let open = true;
  const close = (keep) => {
    if (!open) return;
    const name = cleaned(input.value);
    input.setCustomValidity(keep ? refusal(cluster, name) : "");
    if (!input.reportValidity()) return;
    open = false;
    input.replaceWith(button);
    if (keep && name && name !== titles.get(cluster)) add({ op: "rename", cluster, name });
    button.focus();
  };
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") close(true);
    if (event.key === "Escape") close(false);
  });
  input.addEventListener("input", () => input.setCustomValidity(""));
  input.addEventListener("blur", () => {
    if (!open) return;
    const told = refusal(cluster, cleaned(input.value));
    close(!told);
    if (told) byId("count").textContent = told;
  });
}

byId("gallery").addEventListener("click", (event) => {
  const picture = event.target.closest(".picture"), title = event.target.closest("[data-rename]");
  if (title) rename(title);
  if (!picture) return;
  const at = Number(picture.dataset.at);
  if (!marked.delete(at)) marked.add(at);
  show();
});
each("[data-pick]", (box) => box.addEventListener("change", show));
byId("wrong").addEventListener("click", () => assign(OUTLIER));
byId("move").addEventListener("click", () => assign(Number(byId("target").value)));
byId("unmark").addEventListener("click", () => { marked.clear(); show(); });
byId("merge").addEventListener("click", () => {
  const clusters = picked();
  each("[data-pick]", (box) => { box.checked = false; });
  add({ op: "merge", clusters });
});
byId("undo").addEventListener("click", () => { edits.pop(); saved = -1; show(); });
byId("save").addEventListener("click", () => {
  download("edits.json", "application/json", JSON.stringify({ format: 1, base: data.base, edits }, null, 1) + "\n");
  saved = edits.length;
  show();
});
if (byId("mark")) byId("mark").addEventListener("click", () => { selected.forEach((at) => marked.add(at)); show(); });
window.addEventListener("beforeunload", (event) => { if (edits.length && saved !== edits.length) event.preventDefault(); });
show();
document.body.dataset.ready = "yes";
