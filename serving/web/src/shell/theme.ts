// Light or dark: as the system says until a person has chosen; what is chosen is kept.

import { effect, signal } from "@preact/signals";

export type Theme = "light" | "dark";

const KEY = "worldsift.theme";
const system = matchMedia("(prefers-color-scheme: dark)");

const fromSystem = (): Theme => (system.matches ? "dark" : "light");

function kept(): Theme | null {
  try {
    const value = localStorage.getItem(KEY);
    return value === "light" || value === "dark" ? value : null;
  } catch {
    return null; // storage is switched off: the choice lasts as long as the page
  }
}

/** What the page is shown in; ``document.documentElement.dataset.theme`` says the same. */
export const theme = signal<Theme>(kept() ?? fromSystem());

export function toggleTheme(): void {
  theme.value = theme.value === "dark" ? "light" : "dark";
  try {
    if (theme.value === fromSystem()) localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, theme.value);
  } catch {
    // As above.
  }
}

system.addEventListener("change", () => {
  if (kept() === null) theme.value = fromSystem();
});
effect(() => {
  document.documentElement.dataset["theme"] = theme.value;
});
