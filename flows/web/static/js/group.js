// The workers of the group as one: sums for the header, a few words on what is wrong, and a line for what rows lack.

import * as format from "./format.js";

/** All tasks of all workers; a server that knows no group has its own only. */
export function tasksOf(status) {
  return status.workers ? status.workers.flatMap((worker) => worker.tasks) : status.tasks;
}

/** Records a second and records behind, over all workers. */
export function sums(status) {
  const workers = status.workers ?? [status];
  const sum = (name) => workers.reduce((total, worker) => total + worker[name], 0);
  return { rate: sum("records_per_second"), lag: sum("lag") };
}

/** What the pill at the top says: `{state, words}`. */
export function health(status) {
  if (!status.ready) return restoring([status], status.state);
  const workers = status.workers ?? [];
  const silent = workers.filter((worker) => worker.trouble !== null).length;
  if (silent) return { state: "restoring", words: `${silent} of ${workers.length} workers silent` };
  if (status.unheld?.length) return { state: "restoring", words: `${count(status.unheld.length, "task")} unheld` };
  const busy = workers.filter((worker) => !worker.ready);
  if (busy.length) return restoring(busy, busy[0].state);
  return { state: "live", words: "Live" };
}

function restoring(workers, otherwise) {
  const restored = Math.min(...workers.map((worker) => worker.restored));
  // A worker that runs and is not ready yet has tasks that are about to be started.
  const words = otherwise === "running" ? "Starting tasks" : otherwise;
  return { state: "restoring", words: restored < 1 ? `Restoring ${Math.floor(restored * 100)} %` : words };
}

/** How a task is, with the progress of its restore. */
export function taskState(task) {
  if (task.state !== "restoring" || !task.total) return task.state;
  const rate = task.rate > 0 ? `, ${format.count(task.rate)}/s` : "";
  return `restoring, ${format.count(task.done)} of ${format.count(task.total)}${rate}`;
}

/** What an answer lacks, as lines: partitions with the same worker and reason share one. */
export function lackLines(missing) {
  const groups = new Map();
  for (const { partition, worker, reason } of missing) {
    const words = worker === null ? reason : `${worker} ${/^(restoring|is )/.test(reason) ? `holds it: ${reason}` : reason}`;
    groups.set(words, [...(groups.get(words) ?? []), partition]);
  }
  return [...groups].map(([words, partitions]) => {
    const named = `partition${partitions.length > 1 ? "s" : ""} ${partitions.join(", ")}`;
    return `${named} – ${partitions.length > 1 ? words.replace("holds it", "holds them") : words}`;
  });
}

export function count(number, noun) {
  return `${format.count(number)} ${noun}${number === 1 ? "" : "s"}`;
}
