// Runs before Gradio does. Each tab has a conversation of its own, but Gradio's BrowserState knows only the storage that
// all tabs share: for this one name, it gets the tab's.
for (const name of ["getItem", "setItem"]) {
  const inherited = Storage.prototype[name];
  Storage.prototype[name] = function (key, ...value) {
    return inherited.call(key === STORED_IN_TAB ? sessionStorage : this, key, ...value);
  };
}
