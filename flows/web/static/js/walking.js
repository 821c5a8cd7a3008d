// Arrow keys among links that stand together.

const STEPS = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 };

/** Move the focus to the link before or after, where a key asks for it. */
export function walk(event, links) {
  const at = links.indexOf(document.activeElement);
  const step = STEPS[event.key];
  if (at < 0 || step === undefined) return;
  event.preventDefault();
  links[Math.max(0, Math.min(links.length - 1, at + step))].focus();
}
