// Elements, written as they nest.

export function el(name, facts = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(facts)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "style") for (const [property, to] of Object.entries(value)) element.style.setProperty(property, to);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function choice(label, options, current, onChange) {
  const name = `choice-${label.replaceAll(" ", "-")}`;
  return el(
    "fieldset",
    { class: "choice" },
    el("legend", { class: "hidden" }, label),
    ...Object.entries(options).map(([value, text]) =>
      el(
        "label",
        {},
        el("input", { type: "radio", id: `${name}-${value}`, name, value, checked: value === current, onchange: () => onChange(value) }),
        el("span", {}, text),
      ),
    ),
  );
}

/** Do what redraws. Where that takes away what had the keyboard's focus, its successor of the same id gets it, or what `instead` gives. */
export function keepingFocus(redraw, instead) {
  const had = document.activeElement;
  const seen = had?.matches(":focus-visible");
  redraw();
  if (!had || had === document.body || usable(had)) return;
  const next = had.id ? document.getElementById(had.id) : null;
  (next && usable(next) ? next : instead())?.focus({ preventScroll: !seen });
}

const usable = (element) => element.isConnected && !element.disabled && element.getClientRects().length > 0;

export function notice(text) {
  const box = el("div", { class: "notice" }, el("span", {}, text));
  box.append(el("button", { type: "button", onclick: () => box.remove() }, "Close"));
  document.getElementById("notices").append(box);
}

export const megapixels = (width, height) => (width * height < 5e4 ? "less than 0.1 MP" : `${((width * height) / 1e6).toFixed(1)} MP`);

export function duration(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
