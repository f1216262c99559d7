// What answers need of the browser. Runs once, behind page.js and inside the same function (see chat_page/theme.py).

// A message is copied as its author wrote it: Gradio hands over its HTML (see chat_page/render.py).
const clipboard = navigator.clipboard ?? {};
const write = clipboard.writeText?.bind(clipboard) ?? ((text) => {
  const field = element("textarea", { value: text });  // a page without https has no clipboard
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
  return Promise.resolve();
});
clipboard.writeText = (html) => {
  const message = new DOMParser().parseFromString("<pre>\n" + html + "</pre>", "text/html");
  return write(message.querySelector("[data-source]")?.dataset.source ?? message.body.textContent);
};
if (!navigator.clipboard) Object.defineProperty(navigator, "clipboard", { value: clipboard });

document.addEventListener("click", ({ target }) => {
  const copy = target.closest(".answer .code button");
  if (copy) write(copy.closest(".code").querySelector("code").textContent).then(() => {
    copy.textContent = "Copied";
    setTimeout(() => { copy.textContent = "Copy"; }, 2000);
  });
  if (target.closest(".message .continue")) document.querySelector("#continue").click();
});

// The conversation follows the words, until its reader scrolls up; at its end it follows again.
const NEAR_PX = 24;
const conversation = () => document.querySelector("[role=log]");
const newWords = element("button", { id: "new-words", hidden: true, textContent: "New words ↓" });
let following = true, top = 0, questions = 0;

function follow(on) {
  following = on;
  newWords.hidden = on || newWords.hidden;
  if (on) conversation().scrollTop = conversation().scrollHeight;
}

newWords.addEventListener("click", () => follow(true));
document.addEventListener("scroll", ({ target: log }) => {
  if (log !== conversation()) return;
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_PX;
  if (atEnd !== following && (atEnd || log.scrollTop < top)) follow(atEnd);
  top = log.scrollTop;
}, true);
// By pictures that load, files in the input box, a phone's keyboard.
const resized = new ResizeObserver(() => following && !conversation().querySelector("textarea") && follow(true));
new MutationObserver((changes) => {
  const log = conversation();
  if (!log || !changes.some(({ target }) => log.contains(target))) return;
  if (!newWords.isConnected) log.after(newWords);
  [log, ...log.children].forEach((part) => resized.observe(part));
  // Gradio's names for messages would have screen readers read their HTML.
  log.querySelectorAll("[data-testid][aria-label]").forEach((message) => message.removeAttribute("aria-label"));
  const edited = log.querySelector("textarea");
  if (edited) return edited.scrollIntoView({ block: "nearest" });
  const asked = log.querySelectorAll(".user-row").length;
  if (following || asked > questions || !asked) follow(true);
  else if (log.querySelector(".unfinished")) newWords.hidden = false;
  questions = asked;
}).observe(document.body, { childList: true, characterData: true, subtree: true });
