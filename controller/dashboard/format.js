/** Numbers as people read them. Rates are frame bits per second, money is nanos, times are milliseconds since 1970. */

const RATE_UNITS = [[1e9, "Gbit/s"], [1e6, "Mbit/s"], [1e3, "kbit/s"]];

/** At most `digits` behind the point, none of them a zero at the end. */
const short = (number, digits) => String(Number(number.toFixed(digits)));

/** @param {number | undefined} bps @returns {string} */
export function rate(bps) {
  if (bps === undefined || bps === null) return "–";
  const [size, unit] = RATE_UNITS.find(([size]) => bps >= size) ?? [1, "bit/s"];
  return `${short(bps / size, bps / size >= 100 ? 0 : 2)} ${unit}`;
}

/** @param {number | undefined} nanos @returns {string} in IOTA, every nano of it */
export function money(nanos) {
  if (nanos === undefined || nanos === null) return "–";
  const sign = nanos < 0 ? "−" : "";
  const digits = String(Math.abs(nanos)).padStart(10, "0");
  const part = digits.slice(-9).replace(/0+$/, "");
  return `${sign}${digits.slice(0, -9)}${part ? `.${part}` : ""} IOTA`;
}

/** @param {number} millis @returns {string} the two largest units */
export function duration(millis) {
  if (millis < 1_000) return `${Math.max(0, Math.round(millis))} ms`;
  const seconds = Math.floor(millis / 1_000);
  const parts = [
    [Math.floor(seconds / 86_400), "d"], [Math.floor(seconds / 3_600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "min"], [seconds % 60, "s"],
  ];
  const first = parts.findIndex(([number]) => number > 0);
  return parts.slice(first, first + 2).filter(([number]) => number > 0).map(([number, unit]) => `${number} ${unit}`).join(" ");
}

/** @param {number | undefined} millis @returns {string} time of day, with seconds */
export const clock = (millis) =>
  (millis === undefined || millis === null ? "–" : new Date(millis).toLocaleTimeString(undefined, { hour12: false }));

/** @param {number} millis @returns {string} hours and minutes */
export const hour = (millis) =>
  new Date(millis).toLocaleTimeString(undefined, { hour12: false, hour: "2-digit", minute: "2-digit" });

/** @param {number} bytes @returns {string} */
export function size(bytes) {
  const [unit, name] = [[1e9, "GB"], [1e6, "MB"], [1e3, "kB"]].find(([unit]) => bytes >= unit) ?? [1, "B"];
  return `${short(bytes / unit, 1)} ${name}`;
}

/** @param {string} id datapath id, hexadecimal @returns {string} without what is zero in front */
export const switchId = (id) => id.replace(/^0+(?=.)/, "");

/** @param {{ protocol: string, source: string, destination: string, source_port?: unknown, destination_port?: unknown }} flow */
export function flow({ protocol, source, destination, source_port: from, destination_port: to }) {
  const end = (address, port) => (port === undefined ? address : address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`);
  return `${protocol.toUpperCase()} ${end(source, from)} → ${end(destination, to)}`;
}
