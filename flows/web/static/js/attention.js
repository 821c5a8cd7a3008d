// A page in the background asks for nothing: browsers allow six connections to one worker, tabs are often more.

const PATIENCE = 10_000;

/** Call `away` some seconds after the page was hidden, and `back` when it is seen again. Returns how to stop. */
export function attend(away, back) {
  let timer = null;
  let gone = false;
  const change = () => {
    clearTimeout(timer);
    if (document.hidden) {
      timer = setTimeout(() => {
        gone = true;
        away();
      }, PATIENCE);
    } else if (gone) {
      gone = false;
      back();
    }
  };
  document.addEventListener("visibilitychange", change);
  return () => {
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", change);
  };
}
