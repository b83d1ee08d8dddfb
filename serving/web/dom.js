// Elements without HTML in strings: what comes from the archive is always text, never markup.

export const byId = (id) => document.getElementById(id);

export function element(name, properties = {}, ...children) {
  const { className, ...rest } = properties;
  const made = document.createElement(name);
  if (className) made.className = className;
  for (const [key, value] of Object.entries(rest)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// A picture, or words in its place when it cannot be shown.
export function picture(source, alt, instead, lazy = true) {
  const image = element("img", { src: source, alt, decoding: "async", loading: lazy ? "lazy" : "eager" });
  image.addEventListener("error", () => image.replaceWith(element("span", { className: "broken" }, instead)));
  return image;
}
