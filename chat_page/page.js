// What the page needs of the browser beside its answers (answers.js): looking at pictures, files from anywhere, keys.
// Runs once, inside a function, when the page is there; MAX_FILES and MAX_FILE_MB are set before it (chat_page/theme.py).

const find = (selector) => document.querySelector(selector);
const take = (event) => {  // nobody else gets it
  event.preventDefault();
  event.stopImmediatePropagation();
};
const element = (tag, properties, ...children) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
};

// ---- a line above the input box -----------------------------------------------------------------------------------

const hint = element("div", { id: "hint", role: "status" });
let hintTimer = 0;

function say(text, seconds = 0, action = "", act = () => {}) {
  clearTimeout(hintTimer);
  hint.replaceChildren(...(text ? [element("span", { textContent: text })] : []));
  if (action) hint.append(element("button", { type: "button", textContent: action, onclick: () => { say(""); act(); } }));
  if (seconds) hintTimer = setTimeout(() => say(""), 1000 * seconds);
}

addEventListener("cleared", () => say("Cleared.", 10, "Undo", () => find("#undo-clear").click()));

// ---- pictures and videos, as large as the window ------------------------------------------------------------------

const stage = element("div", { className: "stage" }), caption = element("p", {});
const step = (by, name, sign) => element("button", { type: "button", ariaLabel: name, textContent: sign, onclick: () => show(at + by) });
const back = step(-1, "Previous", "‹"), forth = step(1, "Next", "›");
const close = element("button", { type: "button", ariaLabel: "Close", textContent: "✕", onclick: () => lightbox.close() });
const lightbox = element("dialog", { id: "lightbox", ariaLabel: "Picture" }, stage, caption, back, forth, close);
document.body.append(lightbox);
let slides = [], at = 0;  // of each, what is shown, and what was seen of it; each page of a document is one

const slidesOf = (picture) => {
  const shown = [...picture.querySelectorAll("img, video")];
  return picture.matches(".document") ? shown.map((page) => [page]) : [shown];
};

function show(index) {
  if (!slides[index]) return;
  at = index;
  const [shown, ...seen] = slides[at];
  const large = Object.assign(shown.cloneNode(), { hidden: false });
  if (large.tagName === "VIDEO") Object.assign(large, { controls: true, muted: false });
  const frames = seen.map((frame) => element("figure", {}, element("img", { src: frame.src, alt: "" }),
    element("figcaption", { textContent: frame.alt })));
  stage.replaceChildren(large, ...(frames.length ? [element("div", { className: "seen" }, "Seen by the model:", ...frames)] : []));
  const page = shown.closest(".document") ? shown.alt : "";
  caption.textContent = [page, slides.length > 1 ? `${at + 1} of ${slides.length}` : ""].filter(Boolean).join(" · ");
  [back.hidden, forth.hidden] = [!at, at === slides.length - 1];
}

document.addEventListener("click", ({ target }) => {
  const picture = target.closest?.(".message .picture");
  const [first] = picture ? slidesOf(picture) : [];
  if (!first) return;
  slides = [...document.querySelectorAll(".message .picture")].flatMap(slidesOf);
  show(slides.findIndex(([shown]) => shown === first[0]));
  lightbox.showModal();
  close.focus();  // the others come and go
});
lightbox.addEventListener("click", ({ target }) => [lightbox, stage].includes(target) && lightbox.close());
lightbox.addEventListener("close", () => stage.replaceChildren());  // a video goes on otherwise
document.addEventListener("keydown", ({ key, target }) => {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[key];
  if (by && lightbox.open && target.tagName !== "VIDEO") show(at + by);
});
document.addEventListener("loadedmetadata", ({ target }) => {
  const picture = target.closest?.(".picture"), seconds = Math.round(target.duration);
  if (!picture) return;
  const length = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  picture.querySelector("i").textContent = `▶ ${length}`;
  picture.ariaLabel = `${picture.title}, ${length}`;
}, true);

// ---- files, from anywhere on the page -----------------------------------------------------------------------------

const veil = element("div", { id: "veil", hidden: true, textContent: "Drop pictures, videos and documents anywhere" });
document.body.append(veil);
const picker = () => find("#question input[type=file]");
let ownDrag = false;

function give(files) {
  const all = new DataTransfer();
  [...files].forEach((file) => all.items.add(file));
  picker().files = all.files;
  picker().dispatchEvent(new Event("change", { bubbles: true }));
}

// Before Gradio looks: what is too large or one too many is said, and the others are uploaded.
document.addEventListener("change", (event) => {
  if (event.target !== picker()) return;
  const room = MAX_FILES - document.querySelectorAll("#question .thumbnail-item").length;
  const files = [...event.target.files], small = files.filter(({ size }) => size <= MAX_FILE_MB * 2 ** 20);
  const kept = small.slice(0, Math.max(0, room)), problems = [];
  files.filter((file) => !small.includes(file)).forEach(({ name }) => problems.push(`${name} is larger than ${MAX_FILE_MB} MB.`));
  if (small.length > kept.length) problems.push(`A message can have ${MAX_FILES} files: ${small.slice(kept.length).map(({ name }) => name).join(", ")} left out.`);
  if (!problems.length) return;
  say(problems.join(" "), 20);
  event.stopImmediatePropagation();
  if (kept.length) give(kept);
}, true);

const brings = (event) => !ownDrag && event.dataTransfer?.types.includes("Files");
document.addEventListener("dragstart", () => { ownDrag = true; });
document.addEventListener("dragend", () => { ownDrag = false; });
document.addEventListener("dragover", (event) => {
  if (!brings(event)) return;
  take(event);
  veil.hidden = false;
}, true);
document.addEventListener("dragleave", ({ relatedTarget }) => { if (!relatedTarget) veil.hidden = true; });
document.addEventListener("drop", (event) => {
  if (!brings(event)) return;
  take(event);
  veil.hidden = true;
  give(event.dataTransfer.files);
}, true);
document.addEventListener("paste", (event) => {
  if (!event.clipboardData?.files.length) return;
  take(event);
  give(event.clipboardData.files);
}, true);

// ---- what is in the input box, after a reload: files are left out ---------------------------------------------------

const field = () => find("#question textarea");
addEventListener("pagehide", () => sessionStorage.setItem("draft", field()?.value || window.sent?.[0].text || ""));
field().value = sessionStorage.getItem("draft") ?? "";
field().dispatchEvent(new Event("input", { bubbles: true }));

// ---- sending and stopping -----------------------------------------------------------------------------------------

for (const name of ["#about", "#settings"]) find(name).popover = "auto";
const press = (name) => find(`#question .${name}-button`)?.click();
let writing = false, queued = false, waiting = false;

function send(later) {
  queued = later;
  say(later ? "Your question is sent when this answer has ended. Esc takes it back." : "");
}

new MutationObserver(() => {
  if (!hint.isConnected) find("#question")?.before(hint);
  const wasWriting = writing;
  writing = Boolean(find("#conversation .unfinished"));
  find("#question")?.toggleAttribute("data-writing", writing);
  const place = writing && find("#conversation .meta-text")?.textContent.match(/queue: (\d+)\/\d+ \|\s*([\d.]+)(?:\/([\d.]+))?/);
  if (place && !queued && place[2] >= 1) {
    const [, number, waited, expected] = place;
    const whole = +expected > waited ? ` of about ${Math.round(expected)} s` : "";
    const line = `Waiting for others, place ${number}: ${Math.round(waited)} s${whole}`;
    if (hint.textContent !== line) say(line);
  }
  if (waiting && !place && !queued) say("");
  waiting = Boolean(place);
  if (wasWriting && !writing && queued) {
    send(false);
    press("submit");
  }
}).observe(document.body, { childList: true, characterData: true, attributes: true, attributeFilter: ["class"], subtree: true });

document.addEventListener("keydown", (event) => {
  const { key, target, shiftKey, isComposing } = event;
  const inMessage = target.matches?.("[role=log] textarea") && target.closest(".message-row");
  if (key === "Enter" && !shiftKey && !isComposing && inMessage) {
    event.preventDefault();
    find("#conversation [aria-label=Submit]").click();
  } else if (key === "Escape" && inMessage) {
    find("#conversation [aria-label=Cancel]").click();
  } else if (key === "Escape" && !lightbox.open) {
    if (find(":popover-open")) return;  // which the browser closes
    if (queued) send(false);
    else if (writing) press("stop");
  }
}, true);
document.addEventListener("keypress", (event) => {
  if (event.key !== "Enter" || event.shiftKey || !writing || !event.target.matches("#question textarea")) return;
  take(event);
  if (event.target.value.trim() || find("#question .thumbnail-item")) send(true);
}, true);
