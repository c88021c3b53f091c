// Light or dark: the system's choice, until the reader makes one, which is kept where that is allowed.
"use strict";

(() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const kept = () => {
    try {
      return localStorage.getItem("adbench-theme");
    } catch {
      return null;
    }
  };
  const keep = (theme) => {
    try {
      localStorage.setItem("adbench-theme", theme);
    } catch {
      // The choice then holds for this page.
    }
  };
  // Before the page is drawn, so that it does not flash.
  if (kept()) root.dataset.theme = kept();
  root.classList.add("js");
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.querySelector("button.theme");
    const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
    const say = () => {
      button.querySelector("span").textContent = dark() ? "Light" : "Dark";
      button.setAttribute("aria-label", `Switch to ${dark() ? "light" : "dark"} colours`);
    };
    button.addEventListener("click", () => {
      root.dataset.theme = dark() ? "light" : "dark";
      keep(root.dataset.theme);
      say();
    });
    system.addEventListener("change", say);
    say();
    button.hidden = false;
  });
})();
