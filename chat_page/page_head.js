// Runs before Gradio does. Each tab has a conversation of its own, but Gradio's BrowserState knows only the storage that
// all tabs share: for this one name, it gets the tab's.
for (const name of ["getItem", "setItem"]) {
  const inherited = Storage.prototype[name];
  Storage.prototype[name] = function (key, ...value) {
    return inherited.call(key === STORED_IN_TAB ? sessionStorage : this, key, ...value);
  };
}

// The settings are one list for all tabs. Each is kept by itself, because they come back one after the other; and before
// they are back only what was typed counts, because a control that is shown for the first time counts as changed.
let areBack = false;
function kept() {
  try {
    const found = JSON.parse(localStorage.getItem(STORED_SETTINGS));
    return Array.isArray(found) ? found : [];
  } catch { return []; }
}
window.keepSetting = (index, value, wasTyped) => {
  if (areBack || wasTyped) localStorage.setItem(STORED_SETTINGS, JSON.stringify(Object.assign(kept(), { [index]: value })));
};
window.keptSettings = (shown, limits) => {
  areBack = true;
  return kept().length ? shown.map((value, index) => {
    const found = kept()[index], { choices = [found], least, most } = limits[index];
    if (typeof found !== typeof value || !choices.includes(found)) return value;
    return least === undefined ? found : Math.min(Math.max(found, least), most);
  }) : shown;
};
