/** What a row of measurements says: its least, its median, its most, and how it compares with another row. */

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export const least = (values) => Math.min(...values);
export const most = (values) => Math.max(...values);

/** Other work on the machine only ever adds time: the least of many is what the code costs by itself. */
export const ofLeast = (values, base) => least(values) / least(base);

/** The median of the ratios of what was measured one right after the other. */
export const paired = (values, base) => median(values.map((value, at) => value / base[at]));
