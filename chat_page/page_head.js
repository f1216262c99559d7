// Runs before Gradio does. Each tab has a conversation of its own, but Gradio's BrowserState knows only the storage that
// all tabs share: for this one name, it gets the tab's.
for (const name of ["getItem", "setItem"]) {
  const inherited = Storage.prototype[name];
  Storage.prototype[name] = function (key, ...value) {
    return inherited.call(key === STORED_IN_TAB ? sessionStorage : this, key, ...value);
  };
}

// The settings are one list for all tabs.
function kept() {
  try {
    const found = JSON.parse(localStorage.getItem(STORED_SETTINGS));
    return Array.isArray(found) ? found : [];
  } catch { return []; }
}
window.keepSetting = (index, value) => {
  localStorage.setItem(STORED_SETTINGS, JSON.stringify(Object.assign(kept(), { [index]: value })));
};
window.keptSettings = (shown, limits) => shown.map((value, index) => {
  const found = kept()[index], { choices = [found], least, most } = limits[index];
  if (typeof found !== typeof value || !choices.includes(found)) return value;
  return least === undefined ? found : Math.min(Math.max(found, least), most);
});
