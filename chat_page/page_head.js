// Runs before Gradio does. Each tab has a conversation of its own, but Gradio's BrowserState knows only the storage that
// all tabs share: for this one name, it gets the tab's.
for (const name of ["getItem", "setItem"]) {
  const inherited = Storage.prototype[name];
  Storage.prototype[name] = function (key, ...value) {
    return inherited.call(key === STORED_IN_TAB ? sessionStorage : this, key, ...value);
  };
}

// The settings are one list for all tabs. Before the first one is kept, those that are kept have to be back: a control
// that is shown for the first time counts as changed.
let areBack = false;
window.keepSettings = (shown) => areBack && localStorage.setItem(STORED_SETTINGS, JSON.stringify(shown));
window.keptSettings = (shown, limits) => {
  let kept;
  try { kept = JSON.parse(localStorage.getItem(STORED_SETTINGS)); } catch {}
  areBack = true;
  if (!Array.isArray(kept)) return shown;
  return shown.map((value, index) => {
    const [least, most] = limits[index] ?? [];
    if (typeof kept[index] !== typeof value) return value;
    return limits[index] ? Math.min(Math.max(kept[index], least), most) : kept[index];
  });
};
